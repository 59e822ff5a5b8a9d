"""Every format, out and in again; what detection says."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, export, open_dataset
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.formats.registry import FORMATS, WRITABLE, detect

REAL = Path(__file__).parents[3] / "../shared/datasets"


def tiles_of(tmp_path: Path) -> Dataset:
    return Dataset.from_folders(tmp_path / "tiles")


@pytest.mark.parametrize("form", WRITABLE)
@pytest.mark.parametrize("kind", ["multiclass", "binary", "ignoring"])
def test_what_is_exported_and_added_again_is_the_same(same, tiles, tmp_path: Path, form: str, kind: str) -> None:
    dataset = tiles(2 if kind == "binary" else 4, ignored=kind == "ignoring", grouped=kind != "binary")
    export(dataset, tmp_path / "out", format=form)
    added = add("again", tmp_path / "out")
    again = resolve_dataset("again")
    assert (added.format, added.left_out) == (form, ())
    assert same(dataset, again)
    assert (again.task, again.classes, again.names, again.groups) == (
        dataset.task,
        dataset.classes,
        dataset.names,
        dataset.groups,
    )
    if form != "nnunet":  # which wants PNG
        for file in (tmp_path / "tiles/images").iterdir():
            assert (added.folder / "images" / file.name).read_bytes() == file.read_bytes()
    for file in (added.folder / "masks").iterdir():
        with Image.open(file) as mask:
            assert mask.mode == "L"


def test_drawn_datasets_without_files_are_exported_too(same, tmp_path: Path, discs) -> None:
    export(discs(3), tmp_path / "out", format="coco")
    assert same(discs(3), Dataset.from_coco(tmp_path / "out"))
    with pytest.raises(DatasetError, match="nothing can be exported as 'supervisely'"):
        export(discs(3), tmp_path / "other", format="supervisely")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        export(discs(3), tmp_path / "out", format="coco")
    names = ("../escaped", *discs(3).names[1:])
    with pytest.raises(DatasetError, match="escaped' cannot be a file's name"):
        export(replace(discs(3), names=names), tmp_path / "other", format="coco")


@pytest.mark.parametrize("form", FORMATS[:1] + FORMATS[3:])
def test_datasets_read_where_they_lie_can_travel_to_a_worker(same, tiles, tmp_path: Path, form: str) -> None:
    export(tiles(), tmp_path / "out", format=form)
    dataset = open_dataset(tmp_path / "out", rules={})
    assert same(tiles_of(tmp_path), pickle.loads(pickle.dumps(dataset)))  # noqa: S301


def test_auto_detection_says_what_it_saw(tiles, tmp_path: Path) -> None:
    dataset = tiles()
    said = {}
    for form in WRITABLE:
        export(dataset, tmp_path / form, format=form)
        name, said[form] = detect(tmp_path / form)
        assert name == form
    assert said["coco"] == "annotations.json with images, annotations and categories"
    assert said["folders"] == "images/ with masks/, 5 pairs"
    assert "class_dict.csv names colours" in said["palette"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    with pytest.raises(DatasetError, match=r"in no known format .* Found: \./: 1 \.txt \(notes\.txt\)"):
        detect(tmp_path / "empty")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real datasets are not here")
@pytest.mark.parametrize("name", sorted(folder.name for folder in REAL.glob("*/")))
def test_real_pairs_come_back_equal_from_every_format(same, tmp_path: Path, name: str) -> None:
    """Two pairs of each; whole, in a few minutes: `python benches/formats.py`."""
    root = tmp_path / name
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
        for file in sorted((REAL / name / part).iterdir())[:2]:
            shutil.copy(file, root / part)
    shutil.copy(REAL / name / "dataset.json", root)
    dataset = Dataset.from_folders(root)
    for form in ("coco", "hf", "nnunet", "palette"):
        export(dataset, tmp_path / form, format=form)
        add(form, tmp_path / form)
        assert same(dataset, resolve_dataset(form)), form
