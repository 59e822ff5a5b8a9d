"""Methods × datasets × budgets × seeds, one after the other, each scored by the same scorer."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING

from qttseg import __version__
from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.methods import BenchmarkTask, Method, method
from qttseg.benchmark.results import Job, Result, Status
from qttseg.benchmark.sealing import seal
from qttseg.errors import BenchmarkError, BudgetError
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.protocol import PAPER, Protocol
from qttseg.metadata.splits import draw_split

if TYPE_CHECKING:
    from qttseg.benchmark.store import ResultStore
    from qttseg.pipelines.backbones import Backbone
    from qttseg.predictors.registry import Registry

_DECISIVE = ("torch", "segment-anything", "peft", "gpytorch", "numpy")
"""Packages whose versions can change a score."""


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
    retry_failed: bool = False,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[Result, int, int], None] = lambda result, done, total: None,  # noqa: ARG005
) -> BenchmarkReport:
    """Run every job of `benchmark` that `store` does not hold yet; each result is stored before the next job starts.

    Jobs run one after another, so that a budget means the same for all. A job that fails is a result with a reason.

    Args:
        benchmark: What to compare.
        store: Where results are read from (to resume) and appended to.
        registry: Where methods find trained predictors.
        device: Where all methods work, as in `cpu` or `cuda`.
        retry_failed: Whether jobs whose stored result is a failure are run again.
        clock: Returns now, in seconds, never falling.
        on_progress: Called after each job with its result, the number of jobs done and of jobs to do.

    Raises:
        BenchmarkError: a method is unknown.
        DatasetError: a dataset is unknown or cannot be read.
        BackboneError: the backbone is unknown.
        StoreError: the store cannot be read or written.
    """
    methods = {name: method(name) for name in benchmark.methods}
    datasets = [resolve_dataset(name) for name in benchmark.datasets]
    started = clock()
    from qttseg.pipelines.loading import load_backbone

    backbone = load_backbone(benchmark.backbone, device=device)
    arena = _Arena(
        datasets={dataset.fingerprint: dataset for dataset in datasets},
        backbone=backbone,
        device=device,
        backbone_seconds=clock() - started,
        registry=registry,
        clock=clock,
        gallery=Gallery(uri=store.uri),
    )
    planned = plan_jobs(benchmark, methods, datasets, backbone)
    held = {result.id for result in store.results() if result.status is Status.OK or not retry_failed}
    missing = [job for job in planned if job.id not in held]
    results = []
    for done, job in enumerate(missing, start=1):
        result = arena.run(job, methods[job.method])
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


@dataclass(frozen=True, kw_only=True)
class _Arena:
    """Where jobs run: what is loaded once and shared by all.

    Attributes:
        datasets: By fingerprint.
        backbone: What all methods start from.
        device: Where they work.
        backbone_seconds: What loading it took; warm start of every job alike.
        registry: Where methods find predictors.
        clock: Returns now, in seconds.
        gallery: Where pictures of predictions are kept.
    """

    datasets: Mapping[str, Dataset]
    backbone: Backbone
    device: str
    backbone_seconds: float
    registry: Registry | None
    clock: Callable[[], float]
    gallery: Gallery

    def run(self, job: Job, competitor: Method) -> Result:
        """Run and score one job; whatever goes wrong becomes a result."""
        from qttseg.pipelines.running import describe_machine

        started = self.clock()
        try:
            result = self._scored(job, competitor)
        except Exception as error:  # noqa: BLE001 (the job boundary: every failure is a row)
            late = isinstance(error, BudgetError | TimeoutError)
            result = Result(
                **vars(job),
                status=Status.TIMED_OUT if late else Status.FAILED,
                reason=f"{type(error).__name__}: {error}",
                seconds=self.clock() - started,
            )
        return replace(
            result,
            warm_start_seconds=result.warm_start_seconds + self.backbone_seconds,
            machine=describe_machine(self.backbone.device),
            versions=_versions(),
            finished_at=time.time(),
        )

    def _scored(self, job: Job, competitor: Method) -> Result:
        from qttseg.pipelines.scoring import evaluate
        from qttseg.pipelines.segmenter import Segmenter

        dataset = self.datasets[job.dataset_fingerprint]
        split = draw_split(dataset, job.protocol, seed=job.seed)
        task = BenchmarkTask(
            dataset=seal(dataset, split.test),
            split=split,
            protocol=job.protocol,
            backbone=self.backbone.remembering(),
            device=self.device,
            budget=job.budget,
            seed=job.seed,
            clock=self.clock,
            registry=self.registry,
        )
        started = self.clock()
        outcome = competitor.run(task)
        seconds = self.clock() - started - outcome.warm_start_seconds
        segmenter = outcome.segmenter
        if isinstance(segmenter, Segmenter):  # scoring is nobody's time: test images are embedded once for all methods
            segmenter = segmenter.sharing(self.backbone.cache)
        evaluation = evaluate(segmenter, dataset, split.test, job.protocol, seed=job.seed)
        self.gallery.keep(job, dataset, split.test, evaluation.label_maps)
        return Result(
            **vars(job),
            status=Status.OK,
            score=evaluation.score,
            image_scores=evaluation.scores,
            validation_score=outcome.validation_score,
            seconds=seconds,
            warm_start_seconds=outcome.warm_start_seconds,
            trajectory=outcome.trajectory,
            lineage=outcome.lineage,
        )


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in _DECISIVE}
    return {"qttseg": __version__, "python": platform.python_version(), **packages}
