"""Jobs that are timed, so each has a process and cores to itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from qttseg.errors import CollectionError
from qttseg.platform.cores import limit_threads, own_cores, pin
from qttseg.platform.ray_connection import connected

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Lost(Exception):  # noqa: N818 (an outcome, not an error of the program)
    """A job that came to no end: it raised, or its process died again and again; the text says how."""


def run_apart(
    work: Callable[[Job], Answer], jobs: Sequence[Job], *, workers: int, cpus: int = 1, retries: int = 2
) -> Iterator[tuple[Job, Answer | Lost]]:
    """Yield each job with its answer as they finish, `workers` at a time on this machine.

    A job runs in a fresh process, which is pinned to `cpus` cores that no other job has at that time. If the process
    dies, the job is tried again.

    Args:
        work: Does a job; picklable.
        jobs: What to do, in the order in which they begin.
        workers: Most jobs at once.
        cpus: Cores of each.
        retries: How often a job is tried again after its process died.

    Raises:
        CollectionError: the machine has fewer cores, or Ray cannot be started.
    """
    cores = own_cores()
    if workers < 1 or cpus < 1 or workers * cpus > len(cores):
        raise CollectionError(
            f"{workers} workers with {cpus} cores each do not fit on this machine, which has {len(cores)} cores"
        )
    free = [cores[start : start + cpus] for start in range(0, workers * cpus, cpus)]
    waiting, running = list(reversed(jobs)), dict[Any, tuple[Job, tuple[int, ...]]]()
    with connected(None, cpus=workers * cpus):
        remote: Any = ray.remote(num_cpus=cpus, max_calls=1, max_retries=retries)(_work)
        shared = ray.put(work)
        while waiting or running:
            while waiting and free:
                job, own = waiting.pop(), free.pop()
                running[remote.remote(shared, job, own)] = job, own
            (done, *_), _ = ray.wait(list(running))
            job, own = running.pop(done)
            free.append(own)
            try:
                answer = ray.get(done)
            except RayTaskError as error:
                answer = Lost(f"{type(error.cause).__name__}: {error.cause}")
            except RayError as error:
                answer = Lost(f"its process died {retries + 1} times: {' '.join(str(error).split())}")
            yield job, answer


def _work(work: Callable[[Job], Answer], job: Job, cores: tuple[int, ...]) -> Answer:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    limit_threads(len(cores))
    pin(cores)
    return work(job)
