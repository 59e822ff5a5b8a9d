"""Box prompts: from masks, with seeded noise; one box and one mask for each class present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from qttseg.metadata.datasets import IGNORE
from qttseg.metadata.protocol import PromptKind, Protocol

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, the far sides exclusive."""


def true_boxes(mask: NDArray[np.uint8]) -> dict[int, Box]:
    """Return the box about each foreground class of `mask` (h × w class ids; 0 and 255 have none)."""
    boxes: dict[int, Box] = {}
    for class_id in np.unique(mask):
        if class_id in (0, IGNORE):
            continue
        inside = mask == class_id
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        boxes[int(class_id)] = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return boxes


def prompt_boxes(mask: NDArray[np.uint8], protocol: Protocol, generator: np.random.Generator) -> dict[int, Box]:
    """Return what the model is told about `mask` under `protocol`: one box for each class present.

    Each side of a true box moves outward by 0 to `protocol.prompt_noise` pixels of an image whose long side is 1024
    (QTT-SEG, section 3); a whole-image prompt is the image's own frame.
    """
    height, width = mask.shape
    boxes = true_boxes(mask)
    if protocol.prompt == "whole-image":
        return dict.fromkeys(boxes, (0.0, 0.0, float(width), float(height)))
    reach = protocol.prompt_noise * max(height, width) / 1024
    moved: dict[int, Box] = {}
    for class_id, (x0, y0, x1, y1) in boxes.items():
        a, b, c, d = (float(move) for move in generator.uniform(0, reach, size=4))
        moved[class_id] = (max(0.0, x0 - a), max(0.0, y0 - b), min(float(width), x1 + c), min(float(height), y1 + d))
    return moved


def scaled_boxes(boxes: Mapping[int, Box], scale: float) -> dict[int, Box]:
    """Return `boxes` in an image that was resized by `scale`."""
    return {class_id: (x0 * scale, y0 * scale, x1 * scale, y1 * scale) for class_id, (x0, y0, x1, y1) in boxes.items()}


@dataclass(frozen=True, kw_only=True)
class ClassPrompts:
    """A training batch's prompts, one for each class present in each image.

    Attributes:
        owner: Index in the batch of the image, p.
        boxes: x0, y0, x1, y1 in pixels of the padded square, p × 4.
        targets: 1 inside the class, 0 outside, p × r × r.
        valid: 0 on padding and ignored pixels, p × r × r.
    """

    owner: Tensor
    boxes: Tensor
    targets: Tensor
    valid: Tensor

    def of(self, images: slice) -> ClassPrompts:
        """Return the prompts of some images, which are counted from the first of them."""
        mine = (self.owner >= images.start) & (self.owner < images.stop)
        return ClassPrompts(
            owner=self.owner[mine] - images.start,
            boxes=self.boxes[mine],
            targets=self.targets[mine],
            valid=self.valid[mine],
        )


def class_prompts(
    labels: Tensor, *, classes: int, noise: float, prompt: PromptKind, generator: Generator
) -> ClassPrompts:
    """Return the prompts of a batch of label maps.

    Args:
        labels: b × r × r class ids on the padded square; 255 is ignored.
        classes: Number of classes, background included.
        noise: Most pixels (of the padded square) by which each side of a box moves outward.
        prompt: Boxes about the classes, or about everything that is not padding.
        generator: Draws the noise, on the CPU.
    """
    ids = torch.arange(1, classes, device=labels.device, dtype=labels.dtype)
    inside = labels[:, None] == ids[:, None, None]
    owner, which = inside.any(dim=(2, 3)).nonzero(as_tuple=True)
    targets = inside[owner, which]
    valid = labels[owner] != IGNORE
    boxes = mask_boxes(valid if prompt == "whole-image" else targets)
    if prompt == "box":
        outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=labels.device)
        moves = torch.rand(boxes.shape, generator=generator).to(labels.device)
        boxes = (boxes + outward * moves * noise).clamp(0, labels.shape[-1])
    return ClassPrompts(owner=owner, boxes=boxes, targets=targets.float(), valid=valid.float())


def mask_boxes(masks: Tensor) -> Tensor:
    """Return the box (n × 4, far sides exclusive) about each non-empty boolean mask (n × h × w)."""
    columns, rows = masks.any(dim=1).float(), masks.any(dim=2).float()
    width, height = columns.shape[1], rows.shape[1]
    x0, y0 = columns.argmax(dim=1), rows.argmax(dim=1)
    x1, y1 = width - columns.flip(1).argmax(dim=1), height - rows.flip(1).argmax(dim=1)
    return torch.stack([x0, y0, x1, y1], dim=1).float()
