from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from qttseg.metadata.looks import SAME_LOOK, Looks, differing_bits, found_in, is_flat, look, near_pairs


def picture(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (6, 6, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.array(Image.open(file))


CHANGES = {
    "recompressed": as_jpeg,
    "smaller": lambda image: np.array(Image.fromarray(image).resize((100, 80))),
    "stretched": lambda image: np.array(Image.fromarray(image).resize((256, 256))),
    "grey": lambda image: np.array(Image.fromarray(image).convert("L").convert("RGB")),
    "darker": lambda image: (image // 2).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_looks_the_same_and_another_image_does_not(change: str) -> None:
    images = [picture(seed) for seed in range(6)]
    originals = np.stack([look(image) for image in images])
    copies = np.stack([look(CHANGES[change](image)) for image in images])
    bits = differing_bits(originals, copies)
    assert (np.diag(bits) <= SAME_LOOK).all()
    assert (bits[~np.eye(6, dtype=bool)] > 4 * SAME_LOOK).all()


def test_images_of_one_colour_look_like_nothing() -> None:
    flat = np.stack([look(np.full((40, 30, 3), value, np.uint8)) for value in (0, 7, 255)])
    assert is_flat(flat).all()
    assert list(near_pairs(flat)) == []
    assert not found_in(flat, flat).any()


def looks_near(seed: int, count: int) -> Looks:
    """Looks of which some are a few bits apart, and some flat."""
    generator = np.random.default_rng(seed)
    looks = generator.integers(0, 2**63, (max(1, count // 3), 4)).astype(np.uint64)[
        generator.integers(0, max(1, count // 3), count)
    ]
    for _ in range(20):
        looks ^= (generator.random((count, 4)) < 0.3).astype(np.uint64) << generator.integers(0, 64, (count, 4)).astype(
            np.uint64
        )
    looks[generator.random(count) < 0.1] = 0
    return looks


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_pairs_are_those_that_comparing_each_with_each_finds(seed: int, count: int) -> None:
    looks = looks_near(seed, count)
    expected = set()
    for first in range(count):
        for second in range(first + 1, count):
            bits = sum((int(a) ^ int(b)).bit_count() for a, b in zip(looks[first], looks[second], strict=True))
            if bits <= SAME_LOOK and looks[first].any() and looks[second].any():
                expected.add((first, second, bits))
    assert set(near_pairs(looks)) == expected
    half = count // 2
    found = {first for first, second, _ in expected if first < half <= second}
    assert set(np.flatnonzero(found_in(looks[:half], looks[half:])).tolist()) == found


def test_pairs_in_different_blocks_are_found() -> None:
    looks = np.random.default_rng(0).integers(0, 2**63, (1500, 4)).astype(np.uint64)
    looks[1400], looks[700] = looks[3], looks[600] ^ np.uint64(1)
    assert set(near_pairs(looks)) == {(3, 1400, 0), (600, 700, 4)}
