"""COCO instance annotations: polygons and run lengths in one JSON file, painted into masks of class ids."""

from __future__ import annotations

import json
import mmap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset
from qttseg.metadata.formats.items import Item, Reading, image_file, known_rules, read_json, unique_names, walk
from qttseg.metadata.formats.run_lengths import from_counts
from qttseg.metadata.images import read_header, turned

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_BACKGROUND = "background"
_TRIED = 20
_DIGITS = 20
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class _Outline:
    """One annotation: its class id (255 for a crowd) and its polygons or run lengths."""

    label: int
    segmentation: object
    where: str


def detect(path: Path) -> str | None:
    """Return which file holds images, annotations and categories."""
    files = _files(path)
    if not files:
        return None
    more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
    return f"{files[0].name}{more} with images, annotations and categories"


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the dataset of a COCO file, or of all COCO files in a folder.

    Categories become class ids 1, 2, … in the order of their ids. Large objects are painted first, so that small ones
    on top of them stay; regions marked `iscrowd` are to be ignored. Images without annotations are kept as empty ones.

    Args:
        path: The JSON file, or a folder that holds it or them.
        rules: `images` is the folder that file names are relative to (itself relative to that of the JSON file), where
            it is not found near the JSON file.

    Raises:
        DatasetError: the JSON is malformed, no image is found, or no annotation has an outline.
    """
    known_rules(rules, "images")
    files = _files(path)
    if not files:
        raise DatasetError(f"{path}: no JSON file with images, annotations and categories is here")
    documents = [_Document(file) for file in files]
    names = documents[0].categories
    for other in documents[1:]:
        if other.categories != names:
            raise DatasetError(f"{other.file}: its categories are not those of {files[0]}; add the files one by one")
    found: list[tuple[Path, Mapping[str, object], tuple[_Outline, ...]]] = []
    left_out: list[str] = []
    for document in documents:
        images = (path if path.is_dir() else path.parent) / rules["images"] if "images" in rules else None
        pairs, missing = document.items(images)
        found += pairs
        left_out += [*missing, *document.left_out]
    if found and not any(outlines for _, _, outlines in found):
        raise DatasetError(
            f"{files[0]}: no annotation has an outline (polygons or run lengths); boxes alone will not do"
        )
    stems = unique_names(str(image["file_name"]) for _, image, _ in found)
    items = [_item(stem, file, image, outlines) for stem, (file, image, outlines) in zip(stems, found, strict=True)]
    return Reading(
        task="binary" if len(names) == 1 else "multiclass",
        classes=(documents[0].background, *names.values()),
        items=tuple(sorted(items, key=lambda item: item.name)),
        left_out=tuple(left_out),
    )


def write(dataset: Dataset, folder: Path) -> None:
    """Write `images/` and `annotations.json`, with one annotation for each class in each image as compressed runs.

    Pixels to be ignored become a crowd region; the background's name, and groups, are extra keys.
    """
    (folder / "images").mkdir()
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, name in enumerate(dataset.names):
        content, suffix = image_file(dataset, index)
        (folder / "images" / f"{name}{suffix}").write_bytes(content)
        mask = dataset[index].mask
        image: dict[str, object] = {
            "id": index + 1,
            "file_name": f"images/{name}{suffix}",
            "height": mask.shape[0],
            "width": mask.shape[1],
        }
        images.append(image if dataset.groups is None else {**image, "group": dataset.groups[index]})
        for label in np.unique(mask[mask != 0]).tolist():
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **_annotation(mask, label)})
    categories = [{"id": label, "name": name} for label, name in enumerate(dataset.classes) if label]
    document = {
        "info": {"description": dataset.name, _BACKGROUND: dataset.classes[0]},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def _annotation(mask: NDArray[np.uint8], label: int) -> dict[str, object]:
    from pycocotools import mask as coco

    runs = coco.encode(np.asfortranarray(mask == label, np.uint8))
    ignored = label == IGNORE
    return {
        "category_id": 1 if ignored else label,
        "iscrowd": int(ignored),
        "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")},
        "area": int(coco.area(runs)),
        "bbox": [float(side) for side in coco.toBbox(runs)],
    }


class _Document:
    """One COCO file.

    Raises:
        DatasetError: it is malformed.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        values = read_json(file)
        self.categories = {
            _whole(row, "id", file): str(row.get("name", "")) or f"category {row['id']}"
            for row in sorted(_rows(values, "categories", file), key=lambda row: _whole(row, "id", file))
        }
        if not self.categories:
            raise DatasetError(f"{file}: names no categories")
        info = values.get("info")
        self.background = str(info.get(_BACKGROUND) or _BACKGROUND) if isinstance(info, dict) else _BACKGROUND
        self.images = _rows(values, "images", file)
        self.left_out: list[str] = []
        self._outlines = self._by_image(_rows(values, "annotations", file))

    def items(
        self, base: Path | None
    ) -> tuple[list[tuple[Path, Mapping[str, object], tuple[_Outline, ...]]], list[str]]:
        """Return image file, image row and outlines of each image that is there, and what is missing."""
        names = [_relative(row, self.file) for row in self.images]
        base = base or _base(self.file, names)
        found, missing = [], []
        for name, row in zip(names, self.images, strict=True):
            file = base / name
            if file.is_file():
                found.append((file, row, tuple(self._outlines.get(_whole(row, "id", self.file), ()))))
            else:
                missing.append(f"{name} is not in {base}")
        return found, missing

    def _by_image(self, rows: Sequence[Mapping[str, object]]) -> dict[int, list[_Outline]]:
        ids = {category: label for label, category in enumerate(self.categories, start=1)}
        found: dict[int, list[_Outline]] = defaultdict(list)
        empty = 0
        for row in rows:
            where = f"{self.file}: annotation {row.get('id')}"
            category = _whole(row, "category_id", self.file)
            if category not in ids:
                raise DatasetError(f"{where} has the category {category}, which the file does not name")
            if not row.get("segmentation"):
                empty += 1
                continue
            label = IGNORE if row.get("iscrowd") else ids[category]
            outline = _Outline(label=label, segmentation=row["segmentation"], where=where)
            found[_whole(row, "image_id", self.file)].append(outline)
        if empty:
            self.left_out.append(f"{empty} annotations of {self.file.name} have no outline")
        return found


