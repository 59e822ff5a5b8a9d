"""Losses on mask logits, averaged over prompts; lower is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from qttseg.errors import ConfigurationError

_LARGEST_LOGIT = 30.0
"""Beyond it a mask is certain; its exponential is a number that float32 can add to 1."""


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return 1 minus the soft Dice overlap of each mask (Sudre et al. 2017).

    Args:
        logits: … × h × w.
        target: The same shape, 1 inside and 0 outside.
        valid: The same shape, 0 where a pixel does not count.

    Returns:
        A loss in [0, 1] for each leading index.
    """
    return _dice(torch.sigmoid(logits) * valid, target, valid)


def _dice(probability: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    overlap = (probability * target).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + (target * valid).sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def bce_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy averaged over valid pixels, for each leading index; shapes as `dice_loss`."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * valid
    return loss.sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1)).clamp_min(1)


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


def label_map_loss(logits: Tensor, target: Tensor, valid: Tensor, owner: Tensor) -> Tensor:
    """Return the loss of the label maps that masks make together: cross-entropy + Dice of a softmax over an image's masks.

    A label map has at each pixel the mask with the highest logit, or the background if none is above 0. So masks of an
    image compete, against a background whose logit is 0.

    Args:
        logits: p × h × w.
        target: The same shape, 1 inside and 0 outside; targets of an image do not overlap.
        valid: The same shape, 0 where a pixel does not count.
        owner: Which image each mask is of, p.
    """
    bounded = logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
    peers = (owner[:, None] == owner).to(logits.dtype)
    strength = bounded.exp() * valid
    every = 1 + _summed(peers, strength)
    entropy = (every.log() - _summed(peers, bounded * target * valid)) * valid
    per_image = entropy.sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1)).clamp_min(1)
    return per_image + _dice(strength / every, target, valid)


def _summed(peers: Tensor, maps: Tensor) -> Tensor:
    """Return, for each mask, the sum of p × h × w maps over its peers (p × p)."""
    return (peers @ maps.flatten(1)).unflatten(1, maps.shape[1:])  # type: ignore[no-any-return]


def true_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the IoU in [0, 1] of each mask as it would be predicted, without gradient; shapes as `dice_loss`."""
    inside, truly = (logits.detach() > 0) & (valid > 0), (target > 0.5) & (valid > 0)
    union = (inside | truly).sum(dim=(-2, -1))
    return (inside & truly).sum(dim=(-2, -1)) / union.clamp_min(1)


def _bce_dice(logits: Tensor, guess: Tensor, target: Tensor, valid: Tensor, owner: Tensor) -> Tensor:  # noqa: ARG001
    """BCE + Dice (QTT-SEG, Table 3)."""
    return bce_loss(logits, target, valid) + dice_loss(logits, target, valid)


def _focal_dice_iou(logits: Tensor, guess: Tensor, target: Tensor, valid: Tensor, owner: Tensor) -> Tensor:  # noqa: ARG001
    """Focal + Dice + squared error of the IoU guess (arXiv 2403.09199).

    SAM was trained with twenty times the focal loss (Kirillov et al. 2023, appendix A). Where masks are bad at first, as for
    a point on a part, that makes them vanish: a prompt learner then fell below the untuned model.
    """
    masks = focal_loss(logits, target, valid) + dice_loss(logits, target, valid)
    return masks + (guess - true_iou(logits, target, valid)) ** 2


def _with_label_map(logits: Tensor, guess: Tensor, target: Tensor, valid: Tensor, owner: Tensor) -> Tensor:
    """Focal + Dice + IoU, and the label maps that the masks make."""
    return _focal_dice_iou(logits, guess, target, valid, owner) + label_map_loss(logits, target, valid, owner)


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "bce+dice": _bce_dice,
    "focal+dice+iou": _focal_dice_iou,
    "focal+dice+iou+map": _with_label_map,
}
"""By the name in configurations: from logits (p × r × r), IoU guesses (p), targets, valid pixels and owners (p) to a loss (p)."""


def mask_loss(
    logits: Tensor, guess: Tensor, target: Tensor, valid: Tensor, owner: Tensor, *, name: str = "bce+dice"
) -> Tensor:
    """Return the loss of each mask (p) at the resolution of the square.

    Args:
        logits: p × 1 × h × w, on the decoder's grid.
        guess: p × 1 guesses of the IoU.
        target: p × r × r, 1 inside and 0 outside.
        valid: p × r × r, 0 where a pixel does not count.
        owner: Which image each mask is of, p.
        name: Of the loss, in `LOSSES`.

    Raises:
        ConfigurationError: there is no such loss.
    """
    if name not in LOSSES:
        raise ConfigurationError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
    full = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return LOSSES[name](full, guess[:, 0], target, valid, owner)
