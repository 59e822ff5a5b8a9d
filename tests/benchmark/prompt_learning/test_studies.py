"""The studies measure what they say, and their figures show it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qttseg.benchmark.prompt_learning.figures import drawn_studies, write_studies
from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.studies import amounts, matchings, sensitivities, transfers

Make = Callable[..., Row]


def test_the_spread_over_prompts_is_that_of_one_model(trial: Make) -> None:
    rows = [
        *(trial("plm", score, seed=0, draw=draw) for draw, score in enumerate((0.5, 0.6))),
        *(trial("plm", score, seed=1, draw=draw) for draw, score in enumerate((0.8, 0.9))),
    ]
    (study,) = sensitivities(rows)
    (score,) = study.scores["plm"]
    assert score is not None
    assert score.mean == pytest.approx(0.7)
    assert score.std == pytest.approx(0.1 / 2**0.5)  # though the seeds lie 0.3 apart
    assert score.count == 4


def test_prompts_are_ordered_from_points_to_badly_moved_boxes(studied: list[Row]) -> None:
    faces, widgets = sensitivities(studied)
    assert faces.task == "procedural-faces"
    assert faces.prompts == ("point", "box", "box ±5 %", "box ±10 %", "box ±20 %")
    assert list(faces.scores) == ["sam", "oracle", "sam-f", "lora", "plm", "plm+pmm"]
    means = [score.mean for score in faces.scores["plm"][1:] if score is not None]
    assert len(means) == 4
    assert means[0] > means[-1]
    assert widgets.task == "widgets"


def test_a_method_that_was_not_asked_in_some_way_has_a_gap_there(trial: Make) -> None:
    rows = [trial("plm", 0.5, draw=0), trial("plm", 0.6, draw=1), trial("sam", 0.3, prompt="box", noise=0.1)]
    (study,) = sensitivities(rows)
    assert study.prompts == ("point", "box ±10 %")
    assert study.scores["plm"][1] is None
    assert study.scores["sam"][0] is None
    assert sensitivities([trial("plm", 0.5)]) == []  # one draw has no spread


def test_scores_grow_over_images_and_untrained_methods_have_none(studied: list[Row]) -> None:
    faces = amounts(studied)[0]
    assert (faces.task, faces.prompt) == ("procedural-faces", "point")
    assert list(faces.scores["plm"]) == [8, 20, 40, 80]
    assert list(faces.scores["sam"]) == [0]
    assert faces.scores["plm"][8].mean == pytest.approx(0.6 - 1 / 8)
    assert {study.prompt for study in amounts(studied)} == {"point"}  # boxes were tried with one amount


def test_transfer_is_held_against_home_and_no_training(studied: list[Row]) -> None:
    (study,) = transfers(studied)
    assert (study.source, study.task) == ("gadgets", "widgets")
    assert study.scores["plm"].mean == pytest.approx(0.4)
    assert study.scores["plm"].count == 2
    assert study.at_home["plm"].mean == pytest.approx(0.6, abs=0.05)
    assert set(study.untrained) == {"sam", "oracle"}


def test_point_matching_is_judged_by_pairs_that_differ_in_nothing_else(trial: Make) -> None:
    rows = [
        trial("plm", 0.5, seed=0), trial("plm+pmm", 0.6, seed=0),
        trial("plm", 0.2, seed=1), trial("plm+pmm", 0.4, seed=1),
        trial("plm", 0.0, seed=2),
        trial("plm+pmm", None, seed=2),
    ]  # fmt: skip
    (study,) = matchings(rows)
    assert study.iou.mean == pytest.approx(0.15)
    assert study.iou.std == pytest.approx(0.1 / 2**0.5)
    assert study.iou.count == 2
    assert study.outline.mean == pytest.approx(0.075)
    assert study.method == "plm"
    assert matchings([trial("plm", 0.5)]) == []


def test_point_matching_is_judged_for_each_method_that_has_it(trial: Make) -> None:
    alike: dict[str, object] = {"plm_class": 1, "epochs": 20}
    rows = [
        trial("plm-class", 0.6, settings={**alike, "adapter": "plm"}),
        trial("plm-class+pmm", 0.5, settings={**alike, "adapter": "plm+pmm", "pmm_weight": 0.1, "pmm_points": 64}),
        trial("plm-dense", 0.5, settings={"epochs": 20}),
        trial("plm-dense+pmm", 0.9, settings={"epochs": 40}),  # trained for longer: no pair
    ]
    (study,) = matchings(rows)
    assert study.method == "plm-class"
    assert study.iou.mean == pytest.approx(-0.1)


def test_each_study_that_has_rows_has_a_figure_with_a_caption(studied: list[Row], tmp_path: Path) -> None:
    written = write_studies(studied, tmp_path, format_="svg")
    assert [file.name for file in written] == ["prompts.svg", "data.svg", "transfer.svg", "matching.svg"]
    captions = (tmp_path / "captions.md").read_text()
    for file, caption in written.items():
        assert file.stat().st_size > 5000
        assert caption in captions
        assert "sam-nano" in caption
    drawn = (tmp_path / "prompts.svg").read_text()
    assert "box ±20 %" in drawn
    assert "PLM + PMM" in drawn
    assert "gadgets → widgets" in (tmp_path / "transfer.svg").read_text()


def test_backbones_have_figures_of_their_own_and_nothing_is_drawn_of_nothing(trial: Make, tmp_path: Path) -> None:
    rows = [
        trial("plm", 0.5, draw=draw, backbone_fingerprint=one) for one in ("aaaaaaaa", "bbbbbbbb") for draw in (0, 1)
    ]
    assert [file.name for file in write_studies(rows, tmp_path, format_="png")] == [
        "prompts-aaaaaa.png", "prompts-bbbbbb.png"
    ]  # fmt: skip
    assert drawn_studies([trial("plm", 0.5)]) == []


def test_neither_torch_nor_ray_is_loaded() -> None:
    code = (
        "import sys\n"
        "from qttseg.benchmark.prompt_learning import figures, store, tables\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
