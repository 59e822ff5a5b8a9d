"""Runs and what they leave behind: learning curves with a typed outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.hashing import content_id
from qttseg.metadata.protocol import Protocol


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fine-tuning to do: dataset, configuration, protocol, backbone and seed.

    Attributes:
        dataset: Name or path by which a worker resolves the dataset.
        dataset_fingerprint: Hash of the dataset's content; this, not the name, enters the id.
        configuration: The hyperparameters.
        space: Search space the configuration is a point of, as in `paper-v1`.
        protocol: The conditions.
        backbone: Name by which a worker loads the backbone.
        backbone_fingerprint: Hash of the backbone's weights; enters the id.
        seed: Draw of images and order of training.
    """

    dataset: str
    dataset_fingerprint: str
    configuration: Configuration
    space: str
    protocol: Protocol
    backbone: str
    backbone_fingerprint: str
    seed: int = 0

    @property
    def id(self) -> str:
        """Hash of everything that decides the result, so that the same work is never done twice."""
        return content_id(
            {
                "dataset": self.dataset_fingerprint,
                "configuration": dict(self.configuration),
                "protocol": self.protocol.to_dict(),
                "backbone": self.backbone_fingerprint,
                "seed": self.seed,
            }
        )


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch gave.

    Attributes:
        epoch: 1 for the first.
        score: Validation score in [0, 1] under the protocol's metric; higher is better.
        train_loss: Mean loss over the epoch's steps.
        learning_rate: Learning rate of the epoch's last step.
        train_seconds: Wall time of the training steps.
        validation_seconds: Wall time of scoring the validation images.
        peak_memory: Peak memory in bytes: the accelerator's where there is one, else the process's resident set.
    """

    epoch: int
    score: float
    train_loss: float
    learning_rate: float
    train_seconds: float
    validation_seconds: float
    peak_memory: int

    @property
    def seconds(self) -> float:
        """Wall time of the epoch, validation included."""
        return self.train_seconds + self.validation_seconds


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The records of one run and how it ended.

    Attributes:
        run: What was run.
        outcome: How it ended.
        reason: Why, where it did not complete; empty otherwise.
        records: One for each finished epoch, in order.
        setup_seconds: Wall time before the first epoch (reading, embedding), without a warm worker's share.
        machine: Short description of the machine, for cost predictors.
        finished_at: Seconds since 1970-01-01 UTC.
        version: qttseg version that made it.
    """

    run: Run
    outcome: Outcome
    reason: str = ""
    records: tuple[EpochRecord, ...] = ()
    setup_seconds: float = 0.0
    machine: str = ""
    finished_at: float = 0.0
    version: str = ""

    @property
    def scores(self) -> tuple[float, ...]:
        """Validation score after each epoch."""
        return tuple(record.score for record in self.records)


def is_accelerated(machine: str) -> bool:
    """Return whether a curve's `machine` is an accelerator; one that is not known counts as none."""
    return bool(machine) and "CPU" not in machine
