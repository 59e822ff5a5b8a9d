"""Endless training images, drawn in batches on the training device: shapes on spectral noise, seen by a camera.

Nothing here imitates a domain: the procedural datasets do, and a backbone must not have seen what it is judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from qttseg.pipelines.pixels import PIXEL_MEAN
from qttseg.pipelines.pretraining.noise import NoiseBank, chance, log_uniform, uniform
from qttseg.pipelines.pretraining.shapes import Shapes, draw_shapes, draw_specks

_OWN, _TINT, _TEXTURE = 0.3, 0.7, 0.78
"""Where each look of an object ends on a scale of chance: a surface of its own, a tint, a texture; the rest is a rim."""


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
    bank = NoiseBank.draw(resolution, generator)
    canvas = _texture(batch, bank)
    layers = [draw_shapes(batch, bank) for _ in range(objects)]
    for shapes in layers:
        canvas = _paint(canvas, shapes, bank)
    canvas = _dirt(canvas, bank)
    canvas, field_of_view = _vignette(canvas, generator)
    images = _photograph(canvas, generator)
    images, inside = _pad(images, generator)
    return Drawing(images=images, masks=_visible(layers) & (field_of_view & inside)[:, None])


def _visible(layers: Sequence[Shapes]) -> Tensor:
    """Return the visible part of each layer (b × k × r × r booleans), later ones on top."""
    masks: list[Tensor] = []
    for shapes in layers:
        masks = [mask & (shapes.signed <= 0) for mask in masks] + [shapes.signed > 0]
    return torch.stack(masks, dim=1)


def _colour(batch: int, generator: Generator) -> Tensor:
    """Return a colour (b × 3 × 1 × 1) in [0, 1], more often pale than vivid."""
    light = uniform((batch, 1, 1, 1), 0.05, 0.95, generator)
    return (light + uniform((batch, 3, 1, 1), -0.3, 0.3, generator)).clamp(0.02, 0.98)


def _texture(batch: int, bank: NoiseBank) -> Tensor:
    """Return textured surfaces (b × 3 × r × r): noise in brightness, noise along a colour, sometimes a grating."""
    generator, resolution = bank.generator, bank.fields.shape[-1]
    light = bank.take(batch, 0.0, 0.9) * uniform((batch, 1, 1), 0.0, 0.4, generator).square()
    line = torch.linspace(-1, 1, resolution, device=generator.device)
    pace = uniform((batch, 2, 1), -50, 50, generator)
    stripes = torch.sin(pace[:, :1] * line + pace[:, 1:] * line[:, None])
    light = light + stripes * uniform((batch, 1, 1), 0.0, 0.2, generator) * chance(batch, 0.2, generator)
    hue = uniform((batch, 3, 1, 1), -0.1, 0.1, generator)
    return _colour(batch, generator) + light[:, None] + hue * bank.take(batch, 0.3, 1.0)[:, None]


def _paint(canvas: Tensor, shapes: Shapes, bank: NoiseBank) -> Tensor:
    """Return the canvas with one more object on it: a surface of its own, a tint, a texture, or only a rim."""
    batch, generator = len(canvas), bank.generator
    softness = log_uniform((batch, 1, 1), 0.002, 0.04, generator)
    softness = torch.where(shapes.thin[:, None, None], softness.clamp_max(0.006), softness)
    alpha = torch.sigmoid(shapes.signed / softness)
    kind = torch.rand((batch, 1, 1), generator=generator, device=generator.device)
    kind = torch.where(shapes.thin[:, None, None], kind * _TINT, kind)
    alpha = torch.where(kind > _TEXTURE, _rim(shapes.signed, bank), alpha)[:, None]
    surface = _surface(canvas, kind[:, None], bank)
    return canvas + alpha * (surface - canvas)


def _rim(signed: Tensor, bank: NoiseBank) -> Tensor:
    """Return opacities (b × r × r) that show nothing of an object but its outline, on some images with gaps."""
    batch, generator = len(signed), bank.generator
    half = log_uniform((batch, 1, 1), 0.01, 0.05, generator)
    gaps = torch.sigmoid(4 * (bank.take(batch, 0.7, 1.0) + uniform((batch, 1, 1), 0.0, 2.5, generator)))
    return torch.exp(-((signed / half).square())) * gaps


def _surface(canvas: Tensor, kind: Tensor, bank: NoiseBank) -> Tensor:
    """Return what an object looks like (b × 3 × r × r), as `kind` (b × 1 × 1 × 1 in [0, 1)) says."""
    batch, generator = len(canvas), bank.generator
    own = _texture(batch, bank)
    sign = chance(batch, 0.5, generator)[:, None] * 2 - 1
    contrast = sign * log_uniform((batch, 1, 1, 1), 0.1, 0.7, generator)
    tinted = canvas + contrast * uniform((batch, 3, 1, 1), 0.5, 1.0, generator)
    textured = canvas.mean(dim=(2, 3), keepdim=True) + own - own.mean(dim=(2, 3), keepdim=True)
    return torch.where(kind < _OWN, own, torch.where((kind < _TINT) | (kind > _TEXTURE), tinted, textured))


def _dirt(canvas: Tensor, bank: NoiseBank) -> Tensor:
    """Return the canvas with highlights or dirt on some images, which belong to no object."""
    batch, generator = len(canvas), bank.generator
    dirty = (chance(batch, 0.2, generator) > 0).flatten().nonzero().flatten()
    if len(dirty):
        alpha = torch.sigmoid(draw_specks(len(dirty), bank) / 0.006)[:, None]
        canvas = canvas.index_add(0, dirty, alpha * (_colour(len(dirty), generator) * 1.1 - canvas[dirty]))
    return canvas


def _vignette(canvas: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the canvas, on some images black, white or dim outside a round window, and where the window is."""
    batch, _, resolution, _ = canvas.shape
    line = torch.linspace(-1, 1, resolution, device=generator.device)
    power = uniform((batch, 1, 1), 2.0, 8.0, generator)
    wide, high = (uniform((batch, 1, 1), 0.75, 1.05, generator) for _ in range(2))
    window = (line.abs()[None, None] / wide) ** power + (line.abs()[None, :, None] / high) ** power < 1
    window = window | (chance(batch, 0.7, generator) > 0)
    shade = (chance(batch, 0.1, generator) + uniform((batch, 1, 1), 0.0, 0.1, generator))[:, None]
    return torch.where(window[:, None], canvas, shade), window


