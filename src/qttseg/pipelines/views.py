"""Images as the backbone sees them: resized, padded to a square, flipped and turned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from qttseg.metadata.datasets import IGNORE
from qttseg.pipelines.pixels import PIXEL_MEAN

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

    Images stay where they lie in their squares: a square flipped with its padding would show a narrow image on the side where
    no image lies that is ever asked about.

    Attributes:
        inner: b × 2: rows and columns of the square that each image fills; of no matter where it is seen as it is.
        flips: b × 2 booleans: mirrored left to right, mirrored top to bottom.
        turns: b angles in radians; 0 where an image is not turned.
    """

    inner: Tensor
    flips: Tensor
    turns: Tensor

    def __getitem__(self, which: slice | list[int] | Tensor) -> Views:
        """Return the views of some of the images."""
        return Views(inner=self.inner[which], flips=self.flips[which], turns=self.turns[which])

    @classmethod
    def plain(cls, count: int) -> Self:
        """Return views that show `count` images as they are."""
        whole, off = torch.zeros(count, 2, dtype=torch.long), torch.zeros(count, 2, dtype=torch.bool)
        return cls(inner=whole, flips=off, turns=torch.zeros(count))

    def keys(self) -> list[str]:
        """Return a short name for each view; two views of one name show the same of an image."""
        return [
            f"{mirrored:d}{overturned:d}/{angle + 0.0:.9g}"  # no angle may come as -0.0
            + (f"/{rows}x{columns}" if mirrored or overturned or angle else "")
            for (mirrored, overturned), angle, (rows, columns) in zip(
                self.flips.tolist(), self.turns.tolist(), self.inner.tolist(), strict=True
            )
        ]


def draw_views(inner: Tensor, *, horizontal: bool, vertical: bool, rotate: bool, generator: Generator) -> Views:
    """Draw a view of each image, of which `inner` (b × 2) tells the rows and columns that it fills of its square.

    Each augmentation that is on happens with probability one half (QTT-SEG, Table 3).
    """
    coins = torch.rand(len(inner), 3, generator=generator) < 0.5
    angles = (torch.rand(len(inner), generator=generator) * 2 - 1) * math.radians(LARGEST_TURN)
    flips = coins[:, :2] & torch.tensor([horizontal, vertical])
    return Views(inner=inner, flips=flips, turns=angles * (coins[:, 2] & torch.tensor(rotate)))


def flipped(batch: Tensor, views: Views) -> Tensor:
    """Return b × … × r × r tensors, each mirrored within what its image fills where `views` says so."""
    batch = batch.clone()
    for square, flips, (rows, columns) in zip(batch, views.flips.tolist(), views.inner.tolist(), strict=True):
        dims = [dim for dim, on in zip((-1, -2), flips, strict=True) if on]
        if dims:
            image = square[..., :rows, :columns]
            image.copy_(image.flip(dims))
    return batch


def turn_images(images: Tensor, views: Views) -> Tensor:
    """Return normalised images (b × 3 × r × r), each turned about its own centre; what enters is zero."""
    grid = _turned_grid(images.shape, views, images.device)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def turn_labels(labels: Tensor, views: Views) -> Tensor:
    """Return label maps (b × r × r) turned like `turn_images`; what enters from outside is to be ignored."""
    counted = (IGNORE - labels).float()[:, None]
    grid = _turned_grid(counted.shape, views, counted.device)
    kept = F.grid_sample(counted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    return (IGNORE - kept).to(labels.dtype)


def _turned_grid(shape: torch.Size, views: Views, device: torch.device) -> Tensor:
    cosine, sine = views.turns.cos(), views.turns.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    centre = (views.inner.flip(1) / shape[-1] - 1)[..., None]  # x, y, from -1 to 1 over the square
    return F.affine_grid(torch.cat([turn, centre - turn @ centre], 2).to(device), list(shape), align_corners=False)


def view_images(images: Tensor, views: Views) -> Tensor:
    """Return normalised images (b × 3 × r × r) as `views` shows them."""
    return _turn_some(flipped(images, views), views, turn_images)


def view_labels(labels: Tensor, views: Views) -> Tensor:
    """Return label maps (b × r × r) as `views` shows them."""
    return _turn_some(flipped(labels, views), views, turn_labels)


def _turn_some(batch: Tensor, views: Views, turn: Callable[[Tensor, Views], Tensor]) -> Tensor:
    """Turn what has an angle, in place, and leave the rest exactly as it is, so that one view always shows the same."""
    turned = views.turns != 0
    if turned.any():
        batch[turned] = turn(batch[turned], views[turned])
    return batch
