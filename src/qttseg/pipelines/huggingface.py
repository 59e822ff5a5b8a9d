"""A backbone of SAM's classes as a Hugging Face `SamModel` folder, for tools that fine-tune that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from qttseg.errors import BackboneError
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.pixels import PIXEL_MEAN, PIXEL_STD

_RENAMES = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"patch_embed\.proj", "patch_embed.projection"),
    (r"vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"(layers\.\d+)\.norm(\d)", r"\1.layer_norm\2"),
    (r"neck\.0\.", "neck.conv1."),
    (r"neck\.1\.", "neck.layer_norm1."),
    (r"neck\.2\.", "neck.conv2."),
    (r"neck\.3\.", "neck.layer_norm2."),
    (r"point_embeddings", "point_embed"),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"transformer\.norm_final_attn", "transformer.layer_norm_final_attn"),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
)


def export_huggingface(backbone: Backbone, folder: Path) -> Path:
    """Write `backbone` as config.json, model.safetensors and preprocessor_config.json, which transformers can load.

    `SamModel` then gives the same logits. Where the backbone tells a box twice (sam-nano: by its corners and as the mask
    prompt that fills it), the second has to be given to `SamModel` as `input_masks`; `nano.box_masks` makes it.

    Args:
        backbone: Of segment_anything's classes, its encoder unadapted.
        folder: Where to write; made if need be.

    Raises:
        BackboneError: the backbone is of other classes.
    """
    if not hasattr(backbone.sam, "image_encoder"):
        raise BackboneError(
            f"{backbone.name} is not of segment_anything's classes; it is in Hugging Face's format already"
        )
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {_renamed(name): tensor.contiguous().cpu() for name, tensor in backbone.sam.state_dict().items()}
    weights.pop("pixel_mean", None), weights.pop("pixel_std", None)
    positions = weights["prompt_encoder.shared_embedding.positional_embedding"]
    weights["shared_image_embedding.positional_embedding"] = positions.clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(backbone.sam, weights), indent=2) + "\n")
    processor = json.dumps(_processor(backbone.resolution, backbone.sam.prompt_encoder.mask_input_size[0]), indent=2)
    (folder / "preprocessor_config.json").write_text(processor + "\n")
    return folder


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _config(sam: Any, weights: Mapping[str, Tensor]) -> dict[str, object]:  # noqa: ANN401 (untyped class of segment_anything)
    encoder, prompt, decoder = sam.image_encoder, sam.prompt_encoder, sam.mask_decoder
    resolution, width, channels = encoder.img_size, encoder.pos_embed.shape[-1], prompt.embed_dim
    patch = resolution // encoder.pos_embed.shape[1]
    windows = [block.window_size for block in encoder.blocks]
    attention = encoder.blocks[0].attn
    layer = decoder.transformer.layers[0]
    return {
        "model_type": "sam",
        "architectures": ["SamModel"],
        "vision_config": {
            "hidden_size": width,
            "output_channels": channels,
            "num_hidden_layers": len(encoder.blocks),
            "num_attention_heads": attention.num_heads,
            "image_size": resolution,
            "patch_size": patch,
            "mlp_dim": encoder.blocks[0].mlp.lin1.out_features,
            "qkv_bias": attention.qkv.bias is not None,
            "use_abs_pos": True,
            "use_rel_pos": attention.use_rel_pos,
            "window_size": max(windows),
            "global_attn_indexes": [index for index, window in enumerate(windows) if window == 0],
            "num_pos_feats": channels // 2,
        },
        "prompt_encoder_config": {
            "hidden_size": channels,
            "image_size": resolution,
            "patch_size": patch,
            "mask_input_channels": weights["prompt_encoder.mask_embed.conv2.weight"].shape[0],
        },
        "mask_decoder_config": {
            "hidden_size": channels,
            "mlp_dim": layer.mlp.lin1.out_features,
            "num_hidden_layers": len(decoder.transformer.layers),
            "num_attention_heads": layer.self_attn.num_heads,
            "num_multimask_outputs": decoder.num_multimask_outputs,
            "iou_head_depth": decoder.iou_prediction_head.num_layers,
            "iou_head_hidden_dim": decoder.iou_prediction_head.layers[0].out_features,
            "layer_norm_eps": layer.norm1.eps,
        },
    }


def _processor(resolution: int, mask_side: int) -> dict[str, object]:
    """Return what a `SamProcessor` does: resize the long side, normalise by SAM's colours, pad to a square."""
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "size": {"longest_edge": resolution},
        "mask_size": {"longest_edge": mask_side},
        "pad_size": {"height": resolution, "width": resolution},
        "mask_pad_size": {"height": mask_side, "width": mask_side},
        "image_mean": [value / 255 for value in PIXEL_MEAN],
        "image_std": [value / 255 for value in PIXEL_STD],
        "rescale_factor": 1 / 255,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
    }
