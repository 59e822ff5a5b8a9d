"""What a tuning session reports while it runs, for live progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import Outcome

Ending = Literal["budget", "exhausted", "interrupted"]
"""Why a session ended: nothing more fitted into the time, every candidate is done, or the user pressed Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened.

    Attributes:
        seconds_left: Until the budget ends, its reserve for the export included; negative once it is overrun.
        best: Validation score of the incumbent; None before anything was scored.
    """

    seconds_left: float
    best: float | None


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The images are prepared and the untuned model is scored; the search begins.

    Attributes:
        dataset: Name of the target.
        train: Number of training images.
        validation: Number of validation images.
        candidates: Number of configurations to choose from.
        reserve: Seconds kept for choosing and export.
    """

    dataset: str
    train: int
    validation: int
    candidates: int
    reserve: float


@dataclass(frozen=True, kw_only=True)
class Trying(Event):
    """An epoch begins.

    Attributes:
        configuration: What is trained.
        epoch: Which epoch of it, 1 for the first.
        expected_seconds: What it should take; 0 while nothing is known.
    """

    configuration: Configuration
    epoch: int
    expected_seconds: float


@dataclass(frozen=True, kw_only=True)
class Scored(Event):
    """An epoch ended.

    Attributes:
        configuration: What was trained.
        epoch: Which epoch of it.
        score: Its validation score.
    """

    configuration: Configuration
    epoch: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Finishing(Event):
    """No epoch of the leader fits any more; it takes a last few steps instead.

    Attributes:
        configuration: What is trained.
        epoch: Epochs that it has.
        steps: How many steps.
    """

    configuration: Configuration
    epoch: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class NewIncumbent(Event):
    """The best so far was beaten.

    Attributes:
        configuration: The new best; None for the untuned model.
        epoch: After which epoch; 0 for the untuned model.
    """

    configuration: Configuration | None
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """A candidate will not be tried again.

    Attributes:
        configuration: What was trained.
        outcome: How it failed.
        reason: In words.
    """

    configuration: Configuration
    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The search is over and the best model is chosen.

    Attributes:
        ending: Why.
        tried: Candidates that were started.
        epochs: Epochs that were trained, over all candidates.
    """

    ending: Ending
    tried: int
    epochs: int
