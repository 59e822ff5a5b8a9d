"""How pixels reach a backbone, official or our own: SAM's mean and spread of colours."""

from __future__ import annotations

import torch
from torch import Tensor

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def normalise(images: Tensor, device: torch.device) -> Tensor:
    """Return b × 3 × r × r images of 0 to 255 as an encoder wants them, on `device`."""
    mean = torch.tensor(PIXEL_MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=device).view(3, 1, 1)
    return (images.to(device).float() - mean) / std
