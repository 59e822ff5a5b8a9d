"""The tables of the studies print the numbers that their figures draw."""

from __future__ import annotations

from collections.abc import Callable

from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.studies import matchings
from qttseg.benchmark.prompt_learning.study_tables import study_tables
from qttseg.benchmark.rendering import to_csv, to_latex, to_markdown

Make = Callable[..., Row]


def test_each_study_has_a_table(studied: list[Row]) -> None:
    tables = study_tables(studied)
    assert [table.corner for table in tables] == [
        "procedural-faces, draws of prompts",
        "widgets, draws of prompts",
        "procedural-faces, one point",
        "widgets, one point",
        "gadgets → widgets, one point",
        "Point matching adds",
    ]
    assert [head.text for head in tables[0].heads] == ["point", "box", "box ±5 %", "box ±10 %", "box ±20 %"]
    assert [head.text for head in tables[2].heads] == ["untrained", "8 images", "20 images", "40 images", "80 images"]
    assert [head.text for head in tables[4].heads] == ["untrained", "on gadgets", "on widgets"]
    for table in tables:
        assert "sam-nano" in table.caption
        assert "2 cores" in table.caption
        assert "plm" in to_csv(table).lower()
        assert to_markdown(table).startswith(f"| {table.corner} |")
        assert r"\toprule" in to_latex(table)


def test_the_spread_printed_is_that_over_draws_of_one_model(trial: Make) -> None:
    rows = [
        *(trial("plm", score, seed=0, draw=draw) for draw, score in enumerate((0.5, 0.6))),
        *(trial("plm", score, seed=1, draw=draw) for draw, score in enumerate((0.8, 0.9))),
        *(trial("oracle", 0.9, draw=draw) for draw in range(2)),
        *(trial("sam", score, draw=draw) for draw, score in enumerate((0.2, 0.6))),
    ]
    (table,) = study_tables(rows)
    assert [(row.label, row.cells[0].text, row.cells[0].best) for row in table.rows] == [
        ("SAM", "0.4000 ±0.2828", False),
        ("Oracle", "0.9000 ±0.0000", False),  # does not compete
        ("PLM", "0.7000 ±0.0707", True),
    ]


def test_amounts_and_siblings_have_gaps_where_nothing_was_tried(trial: Make) -> None:
    rows = [
        trial("sam", 0.3),
        *(trial("plm", score, images=images) for images, score in ((8, 0.4), (80, 0.6))),
        trial("sam-f", 0.5),
        trial("plm", 0.35, source="elsewhere"),
    ]
    grown, moved = study_tables(rows)
    assert [[cell.text for cell in row.cells] for row in grown.rows] == [
        ["0.300", "–", "–"], ["–", "–", "0.500"], ["–", "0.400", "0.600"]
    ]  # fmt: skip
    assert [row.cells[2].best for row in grown.rows] == [False, False, True]
    assert [(row.label, *(cell.text for cell in row.cells)) for row in moved.rows] == [
        ("SAM", "0.300", "–", "–"), ("PLM", "–", "0.350", "0.600")
    ]  # fmt: skip


def test_what_point_matching_adds_has_its_sign_and_its_pairs(studied: list[Row]) -> None:
    table = study_tables(studied)[-1]
    first = matchings(studied)[0]
    assert table.rows[0].label == "procedural-faces, a box: PLM"
    assert table.rows[0].cells[0].text == f"{first.iou.mean:+.3f} ±{first.iou.std:.3f}"
    assert table.rows[0].cells[2].text == "2"


def test_where_nothing_varies_there_is_no_table(trial: Make) -> None:
    assert study_tables([trial("plm", 0.5), trial("sam", 0.3)]) == []
    assert study_tables([]) == []
