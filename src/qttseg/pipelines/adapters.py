"""What is trained of a backbone: its decoder, LoRA on its encoder or all of that, modules hung into it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qttseg.metadata.adapters import Adapter, adapter_of
from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.backbones import POINT_MATCHER, PROMPT_LEARNER, Backbone
from qttseg.pipelines.point_matching import PointMatcher
from qttseg.pipelines.prompt_learning import LearnerParts, PromptLearner

if TYPE_CHECKING:
    from peft import LoraConfig

TRAINED_PARTS = ("prompt_encoder", "mask_decoder")


def adapt(backbone: Backbone, configuration: Configuration, *, seed: int) -> Backbone:
    """Return a trainable copy of `backbone`; the encoder's frozen tensors are shared with it, never changed.

    LoRA has alpha = 2 · rank, as in the published code, on the backbone's `lora_targets` of the encoder: query, key and
    value, their projection, and both layers of the MLP.

    Args:
        backbone: What to adapt.
        configuration: Its adapter (`metadata.adapters`), and with it `lora_rank`, `lora_dropout` and what
            `prompt_learning.LearnerParts` reads.
        seed: Draws the first weights of what is added.
    """
    adapter = adapter_of(configuration)
    adapted = bare_copy(backbone, adapter)
    adapted.encoder.requires_grad_(requires_grad=adapter.whole)
    for part in TRAINED_PARTS:
        adapted.sam.get_submodule(part).requires_grad_(requires_grad=adapter.decoder)
    if adapter.lora:
        rank, dropout = int(configuration["lora_rank"]), float(configuration["lora_dropout"])
        inject_lora(adapted.encoder, lora_config(backbone, rank=rank, dropout=dropout), seed=seed)
    if adapter.learner:
        add_prompt_learner(adapted, LearnerParts.of(configuration), seed=seed)
    if adapter.matcher:
        with _drawn(seed):
            adapted.sam.add_module(POINT_MATCHER, PointMatcher(backbone.width).to(backbone.device))
    return adapted


def bare_copy(backbone: Backbone, adapter: Adapter) -> Backbone:
    """Return a copy of `backbone` that `adapter` may change, without what it adds; it shares what stays frozen."""
    own = separate_copy(backbone) if adapter.whole else backbone.trainable_copy()
    return replace(own, adapter=adapter, cache=None if adapter.trains_encoder else own.cache)


def add_prompt_learner(backbone: Backbone, parts: LearnerParts, *, seed: int = 0) -> None:
    """Hang a prompt learner into the model of `backbone`, in place, its weights drawn from `seed`."""
    with _drawn(seed):
        learner = PromptLearner(backbone.width, parts)
    backbone.sam.add_module(PROMPT_LEARNER, learner.to(backbone.device))


@contextmanager
def _drawn(seed: int) -> Iterator[None]:
    """Draw weights from `seed`, and leave torch's own stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def separate_copy(backbone: Backbone) -> Backbone:
    """Return a copy of `backbone` that shares nothing with it, so that its encoder may change."""
    return replace(backbone, sam=deepcopy(backbone.sam), cache=None)


def lora_config(backbone: Backbone, *, rank: int, dropout: float) -> LoraConfig:
    """Return peft's description of the LoRA that fits `backbone`."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=list(backbone.lora_targets))


def inject_lora(encoder: nn.Module, config: LoraConfig, *, seed: int = 0) -> None:
    """Put LoRA layers into `encoder`, in place, their weights drawn from `seed`."""
    with warnings.catch_warnings(), _drawn(seed):
        warnings.simplefilter("ignore")  # peft remarks on models without a transformers config
        from peft import inject_adapter_in_model

        inject_adapter_in_model(config, encoder)


def trainable_tensors(backbone: Backbone) -> dict[str, nn.Parameter]:
    """Return what an optimiser should move, by its name in the model."""
    return {name: parameter for name, parameter in backbone.sam.named_parameters() if parameter.requires_grad}


def copy_into(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` over the trainable ones of the same names."""
    with torch.no_grad():
        for name, parameter in trainable_tensors(backbone).items():
            parameter.copy_(tensors[name])
