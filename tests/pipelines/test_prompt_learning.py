from dataclasses import dataclass

import numpy as np
import pytest
import torch

from qttseg.errors import BackboneError, ConfigurationError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines.adapters import adapt, trainable_tensors
from qttseg.pipelines.backbones import fingerprint_of
from qttseg.pipelines.fine_tuning import FineTuning, trained_segmenter
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.models import load_model, save_model
from qttseg.pipelines.prompt_learning import FewKeys, FewQueries, LearnerParts, PromptLearner
from qttseg.pipelines.workbench import Workbench

BOXES = torch.tensor([[10.0, 20, 60, 50], [0, 0, 64, 64]])
POINT = torch.tensor([[[10.5, 20.5]], [[33.0, 7.0]]])
CLASSES = torch.tensor([1, 2])
POINTS = torch.tensor([[[10.5, 20.5], [12.0, 60.0], [1.0, 2.0]], [[33.0, 7.0], [5.0, 5.0], [40.0, 8.0]]])


@pytest.fixture
def tokens_alone(decoder_only):
    """Only prompts are learnt, as in the paper."""
    plain = {name: value for name, value in decoder_only.items() if name != "lora"}
    return Configuration({**plain, "adapter": "plm", "plm_depth": 1})


@pytest.fixture(params=[(0, 0, 0), (1, 0, 0), (5, 1, 0), (5, 1, 1)], ids=["tokens", "dense", "class", "comparing"])
def learner(tokens_alone, request):
    dense, told, compare = request.param
    return Configuration({**tokens_alone, "plm_dense": dense, "plm_class": told, "plm_compare": compare})


@pytest.fixture
def bench(discs, small_vit):
    protocol = Protocol(images=6, validation_share=0.34, test_images=1, epochs=3, prompt="point")
    return Workbench.prepare(discs(3), protocol, small_vit.remembering(), seed=0)


def same(one, other):
    return torch.equal(one.logits, other.logits) and torch.equal(one.guess, other.guess)


def test_it_has_the_papers_size_at_sams_width_and_grows_with_depth():
    sizes = [
        sum(tensor.numel() for tensor in PromptLearner(256, LearnerParts(depth=depth)).parameters()) for depth in (1, 2)
    ]
    assert 1.5e6 < sizes[0] < 1.75e6
    assert 1.9 < sizes[1] / sizes[0] < 2.0


def as_torchs(ours):
    """Return torch's own attention with the same weights; its bias of keys changes nothing."""
    theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.randn(32), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


def test_few_queries_attend_as_ordinary_attention_does():
    torch.manual_seed(0)
    ours = FewQueries(32, 4)
    queries, keys, values = torch.randn(2, 3, 32), torch.randn(2, 50, 32), torch.randn(2, 50, 32)
    found = ours(queries, keys.transpose(1, 2), values.transpose(1, 2))
    torch.testing.assert_close(found, as_torchs(ours)(queries, keys, values)[0], rtol=1e-4, atol=1e-5)


