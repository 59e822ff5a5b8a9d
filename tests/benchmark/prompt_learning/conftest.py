from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from qttseg.benchmark.prompt_learning.rows import Prompt, Row
from qttseg.benchmark.results import Status
from qttseg.pipelines.boundaries import ClassScore

TEMPLATE = Row(
    method="sam",
    task="procedural-faces",
    task_fingerprint="procedural-faces",
    source="procedural-faces",
    source_fingerprint="procedural-faces",
    images=0,
    seed=0,
    prompt="point",
    backbone="sam-nano",
    backbone_fingerprint="weights",
    status=Status.FAILED,
    reason="out of memory",
    machine="2 cores",
)

SKILLS = {"sam": 0.3, "oracle": 0.45, "sam-f": 0.4, "lora": 0.5, "plm": 0.6, "plm+pmm": 0.65}


def trial(
    method: str,
    iou: float | None,
    *,
    task: str = "procedural-faces",
    source: str = "",
    classes: tuple[str, ...] = ("skin", "nose"),
    images: int | None = None,
    **fields: object,
) -> Row:
    """Make a row whose classes lie from 0.1 above to 0.1 below their mean `iou`; without one it is a failed one."""
    untrained = method in ("sam", "oracle")
    steps = np.linspace(0.1, -0.1, len(classes)).tolist() if len(classes) > 1 else [0.0]
    scores = tuple(
        ClassScore(name=name, images=4, iou=iou + delta, boundary_f1=iou / 2)
        for name, delta in zip(classes, steps, strict=True)
    ) if iou is not None else ()  # fmt: skip
    return replace(
        TEMPLATE,
        method=method,
        task=task,
        task_fingerprint=task,
        source=source or task,
        source_fingerprint=source or task,
        images=(0 if untrained else 80) if images is None else images,
        classes=scores,
        status=Status.FAILED if iou is None else Status.OK,
        reason="out of memory" if iou is None else "",
        seconds=0.0 if untrained else 12.5,
        parameters=0 if untrained else 1_600_000,
        **fields,  # type: ignore[arg-type]
    )


@pytest.fixture(name="trial")
def trial_fixture() -> Callable[..., Row]:
    return trial


@pytest.fixture
def studied() -> list[Row]:
    """Rows of all studies, drawn from a seed: two tasks, points and moved boxes, four amounts of data, transfer."""
    rng = np.random.default_rng(0)
    kinds: list[tuple[Prompt, float]] = [("point", 0.0), ("box", 0.0), ("box", 0.05), ("box", 0.1), ("box", 0.2)]
    made: list[Row] = []
    for task, names in (("procedural-faces", ("skin", "hair", "nose")), ("widgets", ("widget",))):
        for method, skill in SKILLS.items():
            for seed in range(1 if skill < 0.4 else 2):
                for prompt, noise in kinds:
                    for draw in range(3):
                        score = skill + (0.1 if prompt == "box" else 0) - noise + rng.normal(0, 0.02)
                        made.append(trial(method, score, task=task, classes=names, seed=seed, prompt=prompt, noise=noise, draw=draw))  # fmt: skip
                if skill > 0.45:
                    made += [
                        trial(method, skill - 1 / images, task=task, classes=names, seed=seed, images=images)
                        for images in (8, 20, 40)
                    ]
    made += [
        trial(method, 0.4, task="widgets", source="gadgets", classes=("widget",), seed=seed)
        for method in ("sam-f", "plm")
        for seed in range(2)
    ]
    return made
