"""Several models that differ in their trainable tensors only, run as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from qttseg.errors import ConfigurationError
from qttseg.pipelines.adapters import trainable_tensors
from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.embeddings import image_keys

_AT_ONCE = 64
"""Images or prompts, over all members together, that are validated at once."""


class PackedModel:
    """Adapted copies of one backbone, their trainable tensors side by side and their frozen ones shared.

    Each member's tensors are one vector, which an optimiser may move; a smaller rank of LoRA is padded with zeros, which
    neither count nor ever move.

    Args:
        members: Adapted copies of one backbone, all with the same parts trained.
        dropout: Each member's rate of LoRA's dropout, in [0, 1).

    Raises:
        ConfigurationError: the members differ in what is trained.
    """

    def __init__(self, members: Sequence[Backbone], dropout: Sequence[float]) -> None:
        tensors = [trainable_tensors(member) for member in members]
        if any(other.keys() != tensors[0].keys() for other in tensors):
            raise ConfigurationError("models of which different parts are trained do not go in one pack")
        sizes = [sum(tensor.numel() for tensor in own.values()) for own in tensors]
        self.base = members[sizes.index(max(sizes))]
        use_fused_attention(self.base.encoder, "folded")  # a mask that needs gradients cannot be batched on a CPU
        self.trains_encoder = self.base.trains_encoder
        self._shapes = {name: tensor.shape for name, tensor in trainable_tensors(self.base).items()}
        self.vectors = [self._vector(own).requires_grad_() for own in tensors]
        self._dropout = torch.tensor(dropout, device=self.base.device)
        self._rates = _share_dropout(self.base.sam) if any(dropout) else ()
        self._members = list(range(len(members)))
        self._module = _Module(self.base)

    def keep(self, members: Sequence[int]) -> None:
        """Run only these members, counted as they were given, from now on."""
        self._members = list(members)

    def each(self, function: Callable[..., Tensor | tuple[Tensor, ...]], *arguments: Any) -> Any:  # noqa: ANN401
        """Return `function(backbone, *own)` of each member, stacked.

        `own` is its part of each argument, tensors or named tuples of them.
        """

        def one(tensors: Mapping[str, Tensor], *own: Any) -> Any:  # noqa: ANN401 (whatever function returns)
            return functional_call(self._module, dict(tensors), (function, *own))

        with warnings.catch_warnings(), sdpa_kernel(attention_forms(self.base.device)):
            warnings.filterwarnings("ignore", "There is a performance drop")
            return vmap(one, randomness="different")(self._tensors(), *arguments)

    def embed(self, images: Tensor, *, keys: list[str] | None = None) -> Tensor:
        """Return the embeddings of images as they are: k × b × c × g × g, or b × c × g × g where all members agree."""
        if not self.trains_encoder:
            return self.base.embed(images, keys=image_keys(images) if keys is None else keys)
        seen = self.base.normalise(images)
        pieces = [self.each(type(self.base).encode, self._for_each(piece)) for piece in seen.split(self._at_once)]
        return torch.cat(pieces, dim=1)

    def decode(self, embeddings: Tensor, prompts: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (k × p × 1 × 4g × 4g) and IoU guesses (k × p × 1) of one prompt on each embedding.

        Args:
            embeddings: p × c × g × g, or k × p × c × g × g.
            prompts: As in `Backbone.decode`.
            classes: As there.
        """
        if embeddings.dim() == 4:
            embeddings = self._for_each(embeddings)
        pieces = [
            self.each(_one_mask, own, self._for_each(some), self._for_each(ids))
            for own, some, ids in zip(
                embeddings.split(self._at_once, dim=1),
                prompts.split(self._at_once),
                classes.split(self._at_once),
                strict=True,
            )
        ]
        logits, guesses = zip(*pieces, strict=True)
        return torch.cat(logits, dim=1), torch.cat(guesses, dim=1)

    @property
    def _at_once(self) -> int:
        return max(1, _AT_ONCE // len(self._members))

    def _for_each(self, tensor: Tensor) -> Tensor:
        return tensor.expand(len(self._members), *tensor.shape)

    def _vector(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([_padded(tensors[name].detach(), shape).flatten() for name, shape in self._shapes.items()])

    def _tensors(self) -> dict[str, Tensor]:
        """Return the members' tensors, stacked (k × shape each), by their name in the module."""
        stacked = torch.stack([self.vectors[member] for member in self._members])
        pieces = stacked.split([shape.numel() for shape in self._shapes.values()], dim=1)
        tensors = {
            f"sam.{name}": piece.unflatten(1, shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }
        rate = self._dropout[self._members]
        return tensors | {f"sam.{name}": rate for name in self._rates}


def attention_forms(device: torch.device) -> list[SDPBackend]:
    """Return the forms of attention that members may share.

    On a GPU only the explicit one, as inside `vmap` the fused ones keep nothing for the way back. On a CPU any: there they
    are done member by member, and the explicit one is slower still.
    """
    fused = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    return [SDPBackend.MATH] if device.type == "cuda" else [*fused, SDPBackend.MATH]


def _one_mask(backbone: Backbone, embeddings: Tensor, prompts: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    decoded = backbone.decode(embeddings, prompts, classes)
    return decoded.logits, decoded.guess


class _Module(nn.Module):
    """Calls a function with the backbone, whose tensors `functional_call` has put in place."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.sam = backbone.sam
        self._backbone = backbone

    def forward(self, function: Callable[..., object], *arguments: object) -> object:
        return function(self._backbone, *arguments)


class _Dropout(nn.Module):
    """Dropout whose rate is a tensor, so that it may differ from member to member."""

    rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (torch.rand_like(x) >= self.rate) / (1 - self.rate)


def _share_dropout(sam: nn.Module) -> tuple[str, ...]:
    """Put `_Dropout` in place of LoRA's own, and return the names of its rates in the model."""
    names = []
    for name, module in list(sam.named_modules()):
        if name.endswith("lora_dropout"):
            for adapter in cast("nn.ModuleDict", module):
                module.register_module(adapter, _Dropout())
                names.append(f"{name}.{adapter}.rate")
    return tuple(names)


def _padded(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return `tensor` with zeros after its end in each dimension, up to `shape`."""
    missing = [size - own for own, size in zip(tensor.shape, shape, strict=True)]
    return F.pad(tensor, [side for extra in reversed(missing) for side in (0, extra)])
