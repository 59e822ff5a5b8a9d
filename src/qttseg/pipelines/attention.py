"""SAM's attention through torch's fused kernel, equal to the explicit softmax that segment_anything computes."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qttseg.pipelines.sam_modules import sam_modeling

AttentionForm = Literal["mask", "folded"]
"""How the relative-position bias enters: as an additive mask, or folded into longer queries and keys."""

_FOLD_FROM = 196
"""Tokens; from here on the mask (tokens² numbers for each head) costs more than longer queries and keys, both ways counted."""


def use_fused_attention(encoder: nn.Module, form: AttentionForm | None = None) -> None:
    """Replace, in place, the forward pass of every attention layer of an `ImageEncoderViT`; weights stay as they are.

    Args:
        encoder: The encoder.
        form: Use this form everywhere; by default windows of up to 13 × 13 take the mask, all else is folded.
    """
    attention = sam_modeling().image_encoder.Attention
    for module in encoder.modules():
        if isinstance(module, attention):
            module.__class__ = _fused_class()
            module.form = form


def _relative(size: int, table: Tensor) -> Tensor:
    """Return the rows of `table` (2·size - 1 × c) for every query and key position (size × size × c)."""
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


@cache
def _fused_class() -> type[nn.Module]:
    """Return the subclass of SAM's `Attention`, made once because its base is imported late."""
    base = sam_modeling().image_encoder.Attention

    class FusedAttention(base):  # type: ignore[misc, valid-type]
        """Attention whose decomposed relative-position bias reaches the fused kernel as a mask or folded in."""

        def forward(self, x: Tensor) -> Tensor:
            """Attend within each b × h × w × c window (or image); returns the same shape."""
            b, h, w, _ = x.shape
            q, k, v = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
            if not self.use_rel_pos:
                out = F.scaled_dot_product_attention(q, k, v)
            elif (self.form or ("folded" if h * w >= _FOLD_FROM else "mask")) == "mask":
                rows, columns = self._biases(q, h, w)
                bias = (rows[..., :, None] + columns[..., None, :]).flatten(3)
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            else:
                out = _folded_attention(q, k, v, *self._biases(q, h, w))
            out = out.transpose(1, 2).reshape(b, h, w, -1)
            return self.proj(out)  # type: ignore[no-any-return]

        def _biases(self, q: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
            """Return what each query adds to the logits by key row (b × n × hw × h) and key column (b × n × hw × w)."""
            grid = q.unflatten(2, (h, w))
            rows = torch.einsum("bnhwc,hkc->bnhwk", grid, _relative(h, self.rel_pos_h).to(q.dtype))
            columns = torch.einsum("bnhwc,wkc->bnhwk", grid, _relative(w, self.rel_pos_w).to(q.dtype))
            return rows.flatten(2, 3), columns.flatten(2, 3)

    return FusedAttention


def _folded_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attend with a bias that is a sum over key rows and columns, without ever forming it.

    A bias rows[i, row(j)] + columns[i, column(j)] is the product of (rows, columns)[i] with the one-hot row and column
    of j, so it fits into longer queries and keys, and the kernel needs no mask. Values are padded, as the quickest
    kernels want one width for all.

    Args:
        q: b × n × hw × c queries; `k` and `v` alike.
        k: Keys.
        v: Values.
        rows: b × n × hw × h.
        columns: b × n × hw × w.
    """
    channels, height, width = q.shape[-1], rows.shape[-1], columns.shape[-1]
    scale = channels**-0.5
    hot = torch.cat(
        [
            torch.eye(height, dtype=q.dtype, device=q.device).repeat_interleave(width, dim=0),
            torch.eye(width, dtype=q.dtype, device=q.device).repeat(height, 1),
        ],
        dim=1,
    )
    longer_q = torch.cat([q, rows / scale, columns / scale], dim=-1)
    longer_k = torch.cat([k, hot.expand(*k.shape[:2], -1, -1)], dim=-1)
    longer_v = F.pad(v, (0, height + width))
    out = F.scaled_dot_product_attention(longer_q, longer_k, longer_v, scale=scale)
    return out[..., :channels]
