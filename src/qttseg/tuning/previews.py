"""Pictures that let a person judge a model: image, truth and prediction side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from qttseg.metadata.datasets import Sample
from qttseg.metadata.overlays import painted

_SIDE = 320
_STRIP = 16


def side_by_side(sample: Sample, predicted: NDArray[np.uint8], score: float) -> Image.Image:
    """Return the image, its true mask and the predicted label map in a row, each named above.

    Args:
        sample: The image, h × w × 3, and its mask, h × w.
        predicted: Class ids, h × w.
        score: The prediction's score in [0, 1].
    """
    panels = {
        "image": sample.image,
        "truth": painted(sample.image, sample.mask),
        f"prediction ({score:.2f})": painted(sample.image, predicted),
    }
    height, width = sample.mask.shape
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    row = Image.new("RGB", (size[0] * len(panels), size[1] + _STRIP), "white")
    draw = ImageDraw.Draw(row)
    for place, (title, pixels) in enumerate(panels.items()):
        row.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), (place * size[0], _STRIP))
        draw.text((place * size[0] + 4, 2), title, fill="black")
    return row
