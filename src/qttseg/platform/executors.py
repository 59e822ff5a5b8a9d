"""Where runs are executed: in this process, or (in `ray_executor`) on the workers of a Ray cluster."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Protocol

import qttseg
from qttseg.metadata.runs import LearningCurve, Outcome, Run

Work = Callable[[Run], LearningCurve]
"""Does one run; keeps what several runs share, as the backbone and embedded images."""

MakeWork = Callable[[], Work]
"""Makes a worker's `Work`; called once in each worker, so it must be picklable for Ray."""

_REASON_LENGTH = 500

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Does runs, in whatever order keeps its workers warm."""

    def run(self, make_work: MakeWork, runs: Sequence[Run]) -> Generator[LearningCurve, None, None]:
        """Yield one curve for each run, as it finishes; a run that goes wrong gives a curve that says so.

        Closing the generator stops the runs in flight.

        Raises:
            CollectionError: no worker can be set up.
        """
        ...


class InProcessExecutor:
    """Does one run after the other in this process, dataset by dataset."""

    def run(self, make_work: MakeWork, runs: Sequence[Run]) -> Generator[LearningCurve, None, None]:
        """Yield one curve for each run; errors of `make_work` itself are raised."""
        work = make_work()
        queue = WarmQueue(runs)
        run = queue.take(warm=None)
        while run is not None:
            yield attempt(work, run)
            run = queue.take(warm=run.dataset_fingerprint)


class WarmQueue:
    """Runs that wait, handed out so that a worker stays with the dataset it has prepared."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._waiting: dict[str, deque[Run]] = {}
        for run in runs:
            self._waiting.setdefault(run.dataset_fingerprint, deque()).append(run)

    def __len__(self) -> int:
        return sum(len(runs) for runs in self._waiting.values())

    def take(self, *, warm: str | None, busy: Collection[str] = ()) -> Run | None:
        """Remove and return the next run for a worker; None when no run waits.

        Args:
            warm: Fingerprint of the dataset that the worker has prepared.
            busy: Fingerprints of the datasets that the other workers are at, repeated for each of them.
        """
        if warm not in self._waiting:
            if not self._waiting:
                return None
            shares = list(busy)
            warm = max(self._waiting, key=lambda dataset: len(self._waiting[dataset]) / (1 + shares.count(dataset)))
        run = self._waiting[warm].popleft()
        if not self._waiting[warm]:
            del self._waiting[warm]
        return run

    def put_back(self, run: Run) -> None:
        """Let a run that was taken wait again, before the others of its dataset."""
        self._waiting.setdefault(run.dataset_fingerprint, deque()).appendleft(run)


def attempt(work: Work, run: Run) -> LearningCurve:
    """Return the curve of `run`; whatever `work` raises becomes the outcome of the run and stops no other."""
    try:
        return work(run)
    except Exception as error:  # noqa: BLE001 the worker boundary
        _log.warning("run %s on %s failed", run.id, run.dataset, exc_info=True)
        outcome = Outcome.OUT_OF_MEMORY if _is_out_of_memory(error) else Outcome.FAILED
        return unfinished(run, outcome, f"{type(error).__name__}: {error}")


def unfinished(run: Run, outcome: Outcome, reason: str, *, clock: Callable[[], float] = time.time) -> LearningCurve:
    """Return the curve of a run of which nothing but the way it ended is known."""
    return LearningCurve(
        run=run,
        outcome=outcome,
        reason=reason[:_REASON_LENGTH],
        finished_at=clock(),
        version=qttseg.__version__,
    )


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # an error of torch cannot come from a process that has not imported it
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
