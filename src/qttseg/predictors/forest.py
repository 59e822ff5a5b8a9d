"""Extremely randomised trees (Geurts, Ernst and Wehenkel 2006), stacked with a Gaussian process (Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.errors import PredictorError

Array = NDArray[np.float64]

_TREES, _ROWS_OF_LEAF = 50, 25
"""A run has up to four rows: smaller leaves would learn single runs by heart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """Trees as arrays over all their nodes, `n`: quick to ask about a few rows, and saved without pickle.

    Attributes:
        column: The column that a node looks at.
        threshold: The largest value that goes left.
        children: Nodes to the left and to the right, `n x 2`; a leaf is its own.
        value: The mean of the targets in a leaf.
        roots: The first node of each tree.
    """

    column: NDArray[np.int16]
    threshold: NDArray[np.float32]
    children: NDArray[np.int32]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]

    @classmethod
    def fit(cls, x: Array, u: Array, *, seed: int) -> Self:
        """Return the trees that inputs `x` (`m x columns`) and targets `u` (`m`) teach."""
        from sklearn.ensemble import ExtraTreesRegressor  # a second to import, and only fitting needs it

        grown = ExtraTreesRegressor(_TREES, min_samples_leaf=_ROWS_OF_LEAF, random_state=seed).fit(x, u)
        trees = [tree.tree_ for tree in grown.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        nodes = np.arange(sum(tree.node_count for tree in trees))[:, None]
        children = np.concatenate(
            [
                np.column_stack([t.children_left, t.children_right]) + np.where(t.children_left[:, None] < 0, 0, root)
                for t, root in zip(trees, roots, strict=True)
            ]
        )
        return cls(
            column=np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int16),
            threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
            children=np.where(children < 0, nodes, children).astype(np.int32),
            value=np.concatenate([tree.value[:, 0, 0] for tree in trees]).astype(np.float32),
            roots=roots.astype(np.int32),
        )

    def predict(self, x: Array) -> Array:
        """Return the mean over the trees at the rows of `x` (`n x columns`), `n`."""
        rows, values = np.arange(len(x))[:, None], x.astype(np.float32)
        nodes = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        while True:
            right = values[rows, self.column[nodes]] > self.threshold[nodes]
            further = self.children[nodes, right.astype(np.intp)]
            if np.array_equal(further, nodes):
                mean: Array = self.value[nodes].mean(axis=1, dtype=np.float64)
                return mean
            nodes = further

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the forest consists of."""
        return {name: torch.from_numpy(values) for name, values in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the forest that `tensors` described.

        Raises:
            PredictorError: tensors are missing.
        """
        try:
            return cls(**{name: tensors[name].numpy() for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise PredictorError(f"the saved forest is damaged: {error} is missing") from error


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A forest whose mean is mixed with that of a process.

    Attributes:
        forest: The forest.
        weight: That of the forest, in [0, 1]; the process has the rest.
    """

    forest: Forest
    weight: float

    @classmethod
    def fit(
        cls, x: Array, u: Array, dataset: Array, others: Array, *, seed: int
    ) -> tuple[Self | None, Callable[[int], Stack | None]]:
        """Return the forest with the weight that serves datasets best which neither it nor the process has seen.

        None if there is but one dataset. With it comes a function that returns the forest as it would be had it not seen
        the dataset of a given number.

        Args:
            x: Inputs, `n x columns`.
            u: Targets, `n`.
            dataset: Number of the dataset of each row, `n`.
            others: What the process says of each row without having seen its dataset, `n`.
            seed: Draw of the trees.
        """
        numbers = np.unique(dataset).astype(int).tolist()
        if len(numbers) < 2:
            return cls.none()
        parted = {d: Forest.fit(x[dataset != d], u[dataset != d], seed=seed) for d in numbers}
        apart = np.empty(len(u))
        for d, forest in parted.items():
            apart[dataset == d] = forest.predict(x[dataset == d])
        apart -= others
        weight = float(np.clip(apart @ (u - others) / (apart @ apart + 1e-12), 0.0, 1.0))
        whole = cls(forest=Forest.fit(x, u, seed=seed), weight=weight)
        return whole, lambda number: replace(whole, forest=parted.get(number, whole.forest))

    @classmethod
    def none(cls) -> tuple[Self | None, Callable[[int], Stack | None]]:
        """Return what `fit` returns where there is no forest."""
        return None, lambda _: None

    def mixed(self, mean: Array, x: Array) -> Array:
        """Return the process's `mean` (`n`), mixed with the forest's at `x` (`n x columns`)."""
        return mean + self.weight * (self.forest.predict(x) - mean)
