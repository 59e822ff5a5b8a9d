"""Where runs are executed: in this process, or (in `ray_executor`) on the workers of a Ray cluster."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import qttseg
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.queue import Pack, WorkQueue

Work = Callable[[Pack], list[LearningCurve]]
"""Does the runs of a pack; keeps what several packs share, as the backbone and embedded images."""

MakeWork = Callable[[], Work]
"""Makes a worker's `Work`; called once in each worker, so it must be picklable for Ray."""

_REASON_LENGTH = 500

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Does runs, in whatever order and packs keep its workers busy and warm."""

    def run(
        self, make_work: MakeWork, runs: Sequence[Run], cost: Callable[[Run], float]
    ) -> Generator[list[LearningCurve], None, None]:
        """Yield the curves of the runs, some at a time, as they finish; what goes wrong gives a curve that says so.

        No further work is handed out while the caller is at what was yielded. Closing the generator stops the runs in
        flight.

        Args:
            make_work: Makes a worker's work.
            runs: What to do.
            cost: Predicted seconds of a run; only ratios count.

        Raises:
            CollectionError: no worker can be set up.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class InProcessExecutor:
    """Does one pack after the other in this process, dataset by dataset.

    Attributes:
        pack: Most runs that are trained at once.
    """

    pack: int = 1

    def run(
        self, make_work: MakeWork, runs: Sequence[Run], cost: Callable[[Run], float]
    ) -> Generator[list[LearningCurve], None, None]:
        """Yield the curves of each pack; errors of `make_work` itself are raised."""
        work = make_work()
        queue = WorkQueue(runs, cost=cost, pack=self.pack)
        pack = queue.take()
        while pack:
            yield attempt(work, pack)
            pack = queue.take(warm=pack[0].dataset_fingerprint)


def attempt(work: Work, pack: Pack) -> list[LearningCurve]:
    """Return the curves of `pack`; whatever `work` raises becomes the outcome of a run and stops no other."""
    try:
        return work(pack)
    except Exception as error:  # noqa: BLE001 the worker boundary
        if len(pack) > 1:
            _log.warning(
                "a pack of %d on %s failed; its runs are tried one by one", len(pack), pack[0].dataset, exc_info=True
            )
            return [curve for run in pack for curve in attempt(work, (run,))]
        (run,) = pack
        _log.warning("run %s on %s failed", run.id, run.dataset, exc_info=True)
        outcome = Outcome.OUT_OF_MEMORY if _is_out_of_memory(error) else Outcome.FAILED
        return [unfinished(run, outcome, f"{type(error).__name__}: {error}")]


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
