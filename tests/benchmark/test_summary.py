from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from qttseg.benchmark.rendering import to_markdown
from qttseg.benchmark.results import Result
from qttseg.benchmark.summary import summarize, summary_table
from qttseg.errors import BenchmarkError


def by_name(results: list[Result]):
    return {(each.column.method, each.column.budget): each for each in summarize(results)}


def test_scores_ranks_and_duels(scored: Callable[..., Result]):
    results = [
        scored("zero-shot", "a", 0.5),
        scored("zero-shot", "b", 0.5),
        scored("zero-shot", "c", 0.5),
        scored("qtt-seg", "a", 0.8, 60.0),
        scored("qtt-seg", "b", 0.5001, 60.0),
        scored("qtt-seg", "c", 0.4, 60.0),
    ]
    tuned = by_name(results)["qtt-seg", 60.0]
    assert (tuned.wins, tuned.ties, tuned.losses) == (1, 1, 1)
    assert tuned.mean_score == pytest.approx(0.5667, abs=1e-4)
    assert tuned.mean_rank == pytest.approx((1 + 1 + 2) / 3)
    assert by_name(results)["zero-shot", None].mean_rank == pytest.approx((2 + 2 + 1) / 3)


def test_the_gain_over_zero_shot_is_over_jobs_in_which_both_have_a_score(scored: Callable[..., Result]):
    results = [
        scored("zero-shot", "a", 0.4),
        scored("zero-shot", "b", 0.2),
        scored("zero-shot", "c", 0.9),
        scored("qtt-seg", "a", 0.5, 60.0),
        scored("qtt-seg", "b", 0.6, 60.0),
        scored("qtt-seg", "c", None, 60.0),
    ]
    tuned = by_name(results)["qtt-seg", 60.0]
    assert tuned.gain == pytest.approx(0.25)
    assert tuned.relative_gain == pytest.approx(0.25 / 0.3)
    alone = by_name([scored("qtt-seg", "a", 0.5, 60.0)])["qtt-seg", 60.0]
    assert alone.gain is alone.relative_gain is None


def test_failed_jobs_rank_last_and_lose_but_are_not_imputed(scored: Callable[..., Result]):
    results = [scored("zero-shot", "a", 0.5), scored("qtt-seg", "a", None, 60.0), scored("random", "a", 0.1, 60.0)]
    tuned = by_name(results)["qtt-seg", 60.0]
    assert (tuned.failed, tuned.losses, tuned.mean_score, tuned.mean_rank) == (1, 1, None, 3.0)


def test_ranks_need_jobs_that_all_have_run(scored: Callable[..., Result]):
    results = [scored("zero-shot", "a", 0.5), scored("qtt-seg", "b", 0.6, 60.0)]
    assert by_name(results)["qtt-seg", 60.0].mean_rank is None


def test_a_budget_free_method_ranks_at_every_budget(scored: Callable[..., Result]):
    results = [
        scored("zero-shot", "a", 0.5),
        scored("qtt-seg", "a", 0.4, 60.0),
        scored("qtt-seg", "a", 0.6, 120.0),
    ]
    summaries = by_name(results)
    assert summaries["zero-shot", None].mean_rank == 1.5
    assert summaries["qtt-seg", 60.0].mean_rank == 2.0
    assert summaries["qtt-seg", 120.0].mean_rank == 1.0


def test_ties_share_the_middle_rank(scored: Callable[..., Result]):
    results = [scored("random", "a", 0.5, 60.0), scored("qtt-seg", "a", 0.5, 60.0)]
    assert {each.mean_rank for each in summarize(results)} == {1.5}


def test_overruns_are_counted_beyond_a_hundredth(scored: Callable[..., Result]):
    results = [
        replace(scored("qtt-seg", "a", 0.5, 60.0), seconds=60.3),
        replace(scored("qtt-seg", "b", 0.5, 60.0), seconds=64.0),
    ]
    (summary,) = summarize(results)
    assert (summary.overruns, summary.worst_overrun) == (1, 4.0)


def test_the_table_has_a_row_for_each_method_and_budget(scored: Callable[..., Result]):
    results = [scored("zero-shot", "a", 0.5), scored("qtt-seg", "a", 0.6, 60.0)]
    text = to_markdown(summary_table(results))
    assert "| 60 s QTT-SEG | 1 | 0.600 | 1.00 | +0.100 (+20%) | 1/0/0 | 0 | 0 | 0.00 |" in text
    with pytest.raises(BenchmarkError, match="run the benchmark"):
        summary_table([])
