"""What a training minimises, as its configuration says: a loss of masks, and with a point matcher one of outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from qttseg.metadata.adapters import adapter_of
from qttseg.metadata.configurations import Value
from qttseg.pipelines.backbones import POINT_MATCHER, Backbone
from qttseg.pipelines.decoding import Decoded
from qttseg.pipelines.losses import mask_loss
from qttseg.pipelines.outlines import OutlinePairs, outline_pairs
from qttseg.pipelines.point_matching import matching_loss
from qttseg.pipelines.prompts import ClassPrompts


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss of a training.

    Attributes:
        loss: Of masks, by its name in `losses.LOSSES`.
        weight: Of matching outlines beside that; λ in arXiv 2403.09199.
        points: On each outline; 0 without matching.
    """

    loss: str
    weight: float
    points: int

    @classmethod
    def of(cls, configuration: Mapping[str, Value]) -> Self:
        """Return what `configuration` asks for; BCE + Dice where it says nothing."""
        matches = adapter_of(configuration).matcher
        return cls(
            loss=str(configuration.get("loss", "bce+dice")),
            weight=float(configuration["pmm_weight"]) if matches else 0.0,
            points=int(configuration["pmm_points"]) if matches else 0,
        )

    def of_masks(self, decoded: Decoded, targets: Tensor, valid: Tensor, owner: Tensor) -> Tensor:
        """Return the loss of each mask, p."""
        return mask_loss(decoded.logits, decoded.guess, targets, valid, owner, name=self.loss)

    def __call__(self, backbone: Backbone, decoded: Decoded, prompts: ClassPrompts) -> Tensor:
        """Return the loss of each prompt, p."""
        loss = self.of_masks(decoded, prompts.targets, prompts.valid, prompts.owner)
        if not self.points:
            return loss
        pairs = outline_pairs(decoded.logits[:, 0], prompts.targets, prompts.valid, count=self.points)
        return loss + self.weight * of_outlines(backbone, decoded.upscaled, pairs)


def of_outlines(backbone: Backbone, upscaled: Tensor, pairs: OutlinePairs) -> Tensor:
    """Return the loss of each pair of outlines, p; 0 where there is none."""
    matcher = backbone.sam.get_submodule(POINT_MATCHER)
    return matching_loss(matcher(upscaled, pairs.predicted), pairs.true) * pairs.weight
