"""Hugging Face datasets with an image and a mask column: Parquet, `save_to_disk`, image folders, or a name of the hub."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset, Task
from qttseg.metadata.examination import in_threads
from qttseg.metadata.folders import class_ids, describe
from qttseg.metadata.formats.items import (
    MOST_CLASSES,
    Item,
    Reading,
    image_file,
    known_rules,
    png,
    read_json,
    unique_names,
    walk,
)
from qttseg.metadata.hub import hub_failures, in_a_line
from qttseg.metadata.images import read_mask

if TYPE_CHECKING:
    import datasets

IMAGE_COLUMNS = ("image", "pixel_values", "img", "picture")
MASK_COLUMNS = ("mask", "label", "annotation", "labels", "segmentation", "segmentation_mask", "gt")
_NAMES = "id2label.json"
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SAVED = ("dataset_dict.json", "state.json")
_ROWS_AT_ONCE = 64


def detect(path: Path) -> str | None:
    """Return which files of a Hugging Face dataset are there."""
    if path.is_file():
        return f"the Parquet file {path.name}" if path.suffix == ".parquet" else None
    if not path.is_dir():
        return None
    if any((path / name).is_file() for name in _SAVED):
        return "a dataset written by save_to_disk"
    try:
        files = list(walk(path))
    except DatasetError:
        return None
    tables = [file for file in files if file.suffix == ".parquet" and file.name not in _METADATA]
    if tables:
        return f"{len(tables)} Parquet files such as {tables[0].name}"
    described = next((file for file in files if file.name in _METADATA and _names_files(file)), None)
    return f"an image folder with {described.name}" if described else None


def read(path: Path, rules: Mapping[str, str]) -> Reading:
    """Return the dataset of Parquet files, a folder or, where there is no such path, a name of the hub.

    Class names come from `id2label.json`, groups from a column `group`, item names from the images' paths. Without
    class names all masks are read once.

    Args:
        path: A file, a folder, or `owner/name`.
        rules: `image` and `mask` name the columns, `split` the split; all splits by default.

    Raises:
        DatasetError: it cannot be loaded, or holds no such columns of images.
    """
    known_rules(rules, "image", "mask", "split")
    splits, scratch = _splits(path)
    try:
        reading = _reading(path, splits, rules)
    except BaseException:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    if scratch is not None:
        weakref.finalize(reading.items[0], shutil.rmtree, scratch, ignore_errors=True)
    return reading


def _reading(path: Path, splits: Mapping[str, datasets.Dataset], rules: Mapping[str, str]) -> Reading:
    split = rules.get("split")
    if split is not None and split not in splits:
        raise DatasetError(f"{path}: has no split {split!r}; it has {', '.join(splits)}")
    splits = splits if split is None else {split: splits[split]}
    columns = {part: found for part, rows in splits.items() if (found := _columns(rows, rules)) is not None}
    if not columns:
        raise _unclear(path, splits)
    tables = [
        (part, _undecoded(splits[part], image), _undecoded(splits[part], mask), _groups(splits[part]))
        for part, (image, mask) in columns.items()
    ]
    origins = [file for part, images, _, _ in tables for file in _paths(part, images)]
    names = unique_names(origins)
    masks: list[Callable[[], NDArray[np.uint8]]] = [
        partial(_values, rows, index, f"{path}: mask of {part} row {index}")
        for part, _, rows, _ in tables
        for index in range(len(rows))
    ]
    task, classes, ignores = _classes(path, masks)
    places = [(images, index, groups) for _, images, _, groups in tables for index in range(len(images))]
    items = [
        Item(
            name=name,
            origin=path / origin,
            image=partial(_content, images, index, f"{path}: image of row {index}"),
            mask=mask if ignores else partial(_ids, mask, task),
            group=groups[index] if groups else None,
        )
        for name, origin, mask, (images, index, groups) in zip(names, origins, masks, places, strict=True)
    ]
    return Reading(
        task=task,
        classes=classes,
        items=tuple(sorted(items, key=lambda item: item.name)),
        left_out=tuple(f"split {part} has no masks" for part in splits if part not in columns),
    )


def write(dataset: Dataset, folder: Path) -> None:
    """Write `data/train-00000-of-00001.parquet` with the columns image, mask and, where known, group; `id2label.json`."""
    import pyarrow.parquet as pq
    from datasets import Features, Image, Value

    features = Features({"image": Image(), "mask": Image()})
    if dataset.groups is not None:
        features["group"] = Value("string")
    (folder / "data").mkdir()
    ignored = False
    schema = features.arrow_schema
    with pq.ParquetWriter(folder / "data/train-00000-of-00001.parquet", schema) as out:
        for start in range(0, len(dataset), _ROWS_AT_ONCE):
            rows = []
            for index in range(start, min(start + _ROWS_AT_ONCE, len(dataset))):
                (content, suffix), mask, name = image_file(dataset, index), dataset[index].mask, dataset.names[index]
                ignored = ignored or bool((mask == IGNORE).any())
                rows.append(
                    {
                        "image": {"bytes": content, "path": f"{name}{suffix}"},
                        "mask": {"bytes": png(mask), "path": f"{name}.png"},
                        "group": dataset.groups[index] if dataset.groups else None,
                    }
                )
            out.write_table(pa.Table.from_pylist(rows, schema=schema))
    named = dict(enumerate(dataset.classes)) | ({IGNORE: "ignore"} if ignored else {})
    (folder / _NAMES).write_text(json.dumps(named, indent=1), encoding="utf-8")


def _splits(path: Path) -> tuple[dict[str, datasets.Dataset], str | None]:
    """Return the rows of each split, and the folder that is to go when they are no longer used."""
    from datasets import Dataset as Rows
    from datasets.exceptions import DatasetsError

    try:
        with _quietly():
            loaded, scratch = _load(path)
    except (DatasetsError, pa.ArrowException, KeyError, TypeError, NotImplementedError, *hub_failures()) as error:
        advice = "check the path" if path.exists() else _by_hand(path)
        raise DatasetError(
            f"{path}: Hugging Face's datasets cannot load this ({in_a_line(error.__cause__ or error)}); {advice}"
        ) from error
    return {"train": loaded} if isinstance(loaded, Rows) else dict(loaded), scratch


def _by_hand(name: Path) -> str:
    return (
        f"check the name; by hand: open https://huggingface.co/datasets/{name.as_posix()}, get its files into a folder, "
        "and go on with `qttseg datasets add NAME FOLDER --format hf`"
    )


def _load(path: Path) -> tuple[datasets.Dataset | datasets.DatasetDict, str | None]:
    from datasets import load_dataset, load_from_disk

    if not path.exists():
        return load_dataset(path.as_posix()), None
    if any((path / name).is_file() for name in _SAVED):
        return load_from_disk(str(path)), None
    scratch = tempfile.mkdtemp(prefix="qttseg-")  # the library copies what it reads, which need not outlive the rows
    try:
        tables: dict[str, list[str]] = {}
        for file in [path] if path.is_file() else [file for file in walk(path) if file.suffix == ".parquet"]:
            if file.name not in _METADATA and file.is_file():
                tables.setdefault(_split_of(file), []).append(str(file))
        loaded = (
            load_dataset("parquet", data_files=tables, cache_dir=scratch)
            if tables
            else load_dataset("imagefolder", data_dir=str(path), cache_dir=scratch)
        )
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return loaded, scratch


def _split_of(file: Path) -> str:
    """Return the split that a Parquet file belongs to, as in `train-00000-of-00002.parquet`; one word, as is asked."""
    word = file.stem.split("-")[0]
    return word if word.isidentifier() else "train"


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library's progress bars off the terminal."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _columns(rows: datasets.Dataset, rules: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the names of the columns of images and of masks, None where one is missing."""
    pictures = _pictures(rows)
    image = rules.get("image") or next((name for name in IMAGE_COLUMNS if name in pictures), None)
    mask = rules.get("mask") or next((name for name in MASK_COLUMNS if name in pictures and name != image), None)
    if image is None or mask is None or image == mask or not {image, mask} <= set(pictures):
        return None
    return image, mask


