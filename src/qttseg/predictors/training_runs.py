"""The runs of a training set as the predictors read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.runs import Outcome

Array = NDArray[np.float64]

MIN_RUNS = 8


@dataclass(frozen=True, kw_only=True)
class TrainingRuns:
    """Runs with what a predictor learns from each, `n` of everything.

    What is to be learnt about is a task: a dataset under a protocol. Scores of other prompts, or other numbers of images,
    are on another scale.

    Attributes:
        configurations: The hyperparameters.
        tasks: Names of the tasks.
        values: Score after each epoch, or seconds of each epoch.
        machines: Short descriptions of the machines.
        images: How many each trained and validated on.
        meta_features: Meta-features of each task's dataset.
        datasets: Number of each task's dataset, from 0; tasks on one dataset share it.
    """

    configurations: tuple[Configuration, ...]
    tasks: tuple[str, ...]
    values: tuple[Array, ...]
    machines: tuple[str, ...]
    images: tuple[int, ...]
    meta_features: Mapping[str, Mapping[str, float]]
    datasets: Mapping[str, int]

    @classmethod
    def with_scores(cls, training: TrainingSet, *, fewest: int = MIN_RUNS) -> Self:
        """Return the runs that tell how good a configuration is: those that completed or diverged.

        A diverged run scores the worst score of its task from the epoch on in which it diverged, as does any score
        that is not a number.

        Raises:
            PredictorError: fewer than `fewest` such runs.
        """
        rows = [row for row in training.table.to_pylist() if _tells_a_score(row)]
        _require(len(rows), fewest, what="completed or diverged runs")
        epochs = max(len(row["scores"]) for row in rows)
        worst: dict[str, float] = {}
        for row in rows:
            finite = [score for score in row["scores"] if np.isfinite(score)]
            worst[_task(row)] = min([*finite, worst.get(_task(row), 1.0)])
        return cls._of(rows, tuple(_filled(row, worst[_task(row)], epochs) for row in rows))

    @classmethod
    def with_seconds(cls, training: TrainingSet, *, fewest: int = MIN_RUNS) -> Self:
        """Return the runs that tell what an epoch costs: those of any outcome that finished one.

        Raises:
            PredictorError: fewer than `fewest` such runs.
        """
        rows = [row for row in training.table.to_pylist() if sum(row["epoch_seconds"]) > 0]
        _require(len(rows), fewest, what="runs with a finished epoch")
        return cls._of(rows, tuple(np.array(row["epoch_seconds"], dtype=np.float64) for row in rows))

    @classmethod
    def _of(cls, rows: list[dict[str, Any]], values: tuple[Array, ...]) -> Self:
        numbers = {key: n for n, key in enumerate(dict.fromkeys(row["dataset_fingerprint"] for row in rows))}
        return cls(
            configurations=tuple(Configuration.from_json(row["configuration"]) for row in rows),
            tasks=tuple(_task(row) for row in rows),
            values=values,
            machines=tuple(row["machine"] for row in rows),
            images=tuple(row["images"] for row in rows),
            meta_features={_task(row): dict(row["meta_features"]) for row in rows},
            datasets={_task(row): numbers[row["dataset_fingerprint"]] for row in rows},
        )

    def of_task(self, name: str) -> tuple[Array, ...]:
        """Return the values of the runs of one task."""
        return tuple(v for v, task in zip(self.values, self.tasks, strict=True) if task == name)


def tell_a_score(training: TrainingSet) -> bool:
    """Return whether any of the runs says how good a configuration is: whether one completed or diverged."""
    return any(_tells_a_score(row) for row in training.table.select(["outcome", "scores"]).to_pylist())


def _tells_a_score(row: Mapping[str, Any]) -> bool:
    return row["outcome"] == Outcome.DIVERGED or (row["outcome"] == Outcome.COMPLETED and bool(row["scores"]))


def _task(row: Mapping[str, Any]) -> str:
    return f"{row['dataset_fingerprint']}/{row['protocol_id']}"


def _filled(row: Mapping[str, Any], worst: float, epochs: int) -> Array:
    scores = np.array(row["scores"], dtype=np.float64)
    if row["outcome"] == Outcome.DIVERGED:
        scores = np.concatenate([scores, np.full(epochs - len(scores), worst)])
    return np.where(np.isfinite(scores), scores, worst)


def _require(count: int, fewest: int, *, what: str) -> None:
    if count < fewest:
        raise PredictorError(
            f"the training set has {count} {what}; a predictor needs at least {fewest}. Collect more with qttseg collect"
        )
