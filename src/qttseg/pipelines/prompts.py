"""Prompts: boxes with seeded noise or points drawn from masks; one prompt and one mask for each class present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from qttseg.metadata.datasets import IGNORE
from qttseg.metadata.protocol import PromptKind, Protocol

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, the far sides exclusive."""

Points = tuple[tuple[float, float], ...]
"""One or more x, y inside the object, in pixels; the centre of the first pixel is (0.5, 0.5)."""

Prompt = Box | Points
"""What the model is told about where one class is. In tensors p × 4 for boxes, p × n × 2 for points."""


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


def is_box(prompt: Prompt) -> TypeGuard[Box]:
    """Return whether `prompt` is a box, and not points."""
    return not isinstance(prompt[0], tuple)


def box_about(prompt: Prompt) -> Box:
    """Return the box about points, half a pixel larger to each side than they reach; a box is its own."""
    if is_box(prompt):
        return prompt
    across, down = zip(*cast("Points", prompt), strict=True)
    return min(across) - 0.5, min(down) - 0.5, max(across) + 0.5, max(down) + 0.5


def draw_prompts(mask: NDArray[np.uint8], protocol: Protocol, generator: np.random.Generator) -> dict[int, Prompt]:
    """Return what the model is told about `mask` (h × w class ids) under `protocol`: a prompt for each class present.

    Each side of a true box moves outward by 0 to `protocol.prompt_noise` pixels of an image whose long side is 1024
    (QTT-SEG, section 3); a whole-image prompt is the image's own frame; points are drawn anywhere inside the class.
    """
    if protocol.prompt == "point":
        return _drawn_points(mask, protocol.points, generator)
    height, width = mask.shape
    boxes = true_boxes(mask)
    if protocol.prompt == "whole-image":
        return dict.fromkeys(boxes, (0.0, 0.0, float(width), float(height)))
    reach = protocol.prompt_noise * max(height, width) / 1024
    moved: dict[int, Prompt] = {}
    for class_id, (x0, y0, x1, y1) in boxes.items():
        a, b, c, d = (float(move) for move in generator.uniform(0, reach, size=4))
        moved[class_id] = (max(0.0, x0 - a), max(0.0, y0 - b), min(float(width), x1 + c), min(float(height), y1 + d))
    return moved


def _drawn_points(mask: NDArray[np.uint8], count: int, generator: np.random.Generator) -> dict[int, Prompt]:
    found: dict[int, Prompt] = {}
    for class_id in np.unique(mask):
        if class_id in (0, IGNORE):
            continue
        rows, columns = np.nonzero(mask == class_id)
        which = generator.integers(len(rows), size=count)
        found[int(class_id)] = tuple((float(columns[i]) + 0.5, float(rows[i]) + 0.5) for i in which)
    return found


def scaled_prompts(prompts: Mapping[int, Prompt], scale: float) -> dict[int, Prompt]:
    """Return `prompts` in an image that was resized by `scale`."""
    return {class_id: _scaled(prompt, scale) for class_id, prompt in prompts.items()}


def _scaled(prompt: Prompt, scale: float) -> Prompt:
    if is_box(prompt):
        return cast("Box", tuple(side * scale for side in prompt))
    return tuple((x * scale, y * scale) for x, y in cast("Points", prompt))


@dataclass(frozen=True, kw_only=True)
class ClassPrompts:
    """A training batch's prompts, one for each class present in each image.

    Attributes:
        owner: Index in the batch of the image, p.
        classes: Class ids, p.
        where: In pixels of the padded square: boxes, p × 4 as x0, y0, x1, y1, or points, p × n × 2 as x, y.
        targets: 1 inside the class, 0 outside, p × r × r.
        valid: 0 on padding and ignored pixels, p × r × r.
    """

    owner: Tensor
    classes: Tensor
    where: Tensor
    targets: Tensor
    valid: Tensor

    def of(self, images: slice) -> ClassPrompts:
        """Return the prompts of some images, which are counted from the first of them."""
        mine = (self.owner >= images.start) & (self.owner < images.stop)
        return ClassPrompts(
            owner=self.owner[mine] - images.start,
            classes=self.classes[mine],
            where=self.where[mine],
            targets=self.targets[mine],
            valid=self.valid[mine],
        )


def class_prompts(
    labels: Tensor, *, classes: int, noise: float, prompt: PromptKind, generator: Generator, points: int = 1
) -> ClassPrompts:
    """Return the prompts of a batch of label maps.

    Args:
        labels: b × r × r class ids on the padded square; 255 is ignored.
        classes: Number of classes, background included.
        noise: Most pixels (of the padded square) by which each side of a box moves outward, and a point to any side.
        prompt: Boxes about the classes, or about everything that is not padding, or points inside the classes.
        generator: Draws points and noise, on the CPU.
        points: How many points a prompt has.
    """
    ids = torch.arange(1, classes, device=labels.device, dtype=labels.dtype)
    inside = labels[:, None] == ids[:, None, None]
    owner, which = inside.any(dim=(2, 3)).nonzero(as_tuple=True)
    targets = inside[owner, which]
    valid = labels[owner] != IGNORE
    if prompt == "point":
        where = _noisy_points(targets, points, noise, generator)
    else:
        where = mask_boxes(valid if prompt == "whole-image" else targets)
        if prompt == "box":
            outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=labels.device)
            moves = torch.rand(where.shape, generator=generator).to(labels.device)
            where = (where + outward * moves * noise).clamp(0, labels.shape[-1])
    return ClassPrompts(owner=owner, classes=ids[which], where=where, targets=targets.float(), valid=valid.float())


def _noisy_points(targets: Tensor, count: int, noise: float, generator: Generator) -> Tensor:
    """Return points (p × count × 2) drawn inside each boolean mask (p × r × r), moved by up to `noise` in x and y."""
    side = targets.shape[-1]
    ranks = targets.flatten(1).cumsum(dim=1, dtype=torch.int32)
    drawn = torch.rand((len(targets), count), generator=generator).to(targets.device)
    wanted = (drawn * ranks[:, -1:]).int().clamp_max(ranks[:, -1:] - 1) + 1
    index = torch.searchsorted(ranks, wanted)
    points = torch.stack([index % side, index // side], dim=2) + 0.5
    if noise:
        moves = torch.rand(points.shape, generator=generator).to(targets.device) * 2 - 1
        points = (points + moves * noise).clamp(0, side)
    return points


def mask_boxes(masks: Tensor) -> Tensor:
    """Return the box (n × 4, far sides exclusive) about each non-empty boolean mask (n × h × w)."""
    columns, rows = masks.any(dim=1).float(), masks.any(dim=2).float()
    width, height = columns.shape[1], rows.shape[1]
    x0, y0 = columns.argmax(dim=1), rows.argmax(dim=1)
    x1, y1 = width - columns.flip(1).argmax(dim=1), height - rows.flip(1).argmax(dim=1)
    return torch.stack([x0, y0, x1, y1], dim=1).float()
