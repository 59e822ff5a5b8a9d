"""SAM's mask decoder on many prompts of many images at once, in the forms that are quickest to compute.

The arithmetic is segment_anything's, the weights lie where it has them. What differs is the order in memory: image tokens
stay rows of channels throughout, so that upscaling is two matrix products and normalisation runs along rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qttseg.pipelines.sam_modules import sam_modeling


class Decoded(NamedTuple):
    """What a decoder says of p prompts.

    Attributes:
        logits: p × m × 4g × 4g, of m masks.
        guess: p × m guesses of the masks' IoU.
        features: p × 2g × 2g × 2 × 2 × c' features that the masks are read from, in the decoder's own precision and order.
    """

    logits: Tensor
    guess: Tensor
    features: Tensor

    @property
    def upscaled(self) -> Tensor:
        """The features as an image, p × c' × 4g × 4g."""
        return as_image(self.features)

    def best(self) -> Decoded:
        """Return, for each prompt, the mask with the highest guess alone."""
        which = self.guess.argmax(dim=1, keepdim=True)
        logits = self.logits.take_along_dim(which[..., None, None], dim=1)
        return self._replace(logits=logits, guess=self.guess.take_along_dim(which, dim=1))


def decode_prompts(
    decoder: Any,  # noqa: ANN401 (untyped class of segment_anything)
    embeddings: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
    *,
    masks: slice,
) -> Decoded:
    """Run SAM's mask decoder on p prompts, each with its own image embedding.

    Args:
        decoder: A `segment_anything.modeling.MaskDecoder`.
        embeddings: p × c × g × g.
        positions: 1 × c × g × g positional encoding of the grid.
        sparse: p × n × c prompt tokens.
        dense: p × c × g × g dense prompts.
        masks: Which of the decoder's masks to return.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    where = _in_rows(positions).expand(len(sparse), -1, -1, -1)
    hidden, source = decoder.transformer(_in_rows(embeddings + dense), where, tokens)
    wanted = range(decoder.num_mask_tokens)[masks]
    weights = torch.stack([decoder.output_hypernetworks_mlps[i](hidden[:, 1 + i]) for i in wanted], dim=1)
    logits, features = _upscale(decoder.output_upscaling, source.unflatten(1, embeddings.shape[-2:]), weights)
    guess = decoder.iou_prediction_head(hidden[:, 0])[:, masks]
    return Decoded(logits=logits, guess=guess, features=features)


def _in_rows(grid: Tensor) -> Tensor:
    """Return a b × c × h × w tensor that is the same, but lies in memory with its channels last."""
    return grid.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).unflatten(2, grid.shape[-2:])  # type: ignore[no-any-return]


def _upscale(
    layers: Any,  # noqa: ANN401 (its modules have no types of their own)
    source: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return mask logits (p × m × 4g × 4g) and the features that they are read from (p × 2g × 2g × 2 × 2 × c').

    Args:
        layers: SAM's: a transposed convolution, a normalisation, an activation, and the first and the last once more.
        source: p × g × g × c image tokens.
        weights: p × m × c' of each mask.
    """
    first, norm, activation, second, last = layers
    coarse = _four_times(first, source).transpose(2, 3).flatten(1, 2).flatten(2, 3)
    coarse = activation(F.layer_norm(coarse, coarse.shape[-1:], norm.weight, norm.bias, norm.eps))
    features = last(_four_times(second, coarse))
    four = torch.eye(4, dtype=weights.dtype, device=weights.device)
    each = torch.einsum("ij,pmc->picjm", four, weights).flatten(3).flatten(1, 2)
    logits = (features.flatten(3).flatten(1, 2) @ each).unflatten(2, (2, 2, -1)).unflatten(1, features.shape[1:3])
    return as_image(logits), features


def _four_times(layer: Any, x: Tensor) -> Tensor:  # noqa: ANN401 (a transposed convolution's parameters are optional)
    """Return what a 2 × 2 transposed convolution with stride 2 makes of p × h × w × c: p × h × w × 2 × 2 × c'."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return F.linear(x, weight, layer.bias.repeat(4)).unflatten(-1, (2, 2, -1))  # type: ignore[no-any-return]


def as_image(cells: Tensor) -> Tensor:
    """Return p × h × w × 2 × 2 × c as p × c × 2h × 2w."""
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def in_cells(image: Tensor) -> Tensor:
    """Return p × c × 2h × 2w as p × h × w × 2 × 2 × c."""
    return image.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 2, 4, 3, 5, 1)  # type: ignore[no-any-return]


def use_quick_cross_attention(decoder: nn.Module) -> None:
    """Replace, in place, the forward pass of every attention layer of a `MaskDecoder`; weights stay as they are."""
    attention = sam_modeling().transformer.Attention
    for module in decoder.modules():
        if isinstance(module, attention):
            module.__class__ = _quick_class()


@cache
def _quick_class() -> type[nn.Module]:
    """Return the subclass of SAM's `Attention`, made once because its base is imported late."""
    base = sam_modeling().transformer.Attention

    class QuickAttention(base):  # type: ignore[misc, valid-type]
        """Attention between many image tokens and a handful of prompt tokens.

        Scaled where there are fewer tokens. A softmax over a handful of keys is slow along rows: it runs across them.
        """

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            """Return what p × n × c queries find in p × m × c keys and values, p × n × c."""
            own = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
            q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in own)
            scale = q.shape[-1] ** -0.5
            if k.shape[2] < q.shape[2]:
                weights = ((scale * k) @ q.transpose(2, 3)).softmax(dim=2).transpose(2, 3)
            else:
                weights = ((scale * q) @ k.transpose(2, 3)).softmax(dim=3)
            return self.out_proj((weights @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    return QuickAttention
