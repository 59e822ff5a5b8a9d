"""What the paper on prompt learning leaves open, as numbers: prompts, amounts of data, transfer, point matching."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from qttseg.benchmark.prompt_learning.averages import (
    Average,
    Measure,
    average,
    current,
    fullest,
    gathered,
    methods_of,
    over_draws,
    over_seeds,
    tasks_of,
)
from qttseg.benchmark.prompt_learning.rows import Prompt, Row

MATCHED = "+pmm"
"""How names of methods end that also learn by point matching."""

_OF_MATCHING = ("adapter", "pmm_weight", "pmm_points")
"""Settings that differ between a method without and with it."""


def miou(row: Row) -> float | None:
    """Return the mean IoU of a row: what the studies measure unless they say otherwise."""
    return row.miou


def prompt_label(prompt: Prompt, noise: float) -> str:
    """Return how figures write a kind of prompt."""
    return prompt if noise == 0 else f"{prompt} ±{100 * noise:g} %"


OVER_DRAWS = (
    "Mean IoU over draws of prompts: points anywhere in each class, boxes whose sides are moved by up to that share of "
    "their size."
)
"""What captions say of `Sensitivity`."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How much scores depend on where a prompt lies.

    Attributes:
        task: What was tested on.
        prompts: Labels of the kinds of prompts, points first, then boxes by rising noise.
        scores: Method → for each kind the mean, and the spread over draws; None where it was not tried.
    """

    task: str
    prompts: tuple[str, ...]
    scores: Mapping[str, tuple[Average | None, ...]]


def sensitivities(rows: Iterable[Row]) -> list[Sensitivity]:
    """Return the sensitivity to prompts of each task that some method was asked about with several draws."""
    chosen = fullest(rows)
    made = []
    for fingerprint, label in tasks_of(chosen).items():
        own = [row for row in chosen if row.task_fingerprint == fingerprint]
        if len({row.draw for row in own}) < 2:
            continue
        kinds = sorted({(row.prompt, row.noise) for row in own}, key=lambda kind: (kind[0] != "point", kind[1]))
        made.append(
            Sensitivity(
                task=label,
                prompts=tuple(prompt_label(prompt, noise) for prompt, noise in kinds),
                scores={
                    method: tuple(
                        over_draws([row for row in own if (row.method, row.prompt, row.noise) == (method, *kind)], miou)
                        for kind in kinds
                    )
                    for method in methods_of(own)
                },
            )
        )
    return made


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How scores grow with the number of images trained on.

    Attributes:
        task: What was trained and tested on.
        prompt: How it was asked.
        scores: Method → number of images → score; 0 images for methods that are not trained.
    """

    task: str
    prompt: Prompt
    scores: Mapping[str, Mapping[int, Average]]


def amounts(rows: Iterable[Row]) -> list[Amounts]:
    """Return the scores by amount of data of each task and kind of prompt that some method met with several amounts."""
    chosen = [row for row in current(rows) if not row.transferred and row.noise == 0]
    labels, made = tasks_of(chosen), []
    kinds = gathered(((row.task_fingerprint, row.prompt), row) for row in chosen)
    for (fingerprint, prompt), own in sorted(kinds.items(), key=lambda kind: (labels[kind[0][0]], kind[0][1])):
        if len({row.images for row in own if row.images}) < 2:
            continue
        scores = {method: _by_images([row for row in own if row.method == method]) for method in methods_of(own)}
        made.append(Amounts(task=labels[fingerprint], prompt=prompt, scores=scores))
    return made


def _by_images(rows: Iterable[Row]) -> dict[int, Average]:
    found = {images: over_seeds(own, miou) for images, own in gathered((row.images, row) for row in rows).items()}
    return {images: score for images, score in sorted(found.items()) if score is not None}


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What training on one dataset is worth on its sibling.

    Attributes:
        source: What was trained on.
        task: What was tested on.
        prompt: How it was asked.
        scores: Method → score after training on the source.
        at_home: Method → score after training on the task itself, where that was tried.
        untrained: Method that is not trained → its score on the task.
    """

    source: str
    task: str
    prompt: Prompt
    scores: Mapping[str, Average]
    at_home: Mapping[str, Average]
    untrained: Mapping[str, Average]

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that are not trained, then those that are."""
        return (*self.untrained, *(method for method in self.scores if method not in self.untrained))


def transfers(rows: Iterable[Row]) -> list[Transfer]:
    """Return what every pair of source and task gave."""
    known = tuple(row for row in current(rows) if row.noise == 0)
    home = [row for row in fullest(rows) if row.noise == 0]
    made = []
    moved = gathered(
        ((row.source, row.task, row.prompt, row.task_fingerprint), row) for row in known if row.transferred
    )
    for (source, task, prompt, fingerprint), own in sorted(moved.items()):
        there = [row for row in home if row.task_fingerprint == fingerprint and row.prompt == prompt]
        made.append(
            Transfer(
                source=source,
                task=task,
                prompt=prompt,
                scores=_by_method(own),
                at_home=_by_method(row for row in there if row.images),
                untrained=_by_method(row for row in there if not row.images),
            )
        )
    return made


def _by_method(rows: Iterable[Row]) -> dict[str, Average]:
    chosen = tuple(rows)
    found = {method: over_seeds([row for row in chosen if row.method == method], miou) for method in methods_of(chosen)}
    return {method: score for method, score in found.items() if score is not None}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """What point matching adds to a method on a task, over pairs of trainings that differ in nothing else.

    Attributes:
        method: The method without it.
        task: What was trained and tested on.
        prompt: How it was asked.
        iou: Difference in mean IoU, above 0 where matching helps.
        outline: Difference in boundary F1.
    """

    method: str
    task: str
    prompt: Prompt
    iou: Average
    outline: Average


def matchings(rows: Iterable[Row]) -> list[Matching]:
    """Return what point matching adds on each task, kind of prompt and method that was tried with and without it."""
    chosen = [row for row in current(rows) if not row.transferred and row.noise == 0]
    labels, made = tasks_of(chosen), []
    kinds = gathered(((labels[row.task_fingerprint], row.prompt), row) for row in chosen)
    for (task, prompt), own in sorted(kinds.items()):
        for method in methods_of(own):
            pair = [row for row in own if row.method in (method, method + MATCHED)]
            iou, outline = _gain(pair, miou), _gain(pair, lambda row: row.boundary_f1)
            if iou is not None and outline is not None:
                made.append(Matching(method=method, task=task, prompt=prompt, iou=iou, outline=outline))
    return made


def _gain(rows: Iterable[Row], measure: Measure) -> Average | None:
    """Return the mean difference over pairs that differ in matching alone, each averaged over the draws both have."""
    found: dict[tuple[Hashable, int], dict[bool, float]] = {}
    for row in rows:
        value = measure(row)
        if value is not None:
            shared = frozenset((name, of) for name, of in row.settings.items() if name not in _OF_MATCHING)
            found.setdefault(((row.seed, row.images, shared), row.draw), {})[row.method.endswith(MATCHED)] = value
    pairs = gathered((training, both[True] - both[False]) for (training, _), both in found.items() if len(both) == 2)
    return average([sum(gains) / len(gains) for gains in pairs.values()])
