"""Everything about one (dataset, split) that all configurations share: images, prompts, frozen embeddings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import Split, draw_split
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.prompts import Box, scaled_boxes
from qttseg.pipelines.scoring import image_prompts, image_score
from qttseg.pipelines.segmenter import label_maps
from qttseg.pipelines.views import Extent, flip, square_image, square_labels

_IMAGES_AT_ONCE = 8
CACHE_BYTES = 2 * 1024**3


@dataclass(kw_only=True)
class EmbeddingCache:
    """Embeddings of a frozen encoder by (image, mirrored, upside down), least recently used out first.

    Attributes:
        backbone: Encodes what is missing.
        images: n × 3 × r × r, uint8.
        bound: Most bytes kept.
    """

    backbone: Backbone
    images: Tensor
    bound: int = CACHE_BYTES
    _kept: OrderedDict[tuple[int, bool, bool], Tensor] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def embed(self, indices: Sequence[int], flips: Tensor | None = None) -> Tensor:
        """Return the embeddings (b × c × g × g) of images at `indices`, seen as `flips` (b × 2 booleans) says."""
        seen = torch.zeros(len(indices), 2, dtype=torch.bool) if flips is None else flips
        keys = [(index, *mirrored) for index, mirrored in zip(indices, seen.tolist(), strict=True)]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        for start in range(0, len(missing), _IMAGES_AT_ONCE):
            chunk = missing[start : start + _IMAGES_AT_ONCE]
            found.update(zip(chunk, self._encode(chunk), strict=True))
        for key, embedding in found.items():
            self._keep(key, embedding)
        return torch.stack([found[key] for key in keys])

    @torch.no_grad()
    def _encode(self, keys: Sequence[tuple[int, bool, bool]]) -> Tensor:
        images = self.backbone.normalise(self.images[[index for index, *_ in keys]])
        return self.backbone.encode(flip(images, torch.tensor([mirrored for _, *mirrored in keys])))

    def _keep(self, key: tuple[int, bool, bool], embedding: Tensor) -> None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.bound and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation images, prepared once.

    Attributes:
        images: n × 3 × r × r, uint8.
        extents: Where each image lies in its square.
        masks: The true masks at their own size.
        boxes: Prompts in pixels of the square, drawn once.
    """

    images: Tensor
    extents: tuple[Extent, ...]
    masks: tuple[NDArray[np.uint8], ...]
    boxes: tuple[dict[int, Box], ...]


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """The prepared images, prompts and cached embeddings of one (dataset, split).

    Attributes:
        dataset: Where the images come from.
        split: Which images are for what.
        protocol: The conditions.
        backbone: Frozen; every configuration adapts a copy.
        seed: What the split and the validation prompts were drawn from.
        images: Training images, n × 3 × r × r, uint8.
        labels: Their label maps on the square, n × r × r, uint8.
        validation: The validation images.
        train_embeddings: Of the training images, where the encoder is frozen.
        validation_embeddings: Of the validation images, where the encoder is frozen.
    """

    dataset: Dataset
    split: Split
    protocol: Protocol
    backbone: Backbone
    seed: int
    images: Tensor
    labels: Tensor
    validation: Validation
    train_embeddings: EmbeddingCache
    validation_embeddings: EmbeddingCache

    @classmethod
    def prepare(
        cls, dataset: Dataset, protocol: Protocol, backbone: Backbone, *, seed: int, split: Split | None = None
    ) -> Workbench:
        """Read the training and validation images of the split for `seed` (or of the given one); test images are not.

        Raises:
            DatasetError: an image or mask cannot be read, or there are too few.
        """
        split = draw_split(dataset, protocol, seed=seed) if split is None else split
        train = [dataset[index] for index in split.train]
        images = torch.stack([square_image(sample.image, backbone.resolution)[0] for sample in train])
        labels = torch.stack([square_labels(sample.mask, backbone.resolution) for sample in train])
        validation = _validation(dataset, split.validation, protocol, backbone.resolution, seed)
        return cls(
            dataset=dataset,
            split=split,
            protocol=protocol,
            backbone=backbone,
            seed=seed,
            images=images,
            labels=labels,
            validation=validation,
            train_embeddings=EmbeddingCache(backbone=backbone, images=images),
            validation_embeddings=EmbeddingCache(backbone=backbone, images=validation.images),
        )

    def validation_maps(self, backbone: Backbone, *, encoder_changed: bool) -> list[NDArray[np.uint8]]:
        """Return the label maps that `backbone` (this one or an adapted copy) predicts for the validation images."""
        found: list[NDArray[np.uint8]] = []
        count = len(self.validation.masks)
        for start in range(0, count, _IMAGES_AT_ONCE):
            chunk = range(start, min(start + _IMAGES_AT_ONCE, count))
            if encoder_changed:
                with torch.inference_mode():
                    embeddings = backbone.encode(backbone.normalise(self.validation.images[chunk.start : chunk.stop]))
            else:
                embeddings = self.validation_embeddings.embed(list(chunk))
            boxes, extents = self.validation.boxes, self.validation.extents
            found += label_maps(backbone, embeddings, [boxes[i] for i in chunk], [extents[i] for i in chunk])
        return found

    def validate(self, backbone: Backbone, *, encoder_changed: bool) -> float:
        """Return the mean validation score in [0, 1] of `backbone`, this one or an adapted copy."""
        maps = self.validation_maps(backbone, encoder_changed=encoder_changed)
        scores = [
            image_score(predicted, truth, metric=self.protocol.metric)
            for predicted, truth in zip(maps, self.validation.masks, strict=True)
        ]
        return float(np.mean(scores))


def _validation(dataset: Dataset, indices: Sequence[int], protocol: Protocol, resolution: int, seed: int) -> Validation:
    samples = [dataset[index] for index in indices]
    squares = [square_image(sample.image, resolution) for sample in samples]
    boxes = [
        scaled_boxes(image_prompts(dataset, index, sample.mask, protocol, seed), extent.scale)
        for index, sample, (_, extent) in zip(indices, samples, squares, strict=True)
    ]
    return Validation(
        images=torch.stack([square for square, _ in squares]),
        extents=tuple(extent for _, extent in squares),
        masks=tuple(sample.mask for sample in samples),
        boxes=tuple(boxes),
    )
