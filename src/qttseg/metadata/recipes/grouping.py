"""Which images must not be parted: the recipe's rule for groups, applied to every item."""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping

from qttseg.errors import DatasetError
from qttseg.metadata.recipes.pairing import Files, Pair
from qttseg.metadata.recipes.recipe import Groups
from qttseg.metadata.recipes.templates import fill


def group_keys(groups: Groups, pairs: Mapping[str, Pair], files: Files) -> dict[str, str | None]:
    """Return the group of each item by its name; None where the rule gives none.

    Raises:
        DatasetError: the table of groups or the expression cannot be read.
    """
    table = _table(groups, files)
    try:
        pattern = re.compile(groups.pattern)
    except re.error as error:
        raise DatasetError(f"the group pattern {groups.pattern!r} is malformed: {error}") from error
    found = {}
    for name, pair in pairs.items():
        text = fill(groups.by, pair.places)
        found[name] = _key(groups, text.lower() if groups.lower else text, pattern, table)
    return found


def completed(keys: Mapping[str, str | None]) -> dict[str, str]:
    """Return the groups with every item without one as a group of its own."""
    return {name: f"{name} alone" if key is None else key for name, key in keys.items()}


def joined_by_twins(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return groups in which images of equal pixels are together; None where no two are equal.

    Args:
        names: Item name → digest of the image.
    """
    twins: dict[str, list[str]] = defaultdict(list)
    for name, digest in names.items():
        twins[digest].append(name)
    return {name: twins[digest][0] for name, digest in names.items()} if len(twins) < len(names) else None


def _key(groups: Groups, text: str, pattern: re.Pattern[str], table: Mapping[str, str] | None) -> str | None:
    if table is not None:
        return table.get(text)
    if groups.starts or groups.block:
        if not text.isdecimal():
            return None
        number = int(text)
        return str(bisect_right(groups.starts, number) if groups.starts else number // groups.block)
    if groups.pattern:
        match = pattern.search(text)
        return match[1] if match else None
    return text or None


def _table(groups: Groups, files: Files) -> dict[str, str] | None:
    """Return key → group from the CSV file that the recipe names, None where the source has none."""
    if not groups.table:
        return None
    name, key, group = groups.table
    file = next((file for path, file in files.items() if path.rsplit("/", 1)[-1] == name), None)
    if file is None:
        return None
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return {row[key].strip(): row[group].strip() for row in csv.DictReader(text)}
    except (OSError, KeyError, ValueError, AttributeError, csv.Error) as error:
        raise DatasetError(f"{name} must be a CSV file with the columns {key} and {group}: {error!r}") from error
