"""Multi-fidelity expected improvement per second (Quick-Tune, arXiv 2306.03828, section 3; QTT-SEG, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from qttseg.errors import ConfigurationError

Floats = NDArray[np.float64]


def expected_improvement(mean: ArrayLike, std: ArrayLike, best: ArrayLike) -> Floats:
    """Return E[max(Y - best, 0)] of Y ~ N(mean, std²) (Jones et al. 1998, equation 15; scores, higher is better).

    Where `std` is 0 the expectation is exactly max(mean - best, 0).

    Args:
        mean: Predicted scores, shape (n,).
        std: Their standard deviations, shape (n,) or broadcastable, at least 0.
        best: What is to be improved on, shape (n,) or a scalar.

    Returns:
        Expected improvements, shape (n,), at least 0.

    Raises:
        ConfigurationError: a value is not finite, or a standard deviation is negative.
    """
    mean, std, best = np.broadcast_arrays(*(np.asarray(values, dtype=np.float64) for values in (mean, std, best)))
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and np.isfinite(best).all()):
        raise ConfigurationError(
            "expected improvement needs finite means, deviations and thresholds; mend the predictor"
        )
    if (std < 0).any():
        raise ConfigurationError(f"a predicted standard deviation is {std.min()}; it must be at least 0")
    gain = mean - best
    # The quotient overflows to infinity for a denormal deviation, which is the right limit for both terms.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        z = np.where(std > 0, gain / std, 0.0)
        density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        smooth = gain * ndtr(z) + std * density
    # Far below the threshold the two terms cancel; rounding must not make the expectation smaller than its bounds.
    exact: Floats = np.maximum(gain, 0.0)
    return np.where(std > 0, np.maximum(smooth, exact), exact)


def best_scores_at(curves: Sequence[Sequence[float]], epochs: Sequence[int]) -> Floats:
    """Return, for each epoch of `epochs`, the score that a candidate must beat there.

    It is the best score seen after exactly that many epochs; where no candidate has come so far, the best seen after
    fewer (DyHPO, Wistuba et al. 2022, section 4.2, as in the public code of Quick-Tune). Comparing like with like
    lets a fresh candidate compete at epoch 1 with others' epoch 1 instead of with their last.

    Args:
        curves: Scores after each epoch, one sequence a candidate; empty where not started.
        epochs: Epochs asked about, each at least 1.

    Returns:
        Thresholds, shape (len(epochs),); 0, the lowest score there is, where nothing was seen.
    """
    longest = max((len(curve) for curve in curves), default=0)
    at_epoch = np.zeros(longest + 1)
    for epoch in range(1, longest + 1):
        at_epoch[epoch] = max(curve[epoch - 1] for curve in curves if len(curve) >= epoch)
    best_so_far = np.maximum.accumulate(at_epoch)
    return np.array([at_epoch[epoch] if epoch <= longest else best_so_far[-1] for epoch in epochs], dtype=np.float64)


def improvement_per_second(mean: ArrayLike, std: ArrayLike, best: ArrayLike, seconds: ArrayLike) -> Floats:
    """Return the expected improvement at the next fidelity over the predicted seconds of reaching it.

    Args:
        mean: Predicted scores at each candidate's next fidelity, shape (n,).
        std: Their standard deviations, shape (n,).
        best: What is to be improved on at that fidelity, shape (n,) (`best_scores_at`).
        seconds: Predicted cost of the epochs to add, shape (n,), greater than 0.

    Returns:
        Score per second, shape (n,), at least 0.

    Raises:
        ConfigurationError: a value is not finite, a deviation negative or a cost not positive.
    """
    costs = np.asarray(seconds, dtype=np.float64)
    if not (np.isfinite(costs).all() and (costs > 0).all()):
        raise ConfigurationError("predicted seconds must be finite and greater than 0; mend the cost predictor")
    return expected_improvement(mean, std, best) / costs
