"""What a table's caption owes its reader: the conditions, and what the figures are not."""

from __future__ import annotations

from collections.abc import Sequence

from qttseg.benchmark.results import Result
from qttseg.metadata.protocol import Metric, Protocol

_METRICS: dict[Metric, str] = {
    "mean-class-iou": "IoU averaged over the classes present, then over the test images",
    "pooled-binary-iou": "IoU of all classes pooled into one foreground, averaged over the test images",
}

PAPER_ROWS = (
    "Rows marked 'paper' are the paper's figure for its dataset of that name, not the same images "
    "(arXiv 2508.17283: SAM on an RTX 2080 Ti, AutoGluon without boxes at test time)."
)


def caption_of(results: Sequence[Result], *, ranked: bool, namesakes: bool) -> str:
    """Return the caption of a table of `results`, which share task, protocol and backbone.

    Args:
        results: At least one.
        ranked: Whether the rows are ranked by QTT-SEG's gain.
        namesakes: Whether the paper's figures stand beside ours.
    """
    first = results[0]
    protocol = first.protocol
    seeds = len({result.seed for result in results})
    order = ", ranked by QTT-SEG's gain over zero-shot at the smallest budget" if ranked else ""
    machines = "; ".join(sorted({result.machine for result in results if result.machine})) or "not recorded"
    sentences = [
        f"{first.task.capitalize()} semantic segmentation{order}.",
        f"{_METRICS[protocol.metric]} (higher is better); mean ± sample standard deviation over "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}. Bold: best at the budget among ours, without failed seeds.",
        _prompt(protocol),
        f"Each seed draws {protocol.images} images for training and validation; at most {protocol.test_images} test "
        f"images are the same for all seeds; {split_of(protocol)}.",
        *([PAPER_ROWS] if namesakes else []),
        f"Backbone {first.backbone}, protocol {protocol.id}, machine: {machines}.",
    ]
    return " ".join(sentences)


def split_of(protocol: Protocol) -> str:
    """Return in words how images were divided."""
    if protocol.split == "paper":
        return (
            "split as in the paper's code: a fifth for testing by seed 42, without regard to groups (patient, video), "
            "which can flatter scores"
        )
    if protocol.split == "ungrouped":
        return "images are split without regard to groups (patient, video)"
    return "images of one group (patient, video) stay on one side of the split where groups are known"


def _prompt(protocol: Protocol) -> str:
    if protocol.prompt == "whole-image":
        return "The prompt is the whole image for each class present, for all of our methods alike."
    return (
        "Prompts at test time are boxes from the ground truth, for all of our methods alike, each side moved outward "
        f"by up to {protocol.prompt_noise} px (at 1024 px)."
    )
