"""The model card: what the model is, how good, how to use it and what not to trust, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from qttseg import __version__
from qttseg.metadata.adapters import adapter_of
from qttseg.metadata.datasets import Dataset
from qttseg.tuning.session import TuningResult

_METRICS = {
    "mean-class-iou": "IoU, averaged over the classes present in an image, then over images",
    "pooled-binary-iou": "IoU of foreground against background, averaged over images",
}

_PROMPTS = {
    "box": "a box about the objects of each class (drawn from the true masks, a little too large)",
    "whole-image": "the whole image as the box of each class present",
    "point": "points inside the objects of each class (drawn from the true masks)",
}

PROMPT_OPTIONS = {"box": "--boxes boxes.json", "whole-image": "--whole-image", "point": "--points points.json"}
"""How `qttseg predict` is told the like of what a model was tuned with."""

_CARD = """\
# {dataset}: {backbone}, tuned in {seconds:.0f} s

{what}

## Data

{data}

## Score

| model | validation score |
|---|---|
| this model | {score} |
| {backbone} without tuning | {zero_shot} |

The score is the {metric}; 1 is perfect. **It chose this model among
{epochs} trained epochs, so it is likely too high for new images.** It was measured with prompts drawn from the true
masks. The {test} test images were not used; judge the model on them, or on images of your own.

## How it was trained

{configuration}

{search}

## Use

    qttseg predict FOLDER IMAGES {prompt_option} --out MASKS

`FOLDER` is the one that holds this file. The model was tuned with {prompt}, and does best with the same on new
images. From Python: `qttseg.pipelines.models.load_model(folder).segmenter.segment(image, prompts)`.

## Limits

- It segments the classes above and none else; a class is looked for only where a prompt asks for it.
- It has seen {images} images of one source. Other devices, sites, seasons or subjects may need tuning anew.
- It is no medical or safety device, and nobody but you has checked its masks.{notes}

## Previews

{previews}

Made by qttseg {version}.
"""


def model_card(result: TuningResult, dataset: Dataset, previews: Mapping[str, str]) -> str:
    """Return the card as Markdown.

    Args:
        result: What tuning found.
        dataset: What it was tuned on.
        previews: File name in `previews/` → item name.
    """
    split = result.split
    return _CARD.format(
        dataset=dataset.name,
        backbone=result.segmenter.backbone.name,
        seconds=result.seconds,
        what=_what(result),
        data=_data(result, dataset),
        score=_number(result.score),
        zero_shot=_number(result.zero_shot_score),
        metric=_METRICS[result.protocol.metric],
        epochs=sum(len(curve.records) for curve in result.curves),
        test=len(split.test),
        configuration=_configuration(result),
        search=_search(result),
        prompt=_PROMPTS[result.protocol.prompt],
        prompt_option=PROMPT_OPTIONS[result.protocol.prompt],
        images=len(split.train),
        notes="".join(f"\n- {note}" for note in result.notes),
        previews="\n\n".join(f"![{name}](previews/{file})" for file, name in previews.items()),
        version=__version__,
    )


def _what(result: TuningResult) -> str:
    if result.configuration is None:
        return "Nothing that was tried within the budget beat the untuned backbone, so this is the untuned backbone."
    last = f" and {result.finish_steps} last steps, in which the learning rate fell to 0" if result.finish_steps else ""
    words = adapter_of(result.configuration).words
    return f"A promptable segmentation model whose {words} were fine-tuned for {result.epoch} epochs{last}."


def _data(result: TuningResult, dataset: Dataset) -> str:
    split = result.split
    return (
        f"Dataset `{dataset.name}` ({dataset.task}, fingerprint `{result.dataset_fingerprint}`), {len(dataset)} images: "
        f"{len(split.train)} to train on, {len(split.validation)} to choose by, drawn with seed {result.seed}.\n\n"
        f"Classes: {', '.join(f'{class_id} {name}' for class_id, name in enumerate(dataset.classes))}."
    )


def _configuration(result: TuningResult) -> str:
    if result.configuration is None:
        return "Not at all."
    rows = "\n".join(f"| {name} | {value} |" for name, value in result.configuration.items())
    return f"| hyperparameter | value |\n|---|---|\n{rows}"


def _search(result: TuningResult) -> str:
    endings = {
        "budget": "ended when nothing more fitted into the time",
        "exhausted": "ended when every candidate was trained",
        "interrupted": "was interrupted by the user",
    }
    return (
        f"Budget {result.budget:.0f} s, used {result.seconds:.1f} s (overrun {result.overrun:.1f} s) and "
        f"{result.warm_start_seconds:.1f} s of warm start. {len(result.curves)} configurations of search space "
        f"{result.space} were tried; the search {endings[result.ending]}."
    )


def _number(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.3f}"
