"""The formats by name, and which of them a path is in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset, entry_points_of
from qttseg.metadata.formats.items import Reading

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

FORMATS = ("coco", "nnunet", "supervisely", "hf", "palette", "folders")
"""Modules of this package, in the order in which they are asked; the least particular comes last."""

WRITABLE = ("coco", "hf", "nnunet", "folders", "palette")

ENTRY_POINTS = "qttseg.formats"
"""Entry-point group under which other packages register modules (or objects) with `detect` and `read`."""


class Format(Protocol):
    """A layout that datasets are kept in."""

    def detect(self, path: Path) -> str | None:
        """Return what makes `path` look like this format, None if nothing does; reads little and raises nothing."""
        ...

    def read(self, path: Path, rules: Mapping[str, str]) -> Reading:
        """Return the dataset at `path`; `rules` say what the files do not."""
        ...


class WritableFormat(Format, Protocol):
    """A layout that datasets can be exported to."""

    def write(self, dataset: Dataset, folder: Path) -> None:
        """Write all of `dataset` into the empty `folder`."""
        ...


def format_named(name: str) -> Format:
    """Return the format of this name.

    Raises:
        DatasetError: there is none.
    """
    if name in FORMATS:
        return cast("Format", import_module(f"qttseg.metadata.formats.{name}"))
    if name in _registered():
        return cast("Format", _registered()[name].load())
    raise DatasetError(f"there is no format {name!r}; known are auto, {', '.join(_names())}")


def writable_format(name: str) -> WritableFormat:
    """Return the format of this name to write in.

    Raises:
        DatasetError: there is none, or it is only read.
    """
    if name not in WRITABLE:
        raise DatasetError(f"nothing can be exported as {name!r}; choose from {', '.join(WRITABLE)}")
    return cast("WritableFormat", format_named(name))


def detect(path: Path) -> tuple[str, str]:
    """Return the name of the format that `path` is in, and what tells.

    Raises:
        DatasetError: it is in none.
    """
    for name in _names():
        reason = format_named(name).detect(path)
        if reason is not None:
            return name, reason
    from qttseg.metadata.formats.pairs import tree

    raise DatasetError(
        f"{path} is in no known format ({', '.join(_names())}). Found: {tree(path)}. Give --format, "
        "and for folders --rule images=FOLDER --rule masks=FOLDER"
    )


def innermost(root: Path) -> Path:
    """Return `root`, or, where folders hold nothing but one folder, the one inside that holds something."""
    while root.is_dir():
        inner = [path for path in root.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(inner) != 1 or not inner[0].is_dir() or inner[0].is_symlink():
            break
        root = inner[0]
    return root


def _registered() -> dict[str, EntryPoint]:
    return entry_points_of(ENTRY_POINTS, tuple(sys.path))


def _names() -> tuple[str, ...]:
    return (*FORMATS, *sorted(_registered()))
