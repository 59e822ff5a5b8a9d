"""Facts about one image/mask pair, found in one look at its pixels: what reports, fingerprints and twins are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Task
from qttseg.metadata.images import read_image, read_mask
from qttseg.metadata.looks import look

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known about one pair; the mask's values are those in the file, whatever they stand for.

    Attributes:
        image_size: Height and width of the image in pixels; None where it cannot be read.
        mask_size: The same of the mask.
        pixels: Number of pixels of each value that occurs in the mask.
        components: Number of connected areas of each value but 0, corners connecting.
        digest: SHA-256 of the shape and the pixels of both; empty where a file cannot be read.
        binary_digest: The same where 255 in the mask stands for 1.
        look: Bytes of the image's look (`looks.look`).
        image_problem: Why the image cannot be read; empty where it can.
        mask_problem: The same of the mask.
    """

    image_size: Size | None = None
    mask_size: Size | None = None
    pixels: Mapping[int, int] = field(default_factory=dict)
    components: Mapping[int, int] = field(default_factory=dict)
    digest: str = ""
    binary_digest: str = ""
    look: bytes = bytes(32)
    image_problem: str = ""
    mask_problem: str = ""

    @property
    def readable(self) -> bool:
        """Whether both files can be read."""
        return not (self.image_problem or self.mask_problem)

    def as_task(self, task: Task) -> Facts:
        """Return the facts as class ids stand in the masks of such a dataset: in binary ones 255 is foreground, as is 1."""
        if task != "binary" or IGNORE not in self.pixels:
            return self
        merged = (_as_one(self.pixels), _as_one(self.components))
        return replace(self, pixels=merged[0], components=merged[1], digest=self.binary_digest)

    @property
    def foreground(self) -> int:
        """Number of pixels that are neither background nor to be ignored."""
        return sum(count for value, count in self.pixels.items() if value not in (0, IGNORE))

    def unknown_ids(self, classes: int) -> list[int]:
        """Return the values that are neither one of `classes` ids nor 255."""
        return [value for value in self.pixels if value >= classes and value != IGNORE]


def _as_one(counts: Mapping[int, int]) -> Mapping[int, int]:
    """Return the counts of values with those of 255 added to those of 1."""
    rest = {value: count for value, count in counts.items() if value != IGNORE}
    return rest | {1: counts.get(1, 0) + counts.get(IGNORE, 0)}


def facts_of_files(image_file: Path, mask_file: Path) -> Facts:
    """Return the facts about a pair of files; what cannot be read is a fact too."""
    image, image_problem = _try(read_image, image_file)
    mask, mask_problem = _try(read_mask, mask_file)
    if image is not None and mask is not None:
        return facts_of(image, mask)
    return Facts(
        image_size=_size(image),
        mask_size=_size(mask),
        pixels=_counts(mask) if mask is not None else {},
        image_problem=image_problem,
        mask_problem=mask_problem,
    )


def facts_of(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Facts:
    """Return the facts about an image `height x width x 3` and a mask."""
    pixels = _counts(mask)
    digest, binary_digest = _digests(image, mask, has_255=IGNORE in pixels)
    return Facts(
        image_size=_size(image),
        mask_size=_size(mask),
        pixels=pixels,
        components=_components(mask, pixels),
        digest=digest,
        binary_digest=binary_digest,
        look=look(image).tobytes(),
    )


def fingerprint_of(facts: Iterable[Facts]) -> str:
    """Return sixteen hexadecimal digits of the pixels of all pairs, whatever their order, names and file formats."""
    return hashlib.sha256("".join(sorted(found.digest for found in facts)).encode()).hexdigest()[:16]


def _try(read: Callable[[Path], NDArray[np.uint8]], file: Path) -> tuple[NDArray[np.uint8] | None, str]:
    try:
        return read(file), ""
    except DatasetError as error:
        return None, str(error)


def _size(pixels: NDArray[np.uint8] | None) -> Size | None:
    return None if pixels is None else (pixels.shape[0], pixels.shape[1])


def _counts(mask: NDArray[np.uint8]) -> dict[int, int]:
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _digests(image: NDArray[np.uint8], mask: NDArray[np.uint8], *, has_255: bool) -> tuple[str, str]:
    """Return the SHA-256 of shape, image and mask, and the same where 255 stands for 1."""
    pixels = hashlib.sha256(repr(image.shape).encode())
    pixels.update(image.tobytes())
    binary = pixels.copy()
    pixels.update(mask.tobytes())
    if not has_255:
        return pixels.hexdigest(), pixels.hexdigest()
    binary.update(np.where(mask == 255, np.uint8(1), mask).tobytes())
    return pixels.hexdigest(), binary.hexdigest()


def _components(mask: NDArray[np.uint8], values: Iterable[int]) -> dict[int, int]:
    boxes = ndimage.find_objects(mask)
    corners = np.ones((3, 3))
    return {v: int(ndimage.label(mask[boxes[v - 1]] == v, corners)[1]) for v in values if v}
