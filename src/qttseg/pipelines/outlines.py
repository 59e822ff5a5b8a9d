"""Outlines of masks as points, evenly spaced along them; predicted ones paired with the true ones they should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import contourpy
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Outline = NDArray[np.float64]
"""k × 2 points x, y of a closed line in cells of the mask, the last one again the first; cell centres end in .5."""

_SMALLEST_PIECE = 0.1
"""Share of the largest piece's area from which on another piece may be meant."""


def outlines(inside: NDArray[np.float64]) -> list[Outline]:
    """Return the outer outlines of the pieces of a mask, the largest piece first; none of an empty mask.

    Outlines run where `inside` (h × w, in [0, 1]) crosses one half, and along the border of a mask that touches it. Holes
    are left out.
    """
    generator = contourpy.contour_generator(z=np.pad(np.nan_to_num(inside), 1), line_type="Separate")
    lines = cast("list[Outline]", generator.lines(0.5))
    areas = [_area(line) for line in lines]
    order = sorted(range(len(lines)), key=lambda index: -abs(areas[index]))
    # An outline that encloses no less than any other is an outer one; holes are run about the other way.
    return [lines[index] - 0.5 for index in order if areas[index] * areas[order[0]] > 0]


def _area(line: Outline) -> float:
    """Return the area that a closed line encloses; its sign is the way it runs about it."""
    x, y = line.T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def evenly_spaced(line: Outline, count: int) -> NDArray[np.float64]:
    """Return `count` points (count × 2) at equal distances along a closed line, from its first point on."""
    lengths = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    wanted = np.arange(count) * lengths[-1] / count
    return np.stack([np.interp(wanted, lengths, line[:, axis]) for axis in range(2)], axis=1)


@dataclass(frozen=True, kw_only=True)
class OutlinePairs:
    """Points on predicted outlines with those on true ones that they should come to lie on.

    Attributes:
        predicted: … × n × 2, x and y as shares of the square's side.
        true: … × n × 2, in the same unit, each from a point of its own on.
        weight: …, 1 for a pair and 0 where a mask is empty, predicted or true.
    """

    predicted: Tensor
    true: Tensor
    weight: Tensor


def outline_pairs(logits: Tensor, targets: Tensor, valid: Tensor, *, count: int) -> OutlinePairs:
    """Return `count` points on the outline of each predicted mask and on the true one, without gradient.

    A predicted mask stands for its largest piece. Of a true mask of several it is the piece whose middle lies nearest to
    that, specks left out; else two arms or eyes would be drawn across the image to each other.

    Args:
        logits: … × h × w, on the decoder's grid.
        targets: … × r × r, 1 inside and 0 outside.
        valid: … × r × r, 0 where a pixel does not count.
        count: How many points.
    """
    leading, size = logits.shape[:-2], (logits.shape[-2], logits.shape[-1])
    coarse = F.adaptive_avg_pool2d(torch.stack([targets.flatten(0, -3), valid.flatten(0, -3)]), size)
    seen = logits.detach().float().flatten(0, -3).sigmoid() * (coarse[1] > 0)
    found, wanted = (masks.double().cpu().numpy() for masks in (seen, coarse[0]))
    pairs = [_pair(own, truth, count) for own, truth in zip(found, wanted, strict=True)]
    points = torch.from_numpy(np.stack([np.zeros((2, count, 2)) if pair is None else pair for pair in pairs]))
    points = points.to(logits.device, torch.float32) / logits.shape[-1]
    weight = torch.tensor([float(pair is not None) for pair in pairs], device=logits.device)
    predicted, true = points.unflatten(0, leading).unbind(-3)
    return OutlinePairs(predicted=predicted, true=true, weight=weight.view(leading))


def _pair(found: NDArray[np.float64], wanted: NDArray[np.float64], count: int) -> NDArray[np.float64] | None:
    own, truth = outlines(found), outlines(wanted)
    if not own or not truth:
        return None
    least = _SMALLEST_PIECE * abs(_area(truth[0]))
    middle = own[0][:-1].mean(axis=0)
    large = [line for line in truth if abs(_area(line)) >= least]
    nearest = min(large, key=lambda line: float(np.linalg.norm(line[:-1].mean(axis=0) - middle)))
    return np.stack([evenly_spaced(own[0], count), evenly_spaced(nearest, count)])
