"""What methods would have handed over at any time: validation scores of the incumbents, from stored trajectories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.tables import Column, budgets_of, check_comparable

Array = NDArray[np.float64]

NORMAL_QUANTILE = 1.96
"""Standard errors on each side of a mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class AnytimeCurve:
    """One method at one budget.

    Attributes:
        column: Method and budget.
        seconds: Points in time since the start, from the first at which every job has an incumbent.
        means: Dataset fingerprint → mean score over its seeds at these points; higher is better.
        variances: Dataset fingerprint → variance of that mean; NaN where there is one seed.
    """

    column: Column
    seconds: Array
    means: Mapping[str, Array]
    variances: Mapping[str, Array]

    def band(self) -> tuple[Array, Array, Array]:
        """Return the mean over datasets, and the ends of its 95 % interval with the datasets held fixed.

        The interval tells how the mean would move with other draws of training images, not with other datasets.
        """
        mean = np.mean(list(self.means.values()), axis=0)
        spread = NORMAL_QUANTILE * np.sqrt(np.sum(list(self.variances.values()), axis=0)) / len(self.variances)
        return mean, mean - spread, mean + spread


def anytime_curves(results: Iterable[Result], *, points: int = 61) -> tuple[AnytimeCurve, ...]:
    """Return a curve for each budget and method, over the (dataset, seed) jobs of which all methods have a trajectory.

    Methods that never have one (zero-shot) are left out, and so are jobs that failed for any method.

    Raises:
        BenchmarkError: the results come from several protocols or backbones.
    """
    chosen = tuple(results)
    check_comparable(chosen)
    jobs: defaultdict[Column, dict[tuple[str, int], Result]] = defaultdict(dict)
    for result in chosen:
        if result.status is Status.OK and result.trajectory and result.budget is not None:
            column = Column(method=result.method, budget=result.budget)
            jobs[column][result.dataset_fingerprint, result.seed] = result
    curves: list[AnytimeCurve] = []
    for budget in sorted(budget for budget in budgets_of(jobs) if budget is not None):
        rivals = {column: own for column, own in jobs.items() if column.budget == budget}
        shared = set.intersection(*(set(own) for own in rivals.values()))
        if shared:
            grid = np.linspace(0, budget, points)
            curves += [_curve(column, [own[job] for job in sorted(shared)], grid) for column, own in rivals.items()]
    return tuple(curves)


def _curve(column: Column, results: list[Result], grid: Array) -> AnytimeCurve:
    grid = grid[grid >= max(result.trajectory[0][0] for result in results)]
    scores: defaultdict[str, list[Array]] = defaultdict(list)
    for result in results:
        scores[result.dataset_fingerprint].append(_incumbents(result, grid))
    return AnytimeCurve(
        column=column,
        seconds=grid,
        means={dataset: np.mean(own, axis=0) for dataset, own in scores.items()},
        variances={dataset: _variance(np.array(own)) for dataset, own in scores.items()},
    )


def _incumbents(result: Result, grid: Array) -> Array:
    """Return the incumbent's score at each point in time, none of which is before the first incumbent."""
    times, scores = np.array(result.trajectory).T
    return np.asarray(scores[np.searchsorted(times, grid, side="right") - 1])


def _variance(scores: Array) -> Array:
    """Return the variance of the mean over seeds (seeds × points)."""
    if len(scores) < 2:
        return np.full(scores.shape[1], np.nan)
    return np.asarray(scores.var(axis=0, ddof=1) / len(scores))
