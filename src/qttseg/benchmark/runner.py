"""Methods × datasets × budgets × seeds: what is missing is run, one after the other or each on cores of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from qttseg.benchmark.arena import Apart, Arena
from qttseg.benchmark.methods.catalogue import method
from qttseg.benchmark.methods.interface import Method, NeedsSetUp
from qttseg.benchmark.results import Job, Result, Status
from qttseg.errors import BenchmarkError, BudgetError
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.protocol import PAPER, Protocol

if TYPE_CHECKING:
    from qttseg.benchmark.store import ResultStore
    from qttseg.pipelines.backbones import Backbone
    from qttseg.predictors.registry import Registry

Finished = Generator[Result, None, None]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is to be compared.

    Attributes:
        methods: Names of registered methods.
        datasets: Names or folders that `resolve_dataset` knows.
        budgets: Seconds that each budgeted method is given, one run for each.
        seeds: Draws of training images; one run for each.
        protocol: The conditions, the same for all.
        backbone: Name of the backbone that all methods start from.
    """

    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    budgets: tuple[float, ...] = (60.0, 120.0, 180.0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    protocol: Protocol = PAPER
    backbone: str = "sam-nano"

    def __post_init__(self) -> None:
        """Reject what could not be run.

        Raises:
            BudgetError: a budget is not a positive number of seconds.
            BenchmarkError: there is nothing to run, or something is named twice.
        """
        for budget in self.budgets:
            if not (isfinite(budget) and budget > 0):
                raise BudgetError(f"a budget of {budget} s was given; it must be positive")
        for noun in ("methods", "datasets", "budgets", "seeds"):
            values: Sequence[object] = getattr(self, noun)
            if not values or len(set(values)) < len(values):
                raise BenchmarkError(f"the benchmark's {noun} are {list(values)}; name at least one, and none twice")


@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """What a call of `run_benchmark` did.

    Attributes:
        results: The new results, failures included, in order.
        skipped: Jobs that the store already held.
    """

    results: tuple[Result, ...]
    skipped: int

    @property
    def failed(self) -> tuple[Result, ...]:
        """The new results without a score."""
        return tuple(result for result in self.results if result.status is not Status.OK)


def run_benchmark(
    benchmark: Benchmark,
    store: ResultStore,
    *,
    registry: Registry | None = None,
    device: str = "cpu",
    workers: int = 0,
    cpus: int = 1,
    retry_failed: bool = False,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[Result, int, int], None] = lambda result, done, total: None,  # noqa: ARG005
) -> BenchmarkReport:
    """Run every job of `benchmark` that `store` does not hold yet; each result is stored before the next job starts.

    A budget means the same for all: jobs run one after another, or each in a fresh process that is alone on its cores.
    A job that fails is a result with a reason.

    Args:
        benchmark: What to compare.
        store: Where results are read from (to resume) and appended to.
        registry: Where methods find trained predictors.
        device: Where all methods work, as in `cpu` or `cuda`.
        workers: Most jobs at once, on this machine; 0 runs them in this process, without Ray.
        cpus: Cores of each worker.
        retry_failed: Whether jobs whose stored result is a failure are run again.
        clock: Returns now, in seconds, never falling; workers have their own.
        on_progress: Called after each job with its result, the number of jobs done and of jobs to do.

    Raises:
        BenchmarkError: a method is unknown, or jobs at once would share a GPU.
        NotSetUpError: a method lacks what it needs.
        CollectionError: the machine has too few cores for the workers.
        DatasetError: a dataset is unknown or cannot be read.
        BackboneError: the backbone is unknown.
        StoreError: the store cannot be read or written.
    """
    if workers and device != "cpu":
        raise BenchmarkError(f"workers have cores of their own and would share {device}; leave out --workers")
    methods = {name: method(name) for name in benchmark.methods}
    for competitor in methods.values():
        if isinstance(competitor, NeedsSetUp):
            competitor.check()
    datasets = [resolve_dataset(name) for name in benchmark.datasets]
    arena = Arena.load(benchmark.backbone, device=device, registry=registry, clock=clock)
    planned = plan_jobs(benchmark, methods, datasets, arena.backbone)
    held = {result.id for result in store.results() if result.status is Status.OK or not retry_failed}
    contents = {dataset.fingerprint: dataset for dataset in datasets}
    missing = [(job, contents[job.dataset_fingerprint]) for job in planned if job.id not in held]
    finished = _apart(arena, missing, workers=workers, cpus=cpus) if workers else _in_turn(arena, methods, missing)
    results = []
    with closing(finished):
        for done, result in enumerate(finished, start=1):
            store.append(result)
            results.append(result)
            on_progress(result, done, len(missing))
    return BenchmarkReport(results=tuple(results), skipped=len(planned) - len(missing))


def plan_jobs(
    benchmark: Benchmark, methods: Mapping[str, Method], datasets: Sequence[Dataset], backbone: Backbone
) -> tuple[Job, ...]:
    """Return the jobs in the order they are run: seed by seed, so that a benchmark cut short has whole tables."""
    unlimited: tuple[float | None, ...] = (None,)
    return tuple(
        Job(
            method=name,
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            task=dataset.task,
            budget=budget,
            seed=seed,
            protocol=benchmark.protocol,
            backbone=backbone.name,
            backbone_fingerprint=backbone.fingerprint,
        )
        for seed in benchmark.seeds
        for dataset in datasets
        for name, competitor in methods.items()
        for budget in (benchmark.budgets if competitor.budgeted else unlimited)
    )


def _in_turn(arena: Arena, methods: Mapping[str, Method], work: Sequence[tuple[Job, Dataset]]) -> Finished:
    for job, dataset in work:
        yield arena.run(job, methods[job.method], dataset)


def _apart(arena: Arena, work: Sequence[tuple[Job, Dataset]], *, workers: int, cpus: int) -> Finished:
    from qttseg.platform.ray_jobs import Lost, run_apart

    run = Apart(device=arena.device, registry=None if arena.registry is None else arena.registry.uri)
    for (job, _), answer in run_apart(run, work, workers=workers, cpus=cpus):
        if isinstance(answer, Lost):
            yield Result(**vars(job), status=Status.FAILED, reason=str(answer), finished_at=time.time())
        else:
            yield answer
