"""Runs on the workers of a Ray cluster; the only module that imports Ray."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import MakeWork, WarmQueue, attempt, unfinished

_OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of a local Ray; runs and curves are small."""

_PATIENCE = 60.0
"""Seconds without news after which the log says that no worker has started yet."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Spreads runs over workers that keep their backbone and prepared datasets from run to run.

    A worker has one run at a time. When it dies (killed, out of memory, its machine gone), a fresh worker takes its
    place and the run is tried again; a run that has cost `retries` + 1 workers is recorded as failed.

    Attributes:
        workers: Most workers at once.
        cpus: CPU cores of each worker; its libraries use as many threads.
        gpus: GPUs of each worker; a fraction lets several workers share one.
        address: Ray cluster to join, `auto` for the one this machine belongs to; None starts a local one.
        retries: How often a run is tried again after its worker died.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        """Reject what Ray could not schedule.

        Raises:
            CollectionError: there are no workers, or their resources are negative.
        """
        if self.workers < 1 or self.cpus <= 0 or self.gpus < 0 or self.retries < 0:
            raise CollectionError(
                f"cannot run on {self.workers} workers with {self.cpus} CPUs and {self.gpus} GPUs each and "
                f"{self.retries} retries; at least one worker with some CPU is needed"
            )

    def run(self, make_work: MakeWork, runs: Sequence[Run]) -> Generator[LearningCurve, None, None]:
        """Yield one curve for each run, as it finishes.

        Raises:
            CollectionError: the cluster cannot be reached, or no worker can be set up.
        """
        if not runs:
            return
        with self._connected():
            pool = _Pool(self, make_work, runs)
            try:
                yield from pool.curves()
            finally:
                pool.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Have Ray for the time of a collection; a Ray that ran before goes on afterwards."""
        if ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"address": self.address}
        if self.address is None:
            options = {
                "address": "local",
                "num_cpus": math.ceil(self.workers * self.cpus),
                "object_store_memory": _OBJECT_STORE,
                "include_dashboard": False,
            }
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise CollectionError(f"cannot reach Ray at {self.address or 'this machine'}: {error}") from error
        try:
            self._check_gpus()
            yield
        finally:
            ray.shutdown()

    def _check_gpus(self) -> None:
        # A cluster may start machines with GPUs when asked; this machine has what it has.
        if self.address is None and self.gpus > _resources().get("GPU", 0):
            raise CollectionError(f"each worker asks for {self.gpus} GPUs and this machine has too few; ask for 0")


class _Worker:
    """Lives in a process of its own on some machine of the cluster."""

    def __init__(self, make_work: MakeWork, threads: int) -> None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(threads)  # read by torch when it is imported
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        self._make_work = make_work

    def set_up(self) -> None:
        self._work = self._make_work()

    def run(self, run: Run) -> LearningCurve:
        return attempt(self._work, run)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What a worker is at: a run, or (None) setting itself up."""

    worker: Any
    run: Run | None


class _Pool:
    """The workers of one collection and what each is at."""

    def __init__(self, settings: RayExecutor, make_work: MakeWork, runs: Sequence[Run]) -> None:
        self._settings = settings
        self._make_work = ray.put(make_work)
        self._queue = WarmQueue(runs)
        self._tasks: dict[Any, _Task] = {}
        self._deaths: Counter[str] = Counter()
        self._deaths_in_set_up = 0

    def curves(self) -> Iterator[LearningCurve]:
        for _ in range(min(self._settings.workers, len(self._queue))):
            self._start_worker()
        while self._queue or any(task.run for task in self._tasks.values()):
            done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=_PATIENCE)
            if not done:
                self._tell_waiting()
            for reference in done:
                curve = self._settle(reference, self._tasks.pop(reference))
                if curve is not None:
                    yield curve

    def close(self) -> None:
        for task in self._tasks.values():
            ray.kill(task.worker)
        self._tasks.clear()

    def _start_worker(self) -> None:
        # Without a floor of one thread, a worker with half a CPU would have none.
        threads = max(1, int(self._settings.cpus))
        remote = ray.remote(num_cpus=self._settings.cpus, num_gpus=self._settings.gpus, max_restarts=0)(_Worker)
        worker: Any = remote.remote(self._make_work, threads)
        self._tasks[worker.set_up.remote()] = _Task(worker=worker, run=None)

    def _settle(self, reference: Any, task: _Task) -> LearningCurve | None:  # noqa: ANN401 Ray's references are untyped
        """Take a worker's answer and give it its next run; return the curve, if it was that."""
        try:
            curve: LearningCurve | None = ray.get(reference)
        except RayTaskError as error:
            raise CollectionError(f"a worker cannot be set up: {error.cause}") from error
        except (RayActorError, OutOfMemoryError) as error:
            return self._replace(task, error)
        if task.run is None:
            self._deaths_in_set_up = 0
        self._give_run(task)
        return curve

    def _give_run(self, task: _Task) -> None:
        warm = task.run.dataset_fingerprint if task.run else None
        busy = [other.run.dataset_fingerprint for other in self._tasks.values() if other.run]
        run = self._queue.take(warm=warm, busy=busy)
        if run is None:
            ray.kill(task.worker)
        else:
            self._tasks[task.worker.run.remote(run)] = _Task(worker=task.worker, run=run)

    def _replace(self, task: _Task, error: Exception) -> LearningCurve | None:
        """Start a fresh worker for one that died; return a failed curve if its run has cost too many."""
        ray.kill(task.worker)  # one that merely cannot be reached must not go on
        curve = None
        if task.run is None:
            self._deaths_in_set_up += 1
            if self._deaths_in_set_up > self._settings.retries:
                raise CollectionError(f"workers die while they are set up: {_one_line(error)}") from error
        else:
            self._deaths[task.run.id] += 1
            if self._deaths[task.run.id] > self._settings.retries:
                reason = f"its worker died {self._deaths[task.run.id]} times: {_one_line(error)}"
                curve = unfinished(task.run, Outcome.FAILED, reason)
            else:
                self._queue.put_back(task.run)
        if self._queue:
            self._start_worker()
        return curve

    def _tell_waiting(self) -> None:
        if all(task.run is None for task in self._tasks.values()):
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
