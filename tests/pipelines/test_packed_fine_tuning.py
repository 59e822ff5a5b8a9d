import math

import pytest
import torch
from torch.nn.attention import SDPBackend

from qttseg.errors import ConfigurationError
from qttseg.metadata.adapters import EXTENDED_ADAPTERS
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines import packed_model
from qttseg.pipelines.backbones import backbone_of
from qttseg.pipelines.deadline import Deadline, DeadlineReached
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture, nano_sam
from qttseg.pipelines.packed_fine_tuning import PackedFineTuning, _count_that_fits, members_that_fit
from qttseg.pipelines.spaces import search_space
from qttseg.pipelines.workbench import Workbench


@pytest.fixture
def bench(discs, protocol):
    return Workbench.prepare(discs(3), protocol, load_backbone().remembering(), seed=0)


def one_of_each_schedule(*, lora):
    """Configurations that differ in schedule, rates, augmentation and rank; without dropout, whose draws differ."""
    drawn = [c for c in search_space("paper").sample(600, seed=2) if c["lora"] == lora]
    chosen = {c["sched"]: c for c in drawn}
    changes = {"lora_dropout": 0.0} if lora else {}
    return [Configuration({**c, **changes}) for c in chosen.values()]


def alone(bench, configuration, epochs):
    training = FineTuning(bench, configuration, seed=3)
    return [training.train_epoch() for _ in range(epochs)]


@pytest.mark.parametrize("lora", [0, 1])
def test_each_member_learns_as_it_would_alone(bench, lora):
    configurations = one_of_each_schedule(lora=lora)
    if lora:
        configurations = configurations[:3]
        assert len({c["lora_rank"] for c in configurations}) > 1
    else:
        assert len(configurations) == 6
    pack = PackedFineTuning(bench, configurations, seed=3)
    for _ in range(2):
        pack.train_epoch()
    for member, configuration in zip(pack.members, configurations, strict=True):
        for found, expected in zip(member.records, alone(bench, configuration, 2), strict=True):
            assert found.epoch == expected.epoch
            assert found.learning_rate == expected.learning_rate
            assert found.train_loss == pytest.approx(expected.train_loss, rel=2e-3)
            assert found.score == pytest.approx(expected.score, abs=5e-3)


@pytest.mark.parametrize(
    ("adapter", "more"),
    [
        ("decoder", {}),
        ("plm", {}),
        ("plm", {"plm_dense": 5, "plm_class": 1}),
        ("plm", {"plm_dense": 1, "plm_class": 1, "plm_compare": 1}),
        ("plm+pmm", {}),
        ("lora+plm", {}),
        ("plm", {"loss": "focal+dice+iou+map", "random_affine": 1, "color_jitter": 1}),
    ],
    ids=["decoder", "plm", "class plm", "comparing plm", "plm+pmm", "lora+plm", "rich"],
)
@pytest.mark.parametrize("prompt", ["box", "point"])
def test_members_of_every_adapter_learn_as_they_would_alone(discs, small_vit, adapter, more, prompt):
    drawn = search_space("extended").sample(3, seed=4, where={"adapter": adapter, "loss": "focal+dice+iou"})
    shape = {"plm_depth": 1, "plm_dense": 1, "plm_class": 0, "pmm_points": 64, "lora_dropout": 0.0}
    configurations = [Configuration({**c, **{k: v for k, v in shape.items() if k in c}, **more}) for c in drawn]
    protocol = Protocol(images=8, validation_share=0.25, test_images=1, epochs=2, batch_size=3, prompt=prompt)
    bench = Workbench.prepare(discs(3), protocol, small_vit.remembering(), seed=0)
    pack = PackedFineTuning(bench, configurations, seed=3)
    for _ in range(2):
        pack.train_epoch()
    for member, configuration in zip(pack.members, configurations, strict=True):
        for found, expected in zip(member.records, alone(bench, configuration, 2), strict=True):
            assert found.train_loss == pytest.approx(expected.train_loss, rel=5e-3)
            assert found.score == pytest.approx(expected.score, abs=2e-2)


def test_official_sams_windows_and_relative_positions_go_in_packs(discs, with_lora):
    architecture = NanoArchitecture(
        width=32,
        heads=2,
        prompt_width=32,
        relative_positions=True,
        resolution=128,
        depth=2,
        window=6,
        global_blocks=(1,),
    )
    protocol = Protocol(images=6, validation_share=0.34, test_images=1, epochs=1, batch_size=2)
    bench = Workbench.prepare(discs(2), protocol, backbone_of("small", nano_sam(architecture)), seed=0)
    configurations = [Configuration({**with_lora, "lora_dropout": 0.0, "lora_rank": rank}) for rank in (2, 4)]
    pack = PackedFineTuning(bench, configurations, seed=3)
    pack.train_epoch()
    for member in pack.members:
        (expected,) = alone(bench, member.configuration, 1)
        assert member.records[0].train_loss == pytest.approx(expected.train_loss, rel=2e-3)
        assert member.records[0].score == pytest.approx(expected.score, abs=1e-2)


