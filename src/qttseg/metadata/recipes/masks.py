"""Mask files of any code → class ids, and what did not fit the code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.colours import nearest_ids, packed
from qttseg.metadata.datasets import IGNORE
from qttseg.metadata.images import read_image, read_mask
from qttseg.metadata.recipes.recipe import MaskCode

_MIDDLE, _WHITE = 127, 0xFFFFFF
_MOST_NAMED = 12
"""Values outside the code that are remembered of one mask by name: the most frequent; the others are summed up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """One mask in class ids.

    Attributes:
        ids: uint8 `height x width`; 255 is to be ignored.
        strays: What was found outside the code, in words → pixels.
    """

    ids: NDArray[np.uint8]
    strays: Counter[str]


def decode(files: Sequence[Path], code: MaskCode, *, size: tuple[int, int], parts: Sequence[str] = ()) -> Decoded:
    """Return the mask in these files, united where there are several, or painted part by part.

    Args:
        files: At least one.
        code: How they say which class a pixel has.
        size: Height and width of the image, at which polygons are drawn.
        parts: Which part each file is of, in the order of painting; none where each file is a whole mask.

    Raises:
        DatasetError: a file cannot be read, or the files differ in size.
    """
    masks = [_decode(file, code, size) for file in files]
    first = masks[0]
    for file, mask in zip(files[1:], masks[1:], strict=True):
        if mask.ids.shape != first.ids.shape:
            raise DatasetError(f"{file}: the masks of one image differ in size; export them alike")
    if parts:
        ids = np.zeros_like(first.ids)
        for part, mask in zip(parts, masks, strict=True):
            ids[mask.ids > 0] = code.parts[part]
    else:
        ids = np.maximum.reduce([mask.ids for mask in masks])
    return Decoded(ids=ids, strays=sum((mask.strays for mask in masks), Counter()))


def _decode(file: Path, code: MaskCode, size: tuple[int, int]) -> Decoded:
    if code.kind == "geojson":
        return Decoded(ids=_drawn(file, code, size), strays=Counter())
    if code.kind == "values":
        return _looked_up(read_mask(file), code)
    colours = read_image(file)
    if code.kind in ("threshold", "parts"):
        return _thresholded(colours, code)
    if code.kind == "nonblack":
        return Decoded(ids=np.asarray(colours.any(axis=2), np.uint8), strays=Counter())
    if code.kind == "palette":
        return _nearest(colours, code)
    return Decoded(ids=np.zeros(colours.shape[:2], np.uint8), strays=_colours_of(packed(colours)))


def _thresholded(colours: NDArray[np.uint8], code: MaskCode) -> Decoded:
    numbers = packed(colours)
    # Black and white are what 127 parts; who says another number says that greys are meant.
    strange = (
        (numbers != 0) & (numbers != _WHITE) if code.above == _MIDDLE else (colours != colours[:, :, :1]).any(axis=2)
    )
    return Decoded(ids=(colours[:, :, 0] > code.above).astype(np.uint8), strays=_colours_of(numbers[strange]))


def _looked_up(values: NDArray[np.uint8], code: MaskCode) -> Decoded:
    table = np.full(256, IGNORE, np.uint8)
    known = np.zeros(256, bool)
    for value, label in code.values.items():
        table[value], known[value] = label, True
    known[list(code.ignore)] = True
    counts = np.bincount(values.ravel(), minlength=256)
    strays = {str(value): int(counts[value]) for value in np.flatnonzero(~known & (counts > 0))}
    return Decoded(ids=table[values], strays=_summed(strays))


def _nearest(colours: NDArray[np.uint8], code: MaskCode) -> Decoded:
    table = np.array(code.colours, np.uint8)
    ids, strays = nearest_ids(colours, table[:, :3], table[:, 3], distance=code.distance)
    return Decoded(ids=ids, strays=_summed({_name(colour): count for colour, count in strays.items()}))


def _colours_of(numbers: NDArray[np.uint32]) -> Counter[str]:
    found, counts = np.unique(numbers, return_counts=True)
    return _summed({_name(int(number)): int(count) for number, count in zip(found, counts, strict=True)})


def _name(number: int) -> str:
    return f"({number >> 16},{number >> 8 & 255},{number & 255})"


def _summed(counts: Mapping[str, int]) -> Counter[str]:
    """Return the most frequent by name, and the sum of all others."""
    most = Counter(dict(Counter(counts).most_common(_MOST_NAMED)))
    rest = sum(counts.values()) - most.total()
    return most + Counter({"others": rest})


def _drawn(file: Path, code: MaskCode, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the polygons of a GeoJSON file in pixels x, y: a collection, a list of features, or one feature."""
    from PIL import Image, ImageDraw

    try:
        content = json.loads(file.read_text(encoding=code.encoding))
        canvas = Image.new("L", (size[1], size[0]))
        pen = ImageDraw.Draw(canvas)
        for outer, *inner in _polygons(content):
            pen.polygon([(float(x), float(y)) for x, y, *_ in outer], fill=1)
            for ring in inner if code.holes else ():
                pen.polygon([(float(x), float(y)) for x, y, *_ in ring], fill=0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{file}: cannot be read as GeoJSON polygons ({error}); mend or remove it") from error
    return np.asarray(canvas, np.uint8)


def _polygons(content: Any) -> Iterator[list[list[list[float]]]]:  # noqa: ANN401 (JSON of any shape)
    if isinstance(content, list):
        for item in content:
            yield from _polygons(item)
    elif "features" in content:
        yield from _polygons(content["features"])
    elif "geometry" in content:
        yield from _polygons(content["geometry"] or [])
    elif content.get("type") == "Polygon":
        yield content["coordinates"]
    elif content.get("type") == "MultiPolygon":
        yield from content["coordinates"]
    elif content.get("type") == "GeometryCollection":
        yield from _polygons(content["geometries"])
