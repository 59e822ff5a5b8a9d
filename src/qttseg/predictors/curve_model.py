"""A Gaussian process that continues learning curves, on normalised scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.predictors.features import curve_features
from qttseg.predictors.gaussian_process import GaussianProcess, Layout

Array = NDArray[np.float64]

_CLIP = 3.0
"""Usual sizes beyond which a jump is no more surprising: a collapse must not dominate the likelihood."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which score will a run have after `target` epochs, given those it has `seen`?

    Attributes:
        configuration: Encoded configuration.
        meta: Encoded meta-features.
        dataset: Number of the dataset; equal for rows of one dataset.
        run: Number of the run; equal for rows of one run.
        seen: Normalised scores after epochs 1, 2, ...; may be empty.
        target: The epoch asked for, larger than `len(seen)`.
    """

    configuration: Array
    meta: Array
    dataset: int
    run: int
    seen: Array
    target: int

    @property
    def last(self) -> float:
        """The last score seen; 0, the mean of normalised scores, if none was."""
        return float(self.seen[-1]) if len(self.seen) else 0.0


@dataclass(frozen=True, kw_only=True)
class CurveModel:
    """A Gaussian process on how far a score lies from the last one seen, in units of the usual distance.

    Attributes:
        process: The process.
        center: Mean of each curve feature.
        scale: Standard deviation of each curve feature.
        spread: Coefficients of the logarithm of the usual distance: constant, epochs seen, epochs ahead.
        epochs: Epochs of a full run.
    """

    process: GaussianProcess
    center: tuple[float, ...]
    scale: tuple[float, ...]
    spread: tuple[float, ...]
    epochs: int

    @classmethod
    def fit(cls, questions: Sequence[Question], answers: Array, *, epochs: int, seed: int) -> Self:
        """Return the model that these questions, all with or all without scores seen, and answers teach.

        Args:
            questions: `n` of them, of one kind.
            answers: The normalised scores, `n`.
            epochs: Epochs of a full run.
            seed: Start of the network and draw of runs.
        """
        curve = np.array([curve_features(q.seen, q.target, epochs) for q in questions])
        center, scale = curve.mean(axis=0), np.maximum(curve.std(axis=0), 1e-6)
        features, jumps = _spread_features(questions), answers - _last(questions)
        spread = np.linalg.lstsq(features, np.log(np.abs(jumps) + 0.05), rcond=None)[0]
        spread[0] += 0.5 * np.log(np.mean((jumps / np.exp(features @ spread)) ** 2) + 1e-12)
        first = questions[0]
        layout = Layout(
            configuration=len(first.configuration),
            curve=curve.shape[1],
            times=2 if len(first.seen) else 1,
            meta=len(first.meta),
        )
        x = _inputs(layout, questions, (curve - center) / scale)
        process = GaussianProcess.fit(layout, x, _targets(jumps, np.exp(features @ spread)), seed=seed)
        return cls(
            process=process,
            center=tuple(center.tolist()),
            scale=tuple(scale.tolist()),
            spread=tuple(spread.tolist()),
            epochs=epochs,
        )

    def predict(self, questions: Sequence[Question], seen: Sequence[Question], answers: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the answers, `n` each.

        Args:
            questions: `n` of them.
            seen: Questions on the same dataset whose answers are known, `m`; may be none.
            answers: Their answers, `m`.
        """
        targets = _targets(answers - _last(seen), self._distances(seen))
        mean, variance = self.process.posterior(self._inputs(questions), self._inputs(seen), targets)
        distances = self._distances(questions)
        return _last(questions) + distances * mean, distances * np.sqrt(variance)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the process's tensors as JSON values."""
        return {
            "layout": vars(self.process.layout),
            "center": self.center,
            "scale": self.scale,
            "spread": self.spread,
            "epochs": self.epochs,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Return the model that `to_dict` and the process's `tensors` described."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        layout = Layout(**plain.pop("layout"))
        return cls(process=GaussianProcess.from_tensors(layout, tensors), **plain)

    def _inputs(self, questions: Sequence[Question]) -> Tensor:
        curve = np.array([curve_features(q.seen, q.target, self.epochs) for q in questions])
        curve = (curve.reshape(len(questions), len(self.center)) - self.center) / np.array(self.scale)
        return _inputs(self.process.layout, questions, curve)

    def _distances(self, questions: Sequence[Question]) -> Array:
        distances: Array = np.exp(_spread_features(questions) @ np.array(self.spread))
        return distances


def _spread_features(questions: Sequence[Question]) -> Array:
    """Return what the usual distance depends on; for questions without scores seen it is constant."""
    features = [[1.0, np.log1p(len(q.seen)), np.log(q.target - len(q.seen)) * bool(len(q.seen))] for q in questions]
    return np.array(features).reshape(len(questions), 3)


def _last(questions: Sequence[Question]) -> Array:
    return np.array([question.last for question in questions], dtype=np.float64)


def _targets(jumps: Array, distances: Array) -> Tensor:
    return torch.from_numpy(np.clip(jumps / distances, -_CLIP, _CLIP))


def _inputs(layout: Layout, questions: Sequence[Question], curve: Array) -> Tensor:
    count = len(questions)
    return layout.assemble(
        np.array([q.configuration for q in questions]).reshape(count, layout.configuration),
        curve,
        np.array([q.meta for q in questions]).reshape(count, layout.meta),
        np.array([q.dataset for q in questions], dtype=np.float64),
        np.array([q.run for q in questions], dtype=np.float64),
    )
