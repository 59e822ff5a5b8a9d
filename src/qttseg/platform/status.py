"""How far a collection is: its plan, kept beside the curves, against what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.runs import Outcome, Run

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class DatasetStatus:
    """How far a collection is with one dataset.

    Attributes:
        total: Runs of the plan.
        done: Those that are stored.
        seconds: What these cost their workers, setting up included.
    """

    total: int
    done: int
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
        datasets: How far each dataset is, by the name under which workers resolve it.
    """

    total: int
    done: int
    outcomes: Mapping[Outcome, int]
    reasons: Mapping[str, int]
    runs_per_hour: float | None
    seconds_left: float | None
    datasets: Mapping[str, DatasetStatus]

    @property
    def missing(self) -> int:
        """Runs of the plan that are not stored."""
        return self.total - self.done


def write_plan(store: CurveStore, plan: Sequence[Run], *, started: float) -> None:
    """Keep what a collection started at `started` (seconds since 1970) consists of.

    Raises:
        StoreError: the store cannot be written.
    """
    datasets: dict[str, list[str]] = {}
    for run in plan:
        datasets.setdefault(run.dataset, []).append(run.id)
    store.write_json(_PLAN, {"started": started, "datasets": datasets})


def status(store: CurveStore) -> Status:
    """Return how far the collection last started on `store` is; another process may be at it.

    Raises:
        CollectionError: none was ever started.
        StoreError: the store cannot be read.
    """
    from qttseg.metadata.queries import ends

    started, datasets = _read_plan(store)
    planned = {run_id for run_ids in datasets.values() for run_id in run_ids}
    rows = {} if store.is_empty else {row["run_id"]: row for row in ends(store).to_pylist() if row["run_id"] in planned}
    recent = [row["finished_at"] for row in rows.values() if row["finished_at"] >= started]
    elapsed = max(recent, default=started) - started
    rate = len(recent) / elapsed if elapsed > 0 else None
    return Status(
        total=len(planned),
        done=len(rows),
        outcomes=Counter(Outcome(row["outcome"]) for row in rows.values()),
        reasons=dict(Counter(row["reason"] for row in rows.values() if row["reason"]).most_common()),
        runs_per_hour=rate * 3600 if rate else None,
        seconds_left=(len(planned) - len(rows)) / rate if rate else None,
        datasets={
            dataset: DatasetStatus(
                total=len(run_ids),
                done=sum(run_id in rows for run_id in run_ids),
                seconds=sum(rows[run_id]["seconds"] for run_id in run_ids if run_id in rows),
            )
            for dataset, run_ids in datasets.items()
        },
    )


def _read_plan(store: CurveStore) -> tuple[float, dict[str, list[str]]]:
    """Return when the collection was last started, and its run ids by dataset."""
    match store.read_json(_PLAN):
        case None:
            raise CollectionError(f"no collection was ever started in {store.uri}; run qttseg collect first")
        case {"started": float() | int() as started, "datasets": dict() as datasets} if all(
            isinstance(run_ids, list) for run_ids in datasets.values()
        ):
            return float(started), {
                str(name): [str(run_id) for run_id in run_ids] for name, run_ids in datasets.items()
            }
        case _:
            raise CollectionError(f"{_PLAN} in {store.uri} is not a plan; run qttseg collect again to rewrite it")
