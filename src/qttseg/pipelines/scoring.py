"""The one scorer: predicted label maps against true ones, at the mask's own resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset
from qttseg.metadata.protocol import Metric, Protocol
from qttseg.pipelines.prompts import Prompt, draw_prompts

_AT_ONCE = 16


def image_score(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], *, metric: Metric = "mean-class-iou") -> float:
    """Return the score in [0, 1] of one predicted label map; higher is better.

    `mean-class-iou` averages the IoU over the foreground classes present in the truth. `pooled-binary-iou` is what the
    published code reports: foreground against background, all classes as one. Where the truth is empty, an empty
    prediction scores 1 and any other 0. Pixels whose truth is 255 do not count.

    Args:
        predicted: h × w class ids.
        truth: h × w class ids.
        metric: Which score.

    Raises:
        DatasetError: the two maps differ in size.
    """
    if predicted.shape != truth.shape:
        raise DatasetError(f"a predicted map of {predicted.shape} pixels was scored against a mask of {truth.shape}")
    valid = truth != IGNORE
    predicted, truth = predicted[valid], truth[valid]
    if metric == "pooled-binary-iou":
        predicted, truth = (predicted > 0).astype(np.uint8), (truth > 0).astype(np.uint8)
    present = np.flatnonzero(np.bincount(truth, minlength=1)[1:]) + 1
    if len(present) == 0:
        return float(not predicted.any())
    return fmean(_iou(predicted == class_id, truth == class_id) for class_id in present)


def _iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(predicted & truth) / np.count_nonzero(predicted | truth))


class PromptedSegmenter(Interface):
    """What the scorer needs of a model, ours or another's."""

    def segment_all(
        self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Mapping[int, Prompt]]
    ) -> list[NDArray[np.uint8]]:
        """Return a label map (h × w class ids, 0 background) for each image.

        Args:
            images: h × w × 3 arrays of 0 to 255.
            prompts: For each image, class id → box or points in its pixels.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of some images, in the order they were asked for.

    Attributes:
        scores: One in [0, 1] for each image.
        label_maps: The predictions, h × w class ids each.
    """

    scores: tuple[float, ...]
    label_maps: tuple[NDArray[np.uint8], ...]

    @property
    def score(self) -> float:
        """Mean over the images."""
        return fmean(self.scores)


def image_prompts(
    dataset: Dataset, index: int, mask: NDArray[np.uint8], protocol: Protocol, seed: int
) -> dict[int, Prompt]:
    """Return the prompts of one validation or test image: always the same for a (dataset, image, seed)."""
    name = [ord(character) for character in dataset.names[index]]
    return draw_prompts(mask, protocol, np.random.default_rng([seed, len(name), *name]))


def evaluate(
    segmenter: PromptedSegmenter, dataset: Dataset, indices: Sequence[int], protocol: Protocol, *, seed: int
) -> Evaluation:
    """Segment and score the images at `indices`, prompted as `protocol` says, noise and points drawn from `seed`."""
    scores: list[float] = []
    maps: list[NDArray[np.uint8]] = []
    for start in range(0, len(indices), _AT_ONCE):
        chunk = indices[start : start + _AT_ONCE]
        samples = [dataset[index] for index in chunk]
        prompts = [
            image_prompts(dataset, index, sample.mask, protocol, seed)
            for index, sample in zip(chunk, samples, strict=True)
        ]
        found = segmenter.segment_all([sample.image for sample in samples], prompts)
        maps += found
        scores += [
            image_score(prediction, sample.mask, metric=protocol.metric)
            for prediction, sample in zip(found, samples, strict=True)
        ]
    return Evaluation(scores=tuple(scores), label_maps=tuple(maps))
