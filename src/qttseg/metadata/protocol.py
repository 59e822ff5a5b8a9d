"""What makes two runs comparable: images drawn, epochs, prompts, metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, Self, get_args

from qttseg.errors import ConfigurationError
from qttseg.metadata.hashing import content_id

PromptKind = Literal["box", "whole-image", "point"]
SplitRule = Literal["grouped", "ungrouped", "paper"]
Metric = Literal["mean-class-iou", "pooled-binary-iou"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conditions of a fine-tuning; part of every run id (QTT-SEG, section 4).

    Attributes:
        images: Images drawn from the dataset for training and validation together.
        validation_share: Share of `images` kept for validation, in (0, 1).
        test_images: Most images of the fixed test split.
        epochs: Epochs that every learning-rate schedule spans.
        batch_size: Images per optimisation step.
        prompt: What the model is told about where the object is.
        prompt_noise: Most pixels (at 1024 px) by which each side of a true box moves outward; points have none.
        points: How many points inside the object a point prompt has.
        split: How images are divided: `grouped` keeps those of one group (patient, video) on one side, `ungrouped`
            does not, `paper` draws as the paper's code does; see `metadata.splits`.
        metric: How predicted label maps are scored; higher is better.
        version: Rises when the meaning of a field changes.
    """

    images: int = 100
    validation_share: float = 0.2
    test_images: int = 100
    epochs: int = 10
    batch_size: int = 4
    prompt: PromptKind = "box"
    prompt_noise: int = 19
    points: int = 1
    split: SplitRule = "grouped"
    metric: Metric = "mean-class-iou"
    version: int = 1

    def __post_init__(self) -> None:
        """Reject values that no run could honour.

        Raises:
            ConfigurationError: a field is out of its range.
        """
        for name in ("images", "test_images", "epochs", "batch_size", "points"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"protocol.{name} is {getattr(self, name)}; it must be at least 1")
        if self.images < 2:
            raise ConfigurationError("protocol.images is 1; at least 2 are needed: one to train on, one to validate on")
        if not 0 < self.validation_share < 1:
            raise ConfigurationError(f"protocol.validation_share is {self.validation_share}; it must lie in (0, 1)")
        if self.prompt not in get_args(PromptKind):
            raise ConfigurationError(
                f"protocol.prompt is {self.prompt!r}; it must be one of {', '.join(get_args(PromptKind))}"
            )
        if self.split not in get_args(SplitRule):
            raise ConfigurationError(
                f"protocol.split is {self.split!r}; it must be one of {', '.join(get_args(SplitRule))}"
            )
        if self.prompt_noise < 0:
            raise ConfigurationError(f"protocol.prompt_noise is {self.prompt_noise}; it must not be negative")

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON values, `points` only where there are several: ids from before there were points hold."""
        values = asdict(self)
        if self.points == 1:
            del values["points"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Return the protocol with these fields.

        Raises:
            ConfigurationError: a key is unknown or a value is out of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigurationError(f"unknown protocol key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return replace(cls(), **values)  # type: ignore[arg-type]

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that name these conditions."""
        return content_id(self.to_dict(), length=8)


PAPER = Protocol()
