from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.summary import summary_table
from qttseg.benchmark.tables import Cell, Table, paper_table
from qttseg.errors import BenchmarkError
from qttseg.metadata.protocol import Protocol


def cell(table: Table, row: str, head: str) -> Cell:
    column = [each.text for each in table.heads].index(head)
    return next(each for each in table.rows if each.label == row).cells[column]


@pytest.fixture
def results(scored: Callable[..., Result]):
    """Two binary datasets and a multiclass one, two seeds, two budgets."""
    scores = {"procedural-polyp": (0.5, 0.7, 0.8), "widgets": (0.3, 0.6, 0.55), "procedural-golf": (0.1, 0.3, 0.4)}
    made = []
    for dataset, (zero_shot, short, long) in scores.items():
        for seed in (0, 1):
            shift = 0.01 * (2 * seed - 1)
            made.append(scored("zero-shot", dataset, zero_shot, seed=seed))
            made.append(scored("qtt-seg", dataset, short + shift, 60.0, seed))
            made.append(scored("qtt-seg", dataset, long + shift, 120.0, seed))
    return made


def test_rows_are_ranked_by_the_gain_at_the_smallest_budget(results: list[Result]):
    labels = [row.label for row in paper_table(results, "binary").rows]
    assert labels == ["widgets", "procedural-polyp", "paper: polyp", "Average"]


def test_columns_stand_as_in_the_paper(results: list[Result]):
    heads = [head.text for head in paper_table(results, "binary").heads]
    assert heads == ["Zero-shot", "60 s AutoGluon", "60 s QTT-SEG", "120 s AutoGluon", "120 s QTT-SEG"]
    assert [head.text for head in paper_table(results, "multiclass").heads] == [
        "Zero-shot",
        "60 s QTT-SEG",
        "120 s QTT-SEG",
    ]


def test_cells_hold_mean_and_sample_deviation(results: list[Result]):
    table = paper_table(results, "binary")
    assert cell(table, "widgets", "60 s QTT-SEG").text == "0.600 ±0.014"
    assert cell(table, "widgets", "60 s AutoGluon").text == "–"
    assert cell(table, "paper: polyp", "60 s AutoGluon").text == "0.328 ±0.183"
    assert cell(table, "Average", "60 s QTT-SEG").text == "0.650"


def test_a_failed_seed_is_counted_and_never_wins(results: list[Result], scored: Callable[..., Result]):
    failed = [
        scored("qtt-seg", "widgets", None, 60.0, 1) if (r.dataset, r.budget, r.seed) == ("widgets", 60.0, 1) else r
        for r in results
    ]
    table = paper_table(failed, "binary")
    broken = cell(table, "widgets", "60 s QTT-SEG")
    assert broken.text == "0.590 (1 failed)"
    assert not broken.best
    assert cell(table, "Average", "60 s QTT-SEG").note == "(1 of 2 complete)"
    assert not cell(table, "Average", "60 s QTT-SEG").best


def test_a_method_that_always_failed_shows_no_number(results: list[Result], scored: Callable[..., Result]):
    failed = [scored("random", "widgets", None, 60.0, seed) for seed in (0, 1)]
    table = paper_table([*results, *failed], "binary")
    assert cell(table, "widgets", "60 s random").text == "(2 failed)"
    assert cell(table, "procedural-polyp", "60 s random").text == "–"


def test_a_timed_out_seed_counts_as_failed(results: list[Result]):
    late = [replace(r, status=Status.TIMED_OUT, score=None) if r.method == "qtt-seg" else r for r in results]
    assert cell(paper_table(late, "binary"), "widgets", "60 s QTT-SEG").text == "(2 failed)"


def test_missing_seeds_are_told(results: list[Result]):
    fewer = [r for r in results if (r.method, r.seed) != ("zero-shot", 1)]
    assert cell(paper_table(fewer, "binary"), "widgets", "Zero-shot").text == "0.300 (1 of 2 seeds)"


def test_the_best_at_each_budget_is_marked_and_budget_free_methods_compete(
    results: list[Result], scored: Callable[..., Result]
):
    box = [scored("box-filling", "widgets", 0.58, seed=seed) for seed in (0, 1)]
    table = paper_table([*results, *box], "binary")
    assert cell(table, "widgets", "60 s QTT-SEG").best
    assert cell(table, "widgets", "box-filling").best, "it beats QTT-SEG's 0.55 at 120 s"
    assert not cell(table, "widgets", "120 s QTT-SEG").best
    assert not cell(table, "widgets", "Zero-shot").best
    assert not any(each.best for row in table.rows if row.source == "paper" for each in row.cells)


def test_changed_content_under_one_name_gets_its_own_row(results: list[Result]):
    changed = [replace(r, dataset_fingerprint="abcdef0123") for r in results if r.dataset == "widgets"]
    labels = {row.label for row in paper_table([*results, *changed], "binary").rows}
    assert {"widgets (abcdef)", "widgets (widget)"} <= labels


def test_the_caption_tells_the_conditions(results: list[Result]):
    caption = paper_table(results, "binary").caption
    for part in (
        "2 seeds",
        "boxes from the ground truth",
        "stay on one side",
        "not the same images",
        "sam-nano",
        "2 cores",
        Protocol().id,
    ):
        assert part in caption
    whole = [replace(r, protocol=Protocol(prompt="whole-image", split="ungrouped")) for r in results]
    caption = paper_table(whole, "binary").caption
    assert "whole image" in caption
    assert "without regard to groups" in caption
    drawn = [replace(r, protocol=Protocol(split="paper")) for r in results]
    for table in (paper_table(drawn, "binary"), summary_table(drawn)):
        assert "split as in the paper's code" in table.caption


def test_only_comparable_results_share_a_table(results: list[Result]):
    other = [replace(r, protocol=Protocol(epochs=3)) for r in results]
    with pytest.raises(BenchmarkError, match="2 protocols"):
        paper_table([*results, *other], "binary")
    other = [replace(r, backbone="sam-vit-b", backbone_fingerprint="c") for r in results]
    with pytest.raises(BenchmarkError, match="2 backbones"):
        paper_table([*results, *other], "binary")
    with pytest.raises(BenchmarkError, match="multiclass"):
        paper_table([r for r in results if r.task == "binary"], "multiclass")


def test_tables_need_neither_torch_nor_ray():
    program = (
        "import sys; import qttseg.benchmark.rendering, qttseg.benchmark.summary, qttseg.benchmark.results;"
        "heavy = {'torch', 'ray', 'mlflow', 'duckdb', 'pyarrow', 'numpy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
