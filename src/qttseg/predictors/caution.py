"""How much higher and wider predictions must be made, so that datasets that were left out fit into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEVELS = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.9])
_NORMAL = np.array([0.2533, 0.4538, 0.6745, 0.9346, 1.2816, 1.6449])
"""Shares of a normal distribution, and within how many standard deviations of its mean they lie."""


def stretch(misses: Array) -> float:
    """Return the factor on standard deviations that makes `misses`, in units of them, look normally distributed."""
    reached = np.quantile(np.abs(misses), _LEVELS)
    return float(np.exp(np.log(np.maximum(reached, 1e-3) / _NORMAL).mean()))


@dataclass(frozen=True, kw_only=True)
class Misses:
    """How far predictions for a dataset that was left out lay from the truth.

    Attributes:
        errors: Truth less prediction, `n`.
        deviations: The predicted standard deviations, `n`.
    """

    errors: Array
    deviations: Array

    @property
    def lift(self) -> float:
        """What was to be added to all predictions, in typical deviations."""
        return float(np.median(self.errors) / np.median(self.deviations))

    def lifted(self, lift: float) -> Array:
        """Return the misses that remain, each in its own deviations."""
        remaining: Array = (self.errors - lift * np.median(self.deviations)) / self.deviations
        return remaining


@dataclass(frozen=True, kw_only=True)
class Caution:
    """What is added to predictions, and factors on their standard deviations, by how much of a curve was seen.

    The processes are calibrated on known scales; on a new dataset the scale itself is a guess, and a worse one the less
    was seen. First epochs, above all, lie further below what most datasets allow than one would think. What is added is
    the same for all candidates of a dataset, so that their order stays as it is.

    Attributes:
        seen: Numbers of epochs seen, rising.
        factors: The factor at each; in between they are interpolated.
        lifts: What is added at each, in typical deviations: nothing before an epoch was seen, where the mean scale of the
            training datasets is as good a guess as any; nothing at all if there are none (predictors of earlier versions).
    """

    seen: tuple[int, ...] = (0,)
    factors: tuple[float, ...] = (1.0,)
    lifts: tuple[float, ...] = ()

    @classmethod
    def of(cls, misses: Mapping[int, Sequence[Misses]]) -> Self:
        """Return what the misses of left-out datasets teach, by epochs seen."""
        known = {
            seen: found for seen, found in sorted(misses.items()) if sum(len(m.errors) for m in found) >= len(_LEVELS)
        }
        if not known:
            return cls()
        lifts = {seen: float(np.median([m.lift for m in found])) if seen else 0.0 for seen, found in known.items()}
        factors = {
            seen: stretch(np.concatenate([m.lifted(lifts[seen]) for m in found])) for seen, found in known.items()
        }
        return cls(seen=tuple(known), factors=tuple(factors.values()), lifts=tuple(lifts.values()))

    def applied(self, mean: Array, std: Array, seen: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return the moments (`n` each) of predictions for the curves of one dataset, of which `seen` epochs are known (`n`).

        Means stay in [0, 1], and keep their distances.
        """
        wider: Array = std * np.interp(np.log1p(seen), np.log1p(self.seen), self.factors)
        started = seen > 0
        typical = np.median(std[started] if started.any() else std)
        lift = typical * np.interp(np.log1p(seen.max()), np.log1p(self.seen), self.lifts) if self.lifts else 0.0
        return mean + np.clip(lift, -mean.min(), 1 - mean.max()), wider


USUAL = Caution()
"""Takes predictions as they are."""
