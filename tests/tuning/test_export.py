from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError, StoreError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.overlays import painted
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.models import load_model
from qttseg.pipelines.scoring import evaluate
from qttseg.tuning.events import Event
from qttseg.tuning.export import write_result
from qttseg.tuning.previews import side_by_side
from qttseg.tuning.session import TuningResult


@pytest.fixture(scope="module")
def written(
    session: tuple[TuningResult, list[Event]], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TuningResult, Path]:
    result, _ = session
    folder = tmp_path_factory.mktemp("results") / "polyp"
    write_result(folder, result, dataset)
    return result, folder


def test_the_written_model_predicts_what_the_tuned_one_does(written: tuple[TuningResult, Path], dataset: Dataset):
    result, folder = written
    loaded = load_model(folder)
    assert loaded.classes == dataset.classes
    mine, theirs = (
        evaluate(segmenter, dataset, result.split.validation, result.protocol, seed=result.seed)
        for segmenter in (result.segmenter, loaded.segmenter)
    )
    assert mine.scores == theirs.scores
    for expected, found in zip(mine.label_maps, theirs.label_maps, strict=True):
        np.testing.assert_array_equal(expected, found)


def test_the_folder_tells_how_the_model_came_about(written: tuple[TuningResult, Path]):
    result, folder = written
    config = json.loads((folder / "config.json").read_text())
    assert config["validation_score"] == result.score
    assert config["protocol"] == result.protocol.to_dict()
    assert (config["budget_seconds"], config["overrun_seconds"]) == (result.budget, result.overrun)
    if result.configuration is not None:
        assert Configuration(config["configuration"]) == result.configuration
    trajectory = json.loads((folder / "trajectory.json").read_text())
    assert [(step["seconds"], step["score"]) for step in trajectory] == list(result.trajectory)
    stored = {curve.run.id: curve.scores for curve in CurveStore(folder).curves()}
    assert stored == {curve.run.id: curve.scores for curve in result.curves}


def test_the_card_says_what_the_score_is_worth(written: tuple[TuningResult, Path]):
    result, folder = written
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"| {result.score:.3f} |" in card
    assert f"| {result.zero_shot_score:.3f} |" in card
    assert "likely too high for new images" in card
    assert "qttseg predict FOLDER IMAGES --boxes boxes.json" in card
    pictures = sorted(path.name for path in (folder / "previews").iterdir())
    assert len(pictures) == len(result.split.validation)
    assert all(f"previews/{name}" in card for name in pictures)
    with Image.open(folder / "previews" / pictures[0]) as picture:
        assert picture.width > picture.height


def test_a_folder_in_use_is_left_alone(session: tuple[TuningResult, list[Event]], dataset: Dataset, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        write_result(tmp_path, session[0], dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(
    session: tuple[TuningResult, list[Event]], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "result").mkdir()
    monkeypatch.chdir(tmp_path)
    write_result(Path("result"), session[0], dataset)
    assert load_model(tmp_path / "result").prompt == "box"


def test_nothing_half_written_stays(session: tuple[TuningResult, list[Event]], dataset: Dataset, tmp_path: Path):
    class Unplugged:
        def load(self, index: int) -> Sample:
            raise DatasetError(f"item {index} cannot be read: the drive was unplugged")

    with pytest.raises(DatasetError, match="unplugged"):
        write_result(tmp_path / "result", session[0], replace(dataset, source=Unplugged()))
    assert not list(tmp_path.iterdir())


def test_previews_show_masks_only_where_they_are():
    image = np.full((40, 60, 3), 200, np.uint8)
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 10:20], labels[30:, :] = 1, 255
    shown = painted(image, labels)
    np.testing.assert_array_equal(shown[labels == 0], 200)
    assert (shown[labels == 1] != 200).any(axis=1).all()
    assert np.ptp(shown[labels == 255]) == 0
    picture = side_by_side(Sample(image=image, mask=labels, name="a"), labels, 1.0)
    assert picture.width == 3 * 320
