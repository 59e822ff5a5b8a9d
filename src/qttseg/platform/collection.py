"""Collecting learning curves: only what is missing, each stored as it comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.costs import RunCosts
from qttseg.platform.executors import Executor, MakeWork
from qttseg.platform.status import write_plan

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_COMPACT_EVERY = 50
"""Files, one for what finished at once, after which small ones are merged."""

_MAY_END_OTHERWISE = frozenset({Outcome.FAILED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT})
"""Outcomes that another attempt or another machine may change; a run that diverged would diverge again."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """News of a collection.

    Attributes:
        curve: The run that has just finished.
        done: Runs finished by this collection so far.
        total: Runs that this collection has to do.
    """

    curve: LearningCurve
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class CollectionReport:
    """What a collection did.

    Attributes:
        done: Runs that it did.
        skipped: Runs of the plan that were stored before.
        outcomes: How the runs that it did ended.
        seconds: Wall time.
    """

    done: int
    skipped: int
    outcomes: Mapping[Outcome, int]
    seconds: float


def collect(
    plan: Sequence[Run],
    store: CurveStore,
    executor: Executor,
    make_work: MakeWork,
    *,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> CollectionReport:
    """Do the runs of `plan` that the store lacks.

    Each finished run is stored before anything else happens, so Ctrl-C or a killed process lose only the runs in
    flight, and the next collection of the same plan does those again. Small files are merged now and then. Runs that
    are expected to take long come first.

    Args:
        plan: What `plan_runs` returned.
        store: Where the curves go.
        executor: Where the runs are done.
        make_work: Makes a worker's work; picklable for executors that use other processes.
        retry_failed: Whether stored runs that failed, timed out or ran out of memory are done again.
        on_progress: Told of each finished run.
        clock: Seconds since 1970.

    Raises:
        CollectionError: no worker can be set up.
        StoreError: the store cannot be read or written.
    """
    started = clock()
    settled = frozenset(Outcome) - _MAY_END_OTHERWISE if retry_failed else None
    stored = store.run_ids(settled)
    todo = {run.id: run for run in plan if run.id not in stored}
    write_plan(store, plan, started=started)
    costs = RunCosts.of_store(store, plan)
    outcomes: Counter[Outcome] = Counter()
    files = 0
    with closing(executor.run(make_work, list(todo.values()), costs.weight)) as batches:
        for curves in batches:
            store.append(curves)
            files += 1
            if files % _COMPACT_EVERY == 0:
                store.compact()
            for curve in curves:
                outcomes[curve.outcome] += 1
                if on_progress is not None:
                    on_progress(Progress(curve=curve, done=outcomes.total(), total=len(todo)))
    store.compact()
    return CollectionReport(
        done=outcomes.total(), skipped=len(plan) - len(todo), outcomes=dict(outcomes), seconds=clock() - started
    )
