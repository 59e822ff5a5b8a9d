"""Random shapes as signed fields, positive inside, in units of half the image's side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from qttseg.pipelines.pretraining.noise import NoiseBank, chance, log_uniform, uniform

_CELLS = 32
"""Side of the tables that hold what differs from cell to cell of a lattice."""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """A batch of shapes.

    Attributes:
        signed: b × r × r, positive inside; near the outline about the distance to it.
        thin: b booleans: lines and specks, which a faint or textured look would hide.
    """

    signed: Tensor
    thin: Tensor


def draw_shapes(batch: int, bank: NoiseBank) -> Shapes:
    """Draw one shape for each image, of a family of its own."""
    generator, resolution = bank.generator, bank.fields.shape[-1]
    families = torch.multinomial(
        torch.tensor([family.weight for family in _FAMILIES], device=generator.device),
        batch,
        replacement=True,
        generator=generator,
    )
    signed = torch.empty((batch, resolution, resolution), device=generator.device)
    for index, family in enumerate(_FAMILIES):
        chosen = families == index
        count = int(chosen.sum())
        if count:
            signed[chosen] = family.draw(count, bank)
    thin = torch.tensor([family.thin for family in _FAMILIES], device=generator.device)[families]
    return Shapes(signed=signed, thin=thin)


def _grid(resolution: int, device: torch.device) -> tuple[Tensor, Tensor]:
    line = torch.linspace(-1, 1, resolution, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def _coordinates(batch: int, bank: NoiseBank, *, reach: float = 0.75, stretch: float = 0.6) -> tuple[Tensor, Tensor]:
    """Return coordinates (b × r × r each) about a random centre within `reach`, turned and stretched at random."""
    generator = bank.generator
    x, y = _grid(bank.fields.shape[-1], generator.device)
    x = x - uniform((batch, 1, 1), -reach, reach, generator)
    y = y - uniform((batch, 1, 1), -reach, reach, generator)
    angle = uniform((batch, 1, 1), 0, 2 * math.pi, generator)
    factor = uniform((batch, 1, 1), -stretch, stretch, generator).exp()
    return (x * angle.cos() + y * angle.sin()) * factor, (y * angle.cos() - x * angle.sin()) / factor


def _outline(u: Tensor, v: Tensor, generator: Generator, *, low: float, high: float) -> Tensor:
    """Return star-shaped outlines with random harmonics about the origin: from ellipses to splashes."""
    batch = len(u)
    angle, radius = torch.atan2(v, u), (u.square() + v.square()).sqrt()
    outline = torch.ones_like(u)
    rough = uniform((batch, 1, 1), 0.0, 0.6, generator).square()
    for harmonic in range(2, 8):
        phase = uniform((batch, 1, 1), 0, 2 * math.pi, generator)
        outline = outline + rough * torch.cos(harmonic * angle + phase) / harmonic**0.7
    return outline * log_uniform((batch, 1, 1), low, high, generator) - radius


def _blob(batch: int, bank: NoiseBank) -> Tensor:
    """One piece, round to ragged, from a speck to most of the image."""
    u, v = _coordinates(batch, bank)
    ragged = bank.take(batch, 0.4, 0.9) * uniform((batch, 1, 1), 0.0, 0.25, bank.generator).square()
    return _outline(u, v, bank.generator, low=0.05, high=0.75) + ragged


def _polygon(batch: int, bank: NoiseBank) -> Tensor:
    """Convex polygons as intersections of half-planes."""
    generator = bank.generator
    u, v = _coordinates(batch, bank)
    size = log_uniform((batch, 1, 1), 0.12, 1.0, generator)
    inside = torch.full_like(u, 10.0)
    for side in range(5):
        angle = uniform((batch, 1, 1), -0.5, 0.5, generator) + side * 2 * math.pi / 5
        offset = uniform((batch, 1, 1), 0.2, 0.8, generator) * size
        inside = torch.minimum(inside, offset - u * angle.cos() - v * angle.sin())
    return inside


def _bar(batch: int, bank: NoiseBank) -> Tensor:
    """Bent bars, thick to hair-thin, often from edge to edge."""
    generator = bank.generator
    u, v = _coordinates(batch, bank, stretch=0.2)
    bend = uniform((batch, 1, 1), -0.5, 0.5, generator)
    half = log_uniform((batch, 1, 1), 0.012, 0.25, generator)
    return torch.minimum(
        half - (v - bend * u.square()).abs(), log_uniform((batch, 1, 1), 0.2, 2.0, generator) - u.abs()
    )


def _ring(batch: int, bank: NoiseBank) -> Tensor:
    """Rings."""
    generator = bank.generator
    u, v = _coordinates(batch, bank)
    radius = (u.square() + v.square()).sqrt()
    half = log_uniform((batch, 1, 1), 0.015, 0.12, generator)
    return half - (radius - uniform((batch, 1, 1), 0.2, 0.7, generator)).abs()


def _pair(batch: int, bank: NoiseBank) -> Tensor:
    """Two pieces that mirror each other, a little unequal."""
    generator = bank.generator
    x, y = _grid(bank.fields.shape[-1], generator.device)
    middle = uniform((batch, 1, 1), -0.3, 0.3, generator)
    tilt = uniform((batch, 1, 1), -0.25, 0.25, generator)
    across, along = x - middle + tilt * y, y - uniform((batch, 1, 1), -0.5, 0.5, generator)
    swap = chance(batch, 0.25, generator) > 0
    across, along = torch.where(swap, along, across), torch.where(swap, across, along)
    apart = uniform((batch, 1, 1), 0.2, 0.6, generator)
    longer = uniform((batch, 1, 1), 0.8, 2.2, generator)
    uneven = 0.08 * bank.take(batch, 0.7, 1.0)
    radius = ((across.abs() - apart).square() + (along / longer).square()).sqrt()
    return apart * uniform((batch, 1, 1), 0.5, 0.95, generator) - radius + uneven


def _region(batch: int, bank: NoiseBank) -> Tensor:
    """All on one side of a wavy line, or the high ground of a smooth field."""
    generator = bank.generator
    x, y = _grid(bank.fields.shape[-1], generator.device)
    angle = uniform((batch, 1, 1), 0, 2 * math.pi, generator)
    slope = uniform((batch, 1, 1), 0.0, 1.5, generator)
    plane = (x * angle.cos() + y * angle.sin() - uniform((batch, 1, 1), -0.6, 0.6, generator)) * slope
    relief = bank.take(batch, 0.6, 1.0) * uniform((batch, 1, 1), 0.02, 0.35, generator)
    return plane + relief - uniform((batch, 1, 1), -0.2, 0.3, generator)


def _patches(batch: int, bank: NoiseBank) -> Tensor:
    """Several irregular pieces: a thresholded field inside a soft disc."""
    generator = bank.generator
    u, v = _coordinates(batch, bank)
    disc = 1.2 * (uniform((batch, 1, 1), 0.2, 1.2, generator) - (u.square() + v.square()).sqrt())
    return 0.12 * (bank.take(batch, 0.3, 0.85) - uniform((batch, 1, 1), 0.0, 1.2, generator)) + disc.clamp_max(0)


def _area(batch: int, bank: NoiseBank) -> Tensor:
    """Where lines and specks live: a disc, or the whole image."""
    generator = bank.generator
    u, v = _coordinates(batch, bank, reach=0.5, stretch=0.3)
    disc = log_uniform((batch, 1, 1), 0.25, 1.1, generator) - (u.square() + v.square()).sqrt()
    return disc + 10 * chance(batch, 0.5, generator)


def _network(batch: int, bank: NoiseBank) -> Tensor:
    """Thin winding and branching curves: the neighbourhood of a smooth field's zero lines."""
    generator = bank.generator
    half = log_uniform((batch, 1, 1), 0.007, 0.04, generator)
    swelling = (1 + 0.5 * bank.take(batch, 0.8, 1.0)).clamp(0.3, 2)
    lines = half * swelling - torch.minimum(_to_line(bank.take(batch, 0.5, 1.0)), _to_line(bank.take(batch, 0.7, 1.0)))
    return torch.minimum(lines, _area(batch, bank))


