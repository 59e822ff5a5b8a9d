"""What is trained: the decoder and prompt encoder always, LoRA on the encoder or all of it where the configuration says so."""

from __future__ import annotations

import warnings
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.backbones import Backbone

if TYPE_CHECKING:
    from peft import LoraConfig

TRAINED_PARTS = ("prompt_encoder", "mask_decoder")


def adapt(backbone: Backbone, configuration: Configuration, *, seed: int) -> Backbone:
    """Return a trainable copy of `backbone`; the encoder's frozen tensors are shared with it, never changed.

    LoRA has alpha = 2 · rank, as in the published code, on the backbone's `lora_targets` of the encoder: query, key and
    value, their projection, and both layers of the MLP.

    Args:
        backbone: What to adapt.
        configuration: `lora`, `lora_rank`, `lora_dropout` and `full` are read; with `full`, which the paper's space
            has not, the whole encoder is trained.
        seed: Draws LoRA's initial weights.
    """
    full = bool(configuration.get("full"))
    adapted = separate_copy(backbone) if full else backbone.trainable_copy()
    adapted.encoder.requires_grad_(requires_grad=full)
    for part in TRAINED_PARTS:
        adapted.sam.get_submodule(part).requires_grad_(requires_grad=True)
    if configuration["lora"]:
        rank, dropout = int(configuration["lora_rank"]), float(configuration["lora_dropout"])
        inject_lora(adapted.encoder, lora_config(backbone, rank=rank, dropout=dropout), seed=seed)
        return replace(adapted, cache=None)
    return adapted


def separate_copy(backbone: Backbone) -> Backbone:
    """Return a copy of `backbone` that shares nothing with it, so that its encoder may change."""
    return replace(backbone, sam=deepcopy(backbone.sam), cache=None)


def lora_config(backbone: Backbone, *, rank: int, dropout: float) -> LoraConfig:
    """Return peft's description of the LoRA that fits `backbone`."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=list(backbone.lora_targets))


def inject_lora(encoder: nn.Module, config: LoraConfig, *, seed: int = 0) -> None:
    """Put LoRA layers into `encoder`, in place, their weights drawn from `seed`."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # peft remarks on models without a transformers config
        torch.manual_seed(seed)
        from peft import inject_adapter_in_model

        inject_adapter_in_model(config, encoder)


def trainable_tensors(backbone: Backbone) -> dict[str, nn.Parameter]:
    """Return what an optimiser should move, by its name in the model."""
    return {name: parameter for name, parameter in backbone.sam.named_parameters() if parameter.requires_grad}


def trains_encoder(backbone: Backbone) -> bool:
    """Return whether the encoder's embeddings change while training."""
    return any(parameter.requires_grad for parameter in backbone.encoder.parameters())


def copy_into(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` over the trainable ones of the same names."""
    with torch.no_grad():
        for name, parameter in trainable_tensors(backbone).items():
            parameter.copy_(tensors[name])
