"""Collecting learning curves: only what is missing, each stored as it comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import Executor, MakeWork

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_MANIFEST = "plan.json"

_COMPACT_EVERY = 100
"""Runs, each stored as a file of its own, after which small files are merged."""

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


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far the collection last started on a store is.

    Attributes:
        total: Runs of its plan.
        done: Those that are stored, whatever their outcome.
        outcomes: How these ended.
        reasons: How often each reason stands by a run that did not complete, most frequent first.
        runs_per_hour: Rate since the collection was last started; None until a run has finished.
        seconds_left: Wall time that the missing runs will take at this rate; None where it is unknown.
    """

    total: int
    done: int
    outcomes: Mapping[Outcome, int]
    reasons: Mapping[str, int]
    runs_per_hour: float | None
    seconds_left: float | None

    @property
    def missing(self) -> int:
        """Runs of the plan that are not stored."""
        return self.total - self.done


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
    flight, and the next collection of the same plan does those again. Small files are merged now and then.

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
    _write_manifest(store, plan, started=started)
    outcomes: Counter[Outcome] = Counter()
    with closing(executor.run(make_work, list(todo.values()))) as curves:
        for curve in curves:
            store.append([curve])
            outcomes[curve.outcome] += 1
            if outcomes.total() % _COMPACT_EVERY == 0:
                store.compact()
            if on_progress is not None:
                on_progress(Progress(curve=curve, done=outcomes.total(), total=len(todo)))
    store.compact()
    return CollectionReport(
        done=outcomes.total(), skipped=len(plan) - len(todo), outcomes=dict(outcomes), seconds=clock() - started
    )


def status(store: CurveStore) -> Status:
    """Return how far the collection last started on `store` is; another process may be at it.

    Raises:
        CollectionError: none was ever started.
        StoreError: the store cannot be read.
    """
    planned, started = _read_manifest(store)
    rows = [
        row
        for row in store.table(["run_id", "outcome", "reason", "finished_at"]).to_pylist()
        if row["run_id"] in planned
    ]
    recent = [row["finished_at"] for row in rows if row["finished_at"] >= started]
    elapsed = max(recent, default=started) - started
    rate = len(recent) / elapsed if elapsed > 0 else None
    return Status(
        total=len(planned),
        done=len(rows),
        outcomes=Counter(Outcome(row["outcome"]) for row in rows),
        reasons=dict(Counter(row["reason"] for row in rows if row["outcome"] != Outcome.COMPLETED).most_common()),
        runs_per_hour=rate * 3600 if rate else None,
        seconds_left=(len(planned) - len(rows)) / rate if rate else None,
    )


def _write_manifest(store: CurveStore, plan: Sequence[Run], *, started: float) -> None:
    store.write_json(_MANIFEST, {"started": started, "run_ids": [run.id for run in plan]})


def _read_manifest(store: CurveStore) -> tuple[frozenset[str], float]:
    """Return the planned run ids and when their collection was last started."""
    match store.read_json(_MANIFEST):
        case None:
            raise CollectionError(f"no collection was ever started in {store.uri}; run qttseg collect first")
        case {"started": float() | int() as started, "run_ids": list() as run_ids}:
            return frozenset(str(run_id) for run_id in run_ids), float(started)
        case _:
            raise CollectionError(f"{_MANIFEST} in {store.uri} is not a plan; run qttseg collect again to rewrite it")
