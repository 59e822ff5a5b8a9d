"""Runs on the workers of a Ray cluster."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.cores import limit_threads
from qttseg.platform.executors import MakeWork, attempt, unfinished
from qttseg.platform.queue import Pack, WorkQueue
from qttseg.platform.ray_connection import connected

_GATHERING = 0.2
"""Seconds for which finished runs wait for others, to be stored as one file with them."""

_PATIENCE = 60.0
"""Seconds without news after which the log says that no worker has started yet."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Spreads runs over workers that keep their backbone and prepared datasets from pack to pack.

    A worker has one pack at a time. When it dies (killed, out of memory, its machine gone), a fresh worker takes its
    place and its runs are tried again, each alone and on another machine where there is one; a run that has cost
    `retries` + 1 workers is recorded as failed or out of memory.

    Attributes:
        workers: Most workers at once.
        cpus: CPU cores of each worker; its libraries use as many threads.
        gpus: GPUs of each worker; a fraction lets several workers share one.
        address: Ray cluster to join, `auto` for the one this machine belongs to; None starts a local one.
        retries: How often a run is tried again after its worker died.
        pack: Most runs that a worker trains at once.
        limit: Most seconds of a pack, preparing its dataset included; a worker that takes longer is taken for stuck and
            replaced, and the runs are recorded as timed out. None for no limit.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    retries: int = 2
    pack: int = 1
    limit: float | None = None

    def __post_init__(self) -> None:
        """Reject what Ray could not schedule.

        Raises:
            CollectionError: there are no workers, or their resources are negative.
        """
        if self.workers < 1 or self.cpus <= 0 or self.gpus < 0 or self.retries < 0 or self.pack < 1:
            raise CollectionError(
                f"cannot run on {self.workers} workers with {self.cpus} CPUs and {self.gpus} GPUs each, "
                f"{self.retries} retries and packs of {self.pack}; at least one worker with some CPU is needed"
            )

    def run(
        self, make_work: MakeWork, runs: Sequence[Run], cost: Callable[[Run], float]
    ) -> Generator[list[LearningCurve], None, None]:
        """Yield the curves of the runs as they finish, those that finished together at once.

        Raises:
            CollectionError: the cluster cannot be reached, or no worker can be set up.
        """
        if not runs:
            return
        found = ray.is_initialized()
        with connected(self.address, cpus=math.ceil(self.workers * self.cpus)):
            if not found:
                self._check_gpus()
            pool = _Pool(self, make_work, WorkQueue(runs, cost=cost, pack=self.pack, workers=self.workers))
            try:
                yield from pool.curves()
            finally:
                pool.close()

    def _check_gpus(self) -> None:
        # A cluster may start machines with GPUs when asked; this machine has what it has.
        if self.address is None and self.gpus > _resources().get("GPU", 0):
            raise CollectionError(f"each worker asks for {self.gpus} GPUs and this machine has too few; ask for 0")


