"""Taking a dataset in any format into the user's library, and giving one out in another format."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.archives import is_archive, unpack
from qttseg.metadata.aside import appearing
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.examination import in_threads
from qttseg.metadata.formats.items import Item, Reading, groups_of, plain_name
from qttseg.metadata.formats.registry import detect, format_named, innermost, writable_format
from qttseg.metadata.formats.writing import FolderWriter
from qttseg.metadata.library import data_home, installing

AUTO = "auto"
_NAMED = 5

Progress = Callable[[int, int], None]
"""Told how many of how many items are done."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What was added.

    Attributes:
        folder: Where the dataset lies now.
        format: The format it was in.
        reason: What told the format.
        left_out: What was passed over and why.
    """

    folder: Path
    format: str
    reason: str
    left_out: tuple[str, ...]


def add(
    name: str,
    path: str | Path,
    *,
    format: str = AUTO,  # noqa: A002
    rules: Mapping[str, str] | None = None,
    link: bool = False,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Addition:
    """Take the dataset at `path` into the library as `name`; whole, or not at all.

    Image files are taken over byte by byte; masks are written as 8-bit class ids. Every pair is read once.

    Args:
        name: What commands will call it.
        path: A folder, a file, a zip or tar archive, or a name of the Hugging Face hub (`format` is hf then).
        format: One of `formats.registry.FORMATS`, or `auto`.
        rules: What a format cannot tell by itself; see each format's `read`.
        link: Whether images become links to the files where they are, instead of copies.
        skip_bad: Whether pairs that cannot be read are left out instead of being an error.
        progress: Told after each pair.

    Raises:
        DatasetError: the name is taken, the format is not recognised, a file is damaged, or the disk refuses.
    """
    path = Path(path).expanduser()
    if not path.exists() and format != "hf":
        raise DatasetError(f"there is no file or folder {path}; for a name of the Hugging Face hub say --format hf")
    with installing(name) as folder:
        unpacked = folder / ".unpacked"
        if is_archive(path):
            if link:
                raise DatasetError(f"{path}: images in an archive cannot be linked to; leave --link out")
            unpack(path, unpacked)
            path = innermost(unpacked)
        form, reason = detect(path) if format == AUTO else (format, "as told")
        reading = format_named(form).read(path, rules or {})
        left_out = _write(folder, name, reading, link=link, skip_bad=skip_bad, progress=progress)
        shutil.rmtree(unpacked, ignore_errors=True)
    return Addition(folder=data_home() / name, format=form, reason=reason, left_out=(*reading.left_out, *left_out))


def export(dataset: Dataset, folder: str | Path, *, format: str) -> None:  # noqa: A002
    """Write `dataset` into `folder` in another format; whole, or not at all.

    Args:
        dataset: Any dataset.
        folder: Is made; must not exist, or be empty.
        format: One of `formats.registry.WRITABLE`.

    Raises:
        DatasetError: the format is unknown or cannot hold the dataset, an item is damaged, or the disk refuses.
    """
    form = writable_format(format)
    wrong = [name for name in dataset.names if name != plain_name(name)]
    if wrong:
        raise DatasetError(f"dataset {dataset.name}: the item {wrong[0]!r} cannot be a file's name; rename it")
    try:
        with appearing(Path(folder)) as aside:
            form.write(dataset, aside)
    except UnicodeError as error:
        raise DatasetError(f"dataset {dataset.name}: a name is no Unicode text ({error}); rename its file") from error


def open_dataset(path: str | Path, *, format: str = AUTO, name: str | None = None, rules: Mapping[str, str]) -> Dataset:  # noqa: A002
    """Return the dataset at `path`, read where it lies.

    Raises:
        DatasetError: the format is not recognised, or the dataset is malformed.
    """
    path = Path(path).expanduser()
    form = detect(path)[0] if format == AUTO else format
    return format_named(form).read(path, rules).dataset(name or path.stem)


def _write(
    folder: Path, name: str, reading: Reading, *, link: bool, skip_bad: bool, progress: Progress | None
) -> list[str]:
    """Write all pairs and `dataset.json`; return what is wrong with the pairs that were left out."""
    writer, done, total = FolderWriter(folder), itertools.count(1), len(reading.items)

    def work(item: Item) -> str | None:
        try:
            sample = item.load(len(reading.classes))
            writer.write(item.name, _image(item, link=link), item.suffix(), sample.mask)
        except DatasetError as error:
            return str(error)
        finally:
            if progress is not None:
                progress(next(done), total)
        return None

    outcomes = list(in_threads(work, reading.items))
    bad = [problem for problem in outcomes if problem is not None]
    kept = [item for item, problem in zip(reading.items, outcomes, strict=True) if problem is None]
    if bad and (not skip_bad or not kept):
        more = f"\nand {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DatasetError(
            "\n".join(bad[:_NAMED]) + f"{more}\nNothing was added: mend these files, or leave them out with --skip-bad"
        )
    groups = groups_of(kept)
    writer.finish(
        name=name,
        task=reading.task,
        classes=reading.classes,
        groups=groups,
        names=[item.name for item in kept],
        details=reading.details,
    )
    return bad


def _image(item: Item, *, link: bool) -> bytes | Path:
    if not link:
        return item.content()
    if not isinstance(item.image, Path):
        raise DatasetError(f"{item.origin}: its image is no file that could be linked to; leave --link out")
    return item.image
