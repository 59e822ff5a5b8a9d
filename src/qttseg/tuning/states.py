"""Trainings under way: a few kept ready, the others frozen to tensors in main memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.fine_tuning import FineTuning, FineTuningState

MOST_READY = 16


class FreezeThaw:
    """The trainings of a session by candidate index; thawing one goes on where it stopped, no epoch is repeated.

    Args:
        start: Makes the untrained `FineTuning` of a candidate.
        most_ready: Trainings that may stand ready on the device; beyond it the one with the lowest last score is
            frozen.
    """

    def __init__(self, start: Callable[[int, Configuration], FineTuning], *, most_ready: int = MOST_READY) -> None:
        self._start = start
        self._most_ready = most_ready
        self._ready: dict[int, FineTuning] = {}
        self._frozen: dict[int, FineTuningState] = {}
        self._last_scores: dict[int, float] = {}

    def thaw(self, index: int, configuration: Configuration) -> FineTuning:
        """Return the training of candidate `index`, as far as it has come, freezing others to make room."""
        if index not in self._ready:
            while len(self._ready) >= self._most_ready:
                self._freeze(min(self._ready, key=lambda other: self._last_scores.get(other, 0.0)))
            training = self._start(index, configuration)
            if index in self._frozen:
                training.restore(self._frozen.pop(index))
            self._ready[index] = training
        return self._ready[index]

    def scored(self, index: int, score: float) -> None:
        """Note the last score of candidate `index`, by which others are preferred to it."""
        self._last_scores[index] = score

    def forget(self, index: int) -> None:
        """Free what candidate `index` holds, as it will not be trained further."""
        self._ready.pop(index, None)
        self._frozen.pop(index, None)

    def _freeze(self, index: int) -> None:
        state = self._ready.pop(index).state()
        self._frozen[index] = replace(state, tensors={name: tensor.cpu() for name, tensor in state.tensors.items()})
