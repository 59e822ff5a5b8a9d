"""Where jobs run: what they share is loaded once, and each is scored by the same scorer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.methods.catalogue import method
from qttseg.benchmark.methods.interface import BenchmarkTask, Method
from qttseg.benchmark.provenance import decisive_versions
from qttseg.benchmark.results import Job, Result, Status
from qttseg.benchmark.sealing import seal
from qttseg.errors import BudgetError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.splits import draw_split

if TYPE_CHECKING:
    from qttseg.pipelines.backbones import Backbone
    from qttseg.predictors.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Arena:
    """What jobs of one process share.

    Attributes:
        backbone: What all methods start from.
        device: Where they work.
        backbone_seconds: What loading it took; warm start of every job alike.
        registry: Where methods find predictors.
        gallery: Where pictures of predictions are kept; None to keep none.
        clock: Returns now, in seconds.
    """

    backbone: Backbone
    device: str
    backbone_seconds: float
    registry: Registry | None
    gallery: Gallery | None
    clock: Callable[[], float]

    @classmethod
    def load(
        cls,
        backbone: str,
        *,
        device: str,
        registry: Registry | None,
        gallery: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Arena:
        """Load the backbone of this name.

        Raises:
            BackboneError: it is unknown, or its weights are missing.
        """
        started = clock()
        from qttseg.pipelines.loading import load_backbone

        loaded = load_backbone(backbone, device=device)
        return cls(
            backbone=loaded,
            device=device,
            backbone_seconds=clock() - started,
            registry=registry,
            gallery=None if gallery is None else Gallery(uri=gallery),
            clock=clock,
        )

    def run(self, job: Job, competitor: Method, dataset: Dataset) -> Result:
        """Run and score one job; whatever goes wrong becomes a result."""
        from qttseg.pipelines.running import describe_machine

        started = self.clock()
        try:
            result = self._scored(job, competitor, dataset)
        except Exception as error:  # noqa: BLE001 (the job boundary: every failure is a row)
            late = isinstance(error, BudgetError | TimeoutError)
            status = Status.TIMED_OUT if late else Status.FAILED
            reason = f"{type(error).__name__}: {error}"
            result = Result(**vars(job), status=status, reason=reason, seconds=self.clock() - started)
        return replace(
            result,
            warm_start_seconds=result.warm_start_seconds + self.backbone_seconds,
            machine=describe_machine(self.backbone.device),
            versions={**decisive_versions(), **result.versions},
            finished_at=time.time(),
        )

    def _scored(self, job: Job, competitor: Method, dataset: Dataset) -> Result:
        from qttseg.pipelines.scoring import evaluate
        from qttseg.pipelines.segmenter import Segmenter

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
        if self.gallery is not None:
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
            versions=outcome.versions,
        )


@dataclass(frozen=True, kw_only=True)
class Apart:
    """How a job is run in a process of its own, which loads everything anew: a cold start, and its seconds are told.

    Attributes:
        device: Where to work.
        registry: Tracking URI of the predictor registry; None for none.
        gallery: URI of the store beside which pictures are kept; None for none.
    """

    device: str
    registry: str | None
    gallery: str | None

    def __call__(self, work: tuple[Job, Dataset]) -> Result:
        """Run and score a job."""
        from qttseg.predictors.registry import Registry

        job, dataset = work
        registry = None if self.registry is None else Registry(self.registry)
        arena = Arena.load(job.backbone, device=self.device, registry=registry, gallery=self.gallery)
        return arena.run(job, method(job.method), dataset)