def _item(name: str, file: Path, row: Mapping[str, object], outlines: tuple[_Outline, ...]) -> Item:
    size = row.get("height"), row.get("width")
    group = row.get("group")
    return Item(
        name=name,
        origin=file,
        image=file,
        mask=partial(_paint, file, size, outlines),
        group=str(group) if group is not None else None,
    )


def _paint(file: Path, size: tuple[object, object], outlines: Sequence[_Outline]) -> NDArray[np.uint8]:
    """Return the class ids of one image: crowds first, then large objects before small ones."""
    (width, height), orientation, _ = read_header(file)
    shown = (width, height) if orientation > 4 else (height, width)
    if size not in (shown, (height, width), (None, None)):
        raise DatasetError(
            f"{file}: is {width} x {height}, but its COCO file says {size[1]} x {size[0]}; use the images it was made for"
        )
    raw = orientation != 1 and size == (height, width) != shown
    canvas = (height, width) if raw else shown
    painted = [(outline.label, *_cropped(_region(outline, *canvas))) for outline in outlines]
    painted.sort(key=lambda one: (one[0] != IGNORE, -int(one[2].sum())))
    mask = np.zeros(canvas, np.uint8)
    for label, place, region in painted:
        mask[place][region] = label
    return turned(mask, orientation) if raw else mask


