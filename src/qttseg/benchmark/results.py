"""Scored runs of methods: what the tables are made from. Failures are results too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from qttseg.metadata.datasets import Task
from qttseg.metadata.hashing import content_id
from qttseg.metadata.protocol import Protocol


class Status(StrEnum):
    """How a method's run ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of a benchmark: a method on a dataset under a budget.

    Attributes:
        method: Registered name of the method.
        dataset: Name of the dataset.
        dataset_fingerprint: Hash of its content; this, not the name, enters the id.
        task: Whether it has one class or several.
        budget: Seconds the method is given; None for a method that needs no time and stands for all budgets.
        seed: Draw of training images and of prompts.
        protocol: The conditions.
        backbone: Name of the backbone.
        backbone_fingerprint: Hash of its weights; enters the id.
    """

    method: str
    dataset: str
    dataset_fingerprint: str
    task: Task
    budget: float | None
    seed: int
    protocol: Protocol
    backbone: str
    backbone_fingerprint: str

    @property
    def id(self) -> str:
        """Hash of everything that decides the work, so that the same work is never done twice."""
        return content_id(
            {
                "method": self.method,
                "dataset": self.dataset_fingerprint,
                "budget": None if self.budget is None else float(self.budget),
                "seed": self.seed,
                "protocol": self.protocol.to_dict(),
                "backbone": self.backbone_fingerprint,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Result(Job):
    """A job that was done, scored on the test images; one that failed has no score.

    Attributes:
        status: How the run ended.
        reason: Why, where it did not end well; empty otherwise.
        score: Mean over the test images, in [0, 1]; higher is better.
        image_scores: Score of each test image, in the order of the split.
        validation_score: The incumbent's score on the validation images, in [0, 1]; None for untuned methods.
        seconds: Wall time that counts against the budget.
        warm_start_seconds: Wall time of what a warm process has already done: imports, model and predictor load.
        trajectory: (seconds since the start, validation score) of each new incumbent, in order of time.
        lineage: What the predictors behind the method were trained on; empty where there are none.
        machine: Short description of the machine.
        versions: Versions of the software that decides the outcome, by package.
        finished_at: Seconds since 1970-01-01 UTC.
    """

    status: Status
    reason: str = ""
    score: float | None = None
    image_scores: tuple[float, ...] = ()
    validation_score: float | None = None
    seconds: float = 0.0
    warm_start_seconds: float = 0.0
    trajectory: tuple[tuple[float, float], ...] = ()
    lineage: str = ""
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    finished_at: float = 0.0

    @property
    def overrun(self) -> float:
        """Seconds beyond the budget; 0 within it."""
        return 0.0 if self.budget is None else max(0.0, self.seconds - self.budget)