def test_many_queries_attend_to_few_keys_as_ordinary_attention_does():
    torch.manual_seed(0)
    ours = FewKeys(32, 4)
    queries, keys = torch.randn(2, 50, 32), torch.randn(2, 3, 32)
    found = ours(queries.transpose(1, 2), keys)
    torch.testing.assert_close(found, as_torchs(ours)(queries, keys, keys)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "own"),
    [
        ("offset", {"plm_dense": 1}),
        ("dense.mlp.2", {"plm_dense": 1}),
        ("dense.mlp.3", {"plm_dense": 5, "plm_class": 1}),
        ("dense.mlp.2", {"plm_dense": 1, "plm_compare": 1}),
    ],
    ids=["tokens", "dense", "class", "comparing"],
)
@pytest.mark.parametrize("prompts", [BOXES, POINT, POINTS], ids=["boxes", "a point", "points"])
@pytest.mark.parametrize("name", ["sam-nano", "small vit"])
def test_untrained_it_changes_nothing_and_trained_something(name, prompts, part, own, tokens_alone, small_vit):
    backbone = load_backbone() if name == "sam-nano" else small_vit
    adapted = adapt(backbone, Configuration({**tokens_alone, "plm_depth": 2, **own}), seed=0)
    grid = backbone.resolution // 8
    embeddings = torch.randn(2, backbone.width, grid, grid, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = backbone.decode(embeddings, prompts)
        assert same(adapted.decode(embeddings, prompts, CLASSES), before)
        torch.nn.init.normal_(adapted.sam.prompt_learner.get_submodule(part).weight)
        moved = adapted.decode(embeddings, prompts, CLASSES)
        assert not same(moved, before)
        for index in range(2):
            which = slice(index, index + 1)
            alone = adapted.decode(embeddings[which], prompts[which], CLASSES[which])
            torch.testing.assert_close(alone.logits[0], moved.logits[index], rtol=1e-3, atol=1e-3)


def test_it_alone_is_trained_and_can_be_taken_off(bench, learner):
    training = FineTuning(bench, learner, seed=0)
    assert all(name.startswith("prompt_learner.") for name in trainable_tensors(training.segmenter().backbone))
    before = training.state().tensors
    training.train_epoch()
    training.train_epoch()  # in the first step, only the last layer has a gradient
    after = training.state().tensors
    unmoved = [name for name in before if name.startswith("model.") and torch.equal(before[name], after[name])]
    assert not unmoved
    sam = training.segmenter().backbone.sam
    del sam.prompt_learner
    assert (
        fingerprint_of(sam.state_dict())
        == bench.backbone.fingerprint
        == fingerprint_of(bench.backbone.sam.state_dict())
    )


@dataclass(frozen=True)
class Eyes:
    """Bright discs with a dark one inside: a point may mean either. Images take turns in what is masked, each its class."""

    radii: tuple[int, ...]

    def load(self, index):
        generator = np.random.default_rng(index)
        image = generator.integers(60, 120, (96, 96, 3)).astype(np.uint8)
        y, x = np.mgrid[:96, :96]
        away = np.hypot(*(axis - middle for axis, middle in zip((y, x), generator.uniform(30, 66, 2), strict=True)))
        image[away < 24] += 100
        image[away < 12] //= 4
        turn = index % len(self.radii)
        return Sample(image=image, mask=np.uint8(turn + 1) * (away < self.radii[turn]), name=f"eye{index}")


def eyes(*radii, epochs=4):
    names = tuple(f"eye{index}" for index in range(20))
    classes = ("background", *(f"of {radius}" for radius in radii))
    task = "binary" if len(radii) == 1 else "multiclass"
    dataset = Dataset(name="eyes", task=task, classes=classes, names=names, source=Eyes(radii))
    protocol = Protocol(images=16, validation_share=0.5, test_images=1, epochs=epochs, batch_size=2, prompt="point")
    return Workbench.prepare(dataset, protocol, load_backbone().remembering(), seed=0)


@pytest.mark.parametrize("radius", [12, 24], ids=["the part", "the whole"])
def test_a_point_comes_to_mean_what_the_masks_say(learner, radius):
    bench = eyes(radius)
    training = FineTuning(bench, Configuration({**learner, "horizontal_flip": 0}), seed=0)
    records = [training.train_epoch() for _ in range(4)]
    assert records[-1].train_loss < records[0].train_loss
    assert records[-1].score > bench.validate(bench.backbone) + 0.1


def test_told_the_class_the_same_point_means_the_part_or_the_whole(tokens_alone):
    bench = eyes(12, 24, epochs=12)
    configuration = Configuration({**tokens_alone, "lr": 3e-3, "horizontal_flip": 0, "plm_dense": 5, "plm_class": 1})
    training = FineTuning(bench, configuration, seed=0)
    for _ in range(12):
        training.train_epoch()
    areas = []
    for index in bench.split.validation:
        sample = bench.dataset[index]
        rows, columns = np.nonzero(sample.mask)
        middle = ((float(columns.mean()) + 0.5, float(rows.mean()) + 0.5),)
        areas.append([(training.segmenter().segment(sample.image, {label: middle}) > 0).sum() for label in (1, 2)])
    part, whole = np.median(areas, axis=0)
    assert 2 * part < whole


def test_who_was_taught_with_classes_wants_to_be_told_them(tokens_alone, small_vit):
    adapted = adapt(small_vit, Configuration({**tokens_alone, "plm_class": 1}), seed=0)
    with pytest.raises(BackboneError, match="decode with `classes`"):
        adapted.decode(torch.zeros(2, small_vit.width, 8, 8), POINT)


@pytest.mark.parametrize("prompts", [POINT, POINTS, BOXES], ids=["a point", "points", "boxes"])
def test_cells_are_compared_with_those_that_the_prompt_points_at(tokens_alone, small_vit, prompts):
    adapted = adapt(small_vit, Configuration({**tokens_alone, "plm_dense": 1, "plm_compare": 1}), seed=0)
    embeddings = torch.randn(2, small_vit.width, 8, 8, generator=torch.Generator().manual_seed(0))
    cells = {
        1: [[(2, 1)], [(0, 4)]],
        3: [[(2, 1), (7, 1), (0, 0)], [(0, 4), (0, 0), (1, 5)]],
        4: [[(4, 4)], [(4, 4)]],
    }[prompts.shape[1]]
    assert small_vit.resolution == 8 * 8
    likeness = adapted.sam.prompt_learner.dense.likeness
    shown = []
    for module in (likeness.norm, likeness):  # what is compared comes first, then how alike the cells are
        module.register_forward_hook(lambda _, inputs, out: shown.append((inputs[0], out)))
    adapted.decode(embeddings, prompts)
    (meant, _), (image, found) = shown
    meant = meant[:, 0]
    expected = [
        torch.stack([own[:, row, column] for row, column in at]).mean(0)
        for own, at in zip(embeddings, cells, strict=True)
    ]
    torch.testing.assert_close(meant, torch.stack(expected))
    asked = likeness.query(likeness.norm(meant)).unflatten(1, (likeness.heads, -1))
    own = likeness.key(image.transpose(1, 2)).unflatten(2, (likeness.heads, -1))
    scores = torch.einsum("phd,pmhd->pmh", asked, own) / asked.shape[2] ** 0.5
    torch.testing.assert_close(found, likeness.out(scores), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"plm_dense": 4}, {"plm_dense": -1}, {"plm_depth": 0}, {"plm_compare": 1}])
