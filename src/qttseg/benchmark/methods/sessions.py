"""Competitors that are a tuning session of ours: QTT-SEG, random search, and QTT-SEG without one of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qttseg.benchmark.methods.interface import BenchmarkTask, MethodOutcome
from qttseg.errors import BudgetError
from qttseg.metadata.configurations import Configuration, Value
from qttseg.tuning.policies import LastValueGreedy, Policy, shuffled
from qttseg.tuning.session import usual
from qttseg.tuning.wrappers import ColdStart, CostBlind

if TYPE_CHECKING:
    from qttseg.metadata.configurations import SearchSpace
    from qttseg.metadata.protocol import Protocol
    from qttseg.predictors.training import Trained

CANDIDATES = 128
"""Configurations among which a tuner chooses (QTT-SEG, section 4)."""


@dataclass(frozen=True, kw_only=True)
class QuickTune:
    """QTT-SEG: tunes with predictors that have never seen the target (QTT-SEG, sections 2 to 4).

    Attributes:
        candidates: How many configurations it chooses among.
        cost_aware: Whether it weighs gains against predicted seconds; without, it chooses as if every epoch took the
            same time, and only the deadline looks at seconds.
        warm_start: Whether it begins where predictors expect most; without, it first looks at ten at random.
        space: Name of the search space that they are drawn from.
        where: Values that all of them have, of parameters without conditions.
        finishing: Whether the leader makes use of the time in which no epoch of it fits any more.
    """

    name: str = "qtt-seg"
    budgeted: bool = True
    candidates: int = CANDIDATES
    cost_aware: bool = True
    warm_start: bool = True
    space: str = "paper"
    where: Mapping[str, Value] = field(default_factory=dict)
    finishing: bool = True

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Tune with the registry's predictors for the target, or with the shipped ones.

        Raises:
            LeakageError: all there are were trained on the target.
        """
        from qttseg.pipelines.spaces import search_space
        from qttseg.predictors.shipped import predictors_for

        started = task.clock()
        space = search_space(self.space)
        predictors = predictors_for(task.dataset.identity, task.registry, space=space.id)
        seconds = task.clock() - started
        outcome = tuned(
            task,
            space=space,
            predictors=predictors,
            candidates=self.candidates,
            where=self.where,
            policy=self._changed(task),
            finishing=self.finishing,
        )
        return replace(outcome, warm_start_seconds=outcome.warm_start_seconds + seconds)

    def _changed(self, task: BenchmarkTask) -> Callable[[Policy], Policy]:
        def change(policy: Policy) -> Policy:
            if not self.cost_aware:
                policy = CostBlind(policy=policy)
            if not self.warm_start:
                policy = ColdStart(policy=policy, order=shuffled(self.candidates, task.seed, task.dataset.name))
            return policy

        return change


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """The same candidates in the same loop, in random order: what the predictors must beat."""

    name: str = "random"
    budgeted: bool = True
    candidates: int = CANDIDATES

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Tune without predictors."""
        return tuned(task, candidates=self.candidates)


@dataclass(frozen=True, kw_only=True)
class WithoutMetaLearning:
    """QTT-SEG's freeze-thaw search with nothing learnt from other datasets: ten looks, then whoever leads goes on."""

    name: str = "qtt-seg-no-meta"
    budgeted: bool = True
    candidates: int = CANDIDATES

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Tune by the scores of this dataset alone."""
        greedy = LastValueGreedy(order=shuffled(self.candidates, task.seed, task.dataset.name))
        return tuned(task, candidates=self.candidates, policy=lambda _: greedy, finishing=True)


def tuned(
    task: BenchmarkTask,
    *,
    candidates: int | Sequence[Configuration],
    where: Mapping[str, Value] | None = None,
    space: SearchSpace | None = None,
    predictors: Trained | None = None,
    policy: Callable[[Policy], Policy] = usual,
    protocol: Protocol | None = None,
    finishing: bool = False,
) -> MethodOutcome:
    """Run a tuning session as `qttseg tune` does, the time it keeps for writing its result included.

    Args:
        task: What is to be tuned.
        candidates: How many configurations to draw, or which there are.
        where: Values that all drawn ones have.
        space: Where they are drawn from; the paper's by default.
        predictors: Guide the search; None for random search.
        policy: Changes the session's policy.
        protocol: Conditions of the training; the task's by default.
        finishing: Whether the leader makes use of the time in which no epoch of it fits any more.

    Raises:
        BudgetError: the task has no budget.
    """
    from qttseg.tuning.session import tune

    result = tune(
        task.dataset,
        budget=budget_of(task),
        protocol=protocol or task.protocol,
        backbone=task.backbone.name,
        device=task.device,
        space=space,
        predictors=predictors,
        candidates=candidates,
        where=where,
        policy=policy,
        seed=task.seed,
        finishing=finishing,
        clock=task.clock,
    )
    if result.ending == "interrupted":
        # A session hands back what it has when the user interrupts it; a benchmark must stop instead.
        raise KeyboardInterrupt
    return MethodOutcome(
        segmenter=result.segmenter,
        validation_score=result.score,
        trajectory=result.trajectory,
        warm_start_seconds=result.warm_start_seconds,
        lineage="" if predictors is None else "; ".join([str(predictors), *result.notes]),
    )


def budget_of(task: BenchmarkTask) -> float:
    """Return the seconds that a task grants.

    Raises:
        BudgetError: it grants none.
    """
    if task.budget is None:
        raise BudgetError("a tuner needs a time budget; none was given")
    return task.budget
