"""Tuned models on disk: a PEFT adapter and the decoder's weights beside the name of an untouched backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qttseg import __version__
from qttseg.errors import BackboneError
from qttseg.pipelines.adapters import TRAINED_PARTS, inject_lora, separate_copy
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.segmenter import Segmenter

_FORMAT = 1
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

    `model.json` names the backbone with its fingerprint; `decoder.safetensors` holds decoder and prompt encoder;
    `adapter/` is a PEFT adapter of the image encoder, where there is one, that `peft.PeftModel` can load too;
    `encoder.safetensors` is the image encoder, where all of it was trained.
    """
    from safetensors.torch import save_file

    backbone = segmenter.backbone
    weights = {
        f"{part}.{name}": tensor.contiguous().cpu()
        for part in TRAINED_PARTS
        for name, tensor in backbone.sam.get_submodule(part).state_dict().items()
    }
    save_file(weights, folder / "decoder.safetensors")
    configs = getattr(backbone.encoder, "peft_config", None)
    if configs:
        _save_adapter(folder / "adapter", backbone)
    elif backbone.cache is None:
        encoder = {name: tensor.contiguous().cpu() for name, tensor in backbone.encoder.state_dict().items()}
        save_file(encoder, folder / _ENCODER)
    description = {
        "format": _FORMAT,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "classes": list(classes),
        "prompt": prompt,
        "version": __version__,
    }
    (folder / "model.json").write_text(json.dumps(description, indent=1) + "\n")


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
    whole = (folder / _ENCODER).is_file()
    adapted = separate_copy(base) if whole else base.trainable_copy()
    if _load_weights(folder, adapted):
        adapted = replace(adapted, cache=None)
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


def _load_weights(folder: Path, adapted: Backbone) -> bool:
    """Load the decoder and what changes the encoder, an adapter or all of it; return whether something does."""
    from safetensors.torch import load_file

    for name, tensor in load_file(folder / "decoder.safetensors").items():
        part, _, key = name.partition(".")
        adapted.sam.get_submodule(part).state_dict()[key].copy_(tensor)
    if (folder / _ENCODER).is_file():
        adapted.encoder.load_state_dict(load_file(folder / _ENCODER))
        return True
    adapter = folder / "adapter"
    if not adapter.is_dir():
        return False
    from peft import LoraConfig, set_peft_model_state_dict

    inject_lora(adapted.encoder, LoraConfig.from_pretrained(str(adapter)))
    weights = load_file(adapter / "adapter_model.safetensors")
    set_peft_model_state_dict(
        adapted.encoder, {name.removeprefix(_PEFT_PREFIX): tensor for name, tensor in weights.items()}
    )
    adapted.encoder.to(adapted.device)
    return True
