"""How surely one method is ahead of another: intervals and paired tests over datasets and seeds.

Datasets are what a claim is about, so they are the units of every test; the seeds of a dataset are averaged first. A job
that failed has no score; it counts as 0 here, the score of no mask at all, and is counted as imputed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from qttseg.benchmark.results import Result
from qttseg.benchmark.tables import CONTENDER, Cell, Column, Head, Row, Table, budgets_of, check_comparable, title_of
from qttseg.errors import BenchmarkError

Array = NDArray[np.float64]

_RESAMPLES = 2000

Scores = Mapping[str, Mapping[int, float]]
"""Dataset fingerprint → seed → score."""


def bootstrap_means(values: Sequence[Array], *, seed: int = 0) -> Array:
    """Return resampled means (resamples × points): datasets are drawn, then seeds within them.

    Args:
        values: For each dataset an array seeds × points.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(values), size=(_RESAMPLES, len(values)))
    means = np.empty((*drawn.shape, values[0].shape[1]))
    for place, own in enumerate(values):
        here = drawn == place
        means[here] = own[generator.integers(len(own), size=(np.count_nonzero(here), len(own)))].mean(axis=1)
    return np.asarray(means.mean(axis=1))


def interval(draws: Array) -> tuple[Array, Array]:
    """Return the ends of the 95 % interval of resampled means, each point by itself."""
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return low, high


def signed_rank(differences: Array) -> float | None:
    """Return the p-value of the two-sided Wilcoxon signed-rank test; None where all differences are 0."""
    return float(wilcoxon(differences).pvalue) if differences.any() else None