class _Worker:
    """Lives in a process of its own on some machine of the cluster."""

    def __init__(self, make_work: MakeWork, threads: int) -> None:
        limit_threads(threads)
        self._make_work = make_work

    def set_up(self) -> str:
        """Get ready and return which machine this is."""
        self._work = self._make_work()
        return str(ray.get_runtime_context().get_node_id())

    def run(self, pack: Pack) -> list[LearningCurve]:
        return attempt(self._work, pack)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What a worker is at: a pack, or (an empty one) setting itself up."""

    worker: Any
    started: float
    machine: str = ""
    pack: Pack = ()


class _Pool:
    """The workers of one collection and what each is at."""

    def __init__(self, settings: RayExecutor, make_work: MakeWork, queue: WorkQueue) -> None:
        self._settings = settings
        self._make_work = ray.put(make_work)
        self._queue = queue
        self._tasks: dict[Any, _Task] = {}
        self._deaths: Counter[str] = Counter()
        self._deaths_in_set_up = 0
        self._last_news = time.monotonic()

    def curves(self) -> Iterator[list[LearningCurve]]:
        for _ in range(min(self._settings.workers, len(self._queue))):
            self._start_worker()
        curves: list[LearningCurve] = []
        due = math.inf
        while self._queue or any(task.pack for task in self._tasks.values()):
            for reference in self._finished(due - time.monotonic()):
                curves += self._settle(reference, self._tasks.pop(reference))
            for reference in self._overdue():
                curves += self._give_up(self._tasks.pop(reference))
            now = time.monotonic()
            if curves and due <= now:
                yield curves
                curves, due = [], math.inf
            elif curves:
                due = min(due, now + _GATHERING)
        if curves:
            yield curves

    def close(self) -> None:
        for task in self._tasks.values():
            ray.kill(task.worker)
        self._tasks.clear()

    def _start_worker(self) -> None:
        # Without a floor of one thread, a worker with half a CPU would have none.
        threads = max(1, int(self._settings.cpus))
        remote = ray.remote(
            num_cpus=self._settings.cpus,
            num_gpus=self._settings.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(_Worker)
        worker: Any = remote.remote(self._make_work, threads)
        self._tasks[worker.set_up.remote()] = _Task(worker=worker, started=time.monotonic())

    def _finished(self, most: float) -> list[Any]:
        """Wait at most so many seconds for news and return all there is."""
        references = list(self._tasks)
        limit = self._settings.limit
        patience = _PATIENCE if limit is None else min(_PATIENCE, max(0.1, limit / 10))
        done, _ = ray.wait(references, num_returns=1, timeout=max(0.0, min(most, patience)))
        if done:
            done, _ = ray.wait(references, num_returns=len(references), timeout=0)
            self._last_news = time.monotonic()
        elif time.monotonic() > self._last_news + _PATIENCE:
            self._tell_waiting()
            self._last_news = time.monotonic()
        return list(done)

    def _overdue(self) -> list[Any]:
        if self._settings.limit is None:
            return []
        latest = time.monotonic() - self._settings.limit
        return [reference for reference, task in self._tasks.items() if task.pack and task.started < latest]

    def _settle(self, reference: Any, task: _Task) -> list[LearningCurve]:  # noqa: ANN401 Ray's references are untyped
        """Take a worker's answer and give it its next pack; return the curves, if it was that."""
        try:
            answer = ray.get(reference)
        except RayTaskError as error:
            raise CollectionError(f"a worker cannot be set up: {error.cause}") from error
        except RayError as error:
            return self._replace(task, error)
        if task.pack:
            self._give_pack(task.worker, task.machine, warm=task.pack[0].dataset_fingerprint)
            return list(answer)
        self._deaths_in_set_up = 0
        self._give_pack(task.worker, answer)
        return []

    def _give_pack(self, worker: Any, machine: str, *, warm: str | None = None) -> None:  # noqa: ANN401
        busy = [other.pack[0].dataset_fingerprint for other in self._tasks.values() if other.pack]
        pack = self._queue.take(warm=warm, busy=busy, machine=machine)
        if not pack:
            ray.kill(worker)
            return
        task = _Task(worker=worker, started=time.monotonic(), machine=machine, pack=pack)
        self._tasks[worker.run.remote(pack)] = task

    def _replace(self, task: _Task, error: Exception) -> list[LearningCurve]:
        """Start a fresh worker for one that died; return curves of those of its runs that have cost too many."""
        ray.kill(task.worker)  # one that merely cannot be reached must not go on
        curves = []
        if not task.pack:
            self._deaths_in_set_up += 1
            if self._deaths_in_set_up > self._settings.retries:
                raise CollectionError(f"workers die while they are set up: {_one_line(error)}") from error
        for run in task.pack:
            self._deaths[run.id] += 1
            if self._deaths[run.id] > self._settings.retries:
                outcome = Outcome.OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else Outcome.FAILED
                reason = f"its worker died {self._deaths[run.id]} times: {_one_line(error)}"
                curves.append(unfinished(run, outcome, reason))
            else:
                self._queue.put_back((run,), machine=task.machine)
        if self._queue:
            self._start_worker()
        return curves

    def _give_up(self, task: _Task) -> list[LearningCurve]:
        """Replace a worker that is stuck and record its runs as timed out."""
        ray.kill(task.worker)
        if self._queue:
            self._start_worker()
        reason = f"no news of its worker for {self._settings.limit:g} s"
        return [unfinished(run, Outcome.TIMED_OUT, reason) for run in task.pack]

    def _tell_waiting(self) -> None:
        if not any(task.pack for task in self._tasks.values()):
            _log.warning(
                "no worker has started yet; each asks for %g CPUs and %g GPUs and the cluster has %s",
                self._settings.cpus,
                self._settings.gpus,
                _resources(),
            )


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
