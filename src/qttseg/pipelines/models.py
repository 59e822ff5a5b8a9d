"""Tuned models on disk: what was trained or added, beside the name of an untouched backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from qttseg import __version__
from qttseg.errors import BackboneError
from qttseg.metadata.adapters import Adapter, adapter_of
from qttseg.pipelines.adapters import TRAINED_PARTS, add_prompt_learner, bare_copy, inject_lora
from qttseg.pipelines.backbones import PROMPT_LEARNER, Backbone
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.prompt_learning import LearnerParts
from qttseg.pipelines.segmenter import Segmenter

_FORMAT = 2
_DECODER = "decoder.safetensors"
_LEARNER = "prompt_learner.safetensors"
_ENCODER = "encoder.safetensors"
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A saved model, ready to use.

    Attributes:
        segmenter: Predicts label maps.
        classes: Class names; the index is the class id, 0 is the background.
        prompt: Kind of prompt it was tuned with.
    """

    segmenter: Segmenter
    classes: tuple[str, ...]
    prompt: str


def save_model(folder: Path, segmenter: Segmenter, *, classes: tuple[str, ...], prompt: str = "box") -> None:
    """Write what differs from the backbone into `folder`, which exists.

    `model.json` names the backbone with its fingerprint, and the adapter. As the adapter says there are
    `decoder.safetensors` with decoder and prompt encoder, `prompt_learner.safetensors` with a prompt learner, `adapter/`,
    a PEFT adapter of the image encoder that `peft.PeftModel` can load too, and `encoder.safetensors` with all of it.
    """
    from safetensors.torch import save_file

    backbone, adapter = segmenter.backbone, segmenter.backbone.adapter
    if adapter is not None and adapter.decoder:
        save_file(_weights(backbone, TRAINED_PARTS), folder / _DECODER)
    if adapter is not None and adapter.learner:
        save_file(_weights(backbone, (PROMPT_LEARNER,)), folder / _LEARNER)
    if adapter is not None and adapter.lora:
        _save_adapter(folder / "adapter", backbone)
    if adapter is not None and adapter.whole:
        encoder = {name: tensor.contiguous().cpu() for name, tensor in backbone.encoder.state_dict().items()}
        save_file(encoder, folder / _ENCODER)
    description = {
        "format": _FORMAT,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "adapter": None if adapter is None else adapter.name,
        "classes": list(classes),
        "prompt": prompt,
        "version": __version__,
    }
    (folder / "model.json").write_text(json.dumps(description, indent=1) + "\n")


def _weights(backbone: Backbone, parts: tuple[str, ...]) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor.contiguous().cpu()
        for part in parts
        for name, tensor in backbone.sam.get_submodule(part).state_dict().items()
    }


def _save_adapter(folder: Path, backbone: Backbone) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir()
    weights = get_peft_model_state_dict(backbone.encoder)
    renamed = {_PEFT_PREFIX + name: tensor.contiguous().cpu() for name, tensor in weights.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    backbone.encoder.peft_config["default"].save_pretrained(str(folder))  # type: ignore[index, union-attr]


def load_model(folder: Path, *, device: str = "cpu", backbone: str | None = None) -> TunedModel:
    """Return the model that `save_model` wrote.

    Args:
        folder: Where it lies.
        device: Where to run it.
        backbone: Load this backbone instead of the recorded name, as after its checkpoint has moved.

    Raises:
        BackboneError: `folder` holds no model, or the backbone's weights are not those it was tuned from.
    """
    description = _description(folder)
    base = load_backbone(backbone or str(description["backbone"]), device=device)
    if base.fingerprint != description["backbone_fingerprint"]:
        raise BackboneError(
            f"the model in {folder} was tuned from backbone {description['backbone']} with the weights "
            f"{description['backbone_fingerprint']}, but {base.name} has {base.fingerprint}; give the original weights"
        )
    name = description["adapter"]
    adapted = base if name is None else _adapted(folder, base, adapter_of({"adapter": str(name)}))
    adapted.sam.eval().requires_grad_(requires_grad=False)
    classes = description["classes"]
    if not isinstance(classes, list):
        raise BackboneError(f"{folder}/model.json names no list of classes")
    return TunedModel(
        segmenter=Segmenter(backbone=adapted), classes=tuple(map(str, classes)), prompt=str(description["prompt"])
    )


def _description(folder: Path) -> Mapping[str, object]:
    file = folder / "model.json"
    if not file.is_file():
        raise BackboneError(f"{folder} holds no tuned model (no model.json); give a folder that `qttseg tune` wrote")
    description = json.loads(file.read_text())
    if description.get("format") != _FORMAT:
        raise BackboneError(
            f"{file} has format {description.get('format')}; this qttseg reads {_FORMAT}: upgrade qttseg, or tune again"
        )
    return dict(description)


def _adapted(folder: Path, base: Backbone, adapter: Adapter) -> Backbone:
    """Return `base` with what lies in `folder` in its place or added to it."""
    from safetensors.torch import load_file

    adapted = bare_copy(base, adapter)
    if adapter.decoder:
        _load_weights(adapted, load_file(folder / _DECODER))
    if adapter.learner:
        weights = load_file(folder / _LEARNER)
        own = {name.removeprefix(f"{PROMPT_LEARNER}."): tensor for name, tensor in weights.items()}
        add_prompt_learner(adapted, LearnerParts.among(own))
        _load_weights(adapted, weights)
    if adapter.whole:
        adapted.encoder.load_state_dict(load_file(folder / _ENCODER))
    if adapter.lora:
        _load_adapter(folder / "adapter", adapted)
    return adapted


def _load_weights(adapted: Backbone, weights: Mapping[str, Tensor]) -> None:
    own = adapted.sam.state_dict()
    for name, tensor in weights.items():
        own[name].copy_(tensor)


def _load_adapter(folder: Path, adapted: Backbone) -> None:
    from peft import LoraConfig, set_peft_model_state_dict
    from safetensors.torch import load_file

    inject_lora(adapted.encoder, LoraConfig.from_pretrained(str(folder)))
    weights = load_file(folder / "adapter_model.safetensors")
    set_peft_model_state_dict(
        adapted.encoder, {name.removeprefix(_PEFT_PREFIX): tensor for name, tensor in weights.items()}
    )
    adapted.encoder.to(adapted.device)
