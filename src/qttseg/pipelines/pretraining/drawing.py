"""Endless training images, drawn in batches on the training device: shapes, fields and curves on spectral noise.

Nothing here imitates a domain: the procedural datasets do, and a backbone must not have seen what it is judged on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A batch of drawn images.

    Attributes:
        images: b × 3 × r × r, values 0 to 255.
        masks: b × k × r × r booleans: the visible part of each of k objects, later ones on top.
    """

    images: Tensor
    masks: Tensor


def draw(batch: int, resolution: int, objects: int, generator: Generator) -> Drawing:
    """Draw `batch` images of `objects` objects each, on the generator's device."""
    canvas = _texture(batch, resolution, generator)
    masks: list[Tensor] = []
    for _ in range(objects):
        signed = _shape(batch, resolution, generator)
        softness = _uniform((batch, 1, 1), 0.004, 0.03, generator)
        alpha = torch.sigmoid(signed / softness)[:, None]
        canvas = canvas + alpha * (_appearance(canvas, generator) - canvas)
        masks = [mask & (signed <= 0) for mask in masks] + [signed > 0]
    return Drawing(images=_photograph(canvas, generator), masks=torch.stack(masks, dim=1))


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def _chance(batch: int, probability: float, generator: Generator) -> Tensor:
    """Return b × 1 × 1 × 1 ones with this probability, zeros else."""
    return (torch.rand((batch, 1, 1, 1), generator=generator, device=generator.device) < probability).float()


