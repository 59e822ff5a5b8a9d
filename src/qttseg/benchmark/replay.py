"""Searches on stored learning curves with a simulated clock: hours of tuning replayed in a second.

The tuner and its policy are those of a live session; only training is looked up. An epoch takes the seconds that it took
when it was stored, starting a configuration and deciding take what the caller says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qttseg.errors import BenchmarkError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome
from qttseg.tuning.acquisition import Floats
from qttseg.tuning.policies import (
    BestPredicted,
    Hyperband,
    InOrder,
    LastValueGreedy,
    Policy,
    QuickTune,
    SuccessiveHalving,
    shuffled,
)
from qttseg.tuning.tuner import Proposal, Tuner, predicted_seconds

if TYPE_CHECKING:
    from qttseg.benchmark.quicktunetool.bridge import QuickTuneTool
    from qttseg.metadata.store import CurveStore
    from qttseg.predictors.training import Trained

_USABLE = frozenset({Outcome.COMPLETED, Outcome.DIVERGED})

DECISION_SECONDS = 0.02
"""What a decision costs, whoever takes it: measured times would depend on what else the machine does, and the same replay
would not give the same result."""

FEWEST = 8
"""Curves of a dataset below which a search on it says nothing."""


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """All that was stored of one dataset under one protocol with one backbone.

    Attributes:
        name: The dataset.
        fingerprint: Hash of its content.
        meta_features: Its meta-features.
        curves: Completed and diverged runs; at least one completed.
    """

    name: str
    fingerprint: str
    meta_features: Mapping[str, float]
    curves: tuple[LearningCurve, ...]

    @cached_property
    def epochs(self) -> int:
        """Epochs of the longest curve, after which a candidate is finished."""
        return max(len(curve.records) for curve in self.curves)

    @cached_property
    def epoch_seconds(self) -> float:
        """Median seconds of an epoch."""
        return median(record.seconds for curve in self.curves for record in curve.records)

    @cached_property
    def start_seconds(self) -> float:
        """Seconds of starting a configuration where the dataset is prepared: the median over the quicker half of runs."""
        setups = sorted(curve.setup_seconds for curve in self.curves)
        return median(setups[: max(1, len(setups) // 2)])

    @cached_property
    def _range(self) -> tuple[float, float]:
        """Worst and best stored score."""
        scores = [score for curve in self.curves for score in curve.scores]
        return min(scores), max(scores)

    def regret(self, score: float | None) -> float:
        """Return how far a score is from the best stored, as a share of the range of all; 1 before there is one."""
        worst, best = self._range
        return 1.0 if score is None or best == worst else (best - score) / (best - worst)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One search: what an optimiser is given.

    Attributes:
        dataset: Where the curves are.
        candidates: Which of its curves may be chosen.
        seed: Draws the order of those that search in a random one.
        predictors: What guides a search that is guided; None otherwise.
        foreign: What searches where quicktunetool does; None otherwise.
    """

    dataset: StoredDataset
    candidates: tuple[LearningCurve, ...]
    seed: int
    predictors: Trained | None
    foreign: QuickTuneTool | None = None

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """Those of the candidates."""
        return tuple(curve.run.configuration for curve in self.candidates)

    @property
    def order(self) -> tuple[int, ...]:
        """The candidates in a random order."""
        return shuffled(len(self.candidates), self.seed)


def _guided(kind: type[QuickTune | BestPredicted]) -> Callable[[Task], Policy]:
    def make(task: Task) -> Policy:
        if task.predictors is None:
            raise BenchmarkError(f"{kind.__name__} needs predictors")
        return kind(
            candidates=task.configurations,
            meta_features=task.dataset.meta_features,
            performance=task.predictors.performance,
        )

    return make


OPTIMISERS: Mapping[str, Callable[[Task], Policy]] = {
    "random": lambda task: InOrder(task.order),
    "greedy": lambda task: LastValueGreedy(order=task.order),
    "asha": lambda task: SuccessiveHalving(order=task.order),
    "hyperband": lambda task: Hyperband(order=task.order),
    "quick-tune": _guided(QuickTune),
    "qttseg": _guided(BestPredicted),
}
"""Policies by name."""

