"""Images as the backbone sees them: resized, padded to a square, flipped and turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from qttseg.metadata.datasets import IGNORE
from qttseg.pipelines.backbones import PIXEL_MEAN

_PADDING = tuple(round(value) for value in PIXEL_MEAN)
LARGEST_TURN = 30.0
"""Degrees; the published code's rotation reaches this far to either side."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where an image lies in its padded square.

    Attributes:
        height: Rows of the original image.
        width: Columns of the original image.
        resolution: Side of the square.
    """

    height: int
    width: int
    resolution: int

    @property
    def scale(self) -> float:
        """Pixels of the square for each pixel of the original."""
        return self.resolution / max(self.height, self.width)

    @property
    def inner(self) -> tuple[int, int]:
        """Rows and columns of the square that the image fills, from the top left."""
        return max(1, round(self.height * self.scale)), max(1, round(self.width * self.scale))


def square_image(image: NDArray[np.uint8], resolution: int) -> tuple[Tensor, Extent]:
    """Return an h × w × 3 image as a uint8 3 × r × r tensor: long side resized to r, padded with SAM's mean colour."""
    extent = Extent(height=image.shape[0], width=image.shape[1], resolution=resolution)
    rows, columns = extent.inner
    resized = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    square = np.empty((resolution, resolution, 3), np.uint8)
    square[:] = _PADDING
    square[:rows, :columns] = np.asarray(resized)
    return torch.from_numpy(square).permute(2, 0, 1).contiguous(), extent


def square_labels(mask: NDArray[np.uint8], resolution: int) -> Tensor:
    """Return an h × w mask as a uint8 r × r tensor, resized by nearest neighbour, its padding to be ignored."""
    extent = Extent(height=mask.shape[0], width=mask.shape[1], resolution=resolution)
    rows, columns = extent.inner
    square = np.full((resolution, resolution), IGNORE, np.uint8)
    square[:rows, :columns] = np.asarray(Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST))
    return torch.from_numpy(square)


@dataclass(frozen=True, kw_only=True)
class Views:
    """How each image of a batch is seen this time.

    Attributes:
        flips: b × 2 booleans: mirrored left to right, mirrored top to bottom.
        turns: b angles in radians; 0 where an image is not turned.
    """

    flips: Tensor
    turns: Tensor


def draw_views(batch: int, *, horizontal: bool, vertical: bool, rotate: bool, generator: Generator) -> Views:
    """Draw views: each augmentation that is on happens with probability one half (QTT-SEG, Table 3)."""
    coins = torch.rand(batch, 3, generator=generator) < 0.5
    angles = (torch.rand(batch, generator=generator) * 2 - 1) * math.radians(LARGEST_TURN)
    flips = coins[:, :2] & torch.tensor([horizontal, vertical])
    return Views(flips=flips, turns=angles * (coins[:, 2] & torch.tensor(rotate)))


def flip(batch: Tensor, flips: Tensor) -> Tensor:
    """Return b × … × h × w tensors mirrored where `flips` (b × 2) says so."""
    left_right, top_down = flips.to(batch.device).unbind(1)
    shape = (-1,) + (1,) * (batch.dim() - 1)
    batch = torch.where(left_right.view(shape), batch.flip(-1), batch)
    return torch.where(top_down.view(shape), batch.flip(-2), batch)


def turn(images: Tensor, labels: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Turn normalised images (b × 3 × r × r) and label maps (b × r × r) about the centre by `turns` radians.

    Corners that come from outside are zero in the image and ignored in the labels.
    """
    cosine, sine = turns.cos(), turns.sin()
    zero = torch.zeros_like(turns)
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = F.affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    counted = (IGNORE - labels).float()[:, None]
    kept = F.grid_sample(counted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    return turned, (IGNORE - kept).to(labels.dtype)
