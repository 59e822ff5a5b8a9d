"""Masks painted over their images, one by one and many on a sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from qttseg.metadata.colours import palette
from qttseg.metadata.datasets import Sample

_OPACITY = 0.55
_SIDE = 240
_GAP = 8
_STRIP = 16


def contact_sheet(samples: Sequence[Sample], *, columns: int = 6) -> Image.Image:
    """Return a sheet of overlays with their names, `columns` in a row."""
    columns = min(columns, max(1, len(samples)))
    rows = -(-len(samples) // columns)
    width, height = _SIDE + _GAP, _SIDE + _STRIP + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, sample in enumerate(samples):
        left, top = _GAP + place % columns * width, _GAP + place // columns * height
        sheet.paste(overlay(sample, side=_SIDE), (left, top))
        name = sample.name if len(sample.name) <= 36 else f"{sample.name[:16]} ... {sample.name[-15:]}"
        # Pillow's own font knows no more than Latin letters.
        draw.text((left, top + _SIDE + 2), name.encode("latin-1", "replace").decode("latin-1"), fill="black")
    return sheet


def overlay(sample: Sample, *, side: int) -> Image.Image:
    """Return a sample's image with its mask painted on, within `side` pixels each way."""
    height, width = sample.mask.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BILINEAR)
    mask = Image.fromarray(sample.mask).resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(painted(np.asarray(image), np.asarray(mask)))


def painted(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `image` (h × w × 3) with a colour for each class over it; ignored pixels are grey."""
    covered = (labels > 0)[..., None] * _OPACITY
    return np.asarray(image * (1 - covered) + palette()[labels] * covered, np.uint8)
