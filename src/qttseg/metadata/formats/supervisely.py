"""Supervisely projects, as Dataset Ninja hands them out: `meta.json`, then `img/` and `ann/` in each dataset folder."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from qttseg.errors import DatasetError
from qttseg.metadata.formats.items import Item, Reading, known_rules, read_json, unique_names, walk
from qttseg.metadata.images import read_header, read_mask

_LARGEST_BITMAP = 2**26
_MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    zlib.error,
    OSError,
    SyntaxError,
)


def detect(path: Path) -> str | None:
    """Return that a project's files are there."""
    if not path.is_dir() or not (path / "meta.json").is_file():
        return None
    try:
        annotations = next(_annotations(path), None)
    except DatasetError:
        return None
    return f"meta.json with {annotations.parent.relative_to(path)}/ beside img/" if annotations else None


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the dataset of a project; later objects of an image are painted over earlier ones.

    Args:
        path: The project's folder.
        rules: `group` names an image tag whose value is the group (course, video, volume).

    Raises:
        DatasetError: a JSON file is malformed, or there are no images.
    """
    known_rules(rules, "group")
    classes = _classes(path / "meta.json")
    pairs: list[tuple[Path, Path]] = []
    left_out: list[str] = []
    for annotation in _annotations(path):
        image = annotation.parent.parent / "img" / annotation.name.removesuffix(".json")
        if image.is_file():
            pairs.append((image, annotation))
        else:
            left_out.append(f"{annotation.relative_to(path)} has no image")
    names = unique_names(image.relative_to(path).as_posix().replace("/img/", "/") for image, _ in pairs)
    ids = {title: label for label, title in enumerate(classes, start=1)}
    return Reading(
        task="binary" if len(classes) == 1 else "multiclass",
        classes=("background", *classes),
        items=tuple(
            Item(
                name=name,
                origin=image,
                image=image,
                mask=partial(_paint, image, annotation, ids),
                group=_tag(annotation, rules["group"]) if "group" in rules else None,
            )
            for name, (image, annotation) in sorted(zip(names, pairs, strict=True))
        ),
        left_out=tuple(left_out),
    )


def _annotations(root: Path) -> Iterator[Path]:
    return (file for file in walk(root) if file.suffix == ".json" and file.parent.name == "ann")


def _classes(file: Path) -> tuple[str, ...]:
    values = read_json(file)
    rows = values.get("classes")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and "title" in row for row in rows):
        raise DatasetError(f"{file}: classes must list objects with a title")
    return tuple(str(row["title"]) for row in rows)


def _tag(file: Path, name: str) -> str | None:
    tags = read_json(file).get("tags")
    found = [tag for tag in tags if isinstance(tag, dict) and tag.get("name") == name] if isinstance(tags, list) else []
    return str(found[0].get("value", name)) if found else None


def _paint(image: Path, file: Path, ids: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return the class ids of one image."""
    (width, height), orientation, _ = read_header(image)
    if orientation > 4:
        width, height = height, width
    values = read_json(file)
    objects = values.get("objects")
    if not isinstance(objects, list):
        raise DatasetError(f"{file}: objects must be a list")
    mask = np.zeros((height, width), np.uint8)
    for place, row in enumerate(objects):
        try:
            region = _region(row, width, height, file)
            mask[region] = ids[str(row["classTitle"])]
        except _MALFORMED as error:
            raise DatasetError(f"{file}: object {place} is malformed ({error!r}); export it anew") from error
    return mask


def _region(row: Mapping[str, object], width: int, height: int, file: Path) -> NDArray[np.bool_]:
    kind = row["geometryType"]
    if kind == "bitmap":
        return _bitmap(row["bitmap"], width, height, file)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    points = row["points"]
    if not isinstance(points, dict):
        raise TypeError("points is no object")
    outer = _ring(points["exterior"], width, height)
    if kind == "rectangle":
        (left, top), (right, bottom) = outer
        draw.rectangle((min(left, right), min(top, bottom), max(left, right), max(top, bottom)), fill=1)
    elif kind == "polygon":
        draw.polygon(outer, fill=1)
        for hole in points.get("interior", []):
            draw.polygon(_ring(hole, width, height), fill=0)
    else:
        raise ValueError(f"{kind} is neither bitmap, polygon nor rectangle")
    return np.array(canvas)


def _ring(points: Sequence[Sequence[float]], width: int, height: int) -> list[tuple[float, float]]:
    ring = [(float(x), float(y)) for x, y in points]
    if not all(abs(x) <= 2 * width + 16 and abs(y) <= 2 * height + 16 for x, y in ring):
        raise ValueError("lies far outside its image")
    return ring


def _bitmap(bitmap: object, width: int, height: int, file: Path) -> NDArray[np.bool_]:
    """Return a small PNG, in base64 of zlib, pasted where its origin says."""
    if not isinstance(bitmap, dict):
        raise TypeError("bitmap is no object")
    left, top = (int(at) for at in bitmap["origin"])
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(bitmap["data"]), _LARGEST_BITMAP)
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        alpha = np.asarray(picture.getchannel("A")) if picture.mode in ("RGBA", "LA") else None
    pixels = (alpha if alpha is not None else read_mask(file, content)) != 0
    region = np.zeros((height, width), bool)
    rows = slice(min(max(top, 0), height), max(0, min(height, top + pixels.shape[0])))
    columns = slice(min(max(left, 0), width), max(0, min(width, left + pixels.shape[1])))
    region[rows, columns] = pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return region
