"""Folders of images and masks in any of the usual arrangements; the masks hold class ids or two grey values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset, Task
from qttseg.metadata.examination import in_threads
from qttseg.metadata.folders import Description, class_ids, describe, read_description, read_groups
from qttseg.metadata.formats.items import Item, Reading, known_rules
from qttseg.metadata.formats.pairs import RULES, Pairing, find_pairs
from qttseg.metadata.images import read_mask

_JPEG = (".jpg", ".jpeg")
_KEPT_OUT = ("name", "task", "classes", "groups", "group_pattern")


def detect(path: Path) -> str | None:
    """Return which folders look like images and masks."""
    try:
        return find_pairs(path, {}).reason if path.is_dir() else None
    except DatasetError:
        return None


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the dataset in a folder of images and masks; all masks are read once if no `dataset.json` names classes.

    Args:
        path: The folder.
        rules: `images` and `masks` name folders; `threshold` is the grey value above which a mask's pixel is
            foreground, so that several classes become one.

    Raises:
        DatasetError: no pairs are found, or the masks hold no class ids.
    """
    known_rules(rules, *RULES, "threshold")
    pairing = find_pairs(path, rules)
    threshold = _threshold(rules)
    values = read_description(path) if threshold is None else _of_one_class(read_description(path))
    readers = {name: partial(read_values, masks, threshold) for name, (_, masks) in pairing.pairs.items()}
    description, chosen = _description(path, values, readers)
    groups = read_groups(path, values, tuple(pairing.pairs))
    return Reading(
        task=description.task,
        classes=description.classes,
        items=items_of(
            pairing,
            {name: partial(_ids, reader, description.task, chosen) for name, reader in readers.items()},
            dict(zip(pairing.pairs, groups, strict=True)) if groups else {},
        ),
        left_out=pairing.left_out,
        details={key: value for key, value in values.items() if key not in _KEPT_OUT},
    )


def write(dataset: Dataset, folder: Path) -> None:
    """Write `images/`, `masks/` and `dataset.json`, which `Dataset.from_folders` reads where they are."""
    from qttseg.metadata.formats.items import image_file
    from qttseg.metadata.formats.writing import FolderWriter

    writer = FolderWriter(folder)
    for index, name in enumerate(dataset.names):
        content, suffix = image_file(dataset, index)
        writer.write(name, content, suffix, dataset[index].mask)
    writer.finish(
        name=dataset.name, task=dataset.task, classes=dataset.classes, groups=dataset.groups, names=dataset.names
    )


def items_of(
    pairing: Pairing, masks: Mapping[str, Callable[[], NDArray[np.uint8]]], groups: Mapping[str, str]
) -> tuple[Item, ...]:
    """Return the items of paired files, given what reads each mask."""
    return tuple(
        Item(name=name, origin=image, image=image, mask=masks[name], group=groups.get(name))
        for name, (image, _) in pairing.pairs.items()
    )


def read_values(masks: Sequence[Path], threshold: int | None) -> NDArray[np.uint8]:
    """Return the values of a mask, or of several united: where two of them mark a pixel, the later one counts.

    Args:
        masks: The files.
        threshold: Grey value above which a pixel becomes 255 and others 0. Masks that were compressed with loss
            have one of 127 by default.
    """
    united: NDArray[np.uint8] | None = None
    for file in masks:
        values, limit = read_mask(file), threshold
        if limit is None and file.suffix.lower() in _JPEG:
            limit = _between(file, values)
        if limit is not None:
            values = np.where(values > limit, np.uint8(255), np.uint8(0))
        if united is not None and united.shape != values.shape:
            raise DatasetError(f"{file}: is not of the size of the mask {masks[0]}; export both at the image's size")
        united = values if united is None else np.where(values != 0, values, united)
    if united is None:
        raise DatasetError("no mask was given")
    return united


def _between(file: Path, values: NDArray[np.uint8]) -> int:
    """Return 127 for a JPEG that holds black and white up to the noise of its compression."""
    if ((values > 64) & (values < 192)).mean() > 0.05:
        raise DatasetError(
            f"{file}: JPEG has changed the class ids of this mask; save it as PNG, or give --rule threshold=N if "
            "there is one class"
        )
    return 127


def _threshold(rules: Mapping[str, str]) -> int | None:
    text = rules.get("threshold")
    if text is not None and (not re.fullmatch("[0-9]{1,3}", text) or int(text) > 254):
        raise DatasetError(f"--rule threshold={text} must be a number from 0 to 254")
    return None if text is None else int(text)


def _of_one_class(values: Mapping[str, object]) -> dict[str, object]:
    """Return what `dataset.json` says, as it holds of masks with one class; names of several no longer do."""
    classes = values.get("classes")
    two = isinstance(classes, list) and len(classes) == 2
    return {**values, "task": "binary", "classes": classes if two else ["background", "foreground"]}


def _description(
    root: Path, values: Mapping[str, object], readers: Mapping[str, Callable[[], NDArray[np.uint8]]]
) -> tuple[Description, int | None]:
    """Return name, task and classes, and the one grey value that is foreground where it is neither 1 nor 255."""
    seen: list[NDArray[np.uint8]] = []

    def read_ids() -> Sequence[NDArray[np.uint8]]:
        seen.extend(in_threads(lambda reader: np.unique(reader()), readers.values()))
        grey = _lone({int(value) for ids in seen for value in ids})
        return [np.where(ids == grey, np.uint8(1), ids) for ids in seen] if grey else seen

    description = describe(root, values, read_ids)
    return description, _lone({int(value) for ids in seen for value in ids})


def _lone(ids: set[int]) -> int | None:
    foreground = ids - {0}
    return next(iter(foreground)) if len(foreground) == 1 and foreground.isdisjoint({1, 255}) else None


def _ids(read: Callable[[], NDArray[np.uint8]], task: Task, grey: int | None) -> NDArray[np.uint8]:
    values = read()
    return class_ids(values if grey is None else np.where(values == grey, np.uint8(1), values), task)
