"""Masks for new images from a tuned model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.colours import palette
from qttseg.metadata.images import read_image
from qttseg.metadata.overlays import painted
from qttseg.pipelines.models import load_model
from qttseg.pipelines.prompts import Box, Points, Prompt

if TYPE_CHECKING:
    from qttseg.pipelines.models import TunedModel

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
_AT_ONCE = 8


def predict_images(
    model_folder: Path,
    images: Path,
    out: Path,
    *,
    boxes: Path | None = None,
    points: Path | None = None,
    overlays: bool = True,
    device: str = "cpu",
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> tuple[Path, ...]:
    """Segment `images` and write one palette PNG of class ids (0 background) for each, in `out`.

    Args:
        model_folder: What `qttseg tune` wrote.
        images: An image or a folder of images.
        out: Folder of the masks, made where it is missing.
        boxes: JSON of file name → class name or id → [x0, y0, x1, y1] in pixels; for a model of one class the box
            may stand alone.
        points: JSON of file name → class name or id → [[x, y], ...] in pixels, all inside the object; for a model of
            one class the list may stand alone. Without boxes and points the whole image is the prompt for every class.
        overlays: Write `NAME-overlay.jpg` beside each mask.
        device: Where to run.
        on_progress: Told the images done and their number.

    Raises:
        BackboneError: `model_folder` holds no model.
        DatasetError: an image cannot be read, there is none, or the prompts do not fit them.
    """
    model = load_model(model_folder, device=device)
    files = _files(images)
    prompts = None
    if boxes is not None:
        prompts = read_prompts(boxes, files, model.classes, kind="box")
    elif points is not None:
        prompts = read_prompts(points, files, model.classes, kind="point")
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for start in range(0, len(files), _AT_ONCE):
        chunk = files[start : start + _AT_ONCE]
        pictures = [read_image(file) for file in chunk]
        chosen = [
            _whole(picture, model) if prompts is None else prompts[file.name]
            for file, picture in zip(chunk, pictures, strict=True)
        ]
        for file, picture, labels in zip(chunk, pictures, model.segmenter.segment_all(pictures, chosen), strict=True):
            written.append(_write(out / f"{file.stem}.png", labels))
            if overlays:
                Image.fromarray(painted(picture, labels)).save(out / f"{file.stem}-overlay.jpg")
        on_progress(len(written), len(files))
    return tuple(written)


def _files(images: Path) -> list[Path]:
    if images.is_file():
        return [images]
    if not images.is_dir():
        raise DatasetError(f"there is no image and no folder {images}")
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise DatasetError(f"{images} holds no image; endings looked for are {', '.join(sorted(SUFFIXES))}")
    stems = [file.stem for file in files]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise DatasetError(f"{images} holds two images named {doubled[0]}; their masks would overwrite each other")
    return files


def _whole(picture: NDArray[np.uint8], model: TunedModel) -> dict[int, Prompt]:
    height, width = picture.shape[:2]
    return dict.fromkeys(range(1, len(model.classes)), (0.0, 0.0, float(width), float(height)))


def _write(path: Path, labels: NDArray[np.uint8]) -> Path:
    mask = Image.fromarray(labels, mode="P")
    mask.putpalette(palette().astype(np.uint8).tobytes())
    mask.save(path)
    return path


def read_prompts(
    path: Path, files: Sequence[Path], classes: Sequence[str], *, kind: Literal["box", "point"]
) -> dict[str, dict[int, Prompt]]:
    """Return the prompts of each image by file name.

    Raises:
        DatasetError: the file is no such JSON, an image has no prompts, or a class is unknown.
    """
    what = {"box": "boxes", "point": "points"}[kind]
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"the {what} in {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path} must be a JSON object of file name → {what}")
    missing = [file.name for file in files if file.name not in document]
    if missing:
        raise DatasetError(f"{path} has no {what} for {len(missing)} images, the first {missing[0]}; add them")
    read: Callable[[object, str], Prompt] = _box if kind == "box" else _points
    return {file.name: _prompts(document[file.name], classes, read, f"{path}, {file.name}") for file in files}


def _prompts(
    entry: object, classes: Sequence[str], read: Callable[[object, str], Prompt], where: str
) -> dict[int, Prompt]:
    if isinstance(entry, list) and len(classes) == 2:
        entry = {classes[1]: entry}
    if not isinstance(entry, Mapping):
        example = "[x0, y0, x1, y1]" if read is _box else "[[x, y]]"
        raise DatasetError(f'{where}: give a prompt for each class, as {{"{classes[1]}": {example}}}')
    return {_class_id(str(name), classes, where): read(prompt, where) for name, prompt in entry.items()}


def _class_id(name: str, classes: Sequence[str], where: str) -> int:
    if name in classes[1:]:
        return classes.index(name)
    if name.isdigit() and 0 < int(name) < len(classes):
        return int(name)
    raise DatasetError(f"{where}: the model has no class {name!r}; it has {', '.join(classes[1:])}")


def _box(box: object, where: str) -> Box:
    if _numbers(box, 4):
        x0, y0, x1, y1 = map(float, box)
        if x0 < x1 and y0 < y1:
            return x0, y0, x1, y1
    raise DatasetError(f"{where}: {box!r} is no box; write [x0, y0, x1, y1] with x0 < x1 and y0 < y1")


def _points(points: object, where: str) -> Points:
    listed = [points] if _numbers(points, 2) else points
    if isinstance(listed, list) and listed and all(_numbers(point, 2) for point in listed):
        return tuple((float(x), float(y)) for x, y in listed)
    raise DatasetError(f"{where}: {points!r} is no list of points; write [[x, y]], or more of them")


def _numbers(value: object, count: int) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == count and all(isinstance(side, int | float) for side in value)
