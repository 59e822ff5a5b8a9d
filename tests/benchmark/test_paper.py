from __future__ import annotations

from statistics import fmean

import pytest

from qttseg.benchmark import paper
from qttseg.benchmark.paper import FIGURES, PaperFigure, counterpart

BINARY = [name for name, figures in FIGURES.items() if ("autogluon", 60.0) in figures]
MULTICLASS = [name for name in FIGURES if name not in BINARY]


def test_all_datasets_are_there_with_all_columns():
    assert (len(BINARY), len(MULTICLASS)) == (8, 5)
    assert {len(FIGURES[name]) for name in BINARY} == {7}
    assert {len(FIGURES[name]) for name in MULTICLASS} == {4}


@pytest.mark.parametrize(
    ("names", "column", "printed"),
    [
        (BINARY, ("zero-shot", None), 0.402),
        (BINARY, ("autogluon", 60.0), 0.499),
        (BINARY, ("qtt-seg", 60.0), 0.660),
        (BINARY, ("autogluon", 120.0), 0.595),
        (BINARY, ("qtt-seg", 120.0), 0.661),
        (BINARY, ("autogluon", 180.0), 0.627),
        (BINARY, ("qtt-seg", 180.0), 0.674),
        (MULTICLASS, ("zero-shot", None), 0.299),
        (MULTICLASS, ("qtt-seg", 60.0), 0.536),
        (MULTICLASS, ("qtt-seg", 120.0), 0.546),
        (MULTICLASS, ("qtt-seg", 180.0), 0.554),
    ],
)
def test_the_means_give_the_averages_that_the_paper_prints(names: list[str], column: paper.Column, printed: float):
    assert fmean(FIGURES[name][column].mean for name in names) == pytest.approx(printed, abs=0.0006)


def test_the_odd_deviation_is_kept_as_printed():
    assert FIGURES["leaf"]["autogluon", 180.0] == PaperFigure(mean=0.633, std=0.382)
    assert max(figure.std for figures in FIGURES.values() for figure in figures.values()) == 0.382
    assert paper.BUDGETS == (60, 120, 180)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("procedural-polyp", "polyp"),
        ("polyp_kvasir", "polyp"),
        ("polyp", "polyp"),
        ("human_parsing_ccp", "human_parsing"),
        ("procedural-human-parsing", "human_parsing"),
        ("procedural-us", "US"),
        ("neopolyp_bkai", None),
        ("ultrasound_busi", None),
        ("human", None),
        ("leaflet", None),
        ("", None),
    ],
)
def test_counterpart_needs_the_whole_name_at_the_start(ours: str, theirs: str | None):
    assert counterpart(ours) == theirs
