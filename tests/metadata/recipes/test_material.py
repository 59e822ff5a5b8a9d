"""Of an archive only what a recipe needs is unpacked; the rest is named, so that a report can show it."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qttseg.errors import DatasetError
from qttseg.metadata.recipes.catalogue import recipe_of
from qttseg.metadata.recipes.material import files_of
from qttseg.metadata.recipes.rules import apply_rules

Archive = Callable[..., Path]


def unpacked(name: str, file: Path, scratch: Path, **rules: str) -> set[str]:
    """Return the paths of what was unpacked, as the archive names them."""
    scratch.mkdir()
    files, _ = files_of([file], apply_rules(recipe_of(name), rules), scratch)
    written = {path for path in scratch.rglob("*") if path.is_file() and "rows" not in path.relative_to(scratch).parts}
    assert all(path.exists() for path in files.values()), "what was not unpacked lies in the archive"
    return {path.relative_to(scratch).as_posix().split("/", 2)[2] for path in written}


@pytest.mark.parametrize(
    ("name", "tree", "rules", "part"),
    [
        ("covid", "covid", {}, "QaTa-COV19/QaTa-COV19-v2/"),
        ("leaf", "leaf", {}, "data/data/"),
        ("polyp", "polyp", {"variant": "tif"}, ("TIF/", "metadata.csv")),
        ("eyes", "eyes", {}, ("train_dataset_mc/", "train_mask/")),
        ("fiber", "fiber", {"variant": "original"}, "fibers_geometric_aug/fibers/test/"),
        ("golf", "golf", {}, ("1. orthophotos/", "3. class masks/")),
        ("human_parsing", "human_parsing", {}, "data/"),
        ("building", "building", {}, "png/train"),
    ],
)
def test_only_what_is_needed_is_unpacked(
    archive: Archive, tmp_path: Path, name: str, tree: str, rules: dict, part: str | tuple[str, ...]
) -> None:
    file = archive(tree)
    written = unpacked(name, file, tmp_path / "scratch", **rules)
    with zipfile.ZipFile(file) as packed:
        assert 0 < len(written) < len(packed.namelist())
    assert all(path.startswith(part) for path in written)


def test_a_rule_says_what_is_needed(archive: Archive, tmp_path: Path) -> None:
    assert unpacked("cardiac", archive("cardiac"), tmp_path / "one") == set()
    rules = {"images": "train/images/{n}.png", "masks": "train/masks/{n}.png"}
    assert len(unpacked("cardiac", archive("cardiac"), tmp_path / "two", **rules)) == 8


def test_archives_within_an_archive_are_looked_into(archive: Archive, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "outer.tar.xz", "w:xz") as outer:
        outer.add(archive("polyp"), "inner/polyp.zip")
        outer.add(archive("leaf"), "readme.txt")
    written = unpacked("polyp", tmp_path / "outer.tar.xz", tmp_path / "scratch")
    assert "readme.txt" not in written
    assert {"PNG/Original/1.png", "PNG/Ground Truth/60.png", "metadata.csv"} <= written


def test_what_is_not_needed_may_be_no_trap_either(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("../notes.txt", "x")
    with pytest.raises(DatasetError, match=r"'\.\./notes\.txt' is refused"):
        unpacked("polyp", tmp_path / "a.zip", tmp_path / "scratch")
