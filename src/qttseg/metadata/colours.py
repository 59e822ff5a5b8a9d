"""Colours and class ids: those that ids are shown in, and the ids that the colours of a mask stand for."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qttseg.metadata.datasets import IGNORE

_GOLDEN_RATIO = 0.618034
_BLOCK = 4096


@cache
def palette() -> NDArray[np.float32]:
    """Return the colour (256 × 3, 0 to 255) of each class id: black for the background, grey for ignored pixels."""
    return np.array([(0, 0, 0), *(_colour(class_id) for class_id in range(1, 256))], np.float32)


def _colour(class_id: int) -> tuple[float, float, float]:
    """Return a colour far from those of the neighbouring classes."""
    if class_id == IGNORE:
        return (128.0, 128.0, 128.0)
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1, 0.9, 1.0)
    return (red * 255, green * 255, blue * 255)


def packed(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return red, green and blue (the last axis) as one number, 65536 red + 256 green + blue."""
    wide = pixels.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def unpacked(numbers: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the colours `... x 3` of packed numbers."""
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)


def nearest_ids(
    pixels: NDArray[np.uint8], colours: NDArray[np.uint8], ids: NDArray[np.uint8], *, distance: float
) -> tuple[NDArray[np.uint8], dict[int, int]]:
    """Return the class ids of a mask in colours, and the colours that are too far from all (packed → pixels).

    Args:
        pixels: `height x width x 3`.
        colours: `n x 3`; several may be one class.
        ids: The class id of each.
        distance: Furthest Euclidean distance at which a colour counts as its nearest; beyond it pixels are ignored.
    """
    found, places, counts = np.unique(packed(pixels), return_inverse=True, return_counts=True)
    labels = np.full(len(found), IGNORE, np.uint8)
    far = np.ones(len(found), bool)
    for start in range(0, len(found), _BLOCK):  # soft edges make thousands of colours
        part = unpacked(found[start : start + _BLOCK]).astype(np.int32)
        squares = ((part[:, None] - colours[None].astype(np.int32)) ** 2).sum(axis=2)
        near = squares.min(axis=1) <= distance**2
        labels[start : start + _BLOCK][near] = ids[squares.argmin(axis=1)[near]]
        far[start : start + _BLOCK] = ~near
    strange = {int(found[index]): int(counts[index]) for index in np.flatnonzero(far)}
    return labels[places].reshape(pixels.shape[:2]), strange
