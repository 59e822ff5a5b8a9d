"""One scored trial of prompt learning: whatever runs the experiments has only to make these rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, get_args

from qttseg.benchmark.results import Status
from qttseg.errors import BenchmarkError
from qttseg.metadata.hashing import content_id
from qttseg.pipelines.boundaries import ClassScore

Prompt = Literal["point", "box"]

METHODS = {
    "sam": "SAM",
    "oracle": "Oracle",
    "sam-f": "SAM-F",
    "lora": "LoRA",
    "plm": "PLM",
    "plm+pmm": "PLM + PMM",
    "plm-dense": "dense PLM",
    "plm-dense+pmm": "dense PLM + PMM",
    "plm-class": "class PLM",
    "plm-class+pmm": "class PLM + PMM",
    "lora+plm-class": "LoRA + class PLM",
    "sam-f-rich": "SAM-F, rich",
    "plm-class-rich": "class PLM, rich",
    "plm-class-rich+pmm": "class PLM + PMM, rich",
    "lora+plm-class-rich": "LoRA + class PLM, rich",
    "plm-compare-rich": "comparing PLM, rich",
    "plm-compare-rich+pmm": "comparing PLM + PMM, rich",
    "lora+plm-compare-rich": "LoRA + comparing PLM, rich",
}
"""How the paper writes the methods: untuned, untuned with the best of three masks by true IoU, decoder fine-tuned,
prompt learning without and with point matching; then LoRA, prompt learning that reaches the dense prompt, too, and such that
is also told which class a prompt is for, alone and on top of LoRA; and some of these trained richly: for the label maps that
masks of an image make together, on images moved and tinted; last, such that also compares the image's cells with what lies
at the prompt. Others stand under their own name, behind these."""


def title_of(method: str) -> str:
    """Return how tables and figures write a method."""
    return METHODS.get(method, method)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One question: how well a method, trained on some images, does on a task when it is prompted in one way.

    Attributes:
        method: One of `METHODS`, or another.
        task: Name of the dataset that is tested on.
        task_fingerprint: Hash of its content; this, not the name, enters the id.
        source: Name of the dataset that was trained on; the task's own but for transfer.
        source_fingerprint: Hash of its content.
        images: How many images were trained on; 0 for methods that are not trained.
        seed: Draw of these images, and of all else that training draws.
        prompt: How the model is asked at test time: a random point within each class, or its box.
        noise: By up to which share of its size each side of the box is moved; 0 for points.
        draw: Which draw of the test prompts.
        backbone: Name of the backbone.
        backbone_fingerprint: Hash of its weights; enters the id.
        settings: Whatever else decides the work, as epochs, the weight of a loss or the prompts trained with; enters the
            id. Of one method on one task and kind of prompt, tables and figures take the newest.
    """

    method: str
    task: str
    task_fingerprint: str
    source: str
    source_fingerprint: str
    images: int
    seed: int
    prompt: Prompt
    noise: float = 0.0
    draw: int = 0
    backbone: str
    backbone_fingerprint: str
    settings: Mapping[str, str | float | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject a question that makes no sense.

        Raises:
            BenchmarkError: the prompt is unknown, a number is negative, or a point has noise.
        """
        if self.prompt not in get_args(Prompt):
            raise BenchmarkError(f"unknown prompt {self.prompt!r}; known are {', '.join(get_args(Prompt))}")
        if min(self.images, self.noise, self.draw) < 0:
            raise BenchmarkError("images, noise and draw of a trial must not be negative")
        if self.prompt == "point" and self.noise:
            raise BenchmarkError("points are drawn anywhere in the mask and have no noise; give it to boxes only")

    @property
    def id(self) -> str:
        """Hash of everything that decides the work, so that the same work is never done twice."""
        return content_id(
            {
                "method": self.method,
                "task": self.task_fingerprint,
                "source": self.source_fingerprint,
                "images": self.images,
                "seed": self.seed,
                "prompt": self.prompt,
                "noise": float(self.noise),
                "draw": self.draw,
                "backbone": self.backbone_fingerprint,
                "settings": dict(self.settings),
            }
        )

    @property
    def transferred(self) -> bool:
        """Whether the method was trained on another dataset than it is tested on."""
        return self.source_fingerprint != self.task_fingerprint


@dataclass(frozen=True, kw_only=True)
class Row(Trial):
    """A trial that was made; one that failed has no scores.

    Attributes:
        status: How it ended.
        reason: Why, where it did not end well; empty otherwise.
        classes: How well each class was met, see `pipelines.boundaries.class_scores`.
        seconds: Wall time of the training; 0 for methods that are not trained.
        parameters: How many numbers were trained.
        machine: Short description of the machine.
        versions: Versions of the software that decides the outcome, by package.
        finished_at: Seconds since 1970-01-01 UTC.
    """

    status: Status
    reason: str = ""
    classes: tuple[ClassScore, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    finished_at: float = 0.0

    def __post_init__(self) -> None:
        """Reject a row that went well and has no scores.

        Raises:
            BenchmarkError: it does, or see `Trial`.
        """
        super().__post_init__()
        if (self.status is Status.OK) != bool(self.classes):
            raise BenchmarkError(f"a trial of {self.method} that ended {self.status} has {len(self.classes)} classes")

    @property
    def miou(self) -> float | None:
        """Mean over classes of the mean IoU over images, in [0, 1]; None where the trial failed."""
        return fmean(score.iou for score in self.classes) if self.classes else None

    @property
    def boundary_f1(self) -> float | None:
        """The same of the boundary F1."""
        return fmean(score.boundary_f1 for score in self.classes) if self.classes else None
