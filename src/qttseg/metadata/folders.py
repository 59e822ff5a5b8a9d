"""The folder format: `images/<stem>.*` with `masks/<stem>.png`, and an optional `dataset.json`."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Sample, Task
from qttseg.metadata.facts import Facts, Size
from qttseg.metadata.images import read_image, read_mask
from qttseg.metadata.listing import Pairs, list_files

MOST_INFERRED_CLASSES = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a dataset calls itself and its classes, from `dataset.json` or from the masks."""

    name: str
    task: Task
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderSource:
    """Reads the pairs of a folder.

    Attributes:
        pairs: Stem → (image, mask).
        task: Whether a mask value of 255 is foreground (binary) or to be ignored (multiclass).
        classes: Number of class ids, the background included.
    """

    pairs: Pairs
    task: Task
    classes: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stems, in the order of the indices."""
        return tuple(self.pairs)

    def load(self, index: int) -> Sample:
        """Read the pair at `index`.

        Raises:
            DatasetError: a file is unreadable, the sizes differ, or the mask holds an unknown class id.
        """
        name = self.names[index]
        image_file, mask_file = self.pairs[name]
        image, mask = read_image(image_file), class_ids(read_mask(mask_file), self.task)
        if image.shape[:2] != mask.shape:
            raise DatasetError(
                f"{mask_file}: {describe_mismatch(image.shape[:2], mask.shape)}; export the mask at the image's own size and turn"
            )
        unknown = unknown_ids(mask, self.classes)
        if unknown:
            raise DatasetError(
                f"{mask_file}: class ids {unknown} are not among the {self.classes} classes; "
                "mend the mask or name these classes in dataset.json"
            )
        return Sample(image=image, mask=mask, name=name)

    def original(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of the image file at `index`, and its suffix.

        Raises:
            DatasetError: the file has gone or refuses.
        """
        file = self.pairs[self.names[index]][0]
        try:
            return file.read_bytes(), file.suffix
        except OSError as error:
            raise DatasetError(f"{file} cannot be read: {error.strerror}; put it back or mend it") from error

    def facts(self) -> tuple[Facts, ...]:
        """Return the facts about each pair, as class ids stand in its mask.

        Raises:
            DatasetError: a pair cannot be loaded; see `load`.
        """
        found = [facts.as_task(self.task) for facts in self.pairs.facts()]
        for index, facts in enumerate(found):
            if facts.image_size != facts.mask_size or facts.unknown_ids(self.classes) or not facts.readable:
                self.load(index)
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An opened dataset folder."""

    description: Description
    source: FolderSource
    groups: tuple[str, ...] | None


def open_folders(root: Path) -> Folder:
    """Return the dataset folder at `root`, without reading the images.

    Raises:
        DatasetError: there are no pairs, two files share a stem, or the description is wrong.
    """
    listing = list_files(root)
    if listing.doubled:
        raise DatasetError(f"{root}: several files share a stem ({_some(listing.doubled)}); keep one of each")
    if not listing.pairs:
        alone = _some(listing.images_alone + listing.masks_alone) or "both folders are empty"
        raise DatasetError(
            f"{root}: no image has a mask of the same stem ({alone}); name masks/<stem>.png after its image"
        )
    for kind, files in (("images have no mask", listing.images_alone), ("masks have no image", listing.masks_alone)):
        if files:
            _log.warning("%s: %d %s and are left out: %s", root, len(files), kind, _some(files))
    values = read_description(root)
    description = describe(root, values, lambda: _readable_values(listing.pairs))
    source = FolderSource(pairs=listing.pairs, task=description.task, classes=len(description.classes))
    return Folder(description=description, source=source, groups=read_groups(root, values, tuple(listing.pairs)))


def _readable_values(pairs: Pairs) -> list[tuple[int, ...]]:
    """Return the values of each mask.

    Raises:
        DatasetError: a mask cannot be read.
    """
    found = pairs.facts()
    for facts in found:
        if facts.mask_problem:
            raise DatasetError(facts.mask_problem)
    return [tuple(facts.pixels) for facts in found]


def read_description(root: Path) -> dict[str, object]:
    """Return what `root/dataset.json` holds, {} where there is none.

    Raises:
        DatasetError: it is not a JSON object.
    """
    file = root / "dataset.json"
    if not file.exists():
        return {}
    if not file.is_file():  # a pipe would be waited for
        raise DatasetError(f"{file} is no file; replace or remove it")
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{file} is not JSON: {error}; mend it, or remove it to have the classes inferred"
        ) from error
    if not isinstance(values, dict):
        raise DatasetError(f"{file} must hold a JSON object with name, task and classes")
    return values


def describe(root: Path, values: Mapping[str, object], read_ids: Callable[[], Iterable[Iterable[int]]]) -> Description:
    """Return name, task and classes, from `dataset.json` as far as it says them.

    Args:
        root: The dataset folder.
        values: The content of `dataset.json`.
        read_ids: Gives the distinct values of each mask; called only where the classes are to be inferred.

    Raises:
        DatasetError: a value is malformed, or the classes cannot be inferred.
    """
    file = root / "dataset.json"
    name, classes = values.get("name", root.resolve().name), values.get("classes")
    task = _task(file, values.get("task"))
    if not isinstance(name, str) or not name:
        raise DatasetError(f"{file}: name is {name!r}; it must be a text")
    if classes is None:
        inferred = _infer(root, {value for ids in read_ids() for value in ids}, task)
        return Description(name=name, task=inferred[0], classes=inferred[1])
    if not isinstance(classes, list) or not all(isinstance(item, str) for item in classes) or len(classes) < 2:
        raise DatasetError(f"{file}: classes is {classes!r}; it must list the names by class id, the background first")
    if task is None:
        task = "binary" if len(classes) == 2 else "multiclass"
    if task == "binary" and len(classes) != 2:
        raise DatasetError(f"{file}: a binary task has the background and one class, not {classes!r}")
    return Description(name=name, task=task, classes=tuple(classes))


def _task(file: Path, value: object) -> Task | None:
    for task in get_args(Task):
        if value == task:
            return cast("Task", task)
    if value is not None:
        raise DatasetError(f"{file}: task is {value!r}; it must be binary or multiclass")
    return None


def _infer(root: Path, ids: set[int], task: Task | None) -> tuple[Task, tuple[str, ...]]:
    foreground = ids - {0}
    if not foreground:
        raise DatasetError(f"{root}: no mask holds a foreground pixel; masks hold class ids, or 0 and 255")
    if task == "binary" or (task is None and foreground in ({1}, {IGNORE})):
        return "binary", ("background", "foreground")
    labels = foreground - {IGNORE}
    if not labels or len(labels) > MOST_INFERRED_CLASSES:
        raise DatasetError(
            f"{root}: {len(labels)} class ids occur in the masks, which look like grey levels; "
            "save class ids losslessly, or name the classes in dataset.json"
        )
    return "multiclass", ("background", *(f"class {label}" for label in range(1, max(labels) + 1)))


def read_groups(root: Path, values: Mapping[str, object], stems: Sequence[str]) -> tuple[str, ...] | None:
    """Return the group of each stem, from `groups` or `group_pattern` in `dataset.json`; None where neither is there.

    Raises:
        DatasetError: the mapping or pattern is malformed or leaves a stem without a group.
    """
    file, groups, pattern = root / "dataset.json", values.get("groups"), values.get("group_pattern")
    if groups is None and pattern is None:
        return None
    if groups is not None:
        if not isinstance(groups, dict):
            raise DatasetError(f"{file}: groups must map each stem to its group")
        found = {stem: str(groups[stem]) for stem in stems if stem in groups}
    else:
        try:
            matches = {stem: re.search(str(pattern), stem) for stem in stems}
            found = {stem: match[1] for stem, match in matches.items() if match and match[1] is not None}
        except (re.error, IndexError) as error:
            raise DatasetError(f"{file}: group_pattern {pattern!r} must be a regex with a group: {error}") from error
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise DatasetError(f"{file}: {len(missing)} items have no group ({', '.join(missing[:5])}); name one for each")
    return tuple(found[stem] for stem in stems)


def class_ids(values: NDArray[np.uint8], task: Task) -> NDArray[np.uint8]:
    """Return the class ids that the mask values stand for: in binary masks 255 is foreground, as is 1."""
    return np.where(values == 255, np.uint8(1), values) if task == "binary" else values


def unknown_ids(mask: NDArray[np.uint8], classes: int) -> list[int]:
    """Return the values in `mask` that are neither one of `classes` ids nor 255."""
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return [int(value) for value in present if value >= classes and value != IGNORE]


def describe_mismatch(image: Size, mask: Size) -> str:
    """Return a text that sets both sizes (height, width) side by side."""
    return f"the mask is {mask[1]} x {mask[0]} but its image {image[1]} x {image[0]}"


def _some(files: Sequence[Path]) -> str:
    named = ", ".join(f"{file.parent.name}/{file.name}" for file in files[:5])
    return named + (f" and {len(files) - 5} more" if len(files) > 5 else "")
