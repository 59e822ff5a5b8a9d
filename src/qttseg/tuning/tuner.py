"""The tuner: ask which configuration to train further, tell what an epoch gave.

It is pure: it has no clock and trains nothing, and a policy chooses. Live sessions and the replay of stored curves
share it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import ConfigurationError, PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord, Outcome
from qttseg.tuning.acquisition import Floats
from qttseg.tuning.policies import SAFETY, Policy, Standing


class Cost(Protocol):
    """What the tuner needs of a cost predictor."""

    def predict(
        self,
        meta_features: Mapping[str, float],
        configurations: Sequence[Configuration],
        *,
        images: float | None = None,
        accelerated: bool = False,
    ) -> NDArray[np.float64]:
        """Return the seconds that an epoch of each configuration on so many images takes, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to train next.

    Attributes:
        index: Place of the configuration among the candidates.
        configuration: The hyperparameters.
        epochs: Epochs to add to those it has.
        seconds: What they will take, as far as known (0 before anything is known).
    """

    index: int
    configuration: Configuration
    epochs: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best epoch observed so far.

    Attributes:
        index: Place of its configuration among the candidates.
        epoch: Epoch after which the score was measured; 1 for the first.
        score: Observed validation score; higher is better.
    """

    index: int
    epoch: int
    score: float


def predicted_seconds(
    cost: Cost,
    meta_features: Mapping[str, float],
    candidates: Sequence[Configuration],
    *,
    images: float | None = None,
    accelerated: bool = False,
) -> NDArray[np.float64]:
    """Return the predicted seconds of an epoch of each candidate, shape (n,).

    Args:
        cost: What predicts them.
        meta_features: Those of the dataset.
        candidates: The configurations, n.
        images: How many are trained and validated on; by default as many as the predictor learnt from.
        accelerated: Whether an accelerator trains them.

    Raises:
        PredictorError: the predictor returned something else.
    """
    seconds = np.asarray(
        cost.predict(meta_features, candidates, images=images, accelerated=accelerated), dtype=np.float64
    )
    if seconds.shape != (len(candidates),) or not (np.isfinite(seconds) & (seconds > 0)).all():
        raise PredictorError(
            f"the cost predictor returned {seconds.shape} values for {len(candidates)} candidates, or some "
            "that are not positive seconds; train it again"
        )
    return seconds


