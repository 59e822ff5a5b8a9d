"""A Gaussian process that continues learning curves, on normalised scores, with a forest to advise it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.predictors.forest import Forest, Stack
from qttseg.predictors.gaussian_process import Layout
from qttseg.predictors.sparse_process import SparseProcess
from qttseg.predictors.storage import tensors_of

Array = NDArray[np.float64]

_CLIP = 3.0
"""Usual sizes beyond which a jump is no more surprising: a collapse must not dominate the likelihood."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """Which score will a run have after `target` epochs, given those it has shown? `n` of everything.

    Attributes:
        configuration: Encoded configurations, `n x c`.
        meta: Encoded meta-features, `n x f`.
        dataset: Number of the dataset; equal for rows of one dataset.
        task: Number of the dataset under its protocol, likewise.
        run: Number of the run; equal for rows of one run.
        seen: Epochs shown; all 0 or all positive.
        target: The epoch asked for, larger than `seen`.
        last: The last normalised score shown; 0, the mean of normalised scores, if none was.
        shape: What else the scores shown say, `n x 4` (`curve_shape`); `n x 0` if none were.
        expected: What was expected of the run at `target` before any score was shown.
    """

    configuration: Array
    meta: Array
    dataset: Array
    task: Array
    run: Array
    seen: Array
    target: Array
    last: Array
    shape: Array
    expected: Array

    @classmethod
    def before_training(
        cls, configuration: Array, meta: Array, *, dataset: Array, task: Array, run: Array, target: Array
    ) -> Self:
        """Return questions about runs that have shown nothing; shapes as the attributes, `meta` of one row or `n`."""
        count = len(configuration)
        nothing = np.zeros(count)
        return cls(
            configuration=configuration,
            meta=np.broadcast_to(meta, (count, meta.shape[-1])),
            dataset=dataset,
            task=task,
            run=run,
            seen=nothing,
            target=target,
            last=nothing,
            shape=np.empty((count, 0)),
            expected=nothing,
        )

    def __len__(self) -> int:
        return len(self.run)

    def __getitem__(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Questions:
        """Return some of the questions."""
        return Questions(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def continued(self, scores: Sequence[Array], expected: Array) -> Questions:
        """Return the same questions about runs that have shown these normalised scores, at least one each."""
        return replace(
            self,
            seen=np.array([float(len(shown)) for shown in scores]),
            last=np.array([shown[-1] for shown in scores]),
            shape=np.array([curve_shape(shown) for shown in scores]).reshape(len(self), 4),
            expected=expected,
        )

    def curve(self, epochs: int) -> Array:
        """Return what the partial curves say; the last columns are coordinates in time, as logarithms.

        Of differences between scores the cube roots count: most are small, and a collapse is large.
        """
        ahead = np.log(self.target / epochs)
        if not self.shape.shape[1]:
            return ahead[:, None]
        told = np.cbrt(np.column_stack([self.expected - self.last, self.last, self.shape]))
        return np.column_stack([told, np.log(self.seen), ahead])

    def features(self, epochs: int) -> Array:
        """Return what the partial curves say, then the configurations."""
        return np.column_stack([self.curve(epochs), self.configuration])

    @property
    def spread_features(self) -> Array:
        """What the usual distance from the last score depends on; constant for runs that have shown nothing."""
        shown = self.seen > 0
        steps = np.where(shown, np.log(self.target - self.seen), 0.0)
        return np.column_stack([np.ones(len(self)), np.log1p(self.seen), steps])


def curve_shape(scores: Array) -> list[float]:
    """Return how the last of some scores (at least one) lies to the best, the mean, the first and the one before it."""
    last, previous = scores[-1], scores[-2] if len(scores) > 1 else scores[-1]
    return [last - scores.max(), last - scores.mean(), last - scores[0], last - previous]


@dataclass(frozen=True, kw_only=True)
class CurveModel:
    """A Gaussian process on how far a score lies from the last one seen, in units of the usual distance.

    Where scores were seen, what had been expected takes the place of what it was expected from: configuration and
    meta-features. A forest, which looks at the configuration as well, then has a say.

    Attributes:
        process: The process.
        stack: The forest, if there is one.
        center: Mean of each curve feature.
        scale: Standard deviation of each curve feature.
        spread: Coefficients of the logarithm of the usual distance: constant, epochs seen, epochs ahead.
        epochs: Epochs of a full run.
    """

    process: SparseProcess
    stack: Stack | None
    center: tuple[float, ...]
    scale: tuple[float, ...]
    spread: tuple[float, ...]
    epochs: int

    @classmethod
    def fit(
        cls, questions: Questions, answers: Array, *, epochs: int, seed: int
    ) -> tuple[Self, Callable[[int], CurveModel]]:
        """Return the model that these questions, all with or all without scores shown, and answers teach.

        With it comes a function that returns the model as it would be had it not seen the dataset of a given number.

        Args:
            questions: `n` of them, of one kind.
            answers: The normalised scores, `n`.
            epochs: Epochs of a full run.
            seed: Start of the network and draw of runs.
        """
        curve, shown = questions.curve(epochs), bool(questions.shape.shape[1])
        center, scale = curve.mean(axis=0), np.maximum(curve.std(axis=0), 1e-6)
        features, jumps = questions.spread_features, answers - questions.last
        spread = np.linalg.lstsq(features, np.log(np.abs(jumps) + 0.05), rcond=None)[0]
        spread[0] += 0.5 * np.log(np.mean((jumps / np.exp(features @ spread)) ** 2) + 1e-12)
        layout = Layout(
            configuration=0 if shown else questions.configuration.shape[1],
            curve=curve.shape[1],
            times=2 if shown else 1,
            meta=0 if shown else questions.meta.shape[1],
        )
        x, targets = _inputs(layout, questions, (curve - center) / scale), _targets(jumps, np.exp(features @ spread))
        process, evidence = SparseProcess.fit(layout, x, targets, seed=seed)
        stack, stack_without = Stack.none()
        if shown:
            others, _ = evidence.cross_fitted(layout, x)
            stack, stack_without = Stack.fit(
                questions.features(epochs), targets.numpy(), questions.dataset, others, seed=seed
            )
        model = cls(
            process=process,
            stack=stack,
            center=tuple(center.tolist()),
            scale=tuple(scale.tolist()),
            spread=tuple(spread.tolist()),
            epochs=epochs,
        )

        def without(dataset: int) -> CurveModel:
            process = evidence.process(layout, without=dataset, temperature=model.process.temperature)
            return replace(model, process=process, stack=stack_without(dataset))

        return model, without

    def predict(
        self, questions: Questions, seen: Questions | None = None, answers: Array | None = None
    ) -> tuple[Array, Array]:
        """Return mean and standard deviation of the answers, `n` each.

        Args:
            questions: `n` of them.
            seen: Questions on the same dataset whose answers are known, `m`.
            answers: Their answers, `m`.
        """
        known = questions[:0] if seen is None else seen
        targets = _targets((np.empty(0) if answers is None else answers) - known.last, self._distances(known))
        mean, std = self.process.posterior(self._inputs(questions), self._inputs(known), targets)
        if self.stack:
            mean = self.stack.mixed(mean, questions.features(self.epochs))
        distances = self._distances(questions)
        return questions.last + distances * mean, distances * std

    def tensors(self) -> dict[str, Tensor]:
        """Return what the process and the forest consist of."""
        forest = self.stack.forest.tensors() if self.stack else {}
        return self.process.tensors() | {f"forest.{name}": tensor for name, tensor in forest.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return all but the tensors as JSON values."""
        return {
            "weight": self.stack.weight if self.stack else 0.0,
            "layout": vars(self.process.layout),
            "center": self.center,
            "scale": self.scale,
            "spread": self.spread,
            "epochs": self.epochs,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Return the model that `to_dict` and `tensors` described."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        layout = Layout(**plain.pop("layout"))
        forest = tensors_of("forest", tensors)
        weight = plain.pop("weight")
        stack = Stack(forest=Forest.from_tensors(forest), weight=weight) if forest else None
        return cls(process=SparseProcess.from_tensors(layout, tensors), stack=stack, **plain)

    def _inputs(self, questions: Questions) -> Tensor:
        curve = (questions.curve(self.epochs) - self.center) / np.array(self.scale)
        return _inputs(self.process.layout, questions, curve)

    def _distances(self, questions: Questions) -> Array:
        distances: Array = np.exp(questions.spread_features @ np.array(self.spread))
        return distances


def _targets(jumps: Array, distances: Array) -> Tensor:
    return torch.from_numpy(np.clip(jumps / distances, -_CLIP, _CLIP))


def _inputs(layout: Layout, questions: Questions, curve: Array) -> Tensor:
    return layout.assemble(
        questions.configuration[:, : layout.configuration],
        curve,
        questions.meta[:, : layout.meta],
        dataset=questions.dataset,
        task=questions.task,
        run=questions.run,
    )
