import math

import pytest
import torch

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import Outcome, Run
from qttseg.pipelines.backbones import fingerprint_of
from qttseg.pipelines.deadline import Deadline, DeadlineReached
from qttseg.pipelines.fine_tuning import Diverged, FineTuning, FineTuningState
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.models import load_model, save_model
from qttseg.pipelines.running import fine_tune
from qttseg.pipelines.spaces import search_space
from qttseg.pipelines.workbench import Workbench


@pytest.fixture
def bench(discs, protocol):
    return Workbench.prepare(discs(2), protocol, load_backbone().remembering(), seed=0)


def timeless(record):
    return record.epoch, record.score, record.train_loss, record.learning_rate


@pytest.mark.parametrize("kind", ["decoder_only", "with_lora"])
def test_a_thawed_training_goes_on_bit_for_bit(bench, kind, request, tmp_path):
    configuration = request.getfixturevalue(kind)
    unbroken = FineTuning(bench, configuration, seed=7)
    expected = [timeless(unbroken.train_epoch()) for _ in range(3)]

    training = FineTuning(bench, configuration, seed=7)
    found = [timeless(training.train_epoch())]
    for _ in range(2):
        training.state().save(tmp_path / "frozen.safetensors")
        training = FineTuning(bench, configuration, seed=7)
        training.restore(FineTuningState.load(tmp_path / "frozen.safetensors"))
        found.append(timeless(training.train_epoch()))
    assert found == expected
    assert fingerprint_of(training.segmenter().backbone.sam.state_dict()) == fingerprint_of(
        unbroken.segmenter().backbone.sam.state_dict()
    )


@pytest.mark.parametrize("sched", ["cosine", "cosine_warm", "onecycle", "plateau", "poly", "step"])
def test_every_schedule_freezes_and_thaws(bench, sched, tmp_path):
    configuration = next(c for c in search_space("paper").sample(400, seed=1) if c["sched"] == sched and not c["lora"])
    training = FineTuning(bench, configuration, seed=0)
    training.train_epoch()
    training.state().save(tmp_path / "state")
    expected = timeless(training.train_epoch())
    thawed = FineTuning(bench, configuration, seed=0)
    thawed.restore(FineTuningState.load(tmp_path / "state"))
    assert timeless(thawed.train_epoch()) == expected


def test_lora_learns_and_changes_the_output(bench, with_lora):
    training = FineTuning(bench, with_lora, seed=0)
    before = training.state().tensors
    images = bench.backbone.normalise(bench.images[:2])
    adapted = training.segmenter().backbone
    with torch.no_grad():
        assert torch.allclose(adapted.encode(images), bench.backbone.encode(images), atol=1e-5)
    training.train_epoch()
    after = training.state().tensors
    moved = [name for name in before if "lora_" in name and not torch.equal(before[name], after[name])]
    assert len(moved) == sum("lora_" in name for name in before) > 0
    assert {name.split(".")[-4] for name in moved} == {"qkv", "proj", "lin1", "lin2"}
    with torch.no_grad():
        assert not torch.allclose(adapted.encode(images), bench.backbone.encode(images), atol=1e-5)


def test_training_learns_the_discs_and_leaves_the_backbone_alone(bench, decoder_only):
    before = fingerprint_of(bench.backbone.sam.state_dict())
    configuration = Configuration({**decoder_only, "lr": 3e-3})
    training = FineTuning(bench, configuration, seed=0)
    losses = [training.train_epoch().train_loss for _ in range(3)]
    assert losses[-1] < losses[0]
    assert fingerprint_of(bench.backbone.sam.state_dict()) == before


def test_frozen_embeddings_are_computed_once(bench, decoder_only, monkeypatch):
    encoded = []
    encode = type(bench.backbone).encode

    def counting(self, images):
        encoded.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(type(bench.backbone), "encode", counting)
    configuration = Configuration({**decoder_only, "horizontal_flip": 0})
    for seed in (0, 1):
        training = FineTuning(bench, configuration, seed=seed)
        training.train_epoch()
        training.train_epoch()
    assert sum(encoded) == len(bench.split.train) + len(bench.split.validation)


def test_a_deadline_stops_mid_epoch_and_loses_nothing(bench, with_lora):
    training = FineTuning(bench, with_lora, seed=0)
    training.train_epoch()
    frozen = training.state()
    looks = iter(range(100))
    with pytest.raises(DeadlineReached):
        training.train_epoch(Deadline(at=1.5, clock=lambda: float(next(looks))))
    assert training.epoch == 1
    again = training.state()
    assert all(torch.equal(again.tensors[name], frozen.tensors[name]) for name in frozen.tensors)
    assert again.progress == frozen.progress


