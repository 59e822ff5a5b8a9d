"""From images and prompts to label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.embeddings import EmbeddingCache
from qttseg.pipelines.prompts import Prompt, is_box, scaled_prompts
from qttseg.pipelines.views import Extent, square_image

if TYPE_CHECKING:
    from qttseg.pipelines.packed_model import PackedModel

_IMAGES_AT_ONCE = 8
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """A backbone, adapted or not, that turns prompted images into label maps.

    Attributes:
        backbone: The model.
    """

    backbone: Backbone

    def sharing(self, cache: EmbeddingCache | None) -> Segmenter:
        """Return the same segmenter, its embeddings of the untouched encoder, if it has them, found in `cache`."""
        own = self.backbone.cache
        if own is None or cache is None or own.fingerprint != cache.fingerprint:
            return self
        return Segmenter(backbone=replace(self.backbone, cache=cache))

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, Prompt]) -> NDArray[np.uint8]:
        """Return the label map (h × w) of one image.

        Args:
            image: h × w × 3, 0 to 255.
            prompts: For each class id to look for, its box or points in pixels of the image.
        """
        return self.segment_all([image], [prompts])[0]

    @torch.inference_mode()
    def segment_all(
        self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Mapping[int, Prompt]]
    ) -> list[NDArray[np.uint8]]:
        """Return the label map of each image; as `segment` one by one, but quicker."""
        maps: list[NDArray[np.uint8]] = []
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            squares = [
                square_image(image, self.backbone.resolution) for image in images[start : start + _IMAGES_AT_ONCE]
            ]
            embeddings = self.backbone.embed(torch.stack([square for square, _ in squares]))
            extents = [extent for _, extent in squares]
            inside = [
                scaled_prompts(own, extent.scale)
                for own, extent in zip(prompts[start : start + _IMAGES_AT_ONCE], extents, strict=True)
            ]
            maps += label_maps(self.backbone, embeddings, inside, extents)
        return maps


def zero_shot_segmenter(backbone: Backbone) -> Segmenter:
    """Return the backbone as it is, without any fine-tuning."""
    return Segmenter(backbone=backbone)


@torch.inference_mode()
def label_maps(
    model: Backbone | PackedModel,
    embeddings: Tensor,
    prompts: Sequence[Mapping[int, Prompt]],
    extents: Sequence[Extent],
) -> list[NDArray[np.uint8]]:
    """Return the label map of each embedded image at its own size, h × w, or k × h × w of a pack of k models.

    Args:
        model: Decodes.
        embeddings: b × c × g × g, or k × b × c × g × g where the members of a pack differ in them.
        prompts: For each image, class id → box or points in pixels of the padded square.
        extents: Where each image lies in its square.
    """
    owners = [owner for owner, own in enumerate(prompts) for _ in own]
    classes = [class_id for own in prompts for class_id in own]
    flat = [prompt for own in prompts for prompt in own.values()]
    groups = _alike(flat)
    logits = [
        model.decode(
            embeddings[..., torch.tensor([owners[i] for i in chunk], device=embeddings.device), :, :, :],
            torch.tensor([flat[i] for i in chunk], device=embeddings.device),
            torch.tensor([classes[i] for i in chunk], device=embeddings.device),
        )[0][..., 0, :, :]
        for group in groups
        for chunk in _chunks(group, _PROMPTS_AT_ONCE)
    ]
    stacked = torch.cat(logits, dim=-3) if logits else embeddings.new_zeros((0, 1, 1))
    if len(groups) > 1:
        place = torch.tensor([i for group in groups for i in group], device=stacked.device).argsort()
        stacked = stacked[..., place, :, :]
    pieces = stacked.split([len(own) for own in prompts], dim=-3)
    return [label_map(piece, tuple(own), extent) for piece, own, extent in zip(pieces, prompts, extents, strict=True)]


def _alike(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Return the indices of the boxes, and of the points by their number: what fits into one tensor."""
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(0 if is_box(prompt) else len(prompt), []).append(index)
    return list(groups.values())


def _chunks(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def label_map(logits: Tensor, classes: tuple[int, ...], extent: Extent) -> NDArray[np.uint8]:
    """Return, for each pixel, the class with the highest positive logit (… × c × h × w), or 0 (SAM's own upsampling)."""
    if not classes:
        return np.zeros((*logits.shape[:-3], extent.height, extent.width), np.uint8)
    rows, columns = extent.inner
    size = (extent.resolution, extent.resolution)
    full = logits.float().reshape(1, -1, *logits.shape[-2:])
    full = F.interpolate(full, size, mode="bilinear", align_corners=False)[..., :rows, :columns]
    if (rows, columns) != (extent.height, extent.width):
        full = F.interpolate(full, (extent.height, extent.width), mode="bilinear", align_corners=False)
    best, which = full.reshape(*logits.shape[:-2], extent.height, extent.width).max(dim=-3)
    ids = torch.tensor(classes, dtype=torch.uint8, device=best.device)[which]
    return torch.where(best > 0, ids, torch.zeros_like(ids)).cpu().numpy()
