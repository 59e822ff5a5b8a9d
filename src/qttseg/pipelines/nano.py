"""sam-nano: the embedded default backbone, a small model in segment_anything's own classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

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
        prompt_width: Width of embeddings, prompts and decoder.
    """

    resolution: int = 256
    patch: int = 16
    width: int = 128
    depth: int = 6
    heads: int = 4
    window: int = 8
    global_blocks: tuple[int, ...] = (1, 3, 5)
    prompt_width: int = 128


NANO = NanoArchitecture()


def nano_sam(architecture: NanoArchitecture, *, seed: int = 0) -> nn.Module:
    """Return a `segment_anything.modeling.Sam` of these sizes with random weights drawn from `seed`."""
    modeling = sam_modeling()
    grid = architecture.resolution // architecture.patch
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
            use_rel_pos=True,
            window_size=architecture.window,
            global_attn_indexes=architecture.global_blocks,
        )
        prompt_encoder = modeling.PromptEncoder(
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
        if encoder.pos_embed is not None:
            nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
        return modeling.Sam(encoder, prompt_encoder, decoder)  # type: ignore[no-any-return]


def packaged_weights() -> Path:
    """Return where the package keeps the embedded weights."""
    return Path(__file__).parent / "weights" / "sam-nano.safetensors"
