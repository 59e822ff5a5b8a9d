"""Scores on a scale that all datasets share.

A score is first taken as a share of what the dataset allows (`Scale`: the ninetieth percentile of its final scores is 1),
then bent by one `Warp`, the same for all datasets, that makes final scores look normally distributed. So only one number
has to be found out for a new dataset: from its own curves as they come in, and before that from the mean of the
training datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

_TOP = 0.9
"""Quantile of a dataset's final scores that stands for what it allows; the maximum would be a lucky run's."""

_LEAST_TOP = 0.02
"""Below this, differences between configurations are noise."""

_SCATTER = 0.15
"""Standard deviation of sorted scores around the predicted quantiles."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a dataset allows.

    Attributes:
        top: Ninetieth percentile of its final scores; positive.
        std: Standard deviation of the top, where it had to be inferred.
    """

    top: float
    std: float = 0.0

    @classmethod
    def of(cls, finals: Array) -> Self:
        """Return the scale of a dataset with these final scores."""
        return cls(top=max(float(np.quantile(finals, _TOP)), _LEAST_TOP))

    def shares(self, scores: Array) -> Array:
        """Return scores as shares of the top."""
        return scores / self.top

    def raw(self, shares: Array) -> Array:
        """Return shares of the top as scores, kept in [0, 1]."""
        return np.clip(self.top * shares, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Warp:
    """A rising map between shares of the top and standard normal values.

    Attributes:
        shares: Knots, rising strictly.
        normal: The normal value at each knot, rising strictly. Beyond the ends the slope is 1.
    """

    shares: tuple[float, ...]
    normal: tuple[float, ...]

    @classmethod
    def of(cls, shares: Array) -> Self:
        """Return the map that makes these shares standard normal."""
        edge = float(norm.ppf(1 - 0.5 / max(len(shares), 2)))
        normal = np.linspace(-edge, edge, 41)
        knots = np.quantile(shares, norm.cdf(normal))
        # Ties (runs that all score 0) would make the map impossible to turn around.
        knots = np.maximum.accumulate(knots) + 1e-4 * np.arange(len(knots))
        return cls(shares=tuple(knots.tolist()), normal=tuple(normal.tolist()))

    def to_normal(self, shares: Array) -> Array:
        """Return the normal values of shares."""
        return _interpolate(shares, np.array(self.shares), np.array(self.normal))

    def to_shares(self, normal: Array) -> Array:
        """Return the shares of normal values."""
        return _interpolate(normal, np.array(self.normal), np.array(self.shares))


def raw_moments(mean: Array, std: Array, warp: Warp, scale: Scale, *, seen: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the score whose normal value has `mean` and `std` (Gauss-Hermite).

    What is not known of the scale adds to the deviation of all that lies beyond the last score `seen`; 0 if none was.
    """
    values = scale.raw(warp.to_shares(mean[:, None] + std[:, None] * _NODES))
    centre = values @ _WEIGHTS
    variance = (values - centre[:, None]) ** 2 @ _WEIGHTS + ((centre - seen) / scale.top * scale.std) ** 2
    return centre, np.sqrt(np.maximum(variance, 1e-12))


@dataclass(frozen=True, kw_only=True)
class ScalePrior:
    """What the tops of the training datasets say about the top of a new one.

    Attributes:
        mean: Their mean.
        spread: By how much that of a new one is expected to differ from it.
    """

    mean: float
    spread: float

    @classmethod
    def of(cls, scales: Sequence[Scale]) -> Self:
        """Return the prior; few datasets say little, so no spread is taken as smaller than 0.2."""
        tops = np.array([scale.top for scale in scales])
        return cls(mean=float(tops.mean()), spread=max(float(tops.std() * np.sqrt(1 + 2 / len(tops))), 0.2))

    def locate(self, scores: Array, mean: Array, std: Array, warp: Warp) -> Scale:
        """Return the scale of a dataset on which `scores` were seen where `mean` +- `std` was predicted.

        A tuner tries the promising candidates first, so a percentile of what it has seen would mislead; and how bad the
        bad ones are differs between datasets. So the better half of the sorted scores is regressed on the same
        quantiles of the shares that were predicted for these very candidates; the prior is the ridge.

        Args:
            scores: Raw scores, `n`.
            mean: Predicted normal value of each, `n`.
            std: Its standard deviation, `n`.
            warp: The map between normal values and shares.
        """
        count = len(scores)
        shares = warp.to_shares(mean[:, None] + std[:, None] * _NODES).ravel()
        order = np.argsort(shares)
        reached = (np.cumsum(np.tile(_WEIGHTS, count)[order]) - 0.5 * np.tile(_WEIGHTS, count)[order]) / max(count, 1)
        upper = np.arange(count // 2, count)
        expected = np.interp((upper + 0.5) / max(count, 1), reached, shares[order]) if count else upper
        ridge = (_SCATTER / self.spread) ** 2
        precision = ridge + expected @ expected
        top = (ridge * self.mean + expected @ np.sort(scores)[upper]) / precision
        return Scale(top=max(float(top), _LEAST_TOP), std=float(_SCATTER / np.sqrt(precision)))


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    inside = np.interp(x, knots, values)
    beyond: Array = inside + np.maximum(x - knots[-1], 0.0) + np.minimum(x - knots[0], 0.0)
    return beyond
