"""The point matching module: in training alone, what the decoder sees at an outline must tell where it should be.

arXiv 2403.09199, section 4.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_UNIT = 100.0
"""Distances are taken in hundredths of the square's side."""


class PointMatcher(nn.Module):
    """Moves points of a predicted outline towards the true one by the decoder's features at them.

    A transformer's encoder takes features and places of all points in, its decoder asks for each place where to go. At
    SAM's width of 256 it has 1.2 million parameters.

    Args:
        width: Channels of image embeddings; the decoder's upscaled features have an eighth of them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.read = nn.Linear(width // 8 + 2, inner)
        self.place = nn.Linear(2, inner)
        self.transformer = nn.Transformer(
            inner,
            nhead=math.gcd(8, inner),
            num_encoder_layers=3,
            num_decoder_layers=2,
            dim_feedforward=4 * inner,
            dropout=0.0,
            batch_first=True,
        )
        self.offset = nn.Sequential(nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, 2))

    def forward(self, upscaled: Tensor, points: Tensor) -> Tensor:
        """Return where the points should move to, p × n × 2.

        Args:
            upscaled: p × c' × h × w features of the decoder.
            points: p × n × 2, x and y as shares of the square's side.
        """
        places = 2 * points - 1
        features = F.grid_sample(upscaled.float(), places[:, :, None], mode="bilinear", align_corners=False)[..., 0]
        memory = self.read(torch.cat([features.transpose(1, 2), places], dim=2))
        moves = self.offset(self.transformer(memory, self.place(places)))
        return points + moves / _UNIT  # type: ignore[no-any-return]


def matching_loss(found: Tensor, true: Tensor) -> Tensor:
    """Return the smooth L1 distance of closed outlines (p), in hundredths of the side; lower is better.

    Of all the ways to begin an outline elsewhere and to run along it, the nearest one counts.

    Args:
        found: p × n × 2, x and y as shares of the side.
        true: p × n × 2.
    """
    count = found.shape[-2]
    step = torch.arange(count, device=found.device)
    shifted = (step[:, None] + step) % count
    ways = torch.cat([shifted, shifted.flip(1)])
    gap = _UNIT * (found[:, :, None] - true[:, None])
    apart = F.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="none").sum(dim=-1)
    return apart[:, step, ways].mean(dim=-1).amin(dim=-1)
