"""What a model could reach on ambiguous prompts if it knew which of its three masks is meant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from qttseg.pipelines.prompts import Prompt, scaled_prompts
from qttseg.pipelines.segmenter import Segmenter, label_map
from qttseg.pipelines.views import square_image


@torch.inference_mode()
def oracle_map(
    segmenter: Segmenter, image: NDArray[np.uint8], prompts: Mapping[int, Prompt], truth: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return the label map (h × w) of an image from, for each class, the mask of three with the best true IoU.

    Args:
        segmenter: Predicts.
        image: h × w × 3, 0 to 255.
        prompts: For each class id to look for, its box or points in pixels of the image.
        truth: h × w class ids.
    """
    backbone = segmenter.backbone
    square, extent = square_image(image, backbone.resolution)
    embedding = backbone.embed(square[None])
    chosen = []
    for label, prompt in scaled_prompts(prompts, extent.scale).items():
        where = torch.tensor([prompt], device=embedding.device)
        masks = backbone.decode(embedding, where, masks=slice(1, None)).logits[0]
        found = [label_map(mask[None], (label,), extent) == label for mask in masks]
        chosen.append(masks[int(np.argmax([_iou(own, truth == label) for own in found]))])
    stacked = torch.stack(chosen) if chosen else embedding.new_zeros((0, 1, 1))
    return label_map(stacked, tuple(prompts), extent)


def _iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(predicted & truth)) / max(1, int(np.count_nonzero(predicted | truth)))
