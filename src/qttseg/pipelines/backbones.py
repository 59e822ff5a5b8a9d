"""Backbones: promptable models, from segment_anything's own classes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qttseg.errors import BackboneError
from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.nano import NANO, nano_sam, packaged_weights

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A promptable model: encodes images once, decodes any number of prompts on them.

    Attributes:
        name: Name by which a worker loads it.
        fingerprint: Hash of its weights; part of every run id.
        sam: The model, a `segment_anything.modeling.Sam` (which has no types of its own).
        lora_targets: Names of the encoder's linear layers that LoRA may adapt.
    """

    name: str
    fingerprint: str
    sam: Any
    lora_targets: tuple[str, ...] = ("qkv", "lin1", "lin2")

    @property
    def resolution(self) -> int:
        """Side in pixels of the square that images are resized and padded to."""
        return int(self.sam.image_encoder.img_size)

    @property
    def encoder(self) -> nn.Module:
        """The image encoder."""
        return self.sam.image_encoder  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.encoder.parameters()).device

    def normalise(self, images: Tensor) -> Tensor:
        """Return b × 3 × r × r images of 0 to 255 as the encoder wants them, on the backbone's device."""
        mean = torch.tensor(PIXEL_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(PIXEL_STD, device=self.device).view(3, 1, 1)
        return (images.to(self.device).float() - mean) / std

    def encode(self, images: Tensor) -> Tensor:
        """Return the embeddings (b × c × g × g) of normalised images (b × 3 × r × r)."""
        return self.encoder(images)  # type: ignore[no-any-return]

    def decode(self, embeddings: Tensor, boxes: Tensor, *, masks: slice = slice(0, 1)) -> tuple[Tensor, Tensor]:
        """Return mask logits and guesses of their IoU for one box on each embedding.

        SAM's decoder takes many prompts on one image; this is the same arithmetic for p prompts on p images.

        Args:
            embeddings: p × c × g × g; an image with several prompts is repeated.
            boxes: p × 4, as x0, y0, x1, y1 in pixels of the padded square.
            masks: Which of the four masks: the single one by default, `slice(1, None)` for the three of ambiguity.

        Returns:
            Logits, p × m × 4g × 4g, and IoU guesses, p × m.
        """
        prompt, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        sparse, dense = prompt(points=None, boxes=boxes, masks=None)
        return decode_prompts(decoder, embeddings, prompt.get_dense_pe(), sparse, dense, masks=masks)

    def trainable_copy(self) -> Backbone:
        """Return a copy with its own decoder and prompt encoder whose frozen encoder tensors are shared."""
        shared: dict[int, object] = {id(tensor): tensor for tensor in self.encoder.parameters()}
        shared |= {id(tensor): tensor for tensor in self.sam.buffers()}
        sam = copy.deepcopy(self.sam, shared)
        return Backbone(name=self.name, fingerprint=self.fingerprint, sam=sam, lora_targets=self.lora_targets)


def decode_prompts(
    decoder: Any,  # noqa: ANN401 (untyped class of segment_anything)
    embeddings: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
    *,
    masks: slice,
) -> tuple[Tensor, Tensor]:
    """Run SAM's mask decoder on p prompts, each with its own image embedding.

    Args:
        decoder: A `segment_anything.modeling.MaskDecoder`.
        embeddings: p × c × g × g.
        positions: 1 × c × g × g positional encoding of the grid.
        sparse: p × n × c prompt tokens.
        dense: p × c × g × g dense prompts.
        masks: Which of the decoder's masks to return.

    Returns:
        Logits, p × m × 4g × 4g, and IoU guesses, p × m.
    """
    prompts, channels, height, width = embeddings.shape
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(prompts, -1, -1), sparse], dim=1)
    hidden, source = decoder.transformer(embeddings + dense, positions.expand(prompts, -1, -1, -1), tokens)
    upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(prompts, channels, height, width))
    wanted = range(decoder.num_mask_tokens)[masks]
    weights = torch.stack([decoder.output_hypernetworks_mlps[i](hidden[:, 1 + i]) for i in wanted], dim=1)
    logits = torch.einsum("pmc,pchw->pmhw", weights, upscaled)
    return logits, decoder.iou_prediction_head(hidden[:, 0])[:, masks]


def fingerprint_of(weights: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 over names, types, shapes and bytes of `weights`."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()[:16]


def backbone_of(name: str, sam: nn.Module) -> Backbone:
    """Return `sam` as a frozen backbone in evaluation mode with fused attention."""
    use_fused_attention(sam.get_submodule("image_encoder"))
    sam.eval().requires_grad_(requires_grad=False)
    return Backbone(name=name, fingerprint=fingerprint_of(sam.state_dict()), sam=sam)


def load_backbone(name: str = "sam-nano", *, device: str = "cpu") -> Backbone:
    """Return the backbone of this name; one instance for each name and device in a process.

    Names are `sam-nano` (embedded), `sam-nano:PATH` (your own pre-trained nano weights), `sam-vit-b:PATH`,
    `sam-vit-l:PATH`, `sam-vit-h:PATH` (official SAM checkpoints on disk) and those of the `qttseg.backbones` entry points.

    Raises:
        BackboneError: the name is unknown, or the weights are missing or do not fit.
    """
    return _load(name, device)


@lru_cache(maxsize=4)
def _load(name: str, device: str) -> Backbone:
    kind, _, path = name.partition(":")
    builders = _builders()
    if kind not in builders:
        raise BackboneError(f"unknown backbone {kind!r}; known are {', '.join(sorted(builders))}")
    return backbone_of(name, builders[kind](path).to(device))


def _builders() -> dict[str, Callable[[str], nn.Module]]:
    official = {f"sam-vit-{size}": _official(f"vit_{size}") for size in "blh"}
    plugins = {point.name: point.load() for point in entry_points(group="qttseg.backbones")}
    return {"sam-nano": _nano, **official, **plugins}


def _nano(path: str) -> nn.Module:
    from safetensors.torch import load_file

    file = Path(path) if path else packaged_weights()
    if not file.is_file():
        raise BackboneError(f"no sam-nano weights at {file}; make them with `qttseg backbone pretrain --out {file}`")
    sam = nano_sam(NANO)
    _load_weights(sam, {name: tensor.float() for name, tensor in load_file(file).items()}, file)
    return sam


def _official(size: str) -> Callable[[str], nn.Module]:
    def build(path: str) -> nn.Module:
        if not path or not Path(path).is_file():
            raise BackboneError(
                f"no SAM checkpoint at {path or '(no path given)'}; download it from the segment-anything page and "
                f"name it as sam-{size.replace('_', '-')}:PATH"
            )
        from qttseg.pipelines.sam_modules import sam_registry

        sam: nn.Module = sam_registry()[size]()
        _load_weights(sam, torch.load(path, map_location="cpu", weights_only=True), Path(path))
        return sam

    return build


def _load_weights(sam: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    try:
        sam.load_state_dict(weights)
    except RuntimeError as error:
        raise BackboneError(
            f"the weights in {file} do not fit the model: {str(error).splitlines()[-1].strip()}"
        ) from error