def test_parts_that_make_no_sense_are_refused_by_name(tokens_alone, small_vit, wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        adapt(small_vit, Configuration({**tokens_alone, **wrong}), seed=0)


def test_its_embeddings_are_kept_as_the_decoders_are(bench, learner, monkeypatch):
    encoded = []
    encode = type(bench.backbone).encode

    def counting(self, images):
        encoded.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(type(bench.backbone), "encode", counting)
    training = FineTuning(bench, Configuration({**learner, "horizontal_flip": 0}), seed=0)
    for _ in range(3):
        training.train_epoch()
    assert sum(encoded) == len(bench.split.train) + len(bench.split.validation)


@pytest.mark.parametrize("adapter", ["plm", "plm+pmm", "lora+plm"])
def test_a_saved_learner_is_small_and_predicts_the_same(bench, learner, adapter, tmp_path):
    more = {"plm+pmm": {"pmm_weight": 0.1, "pmm_points": 16}, "lora+plm": {"lora_rank": 2, "lora_dropout": 0.0}}
    configuration = Configuration({**learner, "adapter": adapter, "plm_depth": 2, **more.get(adapter, {})})
    training = FineTuning(bench, configuration, seed=0)
    training.train_epoch()
    training.train_epoch()
    segmenter = trained_segmenter(bench.backbone, configuration, training.state(), seed=0)
    save_model(tmp_path, segmenter, classes=bench.dataset.classes, prompt="point")
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"model.json", "prompt_learner.safetensors"} | (
        {"decoder.safetensors", "adapter"} if adapter == "lora+plm" else set()
    )
    loaded = load_model(tmp_path)
    assert loaded.prompt == "point"
    images = bench.backbone.normalise(bench.images[:2])
    with torch.no_grad():
        for model, equal in ((training.segmenter().backbone, True), (bench.backbone, False)):
            expected = model.decode(model.encode(images), POINT, CLASSES)
            found = loaded.segmenter.backbone.decode(loaded.segmenter.backbone.encode(images), POINT, CLASSES)
            assert same(expected, found) == equal


def test_a_thawed_learner_goes_on_bit_for_bit(bench, learner):
    configuration = Configuration({**learner, "adapter": "plm+pmm", "pmm_weight": 0.1, "pmm_points": 16})
    unbroken = FineTuning(bench, configuration, seed=7)
    expected = [(record.score, record.train_loss) for record in (unbroken.train_epoch() for _ in range(3))]
    training = FineTuning(bench, configuration, seed=7)
    training.train_epoch()
    thawed = FineTuning(bench, configuration, seed=7)
    thawed.restore(training.state())
    assert [(record.score, record.train_loss) for record in (thawed.train_epoch(), thawed.train_epoch())] == expected[
        1:
    ]