def test_who_diverges_does_not_touch_the_others(bench, decoder_only):
    hopeless = Configuration({**decoder_only, "lr": 1e30})
    pack = PackedFineTuning(bench, [decoder_only, hopeless, decoder_only], seed=3)
    for _ in range(2):
        pack.train_epoch()
    assert "the loss is" in pack.members[1].diverged
    assert len(pack.alive) == 2
    expected = alone(bench, decoder_only, 2)
    for member in pack.alive:
        assert [r.score for r in member.records] == pytest.approx([r.score for r in expected], abs=5e-3)
    for vector in (member.vector for member in pack.alive):
        assert torch.isfinite(vector).all()


def test_a_pack_of_which_all_diverge_ends(bench, decoder_only):
    pack = PackedFineTuning(bench, [Configuration({**decoder_only, "lr": 1e30})] * 2, seed=0)
    pack.train_epoch()
    pack.train_epoch()
    assert pack.alive == []
    assert all("loss" in member.diverged for member in pack.members)


def test_members_have_dropout_of_their_own(bench, with_lora):
    configurations = [Configuration({**with_lora, "lora_dropout": rate}) for rate in (0.0, 0.0, 0.5)]
    pack = PackedFineTuning(bench, configurations, seed=3)
    pack.train_epoch()
    first, second, dropping = (member.records[0].train_loss for member in pack.members)
    assert first == pytest.approx(second, rel=1e-5)
    assert not math.isclose(first, dropping, rel_tol=1e-5)


def test_padding_of_small_ranks_never_moves(bench, with_lora):
    small, large = (Configuration({**with_lora, "lora_rank": rank, "lora_dropout": 0.0}) for rank in (2, 8))
    pack = PackedFineTuning(bench, [small, large], seed=3)
    before = [int((member.vector == 0).sum()) for member in pack.members]
    pack.train_epoch()
    still = [int((member.vector == 0).sum()) for member in pack.members]
    own = sum(
        p.numel() for p in FineTuning(bench, small, seed=3).segmenter().backbone.sam.parameters() if p.requires_grad
    )
    padding = pack.members[0].vector.numel() - own
    assert padding > 0
    assert still[0] >= padding
    assert before[0] > still[0]


def test_a_deadline_ends_a_pack(bench, decoder_only):
    with pytest.raises(DeadlineReached):
        PackedFineTuning(bench, [decoder_only] * 2, seed=0).train_epoch(Deadline.after(-1.0))


def test_different_structures_are_refused(bench, decoder_only, with_lora):
    with pytest.raises(ConfigurationError, match="in one pack"):
        PackedFineTuning(bench, [decoder_only, with_lora], seed=0)
    with pytest.raises(ConfigurationError, match="in one pack"):
        PackedFineTuning(bench, [decoder_only, Configuration({**decoder_only, "loss": "focal+dice+iou"})], seed=0)


@pytest.mark.parametrize(
    ("one", "two", "free", "count"), [(3, 5, 100, 44), (3, 5, 10, 4), (50, 90, 40, 1), (10, 10, 20, 9)]
)
def test_a_pack_is_as_large_as_the_memory_that_is_free(one, two, free, count):
    assert _count_that_fits(one, two, free=free) == count


def test_on_a_cpu_a_pack_is_as_large_as_asked_for(bench, decoder_only):
    assert members_that_fit(bench, [decoder_only] * 5, seed=0) == 5
    pack = PackedFineTuning(bench, [decoder_only] * 2, seed=0)
    before = [member.vector.detach().clone() for member in pack.members]
    pack.try_step()
    assert not any(torch.equal(member.vector, old) for member, old in zip(pack.members, before, strict=True))


def test_attention_as_on_a_gpu_gives_the_same(bench, with_lora, monkeypatch):
    """Fused kernels keep nothing for the way back inside `vmap`, so that packs on a GPU are without them."""
    assert packed_model.attention_forms(torch.device("cuda")) == [SDPBackend.MATH]
    configuration = Configuration({**with_lora, "lora_dropout": 0.0})
    scores, losses = [], []
    for device in ("cpu", "cuda"):
        forms = packed_model.attention_forms(torch.device(device))
        monkeypatch.setattr(packed_model, "attention_forms", lambda _, forms=forms: forms)
        pack = PackedFineTuning(bench, [configuration] * 2, seed=3)
        pack.train_epoch()
        losses.append(pack.members[1].records[0].train_loss)
        scores.append(pack.members[1].records[0].score)
        monkeypatch.undo()
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert scores[0] == pytest.approx(scores[1], abs=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("adapter", EXTENDED_ADAPTERS)
def test_every_adapter_learns_in_packs_on_a_gpu(discs, protocol, adapter):
    bench = Workbench.prepare(discs(2), protocol, load_backbone(device="cuda"), seed=0)
    first, *_ = search_space("extended").sample(1, seed=0, where={"adapter": adapter})
    pack = PackedFineTuning(bench, [first, Configuration({**first, "lr": 1e-5})], seed=0)
    pack.train_epoch()
    assert all(member.records and not member.diverged for member in pack.members)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_pack_is_measured_first(discs, protocol, decoder_only):
    bench = Workbench.prepare(discs(2), protocol, load_backbone(device="cuda"), seed=0)
    assert 2 <= members_that_fit(bench, [decoder_only] * 3, seed=0) <= 3