def test_last_steps_anneal_the_learning_rate_and_are_scored(bench, decoder_only, monkeypatch):
    training = FineTuning(bench, decoder_only, seed=0)
    training.train_epoch()
    rates, step = [], FineTuning._step

    def watched(self, *batch):
        rates.append(self._optimizer.param_groups[0]["lr"])
        return step(self, *batch)

    monkeypatch.setattr(FineTuning, "_step", watched)
    before = training.state().weights
    score = training.finish(2)
    assert rates == [pytest.approx(rates[0]), pytest.approx(rates[0] / 2)]
    assert score == bench.validate(training.segmenter().backbone)
    assert any(not torch.equal(before[name], tensor) for name, tensor in training.state().weights.items())
    assert training.epoch == 1
    with pytest.raises(DeadlineReached):
        training.finish(2, Deadline(at=0.0, clock=lambda: 1.0))


def test_divergence_is_raised(bench, decoder_only):
    training = FineTuning(bench, decoder_only, seed=0)
    for parameter in training.segmenter().backbone.sam.mask_decoder.parameters():
        parameter.data.fill_(math.nan)
    with pytest.raises(Diverged, match="epoch 1"):
        training.train_epoch()


def run_of(bench, configuration):
    return Run(
        dataset=bench.dataset.name,
        dataset_fingerprint=bench.dataset.fingerprint,
        configuration=configuration,
        space="paper-v1",
        protocol=bench.protocol,
        backbone=bench.backbone.name,
        backbone_fingerprint=bench.backbone.fingerprint,
    )


def test_outcomes_are_typed(bench, decoder_only, monkeypatch):
    run = run_of(bench, decoder_only)
    completed = fine_tune(run, bench)
    assert completed.outcome is Outcome.COMPLETED
    assert [record.epoch for record in completed.records] == [1, 2, 3]
    late = fine_tune(run, bench, Deadline.after(-1.0))
    assert late.outcome is Outcome.TIMED_OUT
    assert late.records == ()
    hopeless = fine_tune(run_of(bench, Configuration({**decoder_only, "lr": 1e30})), bench)
    assert hopeless.outcome is Outcome.DIVERGED
    assert "loss" in hopeless.reason

    def exhausted(*_, **__):
        raise MemoryError("no more")

    monkeypatch.setattr(FineTuning, "train_epoch", exhausted)
    assert fine_tune(run, bench).outcome is Outcome.OUT_OF_MEMORY


@pytest.fixture
def whole(decoder_only):
    """Everything is trained."""
    return Configuration({**decoder_only, "full": 1})


def test_full_fine_tuning_moves_an_encoder_of_its_own(bench, whole):
    from qttseg.pipelines.backbones import fingerprint_of

    before = fingerprint_of(bench.backbone.sam.state_dict())
    training = FineTuning(bench, whole, seed=0)
    training.train_epoch()
    shared = dict(bench.backbone.encoder.named_parameters())
    own = dict(training.segmenter().backbone.encoder.named_parameters())
    assert own.keys() == shared.keys()
    assert not any(torch.equal(own[name], shared[name]) for name in ("blocks.0.attn.qkv.weight", "pos_embed"))
    assert fingerprint_of(bench.backbone.sam.state_dict()) == before


@pytest.mark.parametrize("kind", ["decoder_only", "with_lora", "whole"])
def test_a_saved_model_predicts_the_same(bench, kind, request, tmp_path):
    training = FineTuning(bench, request.getfixturevalue(kind), seed=0)
    training.train_epoch()
    save_model(tmp_path, training.segmenter(), classes=bench.dataset.classes)
    loaded = load_model(tmp_path)
    assert loaded.classes == ("background", "disc")
    images = bench.backbone.normalise(bench.images[:2])
    boxes = torch.tensor([[0.0, 0, 90, 90], [20, 20, 200, 250]])
    with torch.no_grad():
        for model, same in ((training.segmenter().backbone, True), (bench.backbone, False)):
            logits = model.decode(model.encode(images), boxes).logits
            found = loaded.segmenter.backbone.decode(loaded.segmenter.backbone.encode(images), boxes).logits
            assert torch.equal(logits, found) == same


def test_peft_itself_loads_the_adapter(bench, with_lora, tmp_path):
    from peft import PeftModel

    training = FineTuning(bench, with_lora, seed=0)
    training.train_epoch()
    save_model(tmp_path, training.segmenter(), classes=bench.dataset.classes)
    theirs = PeftModel.from_pretrained(bench.backbone.trainable_copy().encoder, str(tmp_path / "adapter")).eval()
    images = bench.backbone.normalise(bench.images[:1])
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), training.segmenter().backbone.encode(images))


def test_multiclass_images_train_on_a_prompt_for_each_class(discs, protocol, decoder_only):
    bench = Workbench.prepare(discs(3), protocol, load_backbone(), seed=0)
    assert all(set(prompts) == {1, 2} for prompts in bench.validation.prompts)
    training = FineTuning(bench, Configuration({**decoder_only, "lr": 3e-3}), seed=0)
    losses = [training.train_epoch().train_loss for _ in range(3)]
    assert losses[-1] < losses[0]
