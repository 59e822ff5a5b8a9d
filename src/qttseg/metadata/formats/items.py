"""What every format reads into: items whose image and mask are not read yet, and a source of samples from them."""

from __future__ import annotations

import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset, Sample, Task
from qttseg.metadata.folders import describe_mismatch, unknown_ids
from qttseg.metadata.images import read_header, read_image
from qttseg.metadata.listing import IMAGE_SUFFIXES

MOST_CLASSES = 254
"""Foreground classes that an 8-bit mask can hold beside the background and the value to be ignored."""

_DEEPEST, _MOST_FILES = 12, 2_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One image with its mask.

    Attributes:
        name: Unique within the dataset, and fit to be a file's stem.
        origin: Where it came from, for messages.
        image: The image file, or what gives the bytes of one.
        mask: Gives class ids as uint8 `height x width`; 0 is background, 255 is to be ignored.
        group: What it must not be parted from (patient, video); None where unknown.
    """

    name: str
    origin: Path
    image: Path | Callable[[], bytes]
    mask: Callable[[], NDArray[np.uint8]]
    group: str | None = None

    def content(self) -> bytes:
        """Return the bytes of the image file.

        Raises:
            DatasetError: it cannot be read.
        """
        if not isinstance(self.image, Path):
            return self.image()
        try:
            return self.image.read_bytes()
        except OSError as error:
            raise DatasetError(f"{self.image}: cannot be read ({error.strerror}); mend its permissions") from error

    def suffix(self) -> str:
        """Return the suffix of the image file, told by its content where the name has none that is known."""
        if isinstance(self.image, Path):
            known = self.image.suffix.lower() in IMAGE_SUFFIXES
            return self.image.suffix if known else read_header(self.image)[2]
        return read_header(self.origin, self.image())[2]

    def load(self, classes: int) -> Sample:
        """Return image and mask.

        Raises:
            DatasetError: one of them is unreadable, the sizes differ in shape, or a class id is not below `classes`.
        """
        image = read_image(self.origin) if isinstance(self.image, Path) else read_image(self.origin, self.image())
        mask = self.mask()
        if image.shape[:2] != mask.shape:
            mask = at_size(self.origin, (image.shape[0], image.shape[1]), mask)
        unknown = unknown_ids(mask, classes)
        if unknown:
            raise DatasetError(f"{self.origin}: class ids {unknown} in its mask are not among the {classes} classes")
        return Sample(image=image, mask=mask, name=self.name)


def at_size(origin: Path, size: tuple[int, int], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask at the image's height and width, by nearest neighbour.

    Raises:
        DatasetError: it has not the image's shape.
    """
    (height, width), (own_height, own_width) = size, mask.shape
    if abs(height * own_width - width * own_height) > max(height, width, own_height, own_width):
        raise DatasetError(
            f"{origin}: {describe_mismatch((height, width), (own_height, own_width))}; export the mask at the image's size and turn"
        )
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What was found in a foreign dataset; nothing of it is read before it is asked for.

    Attributes:
        task: Whether there is one foreground class or several.
        classes: Class names; the index is the class id, 0 is the background.
        items: In the order of their names.
        left_out: What was passed over and why, for the user.
        details: What else to keep in `dataset.json`, such as the licence.
    """

    task: Task
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what cannot be a dataset.

        Raises:
            DatasetError: there is no item, or there are too many classes.
        """
        if not self.items:
            raise DatasetError(f"no image with a mask was found; {'; '.join(self.left_out[:5]) or 'look at the path'}")
        if len(self.classes) > MOST_CLASSES + 1:
            raise DatasetError(
                f"there are {len(self.classes) - 1} classes, but a mask holds at most {MOST_CLASSES}; unite some"
            )

    def dataset(self, name: str) -> Dataset:
        """Return the dataset, to be read where it lies."""
        return Dataset(
            name=name,
            task=self.task,
            classes=self.classes,
            names=tuple(item.name for item in self.items),
            groups=groups_of(self.items),
            source=ItemSource(items=self.items, classes=len(self.classes)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemSource:
    """Reads items of any format."""

    items: tuple[Item, ...]
    classes: int

    def load(self, index: int) -> Sample:
        """Read the item at `index`."""
        return self.items[index].load(self.classes)

    def original(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of the image file at `index`, and its suffix."""
        return self.items[index].content(), self.items[index].suffix()


@runtime_checkable
class KeepsFiles(Protocol):
    """A source whose images are files, which travel from format to format as they are."""

    def original(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of the image file at `index`, and its suffix."""
        ...


def groups_of(items: Sequence[Item]) -> tuple[str, ...] | None:
    """Return the group of each item, None unless all are known."""
    groups = tuple(item.group for item in items if item.group is not None)
    return groups if len(groups) == len(items) else None


def image_file(dataset: Dataset, index: int) -> tuple[bytes, str]:
    """Return the bytes of an image file of the item at `index`, and its suffix; PNG where it has no file of its own."""
    if isinstance(dataset.source, KeepsFiles):
        return dataset.source.original(index)
    return png(dataset[index].image), ".png"


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return grey values (h × w) or colours (h × w × 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below `root` in the order of their paths, hidden ones left out; loops of links end.

    Raises:
        DatasetError: the folders are too deep or hold too many files to be one dataset, or cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    count = 0
    for folder, inner, files in os.walk(root, followlinks=True, onerror=_refuse):
        here = Path(folder)
        known = here.stat().st_dev, here.stat().st_ino
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        if known in seen:
            inner.clear()
            continue
        seen.add(known)
        count += len(files)
        if len(here.relative_to(root).parts) > _DEEPEST or count > _MOST_FILES:
            raise DatasetError(f"{root}: deeper or larger than a dataset; give the folder that holds it")
        yield from (here / name for name in sorted(files) if not is_hidden(name))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name was left by a system and is none of the dataset's."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


def _refuse(error: OSError) -> None:
    raise DatasetError(f"{error.filename} cannot be listed: {error.strerror}; mend its permissions") from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`; what its values are is for the caller to check.

    Raises:
        DatasetError: there is none.
    """
    if not file.is_file():  # a pipe would be waited for
        raise DatasetError(f"{file}: is no file; put it there")
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise DatasetError(f"{file}: is not JSON ({error or 'too large'}); get it anew") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{file}: must hold a JSON object")
    return values


def unique_names(paths: Iterable[str]) -> list[str]:
    """Return a name for each relative path: its stem, or, where stems come twice, the whole path in one word."""
    pure = [PurePosixPath(path.replace("\\", "/")) for path in paths]
    stems = Counter(path.stem for path in pure)
    taken: set[str] = set()
    found: list[str] = []
    for path in pure:
        name = plain = plain_name(path.stem if stems[path.stem] == 1 else "_".join((*path.parts[:-1], path.stem)))
        again = 1
        while name in taken:
            again += 1
            name = f"{plain}_{again}"
        taken.add(name)
        found.append(name)
    return found


def plain_name(name: str) -> str:
    """Return `name` without what a file name cannot begin with or hold."""
    return re.sub(r"^[.]|[/\\\0-\x1f]", "_", name) or "_"


def known_rules(rules: Mapping[str, str], *known: str) -> None:
    """Refuse rules that a format does not know.

    Raises:
        DatasetError: one is not among `known`.
    """
    wrong = sorted(set(rules) - set(known))
    if wrong:
        raise DatasetError(f"unknown rule {wrong[0]!r}; this format takes {', '.join(known) or 'none'}")
