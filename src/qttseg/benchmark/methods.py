"""The competitors: each turns a task (data, budget, seed) into a segmenter that the one scorer judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qttseg.errors import BenchmarkError, BudgetError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol as Conditions
from qttseg.metadata.splits import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qttseg.pipelines.backbones import Backbone
    from qttseg.pipelines.prompts import Box
    from qttseg.pipelines.scoring import PromptedSegmenter
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.training import Trained

ENTRY_POINTS = "qttseg.methods"
"""Entry-point group under which other packages register a callable that returns a `Method`."""

CANDIDATES = 128
"""Configurations among which a tuner chooses (QTT-SEG, section 4)."""


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
    """

    segmenter: PromptedSegmenter
    validation_score: float | None = None
    trajectory: tuple[tuple[float, float], ...] = ()
    warm_start_seconds: float = 0.0
    lineage: str = ""


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


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """The backbone as it is (the paper's baseline)."""

    name: str = "zero-shot"
    budgeted: bool = False

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Return the untouched backbone."""
        from qttseg.pipelines.segmenter import zero_shot_segmenter

        return MethodOutcome(segmenter=zero_shot_segmenter(task.backbone))


@dataclass(frozen=True, kw_only=True)
class BoxFilling:
    """Fills the prompt box, and so is the floor: a model below it has learnt nothing from the image."""

    name: str = "box-filling"
    budgeted: bool = False

    def run(self, task: BenchmarkTask) -> MethodOutcome:  # noqa: ARG002
        """Return the filler, which needs nothing from the task."""
        return MethodOutcome(segmenter=BoxFiller())


class BoxFiller:
    """Fills each box with its class; where boxes overlap, the smaller one is on top."""

    def segment_all(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Mapping[int, Box]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled boxes of each image."""
        return [_filled(image.shape[:2], prompts) for image, prompts in zip(images, boxes, strict=True)]


def _filled(size: tuple[int, ...], prompts: Mapping[int, Box]) -> NDArray[np.uint8]:
    labels = np.zeros(size, np.uint8)
    by_area = sorted(prompts.items(), key=lambda item: -(item[1][2] - item[1][0]) * (item[1][3] - item[1][1]))
    for class_id, (x0, y0, x1, y1) in by_area:
        labels[round(y0) : round(y1), round(x0) : round(x1)] = class_id
    return labels


@dataclass(frozen=True, kw_only=True)
class QuickTune:
    """QTT-SEG: tunes with predictors that have never seen the target (QTT-SEG, sections 2 to 4)."""

    name: str = "qtt-seg"
    budgeted: bool = True
    candidates: int = CANDIDATES

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Tune with the registry's predictors for the target, or with the shipped ones.

        Raises:
            LeakageError: all there are were trained on the target.
        """
        from qttseg.predictors.shipped import predictors_for

        started = task.clock()
        predictors = predictors_for(task.dataset.identity, task.registry)
        seconds = task.clock() - started
        outcome = _tuned(task, predictors=predictors, candidates=self.candidates)
        return replace(outcome, warm_start_seconds=outcome.warm_start_seconds + seconds, lineage=str(predictors))


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """The same candidates in the same loop, in random order: what the predictors must beat."""

    name: str = "random"
    budgeted: bool = True
    candidates: int = CANDIDATES

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Tune without predictors."""
        return _tuned(task, predictors=None, candidates=self.candidates)


def _tuned(task: BenchmarkTask, *, predictors: Trained | None, candidates: int) -> MethodOutcome:
    """Run a tuning session as `qttseg tune` does, the time it keeps for writing its result included."""
    from qttseg.tuning.session import tune

    if task.budget is None:
        raise BudgetError("a tuner needs a time budget; none was given")
    result = tune(
        task.dataset,
        budget=task.budget,
        protocol=task.protocol,
        backbone=task.backbone.name,
        device=task.device,
        predictors=predictors,
        candidates=candidates,
        seed=task.seed,
        clock=task.clock,
    )
    if result.ending == "interrupted":
        # A session hands back what it has when the user interrupts it; a benchmark must stop instead.
        raise KeyboardInterrupt
    return MethodOutcome(
        segmenter=result.segmenter,
        validation_score=result.score,
        trajectory=result.trajectory,
        warm_start_seconds=result.warm_start_seconds,
        lineage="" if predictors is None else "; ".join([str(predictors), *result.notes]),
    )


_BUILT_IN: Mapping[str, Callable[[], Method]] = {
    "zero-shot": ZeroShot,
    "qtt-seg": QuickTune,
    "random": RandomSearch,
    "box-filling": BoxFilling,
}


def method_names() -> tuple[str, ...]:
    """Return the names of all registered methods, built-in ones first."""
    return tuple(dict.fromkeys([*_BUILT_IN, *sorted(entry.name for entry in entry_points(group=ENTRY_POINTS))]))


def method(name: str) -> Method:
    """Return the method registered under `name`, built in or from an entry point of the group `qttseg.methods`.

    Raises:
        BenchmarkError: there is none, or its plug-in cannot be loaded or carries another name.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    found = entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise BenchmarkError(f"there is no method {name!r}; there are {', '.join(method_names())}")
    entry = next(iter(found))
    try:
        made: Method = entry.load()()
    except (ImportError, AttributeError) as error:
        raise BenchmarkError(f"the plug-in {entry.value} of method {name} cannot be loaded: {error}") from error
    if made.name != name:
        raise BenchmarkError(f"the plug-in {entry.value} is registered as {name} but calls itself {made.name}")
    return made
