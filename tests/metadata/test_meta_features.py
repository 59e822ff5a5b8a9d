from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from qttseg.errors import ConfigurationError, DatasetError
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.meta_features import MetaFeatures, measure


@dataclass(frozen=True)
class Given:
    samples: tuple[Sample, ...]

    def load(self, index: int) -> Sample:
        return self.samples[index]


def features(image: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int = 2) -> MetaFeatures:
    sample = Sample(image=image, mask=mask, name="one")
    data = Dataset(
        name="d",
        task="binary" if classes == 2 else "multiclass",
        classes=tuple(f"class{index}" for index in range(classes)),
        names=("one",),
        source=Given((sample,)),
    )
    return measure(data, [0])


def scene(
    shape: tuple[int, int], drawn: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
) -> MetaFeatures:
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = drawn(y, x).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 30, shape)
    image = np.repeat((noise + 120 * mask)[:, :, None], 3, axis=2).astype(np.uint8)
    return features(image, mask)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_features_are_finite_for_any_image_and_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    values = data.draw(st.sampled_from([[0], [7], [0, 255], [255], [0, 1, 2, 255], [1], [2]]))
    mask = data.draw(arrays(np.uint8, (height, width), elements=st.sampled_from(values)))
    if data.draw(st.booleans()):
        image = np.full((height, width, 3), data.draw(st.integers(0, 255)), np.uint8)
    else:
        image = data.draw(arrays(np.uint8, (height, width, 3)))
    found = features(image, mask, classes=9).to_dict()
    assert all(np.isfinite(value) for value in found.values())
    assert all(
        0 <= found[name] <= 1 for name in ("foreground_share", "box_fill", "saturation", "layout", "layout_upright")
    )


def test_a_disc_measures_like_a_disc() -> None:
    disc = scene((100, 120), lambda y, x: (y - 50) ** 2 + (x - 60) ** 2 < 30**2)
    assert disc.channels == 1
    assert (disc.height, disc.width) == (100, 120)
    assert disc.box_fill == pytest.approx(np.pi / 4, abs=0.03)
    assert disc.boundary == pytest.approx(2 * np.sqrt(np.pi), rel=0.05)
    assert disc.thickness == pytest.approx(0.1, abs=0.01)
    assert disc.components == 0
    assert disc.contrast > 5
    assert disc.edge_strength > 2


def test_thin_lines_differ_from_discs_as_a_predictor_needs() -> None:
    disc = scene((100, 120), lambda y, x: (y - 50) ** 2 + (x - 60) ** 2 < 30**2)
    grid = scene((100, 120), lambda y, x: (y % 10 == 0) & (x >= 0))
    assert grid.thickness < disc.thickness / 5
    assert grid.boundary > 5 * disc.boundary
    assert grid.components == pytest.approx(np.log(10))


def test_large_images_are_measured_like_small_ones() -> None:
    small = scene((128, 128), lambda y, x: (y - 64) ** 2 + (x - 64) ** 2 < 40**2)
    large = scene((1024, 1024), lambda y, x: (y - 512) ** 2 + (x - 512) ** 2 < 320**2)
    for name in ("foreground_share", "box_fill", "thickness"):
        assert getattr(large, name) == pytest.approx(getattr(small, name), rel=0.03)
    assert large.height == 1024


def test_texture_tells_noise_from_smooth_images() -> None:
    rng, mask = np.random.default_rng(0), np.zeros((128, 128), np.uint8)
    noise = rng.integers(0, 255, (128, 128, 3)).astype(np.uint8)
    walk = np.cumsum(np.cumsum(rng.normal(size=(128, 128)), 0), 1)
    smooth = np.repeat(((walk - walk.min()) / np.ptp(walk) * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    assert features(noise, mask).spectral_slope == pytest.approx(0, abs=0.3)
    assert features(smooth, mask).spectral_slope < -1.5
    assert features(noise, mask).channels == 3


def test_ignored_pixels_are_neither_foreground_nor_background() -> None:
    image = np.random.default_rng(0).integers(100, 110, (32, 32, 3)).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :8] = 1
    image[:, 16:], mask[:, 16:] = 255, 255
    found = features(image, mask, classes=3)
    assert found.foreground_share == pytest.approx(0.25)
    assert found.contrast < 0.3
    assert found.classes_per_image == 1


def test_features_survive_a_dictionary_and_unknown_names_are_refused() -> None:
    found = scene((20, 20), lambda y, x: (y < 5) & (x >= 0))
    assert MetaFeatures.from_dict(found.to_dict()) == found
    with pytest.raises(ConfigurationError, match="brightness"):
        MetaFeatures.from_dict({**found.to_dict(), "brightness": 1.0})
    with pytest.raises(ConfigurationError, match="not finite: contrast"):
        MetaFeatures.from_dict({**found.to_dict(), "contrast": float("nan")})


def test_no_images_no_features() -> None:
    data = Dataset(name="d", task="binary", classes=("background", "thing"), names=(), source=Given(()))
    with pytest.raises(DatasetError, match="at least one"):
        measure(data, [])
