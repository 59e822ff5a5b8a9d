from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.recipes.catalogue import PAPER13
from qttseg.metadata.suites import open_suite, resolve_suite


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def folder(root: Path) -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(root / name / "a.png")
    return root


def test_the_papers_suite_says_what_is_missing_and_how_to_get_it(home: Path) -> None:
    folder(home / "polyp")
    folder(home / "US")
    suite = open_suite("paper13")
    assert suite.members == ("polyp", "US")
    assert set(suite.missing) == set(PAPER13) - {"polyp", "US"}
    assert suite.names == set(PAPER13)
    with pytest.raises(DatasetError, match="11 of 13 datasets of paper13 are not here") as caught:
        resolve_suite("paper13")
    assert "cholec: `qttseg datasets fetch cholec`" in str(caught.value)
    assert "--available" in str(caught.value)


def test_a_known_name_that_is_not_here_is_missing_and_a_wrong_one_an_error(home: Path) -> None:
    assert set(open_suite("golf, procedural-polyp").missing) == {"golf"}
    with pytest.raises(DatasetError, match="qttseg datasets fetch golf"):
        resolve_dataset("golf")
    with pytest.raises(DatasetError, match=r"near names are .*paper13"):
        open_suite("paper14")


def test_a_suite_of_ones_own_is_a_toml_file_whose_folders_are_seen_from_it(home: Path, tmp_path: Path) -> None:
    folder(tmp_path / "data/b")
    folder(tmp_path / "data/a")
    described = folder(tmp_path / "mine")
    (described / "dataset.json").write_text('{"name": "tiles", "classes": ["background", "tile"]}')
    file = tmp_path / "suite.toml"
    file.write_text('datasets = ["procedural-eyes", "mine", "folders:data", "cholec", "procedural4"]')
    suite = open_suite(str(file))
    assert suite.members[:4] == (
        "procedural-eyes", str(described), str(tmp_path / "data/a"), str(tmp_path / "data/b")
    )  # fmt: skip
    assert suite.names >= {"tiles", "a", "b", "cholec", "procedural-golf"}
    assert set(suite.missing) == {"cholec"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets = [", "cannot be read as a suite"),
        ('members = ["a"]', "one key, datasets"),
        ('datasets = ["a"]\nseeds = 3', "one key, datasets"),
        ("datasets = []", "one key, datasets"),
        ('datasets = ["other.toml"]', "not suite files"),
        ("datasets = [3]", "3 is no dataset"),
        ('datasets = ["procedural-polip"]', "procedural-polyp"),
    ],
)
def test_a_wrong_suite_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(text)
    with pytest.raises(DatasetError, match=message):
        resolve_suite(str(file))
    with pytest.raises(DatasetError, match="cannot be read"):
        resolve_suite(str(tmp_path / "nowhere.toml"))