def _pictures(rows: datasets.Dataset) -> list[str]:
    from datasets import Image

    return [name for name, feature in rows.features.items() if isinstance(feature, Image)]


def _unclear(path: Path, splits: Mapping[str, datasets.Dataset]) -> DatasetError:
    rows = next(iter(splits.values()))
    return DatasetError(
        f"{path}: which columns are image and mask? Its columns are {', '.join(rows.features)}, of which "
        f"{', '.join(_pictures(rows)) or 'none'} hold pictures; say --rule image=COLUMN --rule mask=COLUMN"
    )


def _undecoded(rows: datasets.Dataset, column: str) -> datasets.Dataset:
    from datasets import Image

    return rows.select_columns([column]).cast_column(column, Image(decode=False))


def _groups(rows: datasets.Dataset) -> list[str] | None:
    return [str(group) for group in rows["group"]] if "group" in rows.features else None


def _paths(split: str, rows: datasets.Dataset) -> list[str]:
    """Return where each image came from, or split and number where that is not told; reads no image."""
    import pyarrow.compute as pc

    (column,) = rows.column_names
    paths = pc.struct_field(rows.data.column(column), "path").to_pylist()
    return [Path(path).name if path else f"{split}_{index:06d}" for index, path in enumerate(paths)]


def _content(rows: datasets.Dataset, index: int, where: str) -> bytes:
    (value,) = rows[index].values()
    try:
        if value and value["bytes"] is not None:
            return bytes(value["bytes"])
        if value and value["path"]:
            return Path(value["path"]).read_bytes()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{where}: cannot be read ({error}); mend or drop the row") from error
    raise DatasetError(f"{where}: is empty; drop the row")


