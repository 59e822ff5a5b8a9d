"""The tables of prompt learning say what was measured, and what the paper printed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qttseg.benchmark.prompt_learning.paper import FIGURES, counterpart
from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.tables import overview, task_tables
from qttseg.benchmark.rendering import to_csv, to_latex, to_markdown
from qttseg.benchmark.tables import Cell, Table
from qttseg.errors import BenchmarkError

Make = Callable[..., Row]


def cell(table: Table, label: str, *, title: str, group: str | None = None) -> Cell:
    row = next(row for row in table.rows if row.label == label)
    place = next(
        place
        for place, head in enumerate(table.heads)
        if head.title == title and (group is None or head.group == group)
    )
    return row.cells[place]


def test_the_papers_figures_stand_beside_ours_and_are_marked() -> None:
    assert FIGURES["faces"] == {"sam": 0.3505, "sam-f": 0.3183, "plm+pmm": 0.7167}
    assert FIGURES["banners"] == {"sam": 0.3027, "plm+pmm": 0.9733}
    assert [counterpart(task) for task in ("procedural-faces", "celebamask_hq", "procedural-banners", "golf")] == [
        "faces", "faces", "banners", None
    ]  # fmt: skip


def test_an_overview_has_a_line_a_task_and_the_papers_below(studied: list[Row]) -> None:
    table = overview(studied)
    assert [row.label for row in table.rows] == ["procedural-faces", "paper: faces", "widgets"]
    assert [row.source for row in table.rows] == ["ours", "paper", "ours"]
    assert [head.title for head in table.heads] == 2 * ["SAM", "Oracle", "SAM-F", "LoRA", "PLM", "PLM + PMM"]
    assert {head.group for head in table.heads} == {"one point", "a box"}
    assert cell(table, "paper: faces", title="PLM + PMM", group="one point").text == "0.7167"
    assert cell(table, "paper: faces", title="PLM + PMM", group="a box").text == "–"
    assert cell(table, "procedural-faces", title="PLM + PMM", group="one point").best
    assert "arXiv 2403.09199" in table.caption
    assert "Trained on 80 images." in table.caption


def test_means_are_over_seeds_of_means_over_draws(trial: Make) -> None:
    rows = [
        trial("plm", 0.5, seed=0, draw=0),
        trial("plm", 0.7, seed=0, draw=1),
        trial("plm", 0.4, seed=1, draw=0),
        trial("sam", 0.3, draw=0),
    ]
    found = cell(overview(rows), "procedural-faces", title="PLM")
    assert found.mean == pytest.approx(0.5)
    assert found.std == pytest.approx(0.2 / 2**0.5)


def test_failed_and_missing_seeds_are_noted_and_never_the_best(trial: Make) -> None:
    rows = [
        trial("sam", 0.3),
        *(trial("sam-f", 0.4, seed=seed) for seed in range(3)),
        trial("plm", 0.9, seed=0),
        trial("plm", None, seed=1),
        trial("lora", None, seed=0),
    ]
    table = overview(rows)
    assert cell(table, "procedural-faces", title="PLM").text == "0.900 (1 failed, 1 of 3 seeds)"
    assert cell(table, "procedural-faces", title="LoRA").text == "(1 failed, 0 of 3 seeds)"
    assert cell(table, "procedural-faces", title="SAM").note == ""
    assert cell(table, "procedural-faces", title="SAM-F").best


def test_the_oracle_does_not_compete(trial: Make) -> None:
    table = overview([trial("sam", 0.3), trial("oracle", 0.9), trial("plm", 0.5)])
    assert not cell(table, "procedural-faces", title="Oracle").best
    assert cell(table, "procedural-faces", title="PLM").best
    (detail,) = task_tables([trial("sam", 0.3), trial("oracle", 0.9), trial("plm", 0.5)])
    assert cell(detail, "PLM", title="mean", group="boundary F1").best


def test_each_task_has_its_classes(studied: list[Row]) -> None:
    tables = task_tables(studied)
    assert [table.corner for table in tables] == [
        "procedural-faces, one point", "procedural-faces, a box", "widgets, one point", "widgets, a box"
    ]  # fmt: skip
    faces = tables[0]
    assert [head.text for head in faces.heads] == [
        "IoU skin", "IoU hair", "IoU nose", "IoU mean", "boundary F1 mean", "seconds", "trained (M)"
    ]  # fmt: skip
    assert [row.label for row in faces.rows] == [
        "SAM", "paper: faces", "Oracle", "SAM-F", "paper: faces", "LoRA", "PLM", "PLM + PMM", "paper: faces"
    ]  # fmt: skip
    skin, hair = cell(faces, "PLM", title="skin").mean, cell(faces, "PLM", title="hair").mean
    assert skin is not None
    assert hair is not None
    assert skin - hair == pytest.approx(0.1)
    assert cell(faces, "PLM", title="seconds").text == "12.5 ±0.0"
    assert cell(faces, "PLM", title="trained (M)").text == "1.60"
    assert not any(row.source == "paper" for row in tables[1].rows)


def test_one_class_and_very_many_have_no_columns_of_their_own(trial: Make) -> None:
    for count in (1, 9):
        names = tuple(f"part {number}" for number in range(count))
        (table,) = task_tables([trial("sam", 0.3, task="x", classes=names), trial("plm", 0.5, task="x", classes=names)])
        assert table.heads[0].text == "IoU mean"


def test_less_data_moved_boxes_and_transfer_are_left_to_the_studies(trial: Make) -> None:
    rows = [
        trial("plm", 0.6),
        trial("plm", 0.1, images=8),
        trial("plm", 0.1, prompt="box", noise=0.2),
        trial("plm", 0.1, source="elsewhere"),
    ]
    table = overview(rows)
    assert [head.text for head in table.heads] == ["one point PLM"]
    assert table.rows[0].cells[0].mean == pytest.approx(0.6)
    with pytest.raises(BenchmarkError, match="where it was trained"):
        overview(rows[2:])


def test_the_newest_settings_count(trial: Make) -> None:
    rows = [
        trial("plm", 0.2, settings={"epochs": 2}, finished_at=1.0),
        trial("plm", 0.6, settings={"epochs": 9}, finished_at=2.0),
    ]
    assert overview(rows).rows[0].cells[0].mean == pytest.approx(0.6)
    of_boxes = trial("plm", 0.7, prompt="box", images=40, settings={"trained with": "boxes"}, finished_at=3.0)
    point, box = overview([*rows, of_boxes]).rows[0].cells
    assert (point.mean, box.mean) == (pytest.approx(0.6), pytest.approx(0.7))


def test_backbones_do_not_mix(trial: Make) -> None:
    with pytest.raises(BenchmarkError, match="2 backbones"):
        overview([trial("sam", 0.3), trial("plm", 0.3, backbone_fingerprint="other")])


def test_every_format_prints_them(studied: list[Row]) -> None:
    for table in (overview(studied), *task_tables(studied)):
        assert "*paper: faces*" in to_markdown(table) or "faces" not in table.corner or "box" in table.corner
        assert r"\toprule" in to_latex(table)
        assert "PLM + PMM" in to_csv(table)
