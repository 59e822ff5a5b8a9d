from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.meta_features import measure
from qttseg.metadata.procedural.suite import NAMES, SUITES
from qttseg.metadata.suites import resolve_suite


def test_the_suite_has_the_papers_thirteen() -> None:
    tasks = [resolve_dataset(name).task for name in SUITES["procedural13"]]
    assert (tasks.count("binary"), tasks.count("multiclass")) == (8, 5)
    sample = [resolve_dataset(name).task for name in SUITES["procedural4"]]
    assert (sample.count("binary"), sample.count("multiclass")) == (3, 1)


@pytest.mark.parametrize("name", NAMES)
def test_items_are_images_with_masks_of_the_named_classes(name: str) -> None:
    dataset = resolve_dataset(name)
    assert len(dataset) == 200
    seen: set[int] = set()
    for index in (0, 57, 101, 148, 199):
        sample = dataset[index]
        height, width = sample.mask.shape
        assert sample.image.shape == (height, width, 3)
        assert sample.image.dtype == sample.mask.dtype == np.uint8
        assert min(height, width) >= 150
        assert max(height, width) <= 256
        assert sample.image.std() > 10
        assert 0.002 < (sample.mask > 0).mean() < 0.99
        seen |= set(np.unique(sample.mask).tolist())
    assert seen <= set(range(len(dataset.classes)))
    assert len(seen) >= len(dataset.classes) - 1


@pytest.mark.parametrize("name", NAMES)
def test_an_index_always_gives_the_same_pixels_and_no_other_does(name: str) -> None:
    first, again, other = resolve_dataset(name)[7], resolve_dataset(name)[7], resolve_dataset(name)[8]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


def test_images_of_one_group_look_more_alike_than_others() -> None:
    dataset = resolve_dataset("procedural-cholec")
    assert dataset.groups is not None
    colours = np.array([dataset[index].image.mean(axis=(0, 1)) for index in range(48)])
    groups = np.array(
        [
            colours[[dataset.groups[i] == group for i in range(48)]].mean(0)
            for group in dict.fromkeys(dataset.groups[:48])
        ]
    )
    within = np.mean([colours[12 * number : 12 * number + 12].std(0).mean() for number in range(4)])
    assert groups.std(axis=0).mean() > 1.3 * within


def test_domains_differ_where_hyperparameters_care() -> None:
    features = {name: measure(resolve_dataset(name), range(6)) for name in SUITES["procedural13"]}

    assert features["procedural-eyes"].thickness < features["procedural-lesion"].thickness / 4
    assert features["procedural-covid"].contrast < features["procedural-lesion"].contrast / 3
    assert features["procedural-fiber"].components > features["procedural-polyp"].components + 2
    assert features["procedural-chest"].layout > 2 * features["procedural-leaf"].layout
    assert features["procedural-fiber"].spectral_slope > features["procedural-eyes"].spectral_slope + 0.5
    grey = {name for name in features if features[name].channels == 1}
    assert grey == {f"procedural-{name}" for name in ("covid", "fiber", "cardiac", "chest", "US")}


def enclosed(inner: NDArray[np.bool_], outer: NDArray[np.bool_]) -> float:
    """Return the share of the pixels around `inner` that are `outer`."""
    ring = ndimage.binary_dilation(inner, iterations=3) & ~inner
    return float(outer[ring].mean())


def test_in_faces_small_parts_lie_within_the_skin() -> None:
    dataset = resolve_dataset("procedural-faces")
    assert dataset.classes == ("background", "skin", "hair", "eyes", "nose", "mouth")
    for index in range(0, 200, 40):
        mask = dataset[index].mask
        assert set(np.unique(mask)) == {0, 1, 2, 3, 4, 5}
        for part in (3, 4, 5):
            assert enclosed(mask == part, mask == 1) > 0.6
        assert ndimage.label(mask == 3)[1] in (1, 2)


def test_a_nose_has_the_colour_of_the_skin_around_it() -> None:
    dataset = resolve_dataset("procedural-faces")
    gaps: dict[int, list[float]] = {4: [], 3: []}
    for index in range(0, 200, 20):
        sample = dataset[index]
        skin = sample.image[sample.mask == 1].mean(0)
        for part, found in gaps.items():
            found.append(np.abs(sample.image[sample.mask == part].mean(0) - skin).mean())
    assert np.mean(gaps[4]) < np.mean(gaps[3])


@pytest.mark.parametrize(("name", "most"), [("procedural-banners", 0.35), ("procedural-plates", 0.05)])
def test_there_is_one_sign_and_its_letters_belong_to_it(name: str, most: float) -> None:
    for index in range(0, 200, 40):
        sample = resolve_dataset(name)[index]
        target = sample.mask == 1
        assert 0.003 < target.mean() < most
        assert sample.image[target].std(axis=0).mean() > 15  # ink on cloth, both within the object
        body = ndimage.binary_closing(target, iterations=4)
        assert ndimage.binary_fill_holes(body).sum() < 1.3 * target.sum()  # no letters cut out


def test_fingerprints_tell_datasets_apart_and_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QTTSEG_CACHE", str(tmp_path))
    fiber = resolve_dataset("procedural-fiber")
    first = fiber.fingerprint
    assert first != resolve_dataset("procedural-eyes").fingerprint
    monkeypatch.setattr(type(fiber.source), "load", lambda *_: pytest.fail("it was drawn again"))
    assert resolve_dataset("procedural-fiber").fingerprint == first


def test_every_name_of_every_suite_resolves() -> None:
    for suite, names in SUITES.items():
        assert resolve_suite(suite) == names