def _values(rows: datasets.Dataset, index: int, where: str) -> NDArray[np.uint8]:
    return read_mask(Path(where), _content(rows, index, where))


def _ids(read: Callable[[], NDArray[np.uint8]], task: Task) -> NDArray[np.uint8]:
    return class_ids(read(), task)


def _classes(path: Path, masks: Sequence[Callable[[], NDArray[np.uint8]]]) -> tuple[Task, tuple[str, ...], bool]:
    """Return task, class names, and whether 255 is told to be ignored."""
    named = _named(path)
    if named:
        labels = [label for label in named if 0 <= label <= MOST_CLASSES]
        classes = tuple(named.get(label, f"class {label}") for label in range(max(labels, default=0) + 1))
        return "binary" if len(classes) == 2 else "multiclass", classes, IGNORE in named
    found = describe(path, {}, lambda: list(in_threads(lambda mask: np.unique(mask()), masks)))
    return found.task, found.classes, False


def _named(path: Path) -> dict[int, str]:
    file = path / _NAMES if path.is_dir() else path.with_name(_NAMES)
    if not path.exists():
        file = _from_hub(path) or file
    if not file.is_file():
        return {}
    values = read_json(file)
    if not all(re.fullmatch("[0-9]{1,9}", label) and isinstance(name, str) for label, name in values.items()):
        raise DatasetError(f"{file}: must map class ids to names")
    return {int(label): str(name) for label, name in values.items()}


def _from_hub(name: Path) -> Path | None:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name.as_posix(), _NAMES, repo_type="dataset"))
    except hub_failures():
        return None


def _names_files(file: Path) -> bool:
    if not file.is_file():  # a pipe would be waited for
        return False
    try:
        with file.open("rb") as opened:
            return b"file_name" in opened.read(2**16)
    except OSError:
        return False
