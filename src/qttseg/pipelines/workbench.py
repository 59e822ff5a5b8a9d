"""Everything about one (dataset, split) that all configurations share: images and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import Split, draw_split
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.embeddings import image_keys
from qttseg.pipelines.execution import WHOLE_BATCHES, Execution
from qttseg.pipelines.prompts import Prompt, scaled_prompts
from qttseg.pipelines.scoring import image_prompts, image_score
from qttseg.pipelines.segmenter import label_maps
from qttseg.pipelines.views import Extent, square_image, square_labels

if TYPE_CHECKING:
    from qttseg.pipelines.packed_model import PackedModel

_IMAGES_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation images, prepared once.

    Attributes:
        images: n × 3 × r × r, uint8.
        keys: Names of the images in the backbone's cache.
        extents: Where each image lies in its square.
        masks: The true masks at their own size.
        prompts: In pixels of the square, drawn once.
    """

    images: Tensor
    keys: list[str]
    extents: tuple[Extent, ...]
    masks: tuple[NDArray[np.uint8], ...]
    prompts: tuple[dict[int, Prompt], ...]


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """The prepared images and prompts of one (dataset, split).

    Attributes:
        dataset: Where the images come from.
        split: Which images are for what.
        protocol: The conditions.
        backbone: Frozen; every configuration adapts a copy.
        seed: What the split and the validation prompts were drawn from.
        images: Training images, n × 3 × r × r, uint8.
        keys: Their names in the backbone's cache.
        labels: Their label maps on the square, n × r × r, uint8.
        inner: Rows and columns of the square that each fills, n × 2.
        validation: The validation images.
        execution: How training steps are carried out.
    """

    dataset: Dataset
    split: Split
    protocol: Protocol
    backbone: Backbone
    seed: int
    images: Tensor
    keys: list[str]
    labels: Tensor
    inner: Tensor
    validation: Validation
    execution: Execution = WHOLE_BATCHES

    @classmethod
    def prepare(
        cls,
        dataset: Dataset,
        protocol: Protocol,
        backbone: Backbone,
        *,
        seed: int,
        split: Split | None = None,
        execution: Execution = WHOLE_BATCHES,
    ) -> Workbench:
        """Read the training and validation images of the split for `seed` (or of the given one); test images are not.

        Raises:
            DatasetError: an image or mask cannot be read, or there are too few.
        """
        split = draw_split(dataset, protocol, seed=seed) if split is None else split
        train = [dataset[index] for index in split.train]
        squares = [square_image(sample.image, backbone.resolution) for sample in train]
        images = torch.stack([square for square, _ in squares])
        labels = torch.stack([square_labels(sample.mask, backbone.resolution) for sample in train])
        validation = _validation(dataset, split.validation, protocol, backbone.resolution, seed)
        return cls(
            dataset=dataset,
            split=split,
            protocol=protocol,
            backbone=backbone,
            seed=seed,
            images=images,
            keys=image_keys(images),
            labels=labels,
            inner=torch.tensor([extent.inner for _, extent in squares]),
            validation=validation,
            execution=execution,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimisation steps of an epoch."""
        return ceil(len(self.split.train) / self.protocol.batch_size)

    def validate(self, backbone: Backbone) -> float:
        """Return the mean validation score in [0, 1] of `backbone`, this one or an adapted copy."""
        (score,) = self.scores(backbone)
        return score

    def scores(self, model: Backbone | PackedModel) -> list[float]:
        """Return the mean validation score in [0, 1] of each member of `model`; a backbone is its own only member."""
        of_images: list[list[float]] = []
        count = len(self.validation.masks)
        for start in range(0, count, _IMAGES_AT_ONCE):
            chunk = range(start, min(start + _IMAGES_AT_ONCE, count))
            images = self.validation.images[chunk.start : chunk.stop]
            embeddings = model.embed(images, keys=self.validation.keys[chunk.start : chunk.stop])
            prompts, extents = self.validation.prompts, self.validation.extents
            found = label_maps(model, embeddings, [prompts[i] for i in chunk], [extents[i] for i in chunk])
            for index, maps in zip(chunk, found, strict=True):
                truth = self.validation.masks[index]
                of_images.append(
                    [image_score(own, truth, metric=self.protocol.metric) for own in maps.reshape(-1, *truth.shape)]
                )
        return [float(np.mean(scores)) for scores in zip(*of_images, strict=True)]


def _validation(dataset: Dataset, indices: Sequence[int], protocol: Protocol, resolution: int, seed: int) -> Validation:
    samples = [dataset[index] for index in indices]
    squares = [square_image(sample.image, resolution) for sample in samples]
    prompts = [
        scaled_prompts(image_prompts(dataset, index, sample.mask, protocol, seed), extent.scale)
        for index, sample, (_, extent) in zip(indices, samples, squares, strict=True)
    ]
    images = torch.stack([square for square, _ in squares])
    return Validation(
        images=images,
        keys=image_keys(images),
        extents=tuple(extent for _, extent in squares),
        masks=tuple(sample.mask for sample in samples),
        prompts=tuple(prompts),
    )
