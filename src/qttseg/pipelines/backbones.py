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

from qttseg.metadata.adapters import Adapter
from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.decoding import Decoded, decode_prompts, use_quick_cross_attention
from qttseg.pipelines.embeddings import EmbeddingCache, image_keys
from qttseg.pipelines.pixels import normalise
from qttseg.pipelines.views import Views, view_images

PROMPT_LEARNER = "prompt_learner"
"""Name of the module in an adapted model that moves its prompt tokens; see `prompt_learning`."""

POINT_MATCHER = "point_matcher"
"""Name of the module in a model in training that matches outlines; see `point_matching`."""

_WIDE = 256
"""Width, SAM's own, from which on a device gains more by bfloat16 than it loses by converting."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A promptable model: encodes images once, decodes any number of prompts on them.

    Models of SAM's width encode and decode in bfloat16 on devices that multiply matrices in it; what comes out is always
    float32.

    Attributes:
        name: Name by which a worker loads it.
        fingerprint: Hash of its weights; part of every run id.
        sam: The model, here a `segment_anything.modeling.Sam` (which has no types of its own).
        lora_targets: Names of the encoder's linear layers that LoRA may adapt.
        cache: Keeps embeddings while the encoder is the original one; None once it has been adapted.
        adapter: What has been adapted of it; None for the original.
    """

    name: str
    fingerprint: str
    sam: Any
    lora_targets: tuple[str, ...] = ("qkv", "attn.proj", "lin1", "lin2")
    cache: EmbeddingCache | None = None
    adapter: Adapter | None = None

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
    def width(self) -> int:
        """Channels of image embeddings and of prompt tokens."""
        return int(self.sam.prompt_encoder.embed_dim)

    @property
    def trains_encoder(self) -> bool:
        """Whether embeddings change while training."""
        return self.adapter is not None and self.adapter.trains_encoder

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

    def decode(
        self, embeddings: Tensor, prompts: Tensor, classes: Tensor | None = None, *, masks: slice | None = None
    ) -> Decoded:
        """Return mask logits and guesses of their IoU for one prompt on each embedding.

        SAM's decoder takes many prompts on one image; this is the same arithmetic for p prompts on p images.

        Args:
            embeddings: p × c × g × g; an image with several prompts is repeated.
            prompts: In pixels of the padded square: boxes, p × 4 as x0, y0, x1, y1, or points, p × n × 2 as x, y.
            classes: p ids of what the prompts are for, which a prompt learner may have to be told.
            masks: Which of the four masks: the single one is `slice(0, 1)`, the three of ambiguity `slice(1, None)`. By
                default one mask, as SAM chooses it: the single one for a box, and for points, which may mean a part or
                the whole, that of the three which is guessed to be the best. Training and prediction choose alike: the mask
                that is shown is the one that learns, until the best guess is the mask that is meant.
        """
        if masks is None and prompts.dim() == 3:
            return self.decode_masks(embeddings, prompts, classes, slice(1, None)).best()
        return self.decode_masks(embeddings, prompts, classes, masks or slice(0, 1))

    def decode_masks(self, embeddings: Tensor, prompts: Tensor, classes: Tensor | None, masks: slice) -> Decoded:
        """Return what the decoder says of these masks; arguments as in `decode`, which other kinds of backbone share."""
        with self.precision():
            sparse, dense = self.embed_prompts(prompts)
            positions = self.sam.prompt_encoder.get_dense_pe()
            sparse, dense = self.learnt(sparse, dense, embeddings, positions, prompts, classes)
            decoded = decode_prompts(self.sam.mask_decoder, embeddings, positions, sparse, dense, masks=masks)
        return decoded._replace(logits=decoded.logits.float(), guess=decoded.guess.float())

    def embed_prompts(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sparse (p × n × c) and dense (p × c × g × g) embeddings of boxes or points."""
        encoder = self.sam.prompt_encoder
        if prompts.dim() == 2:
            return encoder(points=None, boxes=prompts, masks=None)  # type: ignore[no-any-return]
        labels = torch.ones(prompts.shape[:2], device=prompts.device)
        # SAM's points are indices of pixels: it adds the half that is in ours already.
        return encoder(points=(prompts - 0.5, labels), boxes=None, masks=None)  # type: ignore[no-any-return]

    def learnt(
        self,
        sparse: Tensor,
        dense: Tensor,
        embeddings: Tensor,
        positions: Tensor,
        prompts: Tensor,
        classes: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return prompts, p × n × c tokens and p × c × g × g, as the prompt learner, if the model has one, wants them."""
        learner = getattr(self.sam, PROMPT_LEARNER, None)
        if learner is None:
            return sparse, dense
        points = prompts.unflatten(1, (2, 2)).mean(dim=1, keepdim=True) if prompts.dim() == 2 else prompts
        return learner(sparse, dense, embeddings, positions, points / self.resolution, classes)  # type: ignore[no-any-return]

    def precision(self) -> torch.autocast:
        """Return the context in which the model runs: bfloat16 where the device is quicker with it, else float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=_prefers_bfloat16(self.device, self.width))

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


def _prefers_bfloat16(device: torch.device, width: int) -> bool:
    if width < _WIDE:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch do not tell.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("amx_bf16"))


def fingerprint_of(weights: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 over names, types, shapes and bytes of `weights`."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()[:16]


def backbone_of(name: str, sam: nn.Module, kind: type[Backbone] = Backbone) -> Backbone:
    """Return `sam` as a frozen backbone in evaluation mode with quick attention and a cache of embeddings."""
    if kind is Backbone:
        use_fused_attention(sam.get_submodule("image_encoder"))
        use_quick_cross_attention(sam.get_submodule("mask_decoder"))
    sam.eval().requires_grad_(requires_grad=False)
    return kind(name=name, fingerprint=fingerprint_of(sam.state_dict()), sam=sam).remembering()
