from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qttseg.metadata.verification import Kind, Severity, verify

REAL = Path(__file__).parents[2] / "../shared/datasets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six sound pairs of 32 x 24 pixels; a quarter of each is class 1."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    generator = np.random.default_rng(0)
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :8] = 255
    for index in range(6):
        Image.fromarray(generator.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(tmp_path / f"images/i{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/i{index}.png")
    return tmp_path


def test_a_sound_folder_has_no_problems(folder: Path) -> None:
    report = verify(folder)
    assert report.usable
    assert report.problems == ()
    assert (report.pairs, report.sound) == (6, 6)
    assert report.class_images == (6, 6)
    assert report.class_shares == pytest.approx((0.75, 0.25))
    assert report.description is not None
    assert report.description.task == "binary"


def test_every_bad_file_is_named(folder: Path) -> None:
    (folder / "images/i0.png").write_bytes(b"no image")
    (folder / "masks/i1.png").write_bytes((folder / "masks/i1.png").read_bytes()[:40])
    Image.new("L", (9, 9), 255).save(folder / "masks/i2.png")
    Image.fromarray(np.full((24, 32), 9, np.uint8)).save(folder / "masks/i3.png")
    Image.new("L", (32, 24)).save(folder / "masks/i4.png")
    Image.new("RGB", (32, 24)).save(folder / "images/alone.png")
    Image.new("L", (32, 24)).save(folder / "masks/lost.png")
    Image.open(folder / "images/i5.png").save(folder / "images/i5.jpg")
    (folder / "images/notes.txt").touch()
    (folder / "dataset.json").write_text(json.dumps({"classes": ["background", "thing"]}))
    report = verify(folder)
    assert not report.usable
    assert {(problem.kind, problem.file) for problem in report.problems} == {
        (Kind.UNREADABLE, "images/i0.png"),
        (Kind.UNREADABLE, "masks/i1.png"),
        (Kind.SIZE, "masks/i2.png"),
        (Kind.CLASS, "masks/i3.png"),
        (Kind.EMPTY, "masks/i4.png"),
        (Kind.IMAGE_ALONE, "images/alone.png"),
        (Kind.MASK_ALONE, "masks/lost.png"),
        (Kind.DOUBLED, "images/i5.png"),
        (Kind.DOUBLED, "images/i5.jpg"),
        (Kind.FOREIGN, "images/notes.txt"),
    }
    assert report.sound == 2
    assert {problem.kind for problem in report.warnings} == {
        Kind.EMPTY,
        Kind.IMAGE_ALONE,
        Kind.MASK_ALONE,
        Kind.FOREIGN,
    }
    assert all(problem.severity is Severity.ERROR for problem in report.errors)


def test_equal_pairs_and_unused_classes_are_pointed_out(folder: Path) -> None:
    for side in ("images", "masks"):
        (folder / side / "i5.png").write_bytes((folder / side / "i0.png").read_bytes())
    description = {"task": "multiclass", "classes": ["background", "a", "b"], "group_pattern": "(i)"}
    (folder / "dataset.json").write_text(json.dumps(description))
    for index in range(6):
        Image.fromarray(np.eye(24, 32, dtype=np.uint8)).save(folder / f"masks/i{index}.png")
    report = verify(folder)
    assert report.usable
    assert report.groups == 1
    assert [(problem.kind, problem.file) for problem in report.warnings] == [
        (Kind.DUPLICATE, "images/i5.png"),
        (Kind.UNSEEN, "masks"),
        (Kind.FEW_GROUPS, "dataset.json"),
    ]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"task": 3}', '{"classes": 3}', '{"groups": {}}', '{"group_pattern": "["}']
)
def test_a_wrong_description_is_one_problem_and_files_are_still_read(folder: Path, text: str) -> None:
    (folder / "dataset.json").write_text(text)
    (folder / "images/i0.png").write_bytes(b"")
    kinds = [problem.kind for problem in verify(folder).problems]
    assert kinds == [Kind.DESCRIPTION, Kind.UNREADABLE]


def test_no_folder_and_no_pairs_are_problems_too(tmp_path: Path) -> None:
    assert [problem.kind for problem in verify(tmp_path / "nowhere").problems] == [Kind.LAYOUT]
    (tmp_path / "images").mkdir()
    assert [problem.kind for problem in verify(tmp_path).problems] == [Kind.LAYOUT]
    (tmp_path / "masks").mkdir()
    assert Kind.TOO_FEW in {problem.kind for problem in verify(tmp_path).problems}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about tags it skips
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_the_files_hold_there_is_a_report(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ("images", "masks"):
            (root / folder).mkdir()
            for index in range(3):
                file = root / folder / f"{index}.{data.draw(st.sampled_from(['png', 'tif', 'bmp']))}"
                Image.new("L", (4, 4), index).save(file)
                content = bytearray(file.read_bytes())
                for _ in range(data.draw(st.integers(0, 8))):
                    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
                file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        (root / "dataset.json").write_bytes(data.draw(st.binary(max_size=20)))
        assert verify(root).problems


@pytest.mark.skipif(not REAL.is_dir(), reason="the real datasets are not here")
def test_the_real_datasets_are_usable() -> None:
    assert verify(REAL / "eyes_drive").problems == ()
    assert {problem.kind for problem in verify(REAL / "aerial_orthophoto").problems} == {Kind.EMPTY}