def _cropped(region: NDArray[np.bool_]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return where a region lies and its pixels there, so that many regions of a large image fit into memory."""
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return (slice(0), slice(0)), np.zeros((0, 0), bool)
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return place, region[place].copy()


def _region(outline: _Outline, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels (height x width) of an annotation."""
    if isinstance(outline.segmentation, dict):
        runs = outline.segmentation
        if runs.get("size") != [height, width]:
            raise DatasetError(f"{outline.where}: its runs are for {runs.get('size')}, its image is {height} x {width}")
        return from_counts(runs.get("counts"), height, width, outline.where)
    from pycocotools import mask as coco

    region = np.zeros((height, width), bool)
    for polygon in _polygons(outline, height, width):
        counts = coco.frPyObjects([polygon], height, width)[0]["counts"]
        region |= from_counts(counts.decode("ascii"), height, width, outline.where)
    return region


def _polygons(outline: _Outline, height: int, width: int) -> Iterator[list[float]]:
    """Yield the polygons that have an inside, checked."""
    if not isinstance(outline.segmentation, list):
        raise DatasetError(f"{outline.where}: its segmentation is neither polygons nor run lengths")
    for polygon in outline.segmentation:
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(isinstance(at, int | float) for at in polygon):
            raise DatasetError(f"{outline.where}: a polygon must be a list x1, y1, x2, y2, …")
        try:
            points = np.array(polygon, np.float64).reshape(-1, 2)
        except OverflowError:
            points = np.array([[np.inf, np.inf]])
        if not (np.isfinite(points).all() and (np.abs(points) <= 2.0 * np.array([width, height]) + 16).all()):
            raise DatasetError(f"{outline.where}: a polygon lies far outside its image of {width} x {height}")
        if len(points) >= 3:
            yield [float(at) for at in polygon]


def _files(path: Path) -> list[Path]:
    """Return the COCO files at or below `path`; of several kinds, those of instances."""
    if path.is_file():
        return [path] if _looks_like(path) else []
    try:
        jsons = [file for file in walk(path) if file.suffix.lower() == ".json"] if path.is_dir() else []
    except DatasetError:
        return []
    found = [file for file in jsons if file.parent.name != "ann" and _looks_like(file)]
    return [file for file in found if "instances" in file.name] or found


def _looks_like(file: Path) -> bool:
    if not file.is_file():  # a pipe would be waited for
        return False
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and all(
                text.find(key, 0) >= 0 for key in _KEYS
            )
    except (OSError, ValueError):
        return False


def _base(file: Path, names: Sequence[PurePosixPath]) -> Path:
    """Return the folder, near the JSON file, that most of the first names lie in."""
    near = [file.parent, file.parent.parent] if "annotation" in file.parent.name.lower() else [file.parent]
    folders = [*near, *(inner for folder in near for inner in _folders(folder, 2))]
    return max(folders, key=lambda folder: sum((folder / name).is_file() for name in names[:_TRIED]))


def _folders(parent: Path, depth: int) -> Iterator[Path]:
    try:
        inner = sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for folder in inner:
        yield folder
        if depth > 1:
            yield from _folders(folder, depth - 1)


def _rows(values: Mapping[str, object], key: str, file: Path) -> list[Mapping[str, object]]:
    rows = values.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{file}: {key} must be a list of objects")
    return rows


def _whole(row: Mapping[str, object], key: str, file: Path) -> int:
    value = row.get(key)
    if isinstance(value, str) and value.isdecimal() and len(value) < _DIGITS:  # some tools write ids as text
        value = int(value)
    if not isinstance(value, int):
        raise DatasetError(f"{file}: {key} is {repr(value)[:40]}, not a number, in {str(row)[:80]}")
    return value


def _relative(row: Mapping[str, object], file: Path) -> PurePosixPath:
    name = row.get("file_name")
    path = PurePosixPath(name.replace("\\", "/")) if isinstance(name, str) else PurePosixPath()
    long = any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in path.parts)
    if not path.parts or ".." in path.parts or "\0" in str(name) or long:
        raise DatasetError(f"{file}: the file name {str(name)[:99]!r} must be a relative path without '..'")
    return PurePosixPath(path.name) if path.is_absolute() else path
