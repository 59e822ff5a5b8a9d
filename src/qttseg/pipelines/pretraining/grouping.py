"""An auxiliary task that teaches the image encoder which pixels belong together, without the way through a decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

_TEMPERATURE = 0.5
_FINE = 4


class GroupingHead(nn.Module):
    """Gives each cell of the mask grid a vector, and asks that vectors of one object be alike and of two not.

    A supervised contrastive loss (Khosla et al. 2020) over cells of one image. Only pre-training knows it.
    """

    def __init__(self, width: int, *, channels: int = 16, samples: int = 96) -> None:
        super().__init__()
        self.project = nn.Linear(width, channels * _FINE * _FINE)
        self._samples = samples

    def forward(self, embeddings: Tensor, masks: Tensor, generator: Generator) -> Tensor:
        """Return the loss of embeddings (b × c × g × g) given the masks of k objects (b × k × r × r booleans)."""
        vectors = self.project(embeddings.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        vectors = F.pixel_shuffle(vectors, _FINE)
        stride = masks.shape[-1] // vectors.shape[-1]
        names = torch.arange(1, masks.shape[1] + 1, device=masks.device).view(1, -1, 1, 1)
        labels = (masks[..., stride // 2 :: stride, stride // 2 :: stride] * names).amax(dim=1).flatten(1)
        chosen = self._choose(labels, generator)
        labels = labels.gather(1, chosen)
        picked = vectors.flatten(2).gather(2, chosen[:, None].expand(-1, vectors.shape[1], -1))
        picked = F.normalize(picked, dim=1)
        alike = picked.transpose(1, 2) @ picked / _TEMPERATURE
        itself = torch.eye(self._samples, dtype=torch.bool, device=alike.device)
        alike = alike.masked_fill(itself, float("-inf"))
        same = (labels[:, :, None] == labels[:, None]) & ~itself
        likely = F.log_softmax(alike, dim=2).masked_fill(~same, 0.0)
        count = same.sum(dim=2)
        return -(likely.sum(dim=2) / count.clamp_min(1))[count > 0].mean()

    def _choose(self, labels: Tensor, generator: Generator) -> Tensor:
        """Return the indices of cells to compare (b × samples), small objects as likely as large ones."""
        share = F.one_hot(labels).float().mean(dim=1)
        weight = 1 / share.gather(1, labels).clamp_min(1e-3)
        return torch.multinomial(weight, self._samples, replacement=True, generator=generator)