GUIDED = frozenset({"quick-tune", "qttseg"})
"""Those that need predictors, trained without the dataset."""

FOREIGN = "quicktunetool"
"""The optimiser that runs in a process of its own, with its own predictors, trained without the dataset."""


class Search(Protocol):
    """What a replay drives; `Tuner` is one."""

    def ask(self, remaining: float) -> Proposal | None:
        """Return what to train next, or None when nothing is left to do in the remaining seconds."""

    def tell(self, index: int, record: EpochRecord) -> object:
        """Take in what an epoch of candidate `index` gave."""

    def fail(self, index: int, outcome: Outcome) -> None:
        """Never propose candidate `index` again."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a replayed search found.

    Attributes:
        optimiser: Name of the policy.
        dataset: Name of the dataset.
        budget: Seconds granted.
        label: The budget as it was asked for.
        seed: Which draw of candidates and order.
        times: Seconds after which the normalised regret fell, rising.
        regrets: The regret from then on, in [0, 1]; lower is better.
        epochs: Epochs trained.
    """

    optimiser: str
    dataset: str
    budget: float
    label: str
    seed: int
    times: tuple[float, ...]
    regrets: tuple[float, ...]
    epochs: int

    def regret_at(self, seconds: float) -> float:
        """Return the regret after so many seconds; 1 before the first score."""
        place = int(np.searchsorted(self.times, seconds, side="right"))
        return self.regrets[place - 1] if place else 1.0

    @property
    def regret(self) -> float:
        """Regret at the end."""
        return self.regrets[-1] if self.regrets else 1.0


def stored_datasets(store: CurveStore) -> tuple[StoredDataset, ...]:
    """Return the datasets of a store that can be searched, those of one protocol and backbone together.

    Raises:
        BenchmarkError: no dataset has enough curves.
        StoreError: the store cannot be read.
    """
    known = {row["fingerprint"]: row for row in store.datasets().to_pylist()}
    groups: dict[tuple[str, str, str], list[LearningCurve]] = {}
    for curve in store.curves():
        if curve.outcome in _USABLE:
            run = curve.run
            groups.setdefault((run.dataset_fingerprint, run.protocol.id, run.backbone_fingerprint), []).append(curve)
    found = [
        StoredDataset(
            name=known.get(fingerprint, {}).get("name", curves[0].run.dataset),
            fingerprint=fingerprint,
            meta_features=dict(known.get(fingerprint, {}).get("meta_features", ())),
            curves=tuple(curves),
        )
        for (fingerprint, _, _), curves in groups.items()
        if len(curves) >= FEWEST and any(curve.records for curve in curves)
    ]
    if not found:
        raise BenchmarkError(f"no dataset in {store.uri} has {FEWEST} completed runs to search among; collect more")
    return tuple(sorted(found, key=lambda dataset: dataset.name))


def drawn_candidates(dataset: StoredDataset, seed: int, *, share: float = 0.8) -> tuple[LearningCurve, ...]:
    """Return this share of a dataset's curves, drawn from `seed`: what differs from one replay to the next."""
    count = max(FEWEST, round(share * len(dataset.curves)))
    return tuple(dataset.curves[index] for index in shuffled(len(dataset.curves), seed)[:count])


def replay(
    task: Task, optimiser: str, *, budget: float, label: str = "", decision_seconds: float = DECISION_SECONDS
) -> Replayed:
    """Search for `budget` simulated seconds.

    Args:
        task: Dataset, candidates and predictors.
        optimiser: Name of a policy in `OPTIMISERS`, or `FOREIGN`.
        budget: Seconds.
        label: The budget as it was asked for.
        decision_seconds: What each decision costs.

    Raises:
        BenchmarkError: there is no such optimiser, it lacks predictors, or quicktunetool's process went wrong.
    """
    search = _search(task, optimiser)
    best: float | None = None
    times: list[float] = []
    regrets: list[float] = []
    trained = 0
    for now, score in _scores(task, search, budget, decision_seconds):
        trained += 1
        if best is None or score > best:
            best = score
            times.append(now)
            regrets.append(task.dataset.regret(score))
    return Replayed(
        optimiser=optimiser,
        dataset=task.dataset.name,
        budget=budget,
        label=label or f"{budget:g} s",
        seed=task.seed,
        times=tuple(times),
        regrets=tuple(regrets),
        epochs=trained,
    )


