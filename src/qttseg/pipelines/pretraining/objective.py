"""What a backbone is asked in pre-training, and how its answers are judged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from qttseg.pipelines.losses import dice_loss, focal_loss
from qttseg.pipelines.prompts import mask_boxes

_SMALLEST = 12
"""Pixels; an object of which fewer are visible is not asked for."""


def choose_objects(masks: Tensor, prompts: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Choose the objects to prompt for: at most `prompts` an image, each large enough to be seen.

    Args:
        masks: b × k × r × r booleans.
        prompts: Most objects of an image.
        generator: Draws the choice.

    Returns:
        For each of p prompts the index of its image, and its mask (p × r × r).
    """
    big_enough = masks.sum(dim=(2, 3)) >= _SMALLEST
    order = torch.rand(big_enough.shape, generator=generator, device=masks.device) + big_enough
    chosen = order.topk(prompts, dim=1).indices
    keep = big_enough.gather(1, chosen)
    owner = torch.arange(len(masks), device=masks.device)[:, None].expand_as(chosen)
    return owner[keep], masks[owner[keep], chosen[keep]].float()


def noisy_boxes(target: Tensor, noise: float, generator: Generator) -> Tensor:
    """Return boxes (p × 4) about each mask, each side moved outward by up to `noise` pixels, now and then inward."""
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=target.device)
    boxes = mask_boxes(target > 0)
    moves = torch.rand(boxes.shape, generator=generator, device=target.device) * 1.1 - 0.1
    return (boxes + outward * moves * noise).clamp(0, target.shape[-1])


def points_in(target: Tensor, count: int, generator: Generator) -> Tensor:
    """Return `count` drawn pixels (p × count × 2, as x, y) inside each mask."""
    drawn = torch.rand(target.shape, generator=generator, device=target.device) * target
    index = drawn.flatten(1).topk(count, dim=1).indices
    width = target.shape[-1]
    return torch.stack([index % width, index // width], dim=2).float()


def objective(logits: Tensor, guess: Tensor, target: Tensor, *, nearby: float, focal: float) -> tuple[Tensor, float]:
    """Return focal + Dice of the best of the masks plus the IoU head's error, and the mean IoU of that mask.

    Judged on the mask grid, where a pixel that an outline crosses has a target between 0 and 1. Most of an image is far
    from a prompted object; counted in full it teaches only to predict nothing.

    Args:
        logits: p × m × h × w.
        guess: p × m guesses of the IoU.
        target: p × r × r masks, r a multiple of h.
        nearby: Focal loss counts within the mask's box grown by this share of its size.
        focal: Weight of the focal loss beside Dice.
    """
    coarse = F.avg_pool2d(target[:, None], target.shape[-1] // logits.shape[-1])
    wanted = coarse.expand_as(logits)
    near = _grown_boxes(coarse[:, 0], nearby)[:, None].expand_as(logits)
    everywhere = torch.ones_like(wanted)
    loss = focal * focal_loss(logits, wanted, near) + dice_loss(logits, wanted, everywhere)
    best = loss.argmin(dim=1, keepdim=True)
    with torch.no_grad():
        inside, truly = logits > 0, wanted > 0.5
        union = (inside | truly).sum(dim=(2, 3))
        iou = (inside & truly).sum(dim=(2, 3)) / union.clamp_min(1)
    total = loss.gather(1, best).mean() + F.mse_loss(guess, iou)
    return total, iou.gather(1, best).mean().item()


def _grown_boxes(target: Tensor, share: float) -> Tensor:
    """Return 1 within each mask's box grown by `share` of its size to every side, 0 elsewhere; p × h × w."""
    boxes = mask_boxes(target > 0)
    margin = share * (boxes[:, 2:] - boxes[:, :2]) + 2
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    line = torch.arange(target.shape[-1], device=target.device)
    across = (line >= low[:, :1]) & (line < high[:, :1])
    down = (line >= low[:, 1:]) & (line < high[:, 1:])
    return (down[:, :, None] & across[:, None, :]).float()
