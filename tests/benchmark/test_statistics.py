from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import wilcoxon

from qttseg.benchmark.results import Result
from qttseg.benchmark.statistics import bootstrap_means, duel_table, duels, interval, rankings
from qttseg.errors import BenchmarkError

Scored = Callable[..., Result]
NAMES = [f"d{index}" for index in range(8)]


@pytest.fixture
def results(scored: Scored) -> list[Result]:
    """QTT-SEG is ahead of random by 0.1 on seven datasets and behind on one; zero-shot is far behind."""
    made = []
    for place, name in enumerate(NAMES):
        for seed in (0, 1):
            shift = 0.01 * place + 0.002 * seed
            lead = -0.03 if place == 0 else 0.1 + 0.01 * place
            made.append(scored("zero-shot", name, 0.1 + shift, seed=seed))
            made.append(scored("random", name, 0.5 + shift, 60.0, seed))
            made.append(scored("qtt-seg", name, 0.5 + lead + shift, 60.0, seed))
    return made


def test_a_duel_tells_difference_interval_and_corrected_p(results: list[Result]):
    found = {duel.column.method: duel for duel in duels(results)}
    duel = found["random"]
    leads = np.array([-0.03, *(0.1 + 0.01 * place for place in range(1, 8))])
    assert duel.difference == pytest.approx(leads.mean())
    assert duel.low < duel.difference < duel.high
    assert (duel.datasets, duel.jobs, duel.wins, duel.ties, duel.losses, duel.imputed) == (8, 16, 7, 0, 1, 0)
    assert found["zero-shot"].p_value == pytest.approx(2 * wilcoxon(leads + 0.4).pvalue), "Holm: the smaller of two"
    assert duel.p_value == pytest.approx(wilcoxon(leads).pvalue)


def test_failed_jobs_count_as_0_and_are_told(results: list[Result], scored: Scored):
    failed = [
        scored("qtt-seg", "d1", None, 60.0, r.seed) if (r.method, r.dataset) == ("qtt-seg", "d1") else r
        for r in results
    ]
    duel = next(duel for duel in duels(failed) if duel.column.method == "random")
    assert (duel.imputed, duel.losses) == (2, 2)
    assert duel.difference < 0.1


def test_only_jobs_that_both_have_run_are_compared(results: list[Result]):
    fewer = [r for r in results if not (r.method == "random" and (r.dataset == "d2" or r.seed == 1))]
    found = {duel.column.method: duel for duel in duels(fewer)}
    assert (found["random"].datasets, found["random"].jobs) == (7, 7)
    assert (found["zero-shot"].datasets, found["zero-shot"].jobs) == (8, 16)


def test_equal_methods_are_a_tie_of_which_nothing_is_sure(scored: Scored):
    same = [scored(method, name, 0.5, 60.0) for name in NAMES for method in ("qtt-seg", "random")]
    (duel,) = duels(same)
    assert (duel.difference, duel.low, duel.high, duel.ties, duel.p_value) == (0.0, 0.0, 0.0, 8, 1.0)
    (ranking,) = rankings(same)
    assert ranking.ranks == (1.5, 1.5)
    assert (ranking.p_values == 1).all()


def test_methods_are_ranked_over_datasets_with_pairwise_tests(results: list[Result]):
    (ranking,) = rankings(results)
    assert ranking.methods == ("qtt-seg", "random", "zero-shot")
    assert ranking.ranks == (1.125, 1.875, 3.0)
    assert ranking.p_friedman is not None
    assert ranking.p_friedman < 0.01
    assert (ranking.p_values == ranking.p_values.T).all()
    assert ranking.p_values[0, 2] == pytest.approx(3 * 2 / 2**8), "the smallest there is, times three pairs"


def test_there_is_nothing_to_say_of_a_single_method(results: list[Result]):
    alone = [r for r in results if r.method == "qtt-seg"]
    assert duels(alone) == rankings(alone) == ()
    with pytest.raises(BenchmarkError, match="run both"):
        duel_table(alone)


def test_the_table_shows_signs_and_marks_what_is_sure(results: list[Result]):
    table = duel_table(results)
    row = next(row for row in table.rows if row.label == "60 s random")
    difference, bounds, p_value = row.cells[2], row.cells[3], row.cells[5]
    assert difference.text.startswith("+0.1")
    assert bounds.text.count("+") == 2
    assert p_value.best
    assert "Holm" in table.caption


def test_the_bootstrap_draws_datasets_and_seeds_within_them():
    generator = np.random.default_rng(0)
    values = [generator.normal(level, 0.1, (seeds, 1)) for level, seeds in ((0.0, 5), (1.0, 3), (2.0, 5))]
    draws = bootstrap_means(values)
    assert draws.mean() == pytest.approx(np.mean([own.mean() for own in values]), abs=0.03)
    assert draws.std() == pytest.approx(np.sqrt(2 / 3 / 3), abs=0.05), "mostly from which datasets are drawn"
    low, high = interval(draws)
    assert low < 1 < high
    one = bootstrap_means([np.full((2, 3), 0.5)])
    assert (one == 0.5).all()