def _field(batch: int, channels: int, resolution: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return standardised noise fields (b × c × r × r) whose amplitude falls as frequency to a power in [low, high]."""
    device = generator.device
    rows = torch.fft.fftfreq(resolution, device=device)[:, None]
    columns = torch.fft.rfftfreq(resolution, device=device)[None, :]
    frequency = (rows.square() + columns.square()).sqrt().clamp_min(1 / resolution)
    power = _uniform((batch, 1, 1, 1), low, high, generator)
    phase = torch.randn((batch, channels, resolution, resolution // 2 + 1, 2), generator=generator, device=device)
    spectrum = torch.view_as_complex(phase) * frequency**-power
    spectrum[..., 0, 0] = 0
    field: Tensor = torch.fft.irfft2(spectrum, s=(resolution, resolution))
    return field / field.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)


def _colour(batch: int, generator: Generator) -> Tensor:
    """Return a colour (b × 3 × 1 × 1) in [0, 1]."""
    return _uniform((batch, 3, 1, 1), 0.05, 0.95, generator)


def _texture(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Return textured surfaces (b × 3 × r × r): noise in colour, noise in brightness, sometimes a grating."""
    colour = _field(batch, 3, resolution, 0.8, 2.2, generator) * _uniform((batch, 1, 1, 1), 0.0, 0.12, generator)
    light = _field(batch, 1, resolution, 0.5, 2.5, generator) * _uniform((batch, 1, 1, 1), 0.0, 0.18, generator)
    u, _ = _coordinates(batch, resolution, generator)
    stripes = torch.sin(u * _uniform((batch, 1, 1), 15, 90, generator))[:, None]
    grating = stripes * _uniform((batch, 1, 1, 1), 0.0, 0.2, generator) * _chance(batch, 0.2, generator)
    return _colour(batch, generator) + colour + light + grating


def _appearance(canvas: Tensor, generator: Generator) -> Tensor:
    """Return the surface of an object: as unlike what lies below it as a random contrast says."""
    batch, _, resolution, _ = canvas.shape
    own = _texture(batch, resolution, generator)
    shifted = canvas + _uniform((batch, 3, 1, 1), -0.35, 0.35, generator)
    texture_only = canvas.mean(dim=(2, 3), keepdim=True) + own - own.mean(dim=(2, 3), keepdim=True)
    kind = torch.rand((batch, 1, 1, 1), generator=generator, device=generator.device)
    return torch.where(kind < 0.55, own, torch.where(kind < 0.85, shifted, texture_only))


def _coordinates(batch: int, resolution: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return coordinates (b × r × r each, about -1 to 1) about a random centre, turned and stretched at random."""
    device = generator.device
    line = torch.linspace(-1, 1, resolution, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    x = x - _uniform((batch, 1, 1), -0.7, 0.7, generator)
    y = y - _uniform((batch, 1, 1), -0.7, 0.7, generator)
    angle = _uniform((batch, 1, 1), 0, 2 * math.pi, generator)
    stretch = _uniform((batch, 1, 1), -0.6, 0.6, generator).exp()
    return (x * angle.cos() + y * angle.sin()) * stretch, (y * angle.cos() - x * angle.sin()) / stretch


def _shape(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Return signed fields (b × r × r), positive inside, each image with a shape family of its own."""
    families = torch.randint(len(_FAMILIES), (batch,), generator=generator, device=generator.device)
    shape = torch.empty((batch, resolution, resolution), device=generator.device)
    for index, family in enumerate(_FAMILIES):
        chosen = families == index
        count = int(chosen.sum())
        if count:
            shape[chosen] = family(count, resolution, generator)
    return shape


def _star(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Star-shaped outlines with random harmonics: from near-ellipses to splashes."""
    u, v = _coordinates(batch, resolution, generator)
    angle, radius = torch.atan2(v, u), (u.square() + v.square()).sqrt()
    outline = _uniform((batch, 1, 1), 0.12, 0.55, generator)
    rough = _uniform((batch, 1, 1), 0.0, 0.35, generator)
    for harmonic in range(2, 8):
        phase = _uniform((batch, 1, 1), 0, 2 * math.pi, generator)
        outline = outline * (1 + rough * torch.cos(harmonic * angle + phase) / harmonic**0.7)
    return outline - radius


def _polygon(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Convex polygons as intersections of half-planes."""
    u, v = _coordinates(batch, resolution, generator)
    inside = torch.full_like(u, 10.0)
    for side in range(6):
        angle = _uniform((batch, 1, 1), -0.5, 0.5, generator) + side * math.pi / 3
        offset = _uniform((batch, 1, 1), 0.12, 0.6, generator)
        inside = torch.minimum(inside, offset - u * angle.cos() - v * angle.sin())
    return inside


def _bar(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Bent bars, thick to hair-thin."""
    u, v = _coordinates(batch, resolution, generator)
    bend = _uniform((batch, 1, 1), -0.5, 0.5, generator)
    half = _uniform((batch, 1, 1), math.log(0.015), math.log(0.15), generator).exp()
    return torch.minimum(half - (v - bend * u.square()).abs(), _uniform((batch, 1, 1), 0.3, 1.0, generator) - u.abs())


def _ring(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Rings and crescents' kin."""
    u, v = _coordinates(batch, resolution, generator)
    radius = (u.square() + v.square()).sqrt()
    half = _uniform((batch, 1, 1), 0.02, 0.12, generator)
    return half - (radius - _uniform((batch, 1, 1), 0.2, 0.6, generator)).abs()


def _patches(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Several irregular pieces: a thresholded field inside a soft disc."""
    u, v = _coordinates(batch, resolution, generator)
    field = _field(batch, 1, resolution, 1.4, 2.4, generator)[:, 0]
    disc = 1.2 * (_uniform((batch, 1, 1), 0.3, 0.9, generator) - (u.square() + v.square()).sqrt())
    return 0.12 * (field - _uniform((batch, 1, 1), 0.2, 1.0, generator)) + disc.clamp_max(0)


def _network(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Thin winding curves: the neighbourhood of a smooth field's zero lines, inside a disc."""
    u, v = _coordinates(batch, resolution, generator)
    field = _field(batch, 1, resolution, 1.9, 2.6, generator)[:, 0]
    down, across = torch.gradient(field, dim=(1, 2))
    slope = torch.hypot(down, across) * resolution / 2
    half = _uniform((batch, 1, 1), math.log(0.01), math.log(0.05), generator).exp()
    lines = half - field.abs() / slope.clamp_min(1.0)
    return torch.minimum(lines, _uniform((batch, 1, 1), 0.3, 1.2, generator) - (u.square() + v.square()).sqrt())


def _strands(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Parallel strands, slightly warped, inside a disc."""
    u, v = _coordinates(batch, resolution, generator)
    period = _uniform((batch, 1, 1), 0.1, 0.5, generator)
    warp = 0.15 * _field(batch, 1, resolution, 2.2, 2.8, generator)[:, 0]
    distance = (torch.remainder((v + warp) / period, 1) - 0.5).abs() * period
    disc = _uniform((batch, 1, 1), 0.25, 1.0, generator) - (u.square() + v.square()).sqrt()
    return torch.minimum(_uniform((batch, 1, 1), 0.06, 0.3, generator) * period - distance, disc)


def _spots(batch: int, resolution: int, generator: Generator) -> Tensor:
    """Many small discs on a jittered lattice inside a disc."""
    u, v = _coordinates(batch, resolution, generator)
    period = _uniform((batch, 1, 1), 0.12, 0.4, generator)
    jitter = 0.2 * period * _field(batch, 1, resolution, 1.8, 2.4, generator)[:, 0]
    a = torch.remainder((u + jitter) / period, 1) - 0.5
    b = torch.remainder((v - jitter) / period, 1) - 0.5
    disc = _uniform((batch, 1, 1), 0.25, 1.0, generator) - (u.square() + v.square()).sqrt()
    return torch.minimum(
        (_uniform((batch, 1, 1), 0.15, 0.42, generator) - (a.square() + b.square()).sqrt()) * period, disc
    )


_FAMILIES: tuple[Callable[[int, int, Generator], Tensor], ...] = (
    _star, _star, _star, _polygon, _bar, _ring, _patches, _patches, _network, _strands, _spots,
)  # fmt: skip


def _photograph(canvas: Tensor, generator: Generator) -> Tensor:
    """Return what a camera makes of it, 0 to 255: shading, blur, speckle, noise, grey, gamma."""
    batch, _, resolution, _ = canvas.shape
    shading = F.interpolate(_uniform((batch, 1, 3, 3), 0.6, 1.3, generator), resolution, mode="bicubic")
    canvas = torch.lerp(canvas, canvas * shading, _chance(batch, 0.5, generator))
    blurred = F.avg_pool2d(F.pad(canvas, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    canvas = torch.lerp(canvas, blurred, _chance(batch, 0.3, generator))
    noise = torch.randn(canvas.shape, generator=generator, device=generator.device)
    speckle = 1 + noise[:, :1] * _uniform((batch, 1, 1, 1), 0.1, 0.5, generator) * _chance(batch, 0.15, generator)
    canvas = canvas * speckle + noise * _uniform((batch, 1, 1, 1), 0.0, 0.06, generator)
    paleness = _uniform((batch, 1, 1, 1), 0.0, 0.9, generator).maximum(_chance(batch, 0.35, generator))
    canvas = torch.lerp(canvas, canvas.mean(dim=1, keepdim=True), paleness)
    return canvas.clamp(0, 1) ** _uniform((batch, 1, 1, 1), -0.4, 0.4, generator).exp() * 255
