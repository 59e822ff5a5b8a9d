"""AutoGluon's fitted model as a segmenter: its process goes on, and predicts when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from qttseg.benchmark.autogluon.pictures import Window, paint, windows, write_picture
from qttseg.benchmark.foreign.companion import Companion
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qttseg.pipelines.prompts import Prompt

_PATIENCE = 1800.0
"""Most seconds for predictions; scoring is nobody's time."""


class AutoGluonSegmenter:
    """Asks the process that fitted, as a saved predictor of another size than SAM's own cannot be loaded again.

    Args:
        companion: The process.
        folder: The process's own, where files are exchanged.
        crop: Whether the model is shown the prompt boxes, or whole images and no boxes.
    """

    def __init__(self, companion: Companion, folder: Path, *, crop: bool) -> None:
        self._companion, self._folder, self._crop = companion, folder, crop

    def segment_all(
        self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Mapping[int, Prompt]]
    ) -> list[NDArray[np.uint8]]:
        """Return the label map of each image; classes without a prompt are not in it."""
        with TemporaryDirectory(dir=self._folder) as folder:
            wanted = [
                [window for window in windows(image.shape, own, crop=self._crop) if window.classes]
                for image, own in zip(images, prompts, strict=True)
            ]
            paths = [
                write_picture(Path(folder) / f"{index}-{place}.bmp", image, window)
                for index, (image, own) in enumerate(zip(images, wanted, strict=True))
                for place, window in enumerate(own)
            ]
            found = iter(self._predicted(paths, Path(folder)))
            return [
                paint(image.shape, [(window, _fitting(next(found), window)) for window in own])
                for image, own in zip(images, wanted, strict=True)
            ]

    def _predicted(self, paths: Sequence[str], folder: Path) -> list[NDArray[np.uint8]]:
        if not paths:
            return []
        from PIL import Image

        request = {"do": "predict", "images": paths, "folder": str(folder)}
        masks = self._companion.ask(request, seconds=_PATIENCE).get("masks")
        if not isinstance(masks, list) or len(masks) != len(paths):
            raise BenchmarkError(f"AutoGluon was given {len(paths)} images and did not answer with a mask for each")
        return [np.asarray(Image.open(mask), np.uint8) for mask in masks]


def _fitting(labels: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    size = (window.rows.stop - window.rows.start, window.columns.stop - window.columns.start)
    if labels.shape != size:
        raise BenchmarkError(f"AutoGluon answered with a mask of {labels.shape} pixels for an image of {size}")
    return labels
