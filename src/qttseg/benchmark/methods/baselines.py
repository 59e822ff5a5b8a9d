"""Competitors that need no time: the untouched backbone, and the floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qttseg.benchmark.methods.interface import BenchmarkTask, MethodOutcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qttseg.pipelines.prompts import Box, Prompt


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
    """Fills each box, or the box about points, with its class; where boxes overlap, the smaller one is on top."""

    def segment_all(
        self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Mapping[int, Prompt]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled boxes of each image."""
        return [_filled(image.shape[:2], own) for image, own in zip(images, prompts, strict=True)]


def _filled(size: tuple[int, ...], prompts: Mapping[int, Prompt]) -> NDArray[np.uint8]:
    from qttseg.pipelines.prompts import box_about

    labels = np.zeros(size, np.uint8)
    boxes = {class_id: box_about(prompt) for class_id, prompt in prompts.items()}
    for class_id, (x0, y0, x1, y1) in largest_first(boxes):
        labels[round(y0) : round(y1), round(x0) : round(x1)] = class_id
    return labels


def largest_first(boxes: Mapping[int, Box]) -> list[tuple[int, Box]]:
    """Return class ids and boxes in the order in which they are to be painted, so that small ones come on top."""
    return sorted(boxes.items(), key=lambda item: -(item[1][2] - item[1][0]) * (item[1][3] - item[1][1]))
