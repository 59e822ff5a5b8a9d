from dataclasses import replace

import pytest
import torch

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import Outcome
from qttseg.pipelines.backbones import backbone_of
from qttseg.pipelines.execution import Execution
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture, nano_sam
from qttseg.pipelines.workbench import Workbench


@pytest.fixture
def bench(discs, protocol):
    return Workbench.prepare(discs(3), protocol, load_backbone(), seed=0)


@pytest.fixture
def lora(with_lora):
    return Configuration({**with_lora, "lora_dropout": 0.0})


def epoch(bench, configuration, execution=None):
    if execution is not None:
        bench = replace(bench, execution=execution)
    training = FineTuning(bench, configuration, seed=0)
    record = training.train_epoch()
    return record, training.state().tensors


@pytest.mark.parametrize(
    "execution", [Execution(micro_batch=1), Execution(micro_batch=3), Execution(checkpointing=True)]
)
@pytest.mark.parametrize("kind", ["decoder_only", "lora"])
def test_a_batch_equals_its_pieces(bench, kind, execution, request):
    """Several boxes an image; losses and gradients add up to those of the whole batch, and so do the weights."""
    configuration = request.getfixturevalue(kind)
    whole, expected = epoch(bench, configuration)
    pieces, found = epoch(bench, configuration, execution)
    assert pieces.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
    assert pieces.score == pytest.approx(whole.score, abs=0.02)
    moved = 0
    for name, tensor in expected.items():
        if name.startswith("model.") and tensor.dim() > 1:
            torch.testing.assert_close(found[name], tensor, rtol=1e-2, atol=2e-3)
            moved += 1
    assert moved > 10


def test_checkpointing_keeps_less_for_the_way_back(bench, lora):
    def kept(execution):
        sizes = []
        training = FineTuning(replace(bench, execution=execution), lora, seed=0)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            training.train_epoch()
        return sum(sizes)

    assert kept(Execution(checkpointing=True)) < 0.6 * kept(Execution())


def test_a_step_that_runs_out_of_memory_is_done_in_smaller_pieces(bench, lora, monkeypatch):
    _, expected = epoch(bench, lora)
    encode, tried = type(bench.backbone).encode, []

    def small_card(self, images):
        if torch.is_grad_enabled():
            tried.append(len(images))
            if len(images) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return encode(self, images)

    monkeypatch.setattr(type(bench.backbone), "encode", small_card)
    record, found = epoch(bench, lora)
    assert tried[:4] == [4, 4, 2, 1], "checkpointing first, then halves"
    assert set(tried[4:]) == {1}, "what was learnt of the memory is remembered"
    assert record.epoch == 1
    torch.testing.assert_close(
        found["model.mask_decoder.iou_token.weight"],
        expected["model.mask_decoder.iou_token.weight"],
        rtol=1e-2,
        atol=2e-3,
    )


def test_memory_that_never_suffices_ends_the_run_with_its_outcome(bench, lora, monkeypatch):
    from qttseg.metadata.runs import Run
    from qttseg.pipelines.running import fine_tune

    def no_memory(self, images):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(bench.backbone), "encode", no_memory)
    run = Run(
        dataset=bench.dataset.name, dataset_fingerprint=bench.dataset.fingerprint, configuration=lora, space="paper-v1",
        protocol=bench.protocol, backbone=bench.backbone.name, backbone_fingerprint=bench.backbone.fingerprint,
    )  # fmt: skip
    assert fine_tune(run, bench).outcome is Outcome.OUT_OF_MEMORY


def small_bench(discs, execution, **sizes):
    architecture = NanoArchitecture(width=32, heads=2, prompt_width=32, relative_positions=True, **sizes)
    backbone = backbone_of("small", nano_sam(architecture))
    protocol = Protocol(images=4, validation_share=0.25, test_images=1, epochs=1, batch_size=2)
    return Workbench.prepare(discs(3), protocol, backbone, seed=0, execution=execution)


def test_a_compiled_encoder_trains_as_the_plain_one(discs, lora):
    plain, compiled = (
        FineTuning(
            small_bench(discs, execution, resolution=64, depth=1, global_blocks=(0,)), lora, seed=0
        ).train_epoch()
        for execution in (Execution(), Execution(compiled=True))
    )
    assert compiled.train_loss == pytest.approx(plain.train_loss, rel=1e-3)
    torch.compiler.reset()


def test_lora_learns_at_the_size_of_official_sam(discs, lora):
    """1024 px, windows of 14 with padding, whole-image attention over 64 × 64 tokens, several boxes an image."""
    bench = small_bench(discs, Execution(), resolution=1024, patch=16, depth=2, window=14, global_blocks=(1,))
    training = FineTuning(bench, lora, seed=0)
    before = training.state().tensors
    record = training.train_epoch()
    after = training.state().tensors
    assert 0 < record.train_loss < 3
    moved = {name.split(".")[-4] for name in before if "lora_" in name and not torch.equal(before[name], after[name])}
    assert moved == {"qkv", "proj", "lin1", "lin2"}


def test_execution_gives_up_memory_step_by_step():
    ways, way = [], Execution()
    while way is not None:
        ways.append((way.checkpointing, way.micro_batch))
        way = way.smaller(4)
    assert ways == [(False, None), (True, None), (True, 2), (True, 1)]
