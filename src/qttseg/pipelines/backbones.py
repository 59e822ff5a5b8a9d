"""Backbones: promptable models behind one door, segment_anything's own classes among them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.embeddings import EmbeddingCache, image_keys
from qttseg.pipelines.pixels import normalise
from qttseg.pipelines.views import Views, view_images


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A promptable model: encodes images once, decodes any number of prompts on them.

    On a GPU that knows it, encoding and decoding run in bfloat16; what comes out is always float32.

    Attributes:
        name: Name by which a worker loads it.
        fingerprint: Hash of its weights; part of every run id.
        sam: The model, here a `segment_anything.modeling.Sam` (which has no types of its own).
        lora_targets: Names of the encoder's linear layers that LoRA may adapt.
        cache: Keeps embeddings while the encoder is the original one; None once it has been adapted.
    """

    name: str
    fingerprint: str
    sam: Any
    lora_targets: tuple[str, ...] = ("qkv", "attn.proj", "lin1", "lin2")
    cache: EmbeddingCache | None = None

    @property
    def resolution(self) -> int:
        """Side in pixels of the square that images are resized and padded to."""
        return int(self.sam.image_encoder.img_size)

    @property
    def encoder(self) -> nn.Module:
        """The image encoder."""
        return self.sam.image_encoder  # type: ignore[no-any-return]

    @property
    def blocks(self) -> nn.ModuleList:
        """The encoder's transformer blocks, in order."""
        return self.encoder.blocks  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.encoder.parameters()).device

    def normalise(self, images: Tensor) -> Tensor:
        """Return b × 3 × r × r images of 0 to 255 as the encoder wants them, on the backbone's device."""
        return normalise(images, self.device)

    def encode(self, images: Tensor) -> Tensor:
        """Return the embeddings (b × c × g × g) of normalised images (b × 3 × r × r)."""
        with self.precision():
            return self.encoder(images).float()  # type: ignore[no-any-return]

    def embed(self, images: Tensor, views: Views | None = None, *, keys: list[str] | None = None) -> Tensor:
        """Return the embeddings (b × c × g × g) of images as `views` shows them, without gradients.

        While the encoder is the original one, no (image, view) is encoded twice.

        Args:
            images: b × 3 × r × r, uint8.
            views: How each is seen; as it is by default.
            keys: What `image_keys` says of the images, where it is known already.
        """
        views = Views.plain(len(images)) if views is None else views

        def encode(which: Sequence[int]) -> Tensor:
            rows = list(which)
            return self.encode(view_images(self.normalise(images[rows]), views[rows]))

        with torch.no_grad():
            if self.cache is None:
                return encode(range(len(images)))
            names = image_keys(images) if keys is None else keys
            return self.cache.embed([f"{name}/{view}" for name, view in zip(names, views.keys(), strict=True)], encode)

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
        with self.precision():
            sparse, dense = prompt(points=None, boxes=boxes, masks=None)
            logits, guess = decode_prompts(decoder, embeddings, prompt.get_dense_pe(), sparse, dense, masks=masks)
        return logits.float(), guess.float()

    def precision(self) -> torch.autocast:
        """Return the context in which the model runs: bfloat16 on a GPU that has it, else float32."""
        cuda = self.device.type == "cuda"
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        )

    def remembering(self, folder: Path | None = None) -> Self:
        """Return the same model with an empty cache of its own, which keeps embeddings in `folder` too if there is one.

        A tuning session has its own, so that what an earlier one computed does not count as time saved in this one.
        """
        cache = EmbeddingCache(fingerprint=self.fingerprint, device=self.device, folder=folder)
        return replace(self, cache=cache)

    def trainable_copy(self) -> Self:
        """Return a copy with its own decoder and prompt encoder whose frozen encoder tensors are shared."""
        shared: dict[int, object] = {id(tensor): tensor for tensor in self.encoder.parameters()}
        shared |= {id(tensor): tensor for tensor in self.sam.buffers()}
        return replace(self, sam=copy.deepcopy(self.sam, shared))


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


def backbone_of(name: str, sam: nn.Module, kind: type[Backbone] = Backbone) -> Backbone:
    """Return `sam` as a frozen backbone in evaluation mode with fused attention and a cache of embeddings."""
    if kind is Backbone:
        use_fused_attention(sam.get_submodule("image_encoder"))
    sam.eval().requires_grad_(requires_grad=False)
    return kind(name=name, fingerprint=fingerprint_of(sam.state_dict()), sam=sam).remembering()
