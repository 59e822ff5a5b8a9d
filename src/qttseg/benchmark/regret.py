"""How optimisers did in replays: mean regret with its uncertainty, ranks, and who is better than whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from qttseg.benchmark.statistics import Array, bootstrap_means, interval, signed_rank
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from qttseg.benchmark.replay import Replayed


@dataclass(frozen=True, kw_only=True)
class RegretSummary:
    """One optimiser at one budget over all datasets and seeds.

    Attributes:
        optimiser: Name.
        budget: As it was asked for.
        replays: How many.
        regret: Mean normalised regret at the end, each dataset counting alike; lower is better.
        low: Lower end of the 95 % bootstrap interval of that mean; datasets are drawn, then seeds within them.
        high: Its upper end.
        rank: Mean rank among the optimisers on the same dataset and seed; 1 is best, ties share.
        p_value: Of the two-sided Wilcoxon signed-rank test of the datasets' mean regrets against the reference; None for
            the reference itself, and where all differences are 0.
    """

    optimiser: str
    budget: str
    replays: int
    regret: float
    low: float
    high: float
    rank: float
    p_value: float | None


def summarise_regret(replays: Iterable[Replayed], *, reference: str, seed: int = 0) -> tuple[RegretSummary, ...]:
    """Return a summary for each budget and optimiser, by budget, then by regret.

    Raises:
        BenchmarkError: nothing was replayed, an optimiser lacks a dataset, budget or seed that another has, or the
            reference is not among them.
    """
    ordered = sorted(replays, key=lambda one: (one.budget, one.label))
    if not ordered:
        raise BenchmarkError("nothing was replayed; name at least one optimiser, one budget and one seed")
    summaries: list[RegretSummary] = []
    labels = list(dict.fromkeys(one.label for one in ordered))
    for label in labels:
        table = _by_optimiser([one for one in ordered if one.label == label])
        if reference not in table:
            raise BenchmarkError(f"{reference} is compared with and was not replayed; add it to the optimisers")
        names = list(table)
        ranks = rankdata(np.stack([table[name] for name in names]), axis=0)
        summaries += sorted(
            (
                _summary(name, label, table[name], ranks[place], None if name == reference else table[reference], seed)
                for place, name in enumerate(names)
            ),
            key=lambda summary: summary.regret,
        )
    return tuple(summaries)


def regret_curves(
    replays: Sequence[Replayed], label: str, *, points: int = 60, seed: int = 0
) -> Mapping[str, tuple[Array, Array, Array, Array]]:
    """Return, for each optimiser, shares of the budget and the mean regret there with its 95 % bootstrap band."""
    shares = np.linspace(0, 1, points)
    curves = {}
    for name, own in _grouped([one for one in replays if one.label == label]).items():
        regrets = np.array(
            [[[one.regret_at(share * one.budget) for share in shares] for one in seeds] for seeds in own.values()]
        )
        low, high = interval(bootstrap_means(tuple(regrets), seed=seed))
        curves[name] = (shares, regrets.mean(axis=(0, 1)), low, high)
    return curves


def _summary(name: str, label: str, regrets: Array, ranks: Array, reference: Array | None, seed: int) -> RegretSummary:
    low, high = interval(bootstrap_means(tuple(regrets[..., None]), seed=seed))
    return RegretSummary(
        optimiser=name,
        budget=label,
        replays=regrets.size,
        regret=float(regrets.mean()),
        low=float(low[0]),
        high=float(high[0]),
        rank=float(ranks.mean()),
        p_value=None if reference is None else signed_rank((regrets - reference).mean(axis=1)),
    )


def _by_optimiser(replays: Sequence[Replayed]) -> dict[str, Array]:
    """Return the regrets at the end, datasets × seeds, of each optimiser.

    Raises:
        BenchmarkError: the optimisers were not replayed on the same datasets and seeds.
    """
    grouped = _grouped(replays)
    shapes = {
        name: [(dataset, [one.seed for one in own]) for dataset, own in sets.items()] for name, sets in grouped.items()
    }
    if any(shape != next(iter(shapes.values())) for shape in shapes.values()) or any(
        len({len(seeds) for _, seeds in shape}) > 1 for shape in shapes.values()
    ):
        raise BenchmarkError(
            "the optimisers were not replayed on the same datasets and seeds; replay all of them again"
        )
    return {name: np.array([[one.regret for one in own] for own in sets.values()]) for name, sets in grouped.items()}


def _grouped(replays: Sequence[Replayed]) -> dict[str, dict[str, list[Replayed]]]:
    """Return the replays by optimiser and dataset, in the order of seeds."""
    ordered = sorted(replays, key=lambda one: (one.optimiser, one.dataset, one.seed))
    return {
        name: {dataset: list(own) for dataset, own in groupby(group, key=lambda one: one.dataset)}
        for name, group in groupby(ordered, key=lambda one: one.optimiser)
    }