def _search(task: Task, optimiser: str) -> Search:
    if optimiser == FOREIGN:
        if task.foreign is None:
            raise BenchmarkError(f"{FOREIGN} needs its process")
        return task.foreign.search(task.configurations, task.dataset.meta_features, seed=task.seed)
    if optimiser not in OPTIMISERS:
        raise BenchmarkError(f"there is no optimiser {optimiser!r}; known are {', '.join((*OPTIMISERS, FOREIGN))}")
    policy, predicted = OPTIMISERS[optimiser](task), _predicted_seconds(task)
    return Tuner(task.configurations, policy, max_epochs=task.dataset.epochs, predicted=predicted)


def _scores(task: Task, search: Search, budget: float, decision_seconds: float) -> Iterator[tuple[float, float]]:
    """Yield when each epoch ends and its score, until nothing more fits into the budget."""
    now, trained = 0.0, [0] * len(task.candidates)
    start_seconds, lost_seconds = task.dataset.start_seconds, task.dataset.epoch_seconds
    while (proposal := search.ask(budget - now)) is not None:
        done = trained[proposal.index]
        now += decision_seconds + (0.0 if done else start_seconds)
        records = task.candidates[proposal.index].records
        for record in records[done : done + proposal.epochs]:
            now += record.seconds
            if now > budget:
                return
            search.tell(proposal.index, record)
            trained[proposal.index] += 1
            yield now, record.score
        if len(records) < done + proposal.epochs:  # it diverged in the epoch that is missing
            now += lost_seconds
            search.fail(proposal.index, Outcome.DIVERGED)


def _predicted_seconds(task: Task) -> Floats | None:
    if task.predictors is None:
        return None
    return predicted_seconds(task.predictors.cost, task.dataset.meta_features, task.configurations)


def replay_all(
    datasets: Sequence[StoredDataset],
    optimisers: Sequence[str],
    budgets: Sequence[str],
    seeds: int,
    *,
    predictors: Callable[[StoredDataset], Trained],
    foreign: Callable[[StoredDataset], AbstractContextManager[QuickTuneTool]],
) -> Iterator[Replayed]:
    """Yield the replays of all optimisers on all datasets with all budgets and seeds.

    Args:
        datasets: Where to search.
        optimisers: Their names.
        budgets: Seconds as `60`, or multiples of the dataset's median epoch as `30x`.
        seeds: How many draws of candidates.
        predictors: Returns predictors that have not seen a dataset; called once for each where one is needed.
        foreign: Returns quicktunetool fitted without a dataset; called once for each where it is needed.
    """
    for dataset in datasets:
        guide = predictors(dataset) if GUIDED.intersection(optimisers) else None
        with foreign(dataset) if FOREIGN in optimisers else nullcontext() as tool:
            for seed, optimiser, budget in product(range(seeds), optimisers, budgets):
                own = guide if optimiser in GUIDED else None
                candidates = drawn_candidates(dataset, seed)
                task = Task(dataset=dataset, candidates=candidates, seed=seed, predictors=own, foreign=tool)
                yield replay(task, optimiser, budget=budget_seconds(budget, dataset), label=budget)


def budget_seconds(budget: str, dataset: StoredDataset) -> float:
    """Return the seconds of a budget such as `60` or, in median epochs of the dataset, `30x`.

    Raises:
        BenchmarkError: it is neither.
    """
    try:
        seconds = float(budget.removesuffix("x")) * (dataset.epoch_seconds if budget.endswith("x") else 1.0)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise BenchmarkError(f"{budget!r} is no budget; write seconds as 60, or multiples of an epoch as 30x")
    return seconds
