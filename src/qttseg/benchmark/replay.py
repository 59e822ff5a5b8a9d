"""Searches on stored learning curves with a simulated clock: hours of tuning replayed in a second.

The tuner and its policy are those of a live session; only training is looked up. An epoch takes the seconds that it took
when it was stored, starting a configuration and deciding take what the caller says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qttseg.benchmark.stored_datasets import StoredDataset, budget_seconds, drawn_candidates
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
    from qttseg.predictors.training import Trained

DECISION_SECONDS = 0.02
"""What a decision costs, whoever takes it: measured times would depend on what else the machine does, and the same replay
would not give the same result."""


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
    dataset = task.dataset
    return predicted_seconds(
        task.predictors.cost,
        dataset.meta_features,
        task.configurations,
        images=task.candidates[0].run.protocol.images,
        accelerated=dataset.accelerated,
    )


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
