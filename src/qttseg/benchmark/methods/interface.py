"""What a competitor is: it turns a task (data, budget, seed) into a segmenter that the one scorer judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol as Conditions
from qttseg.metadata.splits import Split

if TYPE_CHECKING:
    from qttseg.pipelines.backbones import Backbone
    from qttseg.pipelines.scoring import PromptedSegmenter
    from qttseg.predictors.registry import Registry


@dataclass(frozen=True, kw_only=True)
class BenchmarkTask:
    """What a method is given.

    Attributes:
        dataset: The target; reading one of its test images raises LeakageError.
        split: Which images are for what, drawn by `seed`; the test part is fixed.
        protocol: The conditions.
        backbone: The promptable model to start from, to be left as it is.
        device: Where to work, as in `cpu`.
        budget: Seconds from the call of `run` to its return, warm start aside; None for methods that need no time.
        seed: Seed of every random draw.
        clock: Returns now, in seconds, never falling.
        registry: Where trained predictors are found; None where there are none.
    """

    dataset: Dataset
    split: Split
    protocol: Conditions
    backbone: Backbone
    device: str
    budget: float | None
    seed: int
    clock: Callable[[], float]
    registry: Registry | None = None


@dataclass(frozen=True, kw_only=True)
class MethodOutcome:
    """What a method hands to the scorer; how long it took is measured outside, for all methods alike.

    Attributes:
        segmenter: Segments the test images.
        validation_score: Its score on the validation images, in [0, 1]; None where the method never looked at them.
        trajectory: (seconds since the start, validation score) of each new incumbent, in order of time.
        warm_start_seconds: Seconds of the run spent on what a warm process has already done: imports, predictor load.
        lineage: What the predictors behind the choice were trained on; empty where there are none.
        versions: Versions of software that only this method uses, by package.
    """

    segmenter: PromptedSegmenter
    validation_score: float | None = None
    trajectory: tuple[tuple[float, float], ...] = ()
    warm_start_seconds: float = 0.0
    lineage: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


class Method(Protocol):
    """A benchmark competitor; one instance runs many tasks and keeps nothing between them."""

    @property
    def name(self) -> str:
        """Registered name; stored with each result."""
        ...

    @property
    def budgeted(self) -> bool:
        """Whether more time can help; a method where it cannot runs once and stands for all budgets."""
        ...

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Solve `task` within its budget.

        Raises:
            QttSegError: it cannot; the benchmark records the failure and goes on.
        """
        ...


@runtime_checkable
class NeedsSetUp(Protocol):
    """A method that needs more than this package, and says so before a benchmark begins."""

    def check(self) -> None:
        """Do nothing, or say what is missing.

        Raises:
            NotSetUpError: something is.
        """
        ...
