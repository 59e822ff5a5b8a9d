"""Suites: names that stand for several datasets, and what of them is here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import is_dataset, unknown_dataset

PAPER = "paper13"
FOLDERS = "folders:"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The datasets that a text stands for.

    Attributes:
        members: Names and absolute folders that `resolve_dataset` knows.
        missing: Members that are not here → how to get them.
    """

    members: tuple[str, ...]
    missing: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        """What results and curves call the datasets, the missing ones among them."""
        from qttseg.metadata.folders import read_description

        folders = {name: Path(name) for name in self.members if Path(name).is_absolute()}
        described = {name: str(read_description(path).get("name", path.name)) for name, path in folders.items()}
        return frozenset(described.get(name, name) for name in self.members) | frozenset(self.missing)


def open_suite(text: str) -> Suite:
    """Return the datasets that `text` stands for, those that are not here apart.

    Args:
        text: A comma-separated mix of dataset names, folders, `paper13` (the paper's datasets), `procedural13` (all
            thirteen procedural datasets in the paper's manner), `procedural4` (three binary ones and a multiclass one),
            `prompt-learning` (three procedural ones on which a point is ambiguous), `folders:PATH` (each dataset
            folder directly below `PATH`), and TOML files whose list `datasets` holds any of these, folders as seen
            from the file.

    Raises:
        DatasetError: a part names nothing, or a suite file is malformed.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise DatasetError(
            "no dataset named; try procedural13, paper13, folders:PATH, a suite's TOML file, or names by commas"
        )
    found = [name for part in parts for name in _expanded(part, Path())]
    return Suite(
        members=tuple(dict.fromkeys(name for name, lack in found if lack is None)),
        missing={name: lack for name, lack in found if lack is not None},
    )


def resolve_suite(text: str) -> tuple[str, ...]:
    """Return the names and folders that `text` stands for, each of which `resolve_dataset` knows; see `open_suite`.

    Raises:
        DatasetError: a part names nothing, or a member is not here; the message says how to get each.
    """
    suite = open_suite(text)
    if suite.missing:
        ways = "\n".join(f"  {name}: {way}" for name, way in suite.missing.items())
        raise DatasetError(
            f"{len(suite.missing)} of {len(suite.missing) + len(suite.members)} datasets of {text} are not here:\n{ways}\n"
            "Get them, or go on without them by --available"
        )
    return suite.members


def _expanded(part: str, start: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (member, how to get it or None where it is here); folders are seen from `start`."""
    from qttseg.metadata.procedural.suite import SUITES
    from qttseg.metadata.recipes.catalogue import NAMES, PAPER13

    folder = start / Path(part).expanduser()
    if part in SUITES:
        yield from ((name, None) for name in SUITES[part])
    elif part == PAPER:
        yield from ((name, None if is_dataset(name) else _way(name)) for name in PAPER13)
    elif part.startswith(FOLDERS):
        root = start / Path(part.removeprefix(FOLDERS)).expanduser()
        yield from ((name, None) for name in _folders_below(root))
    elif part.endswith(".toml"):
        for inner in _listed(folder):
            yield from _expanded(inner, folder.parent)
    elif is_dataset(part):
        yield part, None
    elif folder.is_dir():
        yield str(folder.absolute()), None
    elif part in NAMES:
        yield part, _way(part)
    else:
        raise unknown_dataset(part, [*SUITES, PAPER, *NAMES])


def _way(name: str) -> str:
    return f"`qttseg datasets fetch {name}`; `qttseg datasets info {name}` tells where it is from"


def _folders_below(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise DatasetError(f"{FOLDERS}{root} names no folder; give the one that holds the dataset folders")
    found = tuple(
        str(path.absolute())
        for path in sorted(root.iterdir())
        if (path / "images").is_dir() and (path / "masks").is_dir()
    )
    if not found:
        raise DatasetError(f"no folder directly below {root} has the sub-folders images and masks")
    return found


def _listed(file: Path) -> list[str]:
    """Return the list `datasets` of a suite file."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f'{file} cannot be read as a suite: {error}; write datasets = ["…"]') from error
    members = values.get("datasets")
    if set(values) != {"datasets"} or not isinstance(members, list) or not members:
        raise DatasetError(
            f"{file} must hold one key, datasets, a list of names; it holds {', '.join(values) or 'none'}"
        )
    wrong = [member for member in members if not isinstance(member, str) or member.endswith(".toml")]
    if wrong:
        raise DatasetError(f"{file}: {wrong[0]!r} is no dataset; list names, folders and suites, not suite files")
    return members
