"""Scores on a scale that all datasets share.

A score is first placed between what half and what nine tenths of the dataset's final scores stay below (`Scale`: 0 and 1),
then bent by one `Warp`, the same for all datasets, that makes final scores look normally distributed. So two numbers
have to be found out for a new dataset: from its own curves as they come in, and before that from the training datasets.
Shares of the top alone, one number, would see no difference where all good runs score within thousandths of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

_BASE, _TOP = 0.5, 0.9
"""Quantiles of a dataset's final scores that stand for 0 and 1; the maximum would be a lucky run's."""

_LEAST_WIDTH = 0.005
"""Below this, differences between configurations are noise."""

_SCATTER, _NEAR, _TOGETHER = 0.3, 0.3, 0.4
"""How far sorted scores lie from predicted quantiles, in widths for each unit of distance from 1 (plus `_NEAR`): each by
itself, and all of a dataset together."""

_LOWER = 0.3
"""Share of the sorted scores that does not tell about the scale: how bad the bad ones are differs between datasets."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


Covariance = tuple[float, float, float]
"""Variance of the base, covariance of base and width, variance of the width."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a dataset allows.

    Attributes:
        base: Median of its final scores.
        width: From there to their ninetieth percentile; positive.
        unsure: Covariance of the two, where they had to be inferred.
    """

    base: float
    width: float
    unsure: Covariance = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, finals: Array) -> Self:
        """Return the scale of a dataset with these final scores."""
        base, top = np.quantile(finals, (_BASE, _TOP))
        return cls(base=float(base), width=max(float(top - base), _LEAST_WIDTH))

    def shares(self, scores: Array) -> Array:
        """Return the places of scores: 0 at the base, 1 a width above it."""
        return (scores - self.base) / self.width

    def raw(self, shares: Array) -> Array:
        """Return the scores at these places, kept in [0, 1]."""
        return np.clip(self.base + self.width * shares, 0.0, 1.0)

    def variance(self, shares: Array, seen: Array) -> Array:
        """Return what is not known of the scale as a variance of the scores at `shares`, `n`.

        Args:
            shares: Places, `n`.
            seen: The last score of each curve, from which it is counted, `n`; NaN if there is none.
        """
        base, both, width = self.unsure
        fresh = np.isnan(seen)
        away = shares - np.where(fresh, 0.0, self.shares(np.nan_to_num(seen)))
        return np.where(fresh, base + 2 * away * both, 0.0) + away**2 * width


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
    """Return median and deviation of the score whose normal value has `mean` and `std` (Gauss-Hermite).

    What is not known of the scale adds to the deviation of all that lies beyond the last score `seen`; NaN if none was.
    """
    middle = warp.to_shares(mean)
    centre = scale.raw(middle)
    values = scale.raw(warp.to_shares(mean[:, None] + std[:, None] * _NODES))
    variance = (values - centre[:, None]) ** 2 @ _WEIGHTS + scale.variance(middle, seen)
    return centre, np.sqrt(np.maximum(variance, 1e-12))


@dataclass(frozen=True, kw_only=True)
class ScalePrior:
    """What the scales of the training datasets say about that of a new one.

    Attributes:
        base: Mean of their bases.
        width: Mean of their widths.
        unsure: By how much those of a new one are expected to differ.
    """

    base: float
    width: float
    unsure: Covariance

    @classmethod
    def of(cls, scales: Sequence[Scale]) -> Self:
        """Return the prior; few datasets say little, so the base is never taken as surer than 0.2, nor the width than half."""
        known = np.array([[scale.base, scale.width] for scale in scales])
        base, width = known.mean(axis=0)
        spread = np.cov(known.T, bias=True) * (1 + 2 / len(known))
        least = np.maximum(np.array([0.2, 0.5 * width]) ** 2 - np.diag(spread), 1e-6)
        return cls(base=float(base), width=float(width), unsure=_upper(spread + np.diag(least)))

    def locate(self, scores: Array, mean: Array, std: Array, warp: Warp) -> Scale:
        """Return the scale of a dataset on which `scores` were seen where `mean` +- `std` was predicted.

        A tuner tries the promising candidates first, so percentiles of what it has seen would mislead. So the better
        of the sorted scores are regressed on the same quantiles of the shares that were predicted for these very
        candidates, from the prior. Early scores, far below what a dataset allows, say less, and err together.

        Args:
            scores: Raw scores, `n`.
            mean: Predicted normal value of each, `n`.
            std: Its standard deviation, `n`.
            warp: The map between normal values and shares.
        """
        count = len(scores)
        if not count:
            return Scale(base=self.base, width=self.width, unsure=self.unsure)
        better = np.arange(int(count * _LOWER), count)
        expected = _quantiles(warp.to_shares(mean[:, None] + std[:, None] * _NODES), (better + 0.5) / count)
        away, design = np.abs(1 - expected), np.column_stack([np.ones(len(better)), expected])
        noise = np.diag((_SCATTER * (_NEAR + away)) ** 2) + _TOGETHER**2 * np.outer(away, away)
        gain = np.linalg.solve(noise, design)
        base, both, width = self.unsure
        prior = np.linalg.inv([[base, both], [both, width]])
        found = np.array([self.base, self.width])
        for _ in range(4):  # the noise is in widths, which have to be found out too
            precision = prior + design.T @ gain / found[1] ** 2
            found = np.linalg.solve(
                precision, prior @ [self.base, self.width] + gain.T @ np.sort(scores)[better] / found[1] ** 2
            )
            found[1] = max(found[1], _LEAST_WIDTH)
        return Scale(base=float(found[0]), width=float(found[1]), unsure=_upper(np.linalg.inv(precision)))


def _quantiles(shares: Array, levels: Array) -> Array:
    """Return quantiles of a mixture: `shares` (n × nodes) of each candidate, weighted as the nodes are."""
    weights = np.broadcast_to(_WEIGHTS / len(shares), shares.shape).ravel()
    order = np.argsort(shares, axis=None)
    reached = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(levels, reached, shares.ravel()[order])


def _upper(matrix: Array) -> Covariance:
    return float(matrix[0, 0]), float(matrix[0, 1]), float(matrix[1, 1])


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    inside = np.interp(x, knots, values)
    beyond: Array = inside + np.maximum(x - knots[-1], 0.0) + np.minimum(x - knots[0], 0.0)
    return beyond
