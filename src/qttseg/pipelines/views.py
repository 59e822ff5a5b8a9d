"""Images as the backbone sees them: resized, padded to a square, flipped, turned, moved and tinted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from qttseg.metadata.configurations import Value
from qttseg.metadata.datasets import IGNORE
from qttseg.pipelines.pixels import PIXEL_MEAN

_PADDING = tuple(round(value) for value in PIXEL_MEAN)
LARGEST_TURN = 30.0
"""Degrees; the published code's rotation reaches this far to either side."""

FARTHEST = 0.06
"""Share of its sides by which an image is moved at most, and the logarithm of the zoom."""

CONTRAST, TINT, BRIGHTNESS = 0.2, 0.1, 0.3
"""At most: logarithms by which all colours and each are stretched, and what is added in standard deviations."""


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
        moves: b × 3: logarithm of the zoom, and shares of its sides by which an image is moved to the right and down.
        tints: b × 4: logarithms by which the colours' distances from SAM's mean are stretched, and what is then added to all
            of them, in standard deviations.
    """

    inner: Tensor
    flips: Tensor
    turns: Tensor
    moves: Tensor
    tints: Tensor

    def __getitem__(self, which: slice | list[int] | Tensor) -> Views:
        """Return the views of some of the images."""
        return Views(**{name: tensor[which] for name, tensor in vars(self).items()})

    @classmethod
    def plain(cls, count: int) -> Self:
        """Return views that show `count` images as they are."""
        return cls(
            inner=torch.zeros(count, 2, dtype=torch.long),
            flips=torch.zeros(count, 2, dtype=torch.bool),
            turns=torch.zeros(count),
            moves=torch.zeros(count, 3),
            tints=torch.zeros(count, 4),
        )

    def keys(self) -> list[str]:
        """Return a short name for each view; two views of one name show the same of an image."""
        numbers = torch.cat([self.turns[:, None], self.moves, self.tints], dim=1) + 0.0  # none may come as -0.0
        names = []
        for flips, own, inner in zip(self.flips.tolist(), numbers.tolist(), self.inner.tolist(), strict=True):
            seen = [f"{flips[0]:d}{flips[1]:d}", *(f"{number:.9g}" for number in (own if any(own[1:]) else own[:1]))]
            names.append("/".join([*seen, *map(str, inner)] if any(flips) or any(own) else seen))
        return names


def draw_views(inner: Tensor, configuration: Mapping[str, Value], *, generator: Generator) -> Views:
    """Draw a view of each image, of which `inner` (b × 2) tells the rows and columns that it fills of its square.

    Flips and turns that are on happen with probability one half (QTT-SEG, Table 3). What is not of that table happens always,
    by more or less: `random_affine` moves and zooms images by up to `FARTHEST`, `color_jitter` changes their colours.
    """
    count = len(inner)
    coins = torch.rand(count, 3, generator=generator) < 0.5
    angles = (torch.rand(count, generator=generator) * 2 - 1) * math.radians(LARGEST_TURN)
    on = torch.tensor([bool(configuration[name]) for name in ("horizontal_flip", "vertical_flip", "random_rotate")])
    flips, turned = (coins & on).split([2, 1], dim=1)
    views = replace(Views.plain(count), inner=inner, flips=flips, turns=angles * turned[:, 0])
    if configuration.get("random_affine"):
        views = replace(views, moves=FARTHEST * (torch.rand(count, 3, generator=generator) * 2 - 1))
    if configuration.get("color_jitter"):
        drawn = torch.rand(count, 5, generator=generator) * 2 - 1
        contrast, tint, brightness = drawn.split([1, 3, 1], dim=1)
        views = replace(views, tints=torch.cat([CONTRAST * contrast + TINT * tint, BRIGHTNESS * brightness], dim=1))
    return views


def view_images(images: Tensor, views: Views) -> Tensor:
    """Return normalised images (b × 3 × r × r) as `views` shows them; what enters from outside is SAM's mean colour."""
    seen = images.clone()
    _flip(seen, views)
    _tint(seen, views)
    _move(seen, views, "bilinear")
    return seen


def view_labels(labels: Tensor, views: Views) -> Tensor:
    """Return label maps (b × r × r) as `views` shows them; what enters from outside is to be ignored."""
    seen = IGNORE - labels
    _flip(seen, views)
    _move(seen, views, "nearest")
    return IGNORE - seen


def _flip(batch: Tensor, views: Views) -> None:
    """Mirror b × … × r × r tensors in place, each within what its image fills."""
    for square, flips, (rows, columns) in zip(batch, views.flips.tolist(), views.inner.tolist(), strict=True):
        dims = [dim for dim, on in zip((-1, -2), flips, strict=True) if on]
        if dims:
            image = square[..., :rows, :columns]
            image.copy_(image.flip(dims))


def _tint(images: Tensor, views: Views) -> None:
    """Change the colours of b × 3 × r × r images in place; padding stays as it is."""
    for square, tint, (rows, columns) in zip(images, views.tints.tolist(), views.inner.tolist(), strict=True):
        if any(tint):
            *stretches, added = tint
            square[:, :rows, :columns].mul_(square.new_tensor(stretches).exp()[:, None, None]).add_(added)


def _move(batch: Tensor, views: Views, mode: str) -> None:
    """Turn and zoom b × … × r × r tensors about the centres of their images, then move them, in place; zero enters.

    What stays is left exactly as it is, so that one view always shows the same.
    """
    moved = (views.turns != 0) | views.moves.any(dim=1)
    if not moved.any():
        return
    side = batch.shape[-1]
    squares = batch[moved].float().view(int(moved.sum()), -1, side, side)
    grid = _moved_grid(squares.shape, views[moved]).to(squares.device)
    seen = F.grid_sample(squares, grid, mode=mode, padding_mode="zeros", align_corners=False)
    batch[moved] = seen.view_as(batch[moved]).to(batch.dtype)


def _moved_grid(shape: torch.Size, views: Views) -> Tensor:
    cosine, sine = views.turns.cos(), views.turns.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    turn = turn / views.moves[:, :1, None].exp()
    sides = (views.inner.flip(1) / shape[-1])[..., None]  # width, height; the square reaches from -1 to 1
    centre, shift = sides - 1, 2 * sides * views.moves[:, 1:, None]
    matrix = torch.cat([turn, centre - turn @ (centre + shift)], 2)
    return F.affine_grid(matrix, list(shape), align_corners=False)
