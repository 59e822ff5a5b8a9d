"""What a table's caption owes its reader: the conditions, and what the figures are not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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
    seeds = len({result.seed for result in results})
    order = ", ranked by QTT-SEG's gain over zero-shot at the smallest budget" if ranked else ""
    sentences = [
        f"{results[0].task.capitalize()} semantic segmentation{order}.",
        f"{_METRICS[results[0].protocol.metric]} (higher is better); mean ± sample standard deviation over "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}. Bold: best at the budget among ours, without failed seeds.",
        *([PAPER_ROWS] if namesakes else []),
        conditions_of(results),
    ]
    return " ".join(sentences)


def conditions_of(results: Sequence[Result]) -> str:
    """Return under which conditions `results`, at least one, were made; they share protocol and backbone."""
    first = results[0]
    protocol = first.protocol
    machines = "; ".join(sorted({result.machine for result in results if result.machine})) or "not recorded"
    sentences = [
        *information_of(protocol, {result.method for result in results}),
        f"Each seed draws {protocol.images} images for training and validation; at most {protocol.test_images} test "
        f"images are the same for all seeds; {split_of(protocol)}.",
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


def information_of(protocol: Protocol, methods: Collection[str]) -> list[str]:
    """Return sentences on what each of `methods` is told about the test images: never to be left out of a comparison."""
    if protocol.prompt == "whole-image":
        return ["Same information for all: the prompt is the whole image for each class present; nobody gets a box."]
    if protocol.prompt == "point":
        points = "one point" if protocol.points == 1 else f"{protocol.points} points"
        told = f"Prompts at test time are {points} for each class, drawn inside the true mask, the same for all of our methods."
        return [told, *(["AutoGluon gets no prompts."] if "autogluon" in methods else [])]
    sentences = [
        "Prompts at test time are boxes from the ground truth, for all of our methods alike, each side moved outward "
        f"by up to {protocol.prompt_noise} px (at 1024 px)."
    ]
    if "autogluon" in methods:
        sentences.append("The paper's comparison: only our side gets these boxes, AutoGluon gets none.")
    if "autogluon-boxes" in methods:
        sentences.append("Same information: AutoGluon with boxes works on the crops of the same boxes.")
    return sentences
