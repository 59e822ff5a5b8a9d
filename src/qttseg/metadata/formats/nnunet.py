"""nnU-Net's raw format, 2D images only: `imagesTr/<case>_0000.png`, `labelsTr/<case>.png`, `dataset.json`."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset
from qttseg.metadata.folders import read_description
from qttseg.metadata.formats.items import Item, Reading, known_rules, png
from qttseg.metadata.images import read_image, read_mask

_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
_COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class _Contract:
    """What nnU-Net's `dataset.json` says: the file ending, class names, and the class id of each label value."""

    ending: str
    classes: tuple[str, ...]
    ids: Mapping[int, int]
    groups: Mapping[str, str]


def detect(path: Path) -> str | None:
    """Return that nnU-Net's folders are there."""
    there = path.is_dir() and all((path / name).is_dir() for name in ("imagesTr", "labelsTr"))
    return "imagesTr/, labelsTr/ and dataset.json" if there and (path / "dataset.json").is_file() else None


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the training cases of an nnU-Net dataset (version 1 or 2) of 2D images.

    A case is one grey or colour file, or three grey files that are red, green and blue.

    Raises:
        DatasetError: it holds volumes, another number of channels or labels that overlap, or `dataset.json` is wrong.
    """
    known_rules(rules)
    contract = _contract(path / "dataset.json", read_description(path))
    channels: dict[str, list[Path]] = defaultdict(list)
    for file in _files(path / "imagesTr", contract.ending):
        channels[file.name.removesuffix(contract.ending).rpartition("_")[0]].append(file)
    labels = {file.name.removesuffix(contract.ending): file for file in _files(path / "labelsTr", contract.ending)}
    alone = sorted(channels.keys() ^ labels.keys())
    return Reading(
        task="binary" if len(contract.classes) == 2 else "multiclass",
        classes=contract.classes,
        items=tuple(
            _item(case, channels[case], labels[case], contract) for case in sorted(channels.keys() & labels.keys())
        ),
        left_out=tuple(f"case {case} has no partner" for case in alone),
    )


def write(dataset: Dataset, folder: Path) -> None:
    """Write RGB PNG files, as nnU-Net wants no JPEG; groups and the background's name are extra keys.

    Raises:
        DatasetError: two classes have one name.
    """
    names = ("background", *dataset.classes[1:], "ignore")
    if len(set(names)) != len(names):
        raise DatasetError(f"dataset {dataset.name}: nnU-Net needs class names that differ, not {list(names)}")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    ignored = False
    for index, name in enumerate(dataset.names):
        sample = dataset[index]
        ignored = ignored or bool((sample.mask == IGNORE).any())
        mask = np.where(sample.mask == IGNORE, np.uint8(len(dataset.classes)), sample.mask)
        (folder / "imagesTr" / f"{name}_0000.png").write_bytes(png(sample.image))
        (folder / "labelsTr" / f"{name}.png").write_bytes(png(mask))
    document: dict[str, object] = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {name: label for label, name in enumerate(names if ignored else names[:-1])},
        "numTraining": len(dataset),
        "file_ending": ".png",
        "name": dataset.name,
        "background": dataset.classes[0],
    }
    if dataset.groups is not None:
        document["groups"] = dict(zip(dataset.names, dataset.groups, strict=True))
    (folder / "dataset.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _contract(file: Path, values: Mapping[str, object]) -> _Contract:
    ending = values.get("file_ending", ".nii.gz")
    if ending not in _ENDINGS:
        raise DatasetError(
            f"{file}: the files end in {ending}; export slices as {', '.join(_ENDINGS)}: volumes are not read"
        )
    labels = values.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f"{file}: labels must map names to values")
    named = dict(_label(file, *pair) for pair in labels.items())
    if len(named) != len(labels):
        raise DatasetError(f"{file}: two labels have one value: {labels!r}")
    by_value = dict(sorted(named.items()))
    background = str(values.get("background") or by_value.get(0, "background"))
    foreground = {value: name for value, name in by_value.items() if value and name.lower() != "ignore"}
    ids = {0: 0, **{value: label for label, value in enumerate(foreground, start=1)}}
    ids.update({value: IGNORE for value, name in by_value.items() if value and name.lower() == "ignore"})
    groups = values.get("groups")
    return _Contract(
        ending=str(ending),
        classes=(background, *foreground.values()),
        ids=ids,
        groups={str(case): str(group) for case, group in groups.items()} if isinstance(groups, dict) else {},
    )


def _label(file: Path, key: object, value: object) -> tuple[int, str]:
    """Return value and name of a label, which version 1 writes the other way round."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,3}", str(key)):
        key, value = value, int(str(key))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise DatasetError(
            f"{file}: the label {key!r} is {value!r}; overlapping regions and values over 255 are not read"
        )
    return value, str(key)


def _files(folder: Path, ending: str) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name.endswith(ending) and not file.name.startswith("."))


def _item(case: str, channels: list[Path], labels: Path, contract: _Contract) -> Item:
    if len(channels) not in (1, _COLOURS):
        raise DatasetError(f"{channels[0]}: its case has {len(channels)} channels; one or three can be read")
    return Item(
        name=case,
        origin=channels[0],
        image=channels[0] if len(channels) == 1 else partial(_joined, tuple(channels)),
        mask=partial(_read_labels, labels, contract.ids),
        group=contract.groups.get(case),
    )


def _joined(channels: tuple[Path, ...]) -> bytes:
    """Return three grey files as one colour PNG."""
    planes = [read_image(file)[:, :, 0] for file in channels]
    if len({plane.shape for plane in planes}) > 1:
        raise DatasetError(f"{channels[0]}: the channels of this case differ in size")
    return png(np.stack(planes, axis=2))


def _read_labels(file: Path, ids: Mapping[int, int]) -> NDArray[np.uint8]:
    values = read_mask(file)
    unknown = sorted(set(np.unique(values).tolist()) - ids.keys())
    if unknown:
        raise DatasetError(f"{file}: the values {unknown} are not among the labels in dataset.json; name them there")
    table = np.zeros(256, np.uint8)
    table[list(ids)] = list(ids.values())
    return np.asarray(table[values])
