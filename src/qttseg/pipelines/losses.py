"""Losses on mask logits, averaged over prompts; lower is better."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return 1 minus the soft Dice overlap of each mask (Sudre et al. 2017).

    Args:
        logits: … × h × w.
        target: The same shape, 1 inside and 0 outside.
        valid: The same shape, 0 where a pixel does not count.

    Returns:
        A loss in [0, 1] for each leading index.
    """
    probability = torch.sigmoid(logits) * valid
    overlap = (probability * target).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + (target * valid).sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def bce_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy averaged over valid pixels, for each leading index; shapes as `dice_loss`."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * valid
    return loss.sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1)).clamp_min(1)


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return BCE + Dice of each mask at the resolution of the square (QTT-SEG, Table 3).

    Args:
        logits: p × 1 × h × w, on the decoder's grid.
        target: p × r × r, 1 inside and 0 outside.
        valid: p × r × r, 0 where a pixel does not count.
    """
    full = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return bce_loss(full, target, valid) + dice_loss(full, target, valid)


def focal_loss(logits: Tensor, target: Tensor, valid: Tensor, *, focus: float = 2.0) -> Tensor:
    """Return the focal loss (Lin et al. 2017, without class weights) averaged over valid pixels; shapes as `dice_loss`.

    Args:
        logits: … × h × w.
        target: The same shape, 1 inside and 0 outside.
        valid: The same shape, 0 where a pixel does not count.
        focus: Power by which pixels that are already right count less.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = (torch.sigmoid(logits) - target).abs()
    loss = miss**focus * entropy * valid
    return loss.sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1)).clamp_min(1)
