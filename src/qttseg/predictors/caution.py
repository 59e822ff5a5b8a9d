"""How much wider predictions must be made, so that datasets that were left out fit into them."""

from __future__ import annotations

from collections.abc import Mapping
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
class Caution:
    """Factors on standard deviations by how much of a curve was seen.

    The processes are calibrated on known scales; on a new dataset the scale itself is a guess, and a worse one the less
    was seen.

    Attributes:
        seen: Numbers of epochs seen, rising.
        factors: The factor at each; in between they are interpolated.
    """

    seen: tuple[int, ...] = (0,)
    factors: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, misses: Mapping[int, Array]) -> Self:
        """Return what these misses teach: (truth - prediction) / deviation on left-out datasets, by epochs seen."""
        known = {seen: stretch(found) for seen, found in sorted(misses.items()) if len(found) >= len(_LEVELS)}
        return cls(seen=tuple(known), factors=tuple(known.values())) if known else cls()

    def widened(self, std: Array, seen: NDArray[np.intp]) -> Array:
        """Return the deviations (`n`) of predictions for curves of which `seen` epochs are known (`n`)."""
        widened: Array = std * np.interp(np.log1p(seen), np.log1p(self.seen), self.factors)
        return widened


USUAL = Caution()
"""Takes deviations as they are."""