def _to_line(field: Tensor) -> Tensor:
    """Return about how far each point of smooth fields (b × r × r) is from where the field is zero."""
    down, across = torch.gradient(field, dim=(1, 2))
    slope = torch.hypot(down, across) * field.shape[-1] / 2
    return field.abs() / slope.clamp_min(1.0)


def _strands(batch: int, bank: NoiseBank) -> Tensor:
    """Parallel strands, slightly warped."""
    generator = bank.generator
    _, v = _coordinates(batch, bank)
    period = log_uniform((batch, 1, 1), 0.05, 0.5, generator)
    distance = (torch.remainder((v + 0.15 * bank.take(batch, 0.75, 1.0)) / period, 1) - 0.5).abs() * period
    return torch.minimum(uniform((batch, 1, 1), 0.08, 0.32, generator) * period - distance, _area(batch, bank))


def _specks(batch: int, bank: NoiseBank) -> Tensor:
    """Many small pieces, round to needle-like or angular, each at its own place in the cell of a lattice, some cells empty."""
    generator, device = bank.generator, bank.fields.device
    u, v = _coordinates(batch, bank, stretch=0.2)
    period = log_uniform((batch, 1, 1), 0.045, 0.5, generator)
    u, v = u / period, v / period
    column, row = u.floor(), v.floor()
    cell = (row.long() % _CELLS) * _CELLS + column.long() % _CELLS
    table = torch.rand((batch, 5, _CELLS * _CELLS), generator=generator, device=device)
    at_x, at_y, turn, size, there = (
        table.gather(2, cell.flatten(1)[:, None].expand(-1, 5, -1)).unflatten(2, cell.shape[1:]).unbind(1)
    )
    a, b = u - column - 0.5 - 0.3 * (at_x - 0.5), v - row - 0.5 - 0.3 * (at_y - 0.5)
    angle = math.pi * turn
    along, beside = a * angle.cos() + b * angle.sin(), b * angle.cos() - a * angle.sin()
    longer = uniform((batch, 1, 1), 1.0, 4.0, generator)
    beside = beside * longer
    angular = chance(batch, 0.3, generator) > 0
    radius = torch.where(angular, along.abs().maximum(beside.abs()), (along.square() + beside.square()).sqrt())
    reach = uniform((batch, 1, 1), 0.18, 0.42, generator) * (0.6 + 0.4 * size)
    signed = (reach - radius) / longer.sqrt() * period
    empty = there < uniform((batch, 1, 1), 0.0, 0.6, generator)
    return torch.minimum(torch.where(empty, -period, signed), _area(batch, bank))


@dataclass(frozen=True, kw_only=True)
class _Family:
    draw: Callable[[int, NoiseBank], Tensor]
    weight: float
    thin: bool = False


_FAMILIES = (
    _Family(draw=_blob, weight=5.0),
    _Family(draw=_polygon, weight=1.5),
    _Family(draw=_bar, weight=1.2),
    _Family(draw=_ring, weight=0.4),
    _Family(draw=_pair, weight=1.2),
    _Family(draw=_region, weight=1.5),
    _Family(draw=_patches, weight=1.6),
    _Family(draw=_network, weight=2.4, thin=True),
    _Family(draw=_strands, weight=0.4, thin=True),
    _Family(draw=_specks, weight=2.4, thin=True),
)


def draw_specks(batch: int, bank: NoiseBank) -> Tensor:
    """Return the signed fields (b × r × r) of scattered specks, for highlights and dirt that belong to no object."""
    return _specks(batch, bank)
