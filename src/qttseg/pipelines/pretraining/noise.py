"""Random numbers in the shapes that drawing wants, all from one generator, on its device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

_FIELDS = 16
_ROUGHEST, _SMOOTHEST = 0.6, 2.8


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Return numbers spread evenly over [low, high)."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def log_uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Return numbers whose logarithms are spread evenly over [log low, log high)."""
    return uniform(shape, math.log(low), math.log(high), generator).exp()


def chance(batch: int, probability: float, generator: Generator) -> Tensor:
    """Return b × 1 × 1 ones with this probability, zeros else."""
    return (torch.rand((batch, 1, 1), generator=generator, device=generator.device) < probability).float()


@dataclass(frozen=True, kw_only=True)
class NoiseBank:
    """Standardised noise fields, from rough to smooth, of which each use takes a shifted and mirrored part.

    A Fourier transform for each field of each object would cost more than a training step; sixteen of them serve a
    batch, and shifts, mirrorings and mixtures make thousands.

    Attributes:
        fields: k × r × r, mean 0 and variance 1, periodic; the amplitude falls as frequency to a power that grows
            from 0.6 (rough) to 2.8 (smooth).
        generator: Draws which, and how it is seen.
    """

    fields: Tensor
    generator: Generator

    @classmethod
    def draw(cls, resolution: int, generator: Generator) -> Self:
        """Draw a bank of fields of `resolution` pixels a side."""
        device = generator.device
        rows = torch.fft.fftfreq(resolution, device=device)[:, None]
        columns = torch.fft.rfftfreq(resolution, device=device)[None, :]
        frequency = (rows.square() + columns.square()).sqrt().clamp_min(1 / resolution)
        power = torch.linspace(_ROUGHEST, _SMOOTHEST, _FIELDS, device=device).view(-1, 1, 1)
        shape = (_FIELDS, resolution, resolution // 2 + 1, 2)
        spectrum = torch.view_as_complex(torch.randn(shape, generator=generator, device=device)) * frequency**-power
        spectrum[..., 0, 0] = 0
        fields: Tensor = torch.fft.irfft2(spectrum, s=(resolution, resolution))
        return cls(fields=fields / fields.std(dim=(1, 2), keepdim=True).clamp_min(1e-6), generator=generator)

    def take(self, count: int, low: float, high: float) -> Tensor:
        """Return `count` fields (count × r × r) of smoothness in [low, high] on a scale from 0 (rough) to 1."""
        resolution, generator, device = self.fields.shape[-1], self.generator, self.fields.device
        which = (uniform((count,), low, high, generator) * (_FIELDS - 1)).round().long().clamp(0, _FIELDS - 1)
        line = torch.arange(resolution, device=device)
        start, sign = self._shifts(count, resolution)
        rows, columns = ((sign * line + start) % resolution).unbind(0)
        return self.fields[which[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _shifts(self, count: int, resolution: int) -> tuple[Tensor, Tensor]:
        device = self.fields.device
        start = torch.randint(resolution, (2, count, 1), generator=self.generator, device=device)
        sign = torch.randint(2, (2, count, 1), generator=self.generator, device=device) * 2 - 1
        return start, sign
