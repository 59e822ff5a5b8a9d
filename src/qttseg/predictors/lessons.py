"""What the processes of a performance predictor learn from: questions about training runs, with their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qttseg.predictors.curve_model import Questions
from qttseg.predictors.features import Encoder
from qttseg.predictors.training_runs import TrainingRuns

Array = NDArray[np.float64]

_MAX_RUNS = 800
"""Training runs drawn from a larger store: 2,400 to 3,200 rows for each of the two processes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """Questions about training runs, as if nothing had been shown, and what was.

    Attributes:
        questions: `n` of them.
        seen: Epochs shown, `n`.
        shown: The scores of those that have shown some, in the same order.
        answers: Normalised scores, `n`.
    """

    questions: Questions
    seen: NDArray[np.intp]
    shown: tuple[Array, ...]
    answers: Array

    @classmethod
    def draw(
        cls, runs: TrainingRuns, normal: Sequence[Array], encoder: Encoder, generator: np.random.Generator
    ) -> Self:
        """Return a lesson about a bounded number of runs, drawn as evenly over the datasets as the store allows."""
        numbers = {key: number for number, key in enumerate(runs.meta_features)}
        metas = np.array([encoder.meta_features(features) for features in runs.meta_features.values()])
        rows = [
            (run, seen, target)
            for run in _evenly(runs.tasks, generator)[:_MAX_RUNS]
            for seen, target in _drawn(len(normal[run]), generator)
        ]
        which, seen, target = (np.array(column, np.intp) for column in zip(*rows, strict=True))
        task = np.array([numbers[runs.tasks[run]] for run in which])
        dataset = np.array([runs.datasets[runs.tasks[run]] for run in which])
        questions = Questions.before_training(
            encoder.configurations(runs.configurations)[which],
            metas[task],
            dataset=dataset.astype(np.float64),
            task=task.astype(np.float64),
            run=which.astype(np.float64),
            target=target.astype(np.float64),
        )
        return cls(
            questions=questions,
            seen=seen,
            shown=tuple(normal[run][:count] for run, count, _ in rows if count),
            answers=np.array([normal[run][after - 1] for run, _, after in rows]),
        )


def _evenly(datasets: Sequence[str], generator: np.random.Generator) -> list[int]:
    """Return the runs in a random order in which datasets take turns."""
    places: dict[str, int] = {}
    ranked: list[tuple[int, int]] = []
    for run in generator.permutation(len(datasets)).tolist():
        place = places[datasets[run]] = places.get(datasets[run], -1) + 1
        ranked.append((place, run))
    return [run for _, run in sorted(ranked)]


def _drawn(length: int, generator: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield (epochs seen, epoch asked for) of a run: its end from several places, and some points on the way."""
    pairs = {(0, length): None}
    if length > 1:
        early, late = 1 + max(1, length // 3), length
        pairs |= {(0, int(generator.integers(1, early))): None, (0, int(generator.integers(early, late + 1))): None}
        anywhere, start = int(generator.integers(1, length)), int(generator.integers(1, length))
        between = (start, int(generator.integers(start + 1, length + 1)))
        pairs |= dict.fromkeys([(1, length), (min(3, length - 1), length), (anywhere, length), between])
    yield from pairs
