"""Masks in colours: a table says which colour is which class, or the colours that occur become classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.colours import palette
from qttseg.metadata.datasets import IGNORE, Dataset
from qttseg.metadata.folders import MOST_INFERRED_CLASSES, in_threads, read_description, read_groups
from qttseg.metadata.formats.folders import items_of
from qttseg.metadata.formats.items import Reading, image_file, known_rules, png, read_json
from qttseg.metadata.formats.pairs import RULES, find_pairs
from qttseg.metadata.images import read_image

NEAREST = 48
"""Distance in RGB up to which a colour that no table names counts as its nearest one (soft edges, JPEG)."""

IGNORED = ("ignore", "ignored", "void")
_TABLES = (
    "class_dict.csv",
    "classes.csv",
    "labelmap.txt",
    "colours.csv",
    "colors.csv",
    "class_dict.json",
    "colors.json",
)
_LOOKED_AT = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Which colour is which class.

    Attributes:
        classes: Class names by class id, the background first.
        colours: uint8 `n x 3`; several may be one class.
        ids: uint8 `n`; the class id of each colour, 255 for pixels to be ignored.
    """

    classes: tuple[str, ...]
    colours: NDArray[np.uint8]
    ids: NDArray[np.uint8]

    def decode(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class ids of colours `height x width x 3`: exact ones first, then the nearest, else 255."""
        packed = _packed(pixels)
        known, place = np.unique(packed, return_inverse=True)
        colours = np.stack([known >> 16, known >> 8 & 255, known & 255], axis=1).astype(np.int32)
        found = np.empty(len(known), np.uint8)
        for start in range(0, len(known), 4096):  # soft edges make thousands of colours
            part = colours[start : start + 4096]
            distances = ((part[:, None] - self.colours[None].astype(np.int32)) ** 2).sum(axis=2)
            nearest = distances.argmin(axis=1)
            near = distances[np.arange(len(part)), nearest] <= NEAREST**2
            found[start : start + 4096] = np.where(near, self.ids[nearest], np.uint8(IGNORE))
        return found[place].reshape(pixels.shape[:2])


def detect(path: Path) -> str | None:
    """Return which colour table was found, or that the first masks are in colour."""
    if not path.is_dir():
        return None
    try:
        pairing = find_pairs(path, {})
        table = _table_in(path)
        masks = [files[0] for _, files in list(pairing.pairs.values())[:_LOOKED_AT]]
        coloured = [file for file in masks if _is_coloured(file)]
    except DatasetError:
        return None
    if not coloured:
        return None
    return f"{pairing.reason}; {coloured[0].name} is in colour" + (f" and {table.name} names colours" if table else "")


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the dataset in a folder of images and coloured masks.

    Args:
        path: The folder.
        rules: `images` and `masks` name folders; `colours` is a table, a CSV file of name, red, green and blue, or a
            JSON object of names and colours. Its first class, or the one called background, is class 0. Without a
            table the colours that occur become classes; black, or else the most frequent one, is the background.

    Raises:
        DatasetError: no pairs are found, the table is malformed, or there is none and the colours are too many.
    """
    known_rules(rules, *RULES, "colours")
    pairing = find_pairs(path, rules)
    file = path / rules["colours"] if "colours" in rules else _table_in(path)
    masks = [files[0] for _, files in pairing.pairs.values()]
    table = read_table(file) if file else _inferred(path, masks)
    values = read_description(path)
    groups = read_groups(path, values, tuple(pairing.pairs))
    return Reading(
        task="binary" if len(table.classes) == 2 else "multiclass",
        classes=table.classes,
        items=items_of(
            pairing,
            {name: partial(_decode, files[0], table) for name, (_, files) in pairing.pairs.items()},
            dict(zip(pairing.pairs, groups, strict=True)) if groups else {},
        ),
        left_out=pairing.left_out,
    )


def write(dataset: Dataset, folder: Path) -> None:
    """Write `images/`, `masks/` in colour, `class_dict.csv`, and `dataset.json` where there are groups."""
    for part in ("images", "masks"):
        (folder / part).mkdir()
    colours = palette().astype(np.uint8)
    for index, name in enumerate(dataset.names):
        content, suffix = image_file(dataset, index)
        (folder / "images" / f"{name}{suffix}").write_bytes(content)
        (folder / "masks" / f"{name}.png").write_bytes(png(colours[dataset[index].mask]))
    with (folder / "class_dict.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("name", "r", "g", "b"))
        rows.writerows((name, *colours[label].tolist()) for label, name in enumerate(dataset.classes))
        rows.writerow((IGNORED[0], *colours[IGNORE].tolist()))
    if dataset.groups is not None:
        groups = dict(zip(dataset.names, dataset.groups, strict=True))
        (folder / "dataset.json").write_text(json.dumps({"groups": groups}, indent=1), encoding="utf-8")


def read_table(file: Path) -> Table:
    """Return the colour table in a CSV (name,r,g,b), a JSON (name → colour) or a CVAT `labelmap.txt` file.

    Raises:
        DatasetError: it cannot be read or holds no colours.
    """
    try:
        if file.suffix.lower() == ".json":
            rows = [(name, _colour(value)) for name, value in read_json(file).items()]
        else:
            rows = _text_rows(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DatasetError(f"{file}: no colour table ({error}); write lines of name,red,green,blue") from error
    return _table(file, rows)


def _table(file: Path, rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Table:
    names = list(dict.fromkeys(name for name, _ in rows if name.lower() not in IGNORED))
    names.sort(key=lambda name: name.lower() != "background")
    if len(names) < 2 or len(names) >= IGNORE:
        raise DatasetError(f"{file}: names {len(names)} classes; write one line for each, the background first")
    ids = [names.index(name) if name in names else IGNORE for name, _ in rows]
    return Table(
        classes=tuple(names),
        colours=np.array([colour for _, colour in rows], np.uint8),
        ids=np.array(ids, np.uint8),
    )


def _text_rows(text: str) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the rows of a CSV file, or of `name:r,g,b::` lines; a head line is passed over."""
    rows = []
    for cells in csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        if ":" in cells[0]:
            name, _, red = cells[0].partition(":")
            cells = [name, red, *(cell.split(":")[0] for cell in cells[1:])]
        numbers = [cell.strip() for cell in cells[1:4]]
        if len(numbers) == 3 and all(cell.isdecimal() for cell in numbers):
            rows.append((cells[0].strip(), _colour([int(cell) for cell in numbers])))
        elif rows:
            raise ValueError(f"the line of {cells[0]!r} has no three numbers")
    return rows


def _colour(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) < 3 or not all(isinstance(part, int) for part in value):
        raise TypeError(f"{value!r} is no colour of three numbers")
    red, green, blue = value[:3]
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"{value!r} is beyond 0 to 255")
    return red, green, blue


def _inferred(root: Path, masks: Sequence[Path]) -> Table:
    """Return a table of the colours that occur in the masks."""
    counts: dict[int, int] = {}
    for colours in in_threads(_occurring, masks):
        for colour, count in colours.items():
            counts[colour] = counts.get(colour, 0) + count
        if len(counts) > MOST_INFERRED_CLASSES:
            raise DatasetError(
                f"{root}: more than {MOST_INFERRED_CLASSES} colours occur in the masks (soft edges, or JPEG); name "
                "those that are classes in a table, class_dict.csv of lines name,red,green,blue"
            )
    background = 0 if 0 in counts else max(counts, key=lambda colour: counts[colour])
    others = sorted(set(counts) - {background})
    rows = [("background", background), *((f"colour #{colour:06x}", colour) for colour in others)]
    if len(others) == 1:
        rows[1] = ("foreground", others[0])
    return _table(root, [(name, (colour >> 16, colour >> 8 & 255, colour & 255)) for name, colour in rows])


def _occurring(file: Path) -> dict[int, int]:
    colours, counts = np.unique(_packed(read_image(file)), return_counts=True)
    return dict(zip(colours[:4096].tolist(), counts[:4096].tolist(), strict=True))


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = pixels.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _decode(file: Path, table: Table) -> NDArray[np.uint8]:
    return table.decode(read_image(file))


def _table_in(root: Path) -> Path | None:
    return next((root / name for name in _TABLES if (root / name).is_file()), None)


def _is_coloured(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            if picture.mode not in ("RGB", "RGBA"):
                return False
    except (OSError, ValueError, SyntaxError):
        return False
    pixels = read_image(file)
    return bool((pixels != pixels[:, :, :1]).any())
