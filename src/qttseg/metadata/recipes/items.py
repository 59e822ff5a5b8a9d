"""One pair of a source, converted: the image's bytes as they are, the mask in class ids."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.folders import describe_mismatch
from qttseg.metadata.formats.items import at_size
from qttseg.metadata.formats.writing import FolderWriter
from qttseg.metadata.images import read_header, read_image, turned
from qttseg.metadata.recipes.masks import decode
from qttseg.metadata.recipes.pairing import Files, Pair
from qttseg.metadata.recipes.recipe import MaskCode


@dataclass(frozen=True, kw_only=True)
class Item:
    """What was found in a pair; one with a fault was not written.

    Attributes:
        kind: What is wrong.
        fault: The same in words.
        size: Height and width of the image; None where it is unreadable.
        digest: Of the image's pixels.
        pixels: Pixels of each class id.
        strays: Mask values outside the code, in words → pixels.
    """

    kind: Literal["sound", "unreadable", "mismatch"] = "sound"
    fault: str = ""
    size: tuple[int, int] | None = None
    digest: str = ""
    pixels: Counter[int] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        """Whether the pair was written."""
        return self.kind == "sound"


def convert(name: str, pair: Pair, files: Files, code: MaskCode, writer: FolderWriter) -> Item:
    """Write a pair as the item `name` and return what was in it.

    Raises:
        OSError: the disk is full or refuses.
    """
    source = files[pair.image]
    try:
        image = read_image(source)
        size = (image.shape[0], image.shape[1])
        mask = decode([files[path] for path in pair.masks], code, size=size, parts=pair.parts)
    except DatasetError as error:
        return Item(kind="unreadable", fault=str(error))
    ids = _turned(mask.ids, size, source)
    if code.scaled:
        with suppress(DatasetError):  # one of another shape is named as a mismatch
            ids = at_size(source, size, ids)
    if ids.shape != size:
        return Item(
            kind="mismatch", fault=f"{pair.image}: {describe_mismatch(size, (ids.shape[0], ids.shape[1]))}", size=size
        )
    writer.write(name, source.read_bytes(), source.suffix.lower(), ids)
    counts = np.bincount(ids.ravel())
    return Item(
        size=size,
        digest=sha256(repr(size).encode() + image.tobytes()).hexdigest(),
        pixels=Counter({int(label): int(counts[label]) for label in np.flatnonzero(counts)}),
        strays=mask.strays,
    )


def _turned(ids: NDArray[np.uint8], size: tuple[int, int], source: Path) -> NDArray[np.uint8]:
    """Turn a mask that was drawn on the photo as stored, where its EXIF says to show it lying on its side."""
    if ids.shape == size or ids.shape != size[::-1]:
        return ids
    return turned(ids, read_header(source)[1])
