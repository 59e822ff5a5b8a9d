from __future__ import annotations

import csv
from io import StringIO

import pytest
from rich.console import Console

from qttseg.benchmark.rendering import to_csv, to_latex, to_markdown, to_rich
from qttseg.benchmark.tables import Cell, Head, Row, Table


@pytest.fixture
def table() -> Table:
    return Table(
        corner="Dataset",
        heads=(Head(title="Zero-shot"), Head(title="random_x", group="60 s"), Head(title="QTT-SEG", group="60 s")),
        rows=(
            Row(
                label="road_scene",
                cells=(Cell(), Cell(mean=0.5, std=0.1, note="(1 failed)"), Cell(mean=0.75, best=True)),
            ),
            Row(label="paper: road", cells=(Cell(mean=0.25), Cell(), Cell()), source="paper"),
            Row(label="Average", cells=(Cell(), Cell(mean=0.5), Cell(mean=0.75)), average=True),
        ),
        caption="50 % of a|b & c.",
    )


def test_terminal(table: Table):
    console = Console(width=100, file=StringIO(), force_terminal=False)
    console.print(to_rich(table))
    text = console.file.getvalue()
    for part in ("60 s", "road_scene", "0.500 ±0.100 (1 failed)", "0.750", "–", "paper: road", "a|b & c."):
        assert part in text


def test_markdown(table: Table):
    lines = to_markdown(table).splitlines()
    assert lines[0] == "| Dataset | Zero-shot | 60 s random_x | 60 s QTT-SEG |"
    assert lines[2] == "| road_scene | – | 0.500 ±0.100 (1 failed) | **0.750** |"
    assert lines[3] == "| *paper: road* | 0.250 | – | – |"
    assert {line.count("|") for line in lines[:5]} == {5}
    assert lines[-1] == table.caption


def test_latex(table: Table):
    text = to_latex(table)
    assert r" & \multicolumn{1}{c}{} & \multicolumn{2}{c}{60 s} \\" in text
    assert r"\cmidrule(lr){3-4}" in text
    assert r"road\_scene & -- & 0.500 $\pm$0.100 (1 failed) & \textbf{0.750} \\" in text
    assert r"\caption{50 \% of a|b \& c.}" in text
    assert text.count(r"\midrule") == 2
    for command in ("toprule", "bottomrule", "begin{tabular}{lrrr}", "end{tabular}", "end{table}"):
        assert command in text


def test_csv_reads_back_unrounded(table: Table):
    rows = list(csv.DictReader(StringIO(to_csv(table))))
    assert len(rows) == 5, "empty cells are left out"
    assert rows[0] == {
        "row": "road_scene",
        "source": "ours",
        "group": "60 s",
        "column": "random_x",
        "mean": "0.5",
        "std": "0.1",
        "note": "(1 failed)",
        "best": "",
    }
    assert rows[1]["best"] == "yes"
    assert rows[2]["source"] == "paper"
