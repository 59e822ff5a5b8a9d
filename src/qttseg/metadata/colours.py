"""The colours that class ids are shown in."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qttseg.metadata.datasets import IGNORE

_GOLDEN_RATIO = 0.618034


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
