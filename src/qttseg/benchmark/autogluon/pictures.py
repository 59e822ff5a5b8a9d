"""Which pictures AutoGluon sees of an image, and how its masks of them become one label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qttseg.benchmark.methods.baselines import largest_first
from qttseg.errors import BenchmarkError
from qttseg.metadata.datasets import IGNORE, Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qttseg.metadata.protocol import Protocol
    from qttseg.pipelines.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of an image, and what is looked for there.

    Attributes:
        rows: Of the image.
        columns: Of the image.
        classes: Ids that count in this part.
    """

    rows: slice
    columns: slice
    classes: tuple[int, ...]


def windows(size: tuple[int, ...], prompts: Mapping[int, Prompt], *, crop: bool) -> list[Window]:
    """Return the whole image, or with `crop` the box of each class, in the order in which they are to be painted.

    Either way only classes that the prompts name count, as for every other method: where one class of several is looked
    for, only scores of images without any object depend on it.

    Raises:
        BenchmarkError: there are boxes to be cut out, but the prompts are points.
    """
    height, width = size[:2]
    if not crop:
        return [Window(rows=slice(0, height), columns=slice(0, width), classes=tuple(prompts))]
    from qttseg.pipelines.prompts import is_box

    boxes = {class_id: prompt for class_id, prompt in prompts.items() if is_box(prompt)}
    if len(boxes) < len(prompts):
        raise BenchmarkError("autogluon-boxes is shown what boxes cut out, and these prompts are points; leave it out")
    found = []
    for class_id, (x0, y0, x1, y1) in largest_first(boxes):
        left, top = min(floor(x0), width - 1), min(floor(y0), height - 1)
        rows, columns = slice(top, max(ceil(y1), top + 1)), slice(left, max(ceil(x1), left + 1))
        found.append(Window(rows=rows, columns=columns, classes=(class_id,)))
    return found


def paint(size: tuple[int, ...], parts: Sequence[tuple[Window, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Return the label map (h × w) that the label maps of windows make, later ones on top."""
    labels = np.zeros(size[:2], np.uint8)
    for window, found in parts:
        inside = np.isin(found, window.classes)
        labels[window.rows, window.columns][inside] = found[inside]
    return labels


def write_examples(
    folder: Path, dataset: Dataset, indices: Sequence[int], protocol: Protocol, *, seed: int, crop: bool
) -> list[tuple[str, str]]:
    """Write images and masks for AutoGluon to learn from and return their paths.

    Masks are 0/255 for one class, else class ids. AutoGluon cannot leave pixels out: ignored ones become background.
    """
    from PIL import Image

    from qttseg.pipelines.scoring import image_prompts

    paths = []
    for index in indices:
        sample = dataset[index]
        labels = np.where(sample.mask == IGNORE, 0, sample.mask).astype(np.uint8)
        if dataset.task == "binary":
            labels *= 255
        prompts = image_prompts(dataset, index, sample.mask, protocol, seed)
        for place, window in enumerate(windows(sample.mask.shape, prompts, crop=crop)):
            mask = folder / f"{index}-{place}-mask.png"
            image = write_picture(folder / f"{index}-{place}.bmp", sample.image, window)
            Image.fromarray(labels[window.rows, window.columns]).save(mask)
            paths.append((image, str(mask)))
    return paths


def write_picture(path: Path, image: NDArray[np.uint8], window: Window) -> str:
    """Write a part of an image, uncompressed to be quick."""
    from PIL import Image

    Image.fromarray(image[window.rows, window.columns]).save(path)
    return str(path)