class Tuner:
    """Freeze-thaw search over a fixed list of candidates (QTT-SEG, section 2).

    It keeps what was seen, knows what a step costs and admits only what fits into the time; a policy chooses among that.

    Args:
        candidates: Configurations to choose from; a proposal names one by its index.
        policy: Chooses.
        predicted: Predicted seconds of an epoch of each candidate, shape (n,), as `predicted_seconds` returns them; by
            default an unseen candidate costs what the seen ones cost on average.
        max_epochs: Epochs after which a candidate is finished.
        step: Epochs that one proposal adds at most.

    Raises:
        ConfigurationError: there is no candidate, or a number is below 1.
    """

    def __init__(
        self,
        candidates: Sequence[Configuration],
        policy: Policy,
        *,
        max_epochs: int,
        predicted: Floats | None = None,
        step: int = 1,
    ) -> None:
        if not candidates:
            raise ConfigurationError("the tuner was given no candidates; sample at least one from the search space")
        if max_epochs < 1 or step < 1:
            raise ConfigurationError(f"max_epochs is {max_epochs} and step {step}; both must be at least 1")
        self.candidates = tuple(candidates)
        self.max_epochs = max_epochs
        self._policy = policy
        self._step = step
        self._predicted = predicted
        self._records: list[list[EpochRecord]] = [[] for _ in self.candidates]
        self._failures: dict[int, Outcome] = {}
        self._incumbent: Incumbent | None = None

    @property
    def incumbent(self) -> Incumbent | None:
        """Best epoch observed, the earlier of equals; None before the first was told."""
        return self._incumbent

    @property
    def leader(self) -> int | None:
        """The incumbent's candidate, if it can be trained further."""
        best = self._incumbent
        return best.index if best is not None and self._to_add(best.index) else None

    @property
    def curves(self) -> tuple[tuple[EpochRecord, ...], ...]:
        """Records told so far of each candidate, in order of epochs; empty where not started."""
        return tuple(tuple(records) for records in self._records)

    @property
    def failures(self) -> Mapping[int, Outcome]:
        """How each candidate that will not be asked again failed, by its index."""
        return MappingProxyType(self._failures)

    @property
    def exhausted(self) -> bool:
        """Whether every candidate is finished or has failed."""
        return not any(self._to_add(index) for index in range(len(self.candidates)))

    def seconds_per_epoch(self) -> Floats:
        """Return what another epoch of each candidate is expected to take, shape (n,); 0 while nothing is known.

        A candidate's own epochs count most: their median. For the others the predicted cost is multiplied by the
        median ratio of observed to predicted cost over the candidates seen, which calibrates it to this hardware.
        """
        own = {index: median(record.seconds for record in seen) for index, seen in enumerate(self._records) if seen}
        if self._predicted is None:
            expected = np.full(len(self.candidates), fmean(own.values()) if own else 0.0)
        else:
            ratios = [seconds / self._predicted[index] for index, seconds in own.items()]
            expected = self._predicted * (median(ratios) if ratios else 1.0)
        for index, seconds in own.items():
            expected[index] = seconds
        return expected

    def ask(self, remaining: float, *, busy: Collection[int] = ()) -> Proposal | None:
        """Return what to train next, or None when nothing is left that fits; asking changes nothing.

        Args:
            remaining: Seconds until the deadline.
            busy: Candidates that are being trained already, by other workers.

        Raises:
            PredictorError: the predictor returned arrays of a wrong shape.
            ConfigurationError: the predictor returned values that are not finite.
        """
        if not remaining > 0:
            return None
        seconds = self.seconds_per_epoch()
        steps = [self._to_add(index) for index in range(len(self.candidates))]
        admitted = [
            index
            for index, step in enumerate(steps)
            if step
            and index not in busy
            and (not self._is_priced(index) or seconds[index] * step * SAFETY <= remaining)
        ]
        if not admitted:
            return None
        standing = Standing(
            scores=[[record.score for record in records] for records in self._records],
            failed=frozenset(self._failures),
            admitted=admitted,
            steps=steps,
            seconds=seconds,
            remaining=remaining,
            max_epochs=self.max_epochs,
        )
        index = self._policy.choose(standing)
        epochs = steps[index]
        return Proposal(
            index=index,
            configuration=self.candidates[index],
            epochs=epochs,
            seconds=float(seconds[index]) * epochs,
        )

    def tell(self, index: int, record: EpochRecord) -> bool:
        """Take in what an epoch of candidate `index` gave; return whether it is the new incumbent.

        Raises:
            ConfigurationError: the candidate is unknown, failed or finished, the epoch is not its next one, or a
                number is not finite (report such a candidate with `fail`).
        """
        self._check_index(index)
        following = len(self._records[index]) + 1
        if self._to_add(index) == 0 or record.epoch != following:
            raise ConfigurationError(
                f"candidate {index} has {following - 1} of {self.max_epochs} epochs"
                f"{' and failed' if index in self._failures else ''}; epoch {record.epoch} cannot follow"
            )
        if not (isfinite(record.score) and isfinite(record.seconds) and record.seconds >= 0):
            raise ConfigurationError(
                f"epoch {record.epoch} of candidate {index} has score {record.score} and {record.seconds} s; "
                "report a diverged candidate with fail()"
            )
        self._records[index].append(record)
        improved = self._incumbent is None or record.score > self._incumbent.score
        if improved:
            self._incumbent = Incumbent(index=index, epoch=record.epoch, score=record.score)
        return improved

    def fail(self, index: int, outcome: Outcome) -> None:
        """Never propose candidate `index` again; what it scored before stays observed.

        Raises:
            ConfigurationError: the candidate is unknown.
        """
        self._check_index(index)
        self._failures[index] = outcome

    def _is_priced(self, index: int) -> bool:
        """Whether the cost of candidate `index` is known; one of unknown cost may be started, the deadline ends it."""
        return self._predicted is not None or bool(self._records[index])

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self.candidates):
            raise ConfigurationError(f"there is no candidate {index}; there are {len(self.candidates)}, from 0 on")

    def _to_add(self, index: int) -> int:
        """Epochs that a proposal of candidate `index` adds; 0 when it failed or is finished."""
        return 0 if index in self._failures else min(self._step, self.max_epochs - len(self._records[index]))
