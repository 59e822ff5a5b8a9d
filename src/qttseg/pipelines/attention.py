"""SAM's attention through torch's fused kernel, equal to the explicit softmax that segment_anything computes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qttseg.pipelines.sam_modules import sam_modeling


def use_fused_attention(encoder: nn.Module) -> None:
    """Replace, in place, the forward pass of every attention layer of an `ImageEncoderViT`; weights stay as they are."""
    attention = sam_modeling().image_encoder.Attention
    for module in encoder.modules():
        if isinstance(module, attention):
            module.__class__ = _fused_class()


def _relative(size: int, table: Tensor) -> Tensor:
    """Return the rows of `table` (2·size - 1 × c) for every query and key position (size × size × c)."""
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


_FUSED: list[type[nn.Module]] = []


def _fused_class() -> type[nn.Module]:
    """Return the subclass of SAM's `Attention`, made once because its base is imported late."""
    if not _FUSED:
        base = sam_modeling().image_encoder.Attention

        class FusedAttention(base):  # type: ignore[misc, valid-type]
            """Attention with the decomposed relative-position bias as an additive mask."""

            def forward(self, x: Tensor) -> Tensor:
                """Attend within each b × h × w × c window (or image); returns the same shape."""
                b, h, w, _ = x.shape
                q, k, v = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
                bias = self._bias(q, h, w) if self.use_rel_pos else None
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
                out = out.transpose(1, 2).reshape(b, h, w, -1)
                return self.proj(out)  # type: ignore[no-any-return]

            def _bias(self, q: Tensor, h: int, w: int) -> Tensor:
                """Return the bias (b × heads × hw × hw) that MViTv2's decomposed positions add to the logits."""
                grid = q.unflatten(2, (h, w))
                rows = torch.einsum("bnhwc,hkc->bnhwk", grid, _relative(h, self.rel_pos_h))
                columns = torch.einsum("bnhwc,wkc->bnhwk", grid, _relative(w, self.rel_pos_w))
                return (rows[..., :, None] + columns[..., None, :]).flatten(4, 5).flatten(2, 3)

        _FUSED.append(FusedAttention)
    return _FUSED[0]
