"""How a training step is carried out: in how many pieces, with what kept for the backward pass, compiled or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import MethodType

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from qttseg.errors import ConfigurationError
from qttseg.pipelines.backbones import Backbone


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What decides the speed and memory of a step, and not what it computes.

    Attributes:
        micro_batch: Most images that go through the model at once; the gradients of a batch's pieces are added up.
            None for the whole batch.
        checkpointing: Keep only what enters each encoder block and compute the rest again on the way back: about a
            third more time for a fraction of the memory.
        compiled: Let torch.compile fuse the encoder; the first step then takes a minute or more.
    """

    micro_batch: int | None = None
    checkpointing: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        """Reject a micro-batch without images.

        Raises:
            ConfigurationError: it is not positive.
        """
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigurationError(f"a micro-batch of {self.micro_batch} images; give at least 1")

    def smaller(self, batch: int) -> Execution | None:
        """Return the next way that needs less memory, or None: first checkpointing, then halves of the batch."""
        if not self.checkpointing:
            return replace(self, checkpointing=True)
        now = min(self.micro_batch or batch, batch)
        return replace(self, micro_batch=now // 2) if now > 1 else None

    def prepare(self, backbone: Backbone) -> None:
        """Make the encoder of `backbone`, a copy to be trained, work this way."""
        for block in backbone.blocks:
            _checkpoint_block(block, wanted=self.checkpointing)
        if self.compiled:
            backbone.encoder.compile()


def _checkpoint_block(block: nn.Module, *, wanted: bool) -> None:
    """Make a block forget what happens inside it until the way back, or remember again."""
    block.__dict__.pop("forward", None)
    if wanted:
        plain = MethodType(type(block).forward, block)
        block.forward = partial(checkpoint, plain, use_reentrant=False)


WHOLE_BATCHES = Execution()
"""Every batch at once, everything kept for the way back."""

OUT_OF_MEMORY = (torch.cuda.OutOfMemoryError, MemoryError)