def _photograph(canvas: Tensor, generator: Generator) -> Tensor:
    """Return what a camera makes of it, 0 to 255: shading, blur, speckle, noise, grey, gamma."""
    batch, _, resolution, _ = canvas.shape
    shading = F.interpolate(uniform((batch, 1, 3, 3), 0.6, 1.3, generator), resolution, mode="bilinear")
    canvas = torch.lerp(canvas, canvas * shading, chance(batch, 0.5, generator)[:, None])
    blurred = (chance(batch, 0.25, generator) > 0).flatten()
    if bool(blurred.any()):
        reach = F.pad(canvas[blurred], (2, 2, 2, 2), mode="reflect")
        canvas = canvas.clone()
        canvas[blurred] = F.avg_pool2d(reach, 5, stride=1)
    noise = torch.randn((batch, 1, resolution, resolution), generator=generator, device=generator.device)
    speckle = 1 + noise * uniform((batch, 1, 1, 1), 0.05, 0.4, generator) * chance(batch, 0.2, generator)[:, None]
    canvas = canvas * speckle + noise * uniform((batch, 3, 1, 1), -0.06, 0.06, generator)
    paleness = torch.maximum(uniform((batch, 1, 1), 0.0, 0.9, generator), chance(batch, 0.4, generator))[:, None]
    canvas = torch.lerp(canvas, canvas.mean(dim=1, keepdim=True), paleness)
    return canvas.clamp(0, 1) ** uniform((batch, 1, 1, 1), -0.5, 0.5, generator).exp() * 255


def _pad(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the images with the padding of a square at the bottom or the right of some, and where they are not."""
    batch, _, resolution, _ = images.shape
    line = torch.arange(resolution, device=generator.device)
    filled = (uniform((batch, 1, 1), 0.55, 1.0, generator) * resolution).long()
    lying = line[None, :, None] < filled
    standing = line[None, None, :] < filled
    inside = torch.where(chance(batch, 0.7, generator) > 0, lying, standing) | (chance(batch, 0.4, generator) > 0)
    mean = torch.tensor(PIXEL_MEAN, device=generator.device).view(3, 1, 1)
    return torch.where(inside[:, None], images, mean), inside
