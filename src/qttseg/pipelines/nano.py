"""sam-nano: the embedded default backbone, a small model in segment_anything's own classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qttseg.pipelines.sam_modules import sam_modeling


@dataclass(frozen=True, kw_only=True)
class NanoArchitecture:
    """Sizes of a small SAM.

    Attributes:
        resolution: Side of the padded input square in pixels.
        patch: Side of a patch in pixels; the mask grid is 4 · resolution / patch.
        width: Width of the encoder's tokens.
        depth: Encoder blocks.
        heads: Attention heads of a block.
        window: Side in tokens of a local attention window.
        global_blocks: Blocks that attend over the whole image.
        relative_positions: Whether attention adds SAM's relative-position bias, which doubles the encoder's cost on a
            CPU; absolute positions are always added.
        prompt_width: Width of embeddings, prompts and decoder.
    """

    resolution: int = 256
    patch: int = 8
    width: int = 96
    depth: int = 6
    heads: int = 3
    window: int = 8
    global_blocks: tuple[int, ...] = (2, 5)
    relative_positions: bool = False
    prompt_width: int = 96

    @property
    def grid(self) -> int:
        """Tokens along a side of the image."""
        return self.resolution // self.patch


NANO = NanoArchitecture()


def nano_sam(architecture: NanoArchitecture, *, seed: int = 0) -> nn.Module:
    """Return a `segment_anything.modeling.Sam` of these sizes, its weights drawn from `seed`, ready to be trained."""
    modeling = sam_modeling()
    grid = architecture.grid
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = modeling.ImageEncoderViT(
            img_size=architecture.resolution,
            patch_size=architecture.patch,
            embed_dim=architecture.width,
            depth=architecture.depth,
            num_heads=architecture.heads,
            out_chans=architecture.prompt_width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=architecture.relative_positions,
            window_size=architecture.window,
            global_attn_indexes=architecture.global_blocks,
        )
        prompt_encoder = _box_prompt_encoder()(
            embed_dim=architecture.prompt_width,
            image_embedding_size=(grid, grid),
            input_image_size=(architecture.resolution, architecture.resolution),
            mask_in_chans=16,
        )
        decoder = modeling.MaskDecoder(
            transformer_dim=architecture.prompt_width,
            transformer=modeling.TwoWayTransformer(
                depth=2, embedding_dim=architecture.prompt_width, mlp_dim=4 * architecture.prompt_width, num_heads=4
            ),
            iou_head_hidden_dim=architecture.prompt_width,
        )
        _start_well(encoder, architecture)
        _start_mildly(decoder)
        return modeling.Sam(encoder, prompt_encoder, decoder)  # type: ignore[no-any-return]


@torch.no_grad()
def _start_well(encoder: Any, architecture: NanoArchitecture) -> None:  # noqa: ANN401 (untyped class of segment_anything)
    """Set an encoder's first weights so that it need not learn what is known about images.

    Patches are seen through the cosine transform, fine detail amplified as natural images lack it; positions are sines
    of row and column; queries equal keys, so that attention starts among tokens that lie near and look alike
    (Trockman & Kolter 2023, "Mimetic initialization of self-attention layers").
    """
    width = architecture.width
    basis = _patch_basis(architecture.patch)[:width]
    encoder.patch_embed.proj.weight[: len(basis)] = basis
    encoder.patch_embed.proj.bias.zero_()
    encoder.pos_embed.copy_(0.5 * _sines(architecture.grid, width))
    for block in encoder.blocks:
        block.attn.qkv.weight[width : 2 * width] = block.attn.qkv.weight[:width]


@torch.no_grad()
def _start_mildly(decoder: Any) -> None:  # noqa: ANN401 (untyped class of segment_anything)
    """Scale a decoder's first masks down to undecided ones.

    From bold and wrong first answers training finds the shortest way out, which is to make all embeddings equal, and is
    a thousand steps in finding back.
    """
    for head in decoder.output_hypernetworks_mlps:
        head.layers[-1].weight.mul_(0.2)
        head.layers[-1].bias.zero_()


def box_masks(boxes: Tensor, *, resolution: int, side: int) -> Tensor:
    """Return boxes as mask prompts (p × 1 × side × side): 1 where the centre of a cell lies inside, -1 elsewhere.

    Args:
        boxes: p × 4, as x0, y0, x1, y1 in pixels of a square of `resolution` pixels.
        resolution: Side of that square.
        side: Side of the mask grid.
    """
    line = (torch.arange(side, device=boxes.device) + 0.5) * (resolution / side)
    across = (line >= boxes[:, :1]) & (line < boxes[:, 2:3])
    down = (line >= boxes[:, 1:2]) & (line < boxes[:, 3:])
    return (down[:, :, None] & across[:, None, :]).float()[:, None] * 2 - 1


@cache
def _box_prompt_encoder() -> type[nn.Module]:
    """Return the subclass of SAM's `PromptEncoder`, made once because its base is imported late."""
    base = sam_modeling().PromptEncoder

    class BoxPromptEncoder(base):  # type: ignore[misc, valid-type]
        """Tells a box twice: by its corners, and as the mask prompt that fills it.

        A small model that must first learn what two corners mean spends most of its training on that.
        """

        def forward(
            self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
        ) -> tuple[Tensor, Tensor]:
            """Return sparse (p × n × c) and dense (p × c × g × g) prompts, as SAM's own does."""
            if boxes is not None and masks is None:
                resolution, side = self.input_image_size[0], 4 * self.image_embedding_size[0]
                masks = box_masks(boxes, resolution=resolution, side=side)
            sparse, dense = super().forward(points, boxes, masks)
            return sparse, dense

    return BoxPromptEncoder


def _patch_basis(side: int) -> Tensor:
    """Return the cosine transform of a patch (3·side² × 3 × side × side), coarse brightness first, fine colour last."""
    wave = torch.arange(side).float()
    lines = torch.cos(math.pi * wave[:, None] * (wave[None] + 0.5) / side)
    lines = lines / lines.norm(dim=1, keepdim=True)
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    planes = torch.einsum("uy,vx,kc->kuvcyx", lines, lines, colours)
    frequency = (wave[:, None] + wave[None]).expand(3, side, side)
    gain = 2 * (1 + frequency) / (math.sqrt(3) * side)
    order = (frequency + torch.tensor([0.0, side, side]).view(3, 1, 1)).flatten().argsort(stable=True)
    return (planes * gain[..., None, None, None]).flatten(0, 2)[order]


def _sines(grid: int, width: int) -> Tensor:
    """Return 1 × grid × grid × width sines and cosines of row and column, at frequencies up to half a turn a token."""
    count = math.ceil(width / 4)
    turns = torch.logspace(math.log10(0.5 / grid), math.log10(0.25), count) * 2 * math.pi
    angle = torch.arange(grid)[:, None] * turns
    line = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = line[:, None].expand(grid, grid, -1), line[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=2)[None, ..., :width]


def packaged_weights() -> Path:
    """Return where the package keeps the embedded weights."""
    return Path(__file__).parent / "weights" / "sam-nano.safetensors"


def architecture_of(metadata: Mapping[str, str]) -> NanoArchitecture:
    """Return the architecture that a weight file's metadata describes."""
    import json

    sizes = json.loads(metadata["architecture"])
    return NanoArchitecture(**sizes | {"global_blocks": tuple(sizes["global_blocks"])})