@dataclass(frozen=True, kw_only=True)
class Duel:
    """QTT-SEG, or another reference, against one method at one budget, over the jobs that both have run.

    Attributes:
        column: The other method and the budget.
        datasets: Datasets that both have run.
        jobs: (dataset, seed) jobs that both have run.
        imputed: Of their results, those that failed and count as 0.
        difference: Mean over datasets of the reference's score less the other's; above 0 the reference is ahead.
        low: Lower end of its 95 % bootstrap interval; datasets are drawn, then seeds within them.
        high: Its upper end.
        wins: Datasets on which the reference's mean is ahead in the third decimal.
        ties: Datasets on which both agree.
        losses: The others.
        p_value: Of the Wilcoxon signed-rank test over datasets, after Holm's correction for all duels at this budget.
    """

    column: Column
    datasets: int
    jobs: int
    imputed: int
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All methods at one budget, over the jobs that all of them have run.

    Attributes:
        budget: Seconds; None where no method needs time.
        methods: Names, best mean rank first.
        datasets: Datasets that all have run.
        ranks: Mean rank of each method over these datasets; 1 is best, ties share the middle.
        p_friedman: Of the Friedman test that all are alike; None with fewer than three methods.
        p_values: methods × methods, of pairwise Wilcoxon signed-rank tests after Holm's correction.
    """

    budget: float | None
    methods: tuple[str, ...]
    datasets: int
    ranks: tuple[float, ...]
    p_friedman: float | None
    p_values: Array


def duels(results: Iterable[Result], *, reference: str = CONTENDER) -> tuple[Duel, ...]:
    """Return the reference against every other method at every budget; empty where the reference was not run.

    Raises:
        BenchmarkError: the results come from several protocols or backbones.
    """
    found: list[Duel] = []
    for budget, scores in _by_budget(results).items():
        if reference in scores:
            pairs = {name: _shared([scores[reference], own]) for name, own in scores.items() if name != reference}
            pairs = {name: pair for name, pair in pairs.items() if pair}
            p_values = _holm([_p_value(_means(pair)) for pair in pairs.values()])
            found += [
                _duel(Column(method=name, budget=budget), pair, p_value)
                for (name, pair), p_value in zip(pairs.items(), p_values, strict=True)
            ]
    return tuple(found)


def rankings(results: Iterable[Result]) -> tuple[Ranking, ...]:
    """Return the ranking at every budget at which at least two methods share at least two datasets.

    Raises:
        BenchmarkError: the results come from several protocols or backbones.
    """
    made = (_ranking(budget, scores) for budget, scores in _by_budget(results).items())
    return tuple(ranking for ranking in made if ranking is not None)


def duel_table(results: Iterable[Result], *, reference: str = CONTENDER) -> Table:
    """Return `duels` as a table, a row for each method and budget.

    Raises:
        BenchmarkError: the reference was not run beside another method, or the results do not go together.
    """
    found = duels(results, reference=reference)
    title = title_of(reference)
    if not found:
        raise BenchmarkError(f"{reference} and another method have no (dataset, seed) job in common; run both on one")
    rows = tuple(
        Row(
            label=duel.column.head.text,
            about=duel.column.about,
            cells=(
                Cell(mean=duel.datasets, decimals=0),
                Cell(mean=duel.jobs, decimals=0),
                Cell(mean=duel.difference, signed=True),
                Cell(note=f"{duel.low:+.3f} to {duel.high:+.3f}"),
                Cell(note=f"{duel.wins}/{duel.ties}/{duel.losses}"),
                Cell(mean=duel.p_value, best=duel.p_value < 0.05, decimals=3 if duel.p_value >= 0.0005 else 4),
                Cell(mean=duel.imputed, decimals=0),
            ),
        )
        for duel in found
    )
    titles = ("Datasets", "Jobs", "Difference", "95 % interval", "Win/tie/loss", "p", "Imputed")
    caption = (
        f"{title} less each method, over the (dataset, seed) jobs that both have run; above 0 {title} is ahead. "
        "Interval: bootstrap, datasets drawn, then seeds within them. Win/tie/loss: datasets, by their means, to the third "
        "decimal. p: two-sided Wilcoxon signed-rank test over datasets, Holm-corrected for the methods at one budget "
        "(bold below 0.05; with n datasets it cannot fall below 2 / 2ⁿ). Imputed: failed jobs, which count as 0 here."
    )
    return Table(corner="Against", heads=tuple(Head(title=title) for title in titles), rows=rows, caption=caption)


def ranking_caption(ranking: Ranking) -> str:
    """Return what a critical-difference diagram of `ranking` shows."""
    at = "" if ranking.budget is None else f" at {ranking.budget:g} s"
    friedman = "" if ranking.p_friedman is None else f"Friedman test that all are alike: p = {ranking.p_friedman:.2g}. "
    return (
        f"Mean ranks{at} over the {ranking.datasets} datasets that all methods have run (1 is best). {friedman}"
        "A bar joins methods that pairwise Wilcoxon signed-rank tests (Holm-corrected, 5 %) cannot tell apart; failed jobs "
        "count as 0."
    )


def _by_budget(results: Iterable[Result]) -> dict[float | None, dict[str, Scores]]:
    """Return the scores of the methods at each budget, budget-free ones at all."""
    chosen = tuple(results)
    check_comparable(chosen)
    scores: defaultdict[Column, defaultdict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for result in chosen:
        column = Column(method=result.method, budget=result.budget)
        scores[column][result.dataset_fingerprint][result.seed] = np.nan if result.score is None else result.score
    budgets = sorted(budgets_of(scores), key=lambda budget: budget or 0.0)
    return {
        budget: {column.method: own for column, own in scores.items() if column.budget in (None, budget)}
        for budget in budgets
    }


def _shared(scores: Sequence[Scores]) -> list[Array]:
    """Return for each dataset that all have run an array methods × shared seeds; NaN where a job failed."""
    arrays = []
    for dataset in scores[0]:
        seeds = [seed for seed in scores[0][dataset] if all(seed in own.get(dataset, {}) for own in scores)]
        if seeds:
            arrays.append(np.array([[own[dataset][seed] for seed in seeds] for own in scores]))
    return arrays


def _means(arrays: Sequence[Array]) -> Array:
    """Return means over seeds, methods × datasets, failed jobs counting as 0."""
    return np.stack([np.nan_to_num(own).mean(axis=1) for own in arrays], axis=1)


def _p_value(means: Array) -> float:
    """Of one pair, methods × datasets; 1 where both agree everywhere."""
    p_value = signed_rank(means[0] - means[1])
    return 1.0 if p_value is None else p_value


def _holm(p_values: Sequence[float]) -> list[float]:
    from statsmodels.stats.multitest import multipletests

    return [float(p_value) for p_value in multipletests(p_values, method="holm")[1]] if p_values else []


def _duel(column: Column, arrays: Sequence[Array], p_value: float) -> Duel:
    differences = [(own[0] - own[1])[:, None] for own in map(np.nan_to_num, arrays)]
    means = np.array([own.mean() for own in differences])
    thousandths = np.round(means * 1000)
    low, high = interval(bootstrap_means(differences))
    return Duel(
        column=column,
        datasets=len(arrays),
        jobs=sum(own.shape[1] for own in arrays),
        imputed=sum(int(np.isnan(own).sum()) for own in arrays),
        difference=float(means.mean()),
        low=float(low[0]),
        high=float(high[0]),
        wins=int((thousandths > 0).sum()),
        ties=int((thousandths == 0).sum()),
        losses=int((thousandths < 0).sum()),
        p_value=p_value,
    )


def _ranking(budget: float | None, scores: Mapping[str, Scores]) -> Ranking | None:
    arrays = _shared(list(scores.values()))
    if len(scores) < 2 or len(arrays) < 2:
        return None
    means = _means(arrays)
    ranks = rankdata(-means, axis=0).mean(axis=1)
    order = np.argsort(ranks, kind="stable")
    names, means = [tuple(scores)[place] for place in order], means[order]
    differ = len(names) > 2 and bool(np.ptp(means, axis=0).any())
    return Ranking(
        budget=budget,
        methods=tuple(names),
        datasets=len(arrays),
        ranks=tuple(ranks[order].tolist()),
        p_friedman=float(friedmanchisquare(*means).pvalue) if differ else None,
        p_values=_pairwise(means),
    )


def _pairwise(means: Array) -> Array:
    """Return Holm-corrected p-values of all pairs of methods × datasets; 1 on the diagonal."""
    count = len(means)
    rows, columns = np.triu_indices(count, k=1)
    corrected = _holm([_p_value(means[[row, column]]) for row, column in zip(rows, columns, strict=True)])
    matrix = np.ones((count, count))
    matrix[rows, columns] = matrix[columns, rows] = corrected
    return matrix
