"""Which candidate to train next: the paper's acquisition, and the rules it is judged against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, pairwise
from typing import Protocol

import numpy as np

from qttseg.errors import ConfigurationError, PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.predictors.interface import PartialCurve, Prediction
from qttseg.tuning.acquisition import Floats, best_scores_at, improvement_per_second

SAFETY = 1.1
"""A proposal is admitted when its predicted seconds, times this, fit in what remains, or nobody knows them."""

LEAST_SECONDS = 1e-6
"""Floor of an epoch's predicted seconds where it divides; also stands for a cost nobody knows yet."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a search stands when a policy chooses, `n` candidates of everything.

    Attributes:
        scores: Scores seen of each candidate, in order of epochs; empty where not started.
        failed: Candidates that will not be trained again.
        admitted: Candidates that can be trained further and whose next step fits into what remains; sorted, not empty.
        steps: Epochs that a proposal of each candidate adds; 0 where it failed or is finished.
        seconds: Expected seconds of an epoch of each candidate; 0 while nothing is known.
        remaining: Seconds until the deadline.
        max_epochs: Epochs after which a candidate is finished.
    """

    scores: Sequence[Sequence[float]]
    failed: frozenset[int]
    admitted: Sequence[int]
    steps: Sequence[int]
    seconds: Floats
    remaining: float
    max_epochs: int


class Policy(Protocol):
    """Chooses what to train next; keeps nothing between two choices, so that a search can be resumed and replayed."""

    def choose(self, standing: Standing) -> int:
        """Return one of the admitted candidates."""
        ...


class Performance(Protocol):
    """What a policy needs of a performance predictor."""

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        """Return mean and deviation, each of shape (n,), of the score of `curves[i]` after `epochs[i]` epochs."""


def shuffled(count: int, seed: int, dataset: str = "") -> tuple[int, ...]:
    """Return the numbers from 0 to `count` - 1 in a random order, another one for each (seed, name of a dataset).

    Were it the same on all datasets, a comparison over many of them would judge a random search by one draw for each seed.
    """
    return tuple(np.random.default_rng([seed, *dataset.encode()]).permutation(count).tolist())


@dataclass(frozen=True)
class InOrder:
    """Random search: each candidate is trained to the last epoch, one after the other.

    Attributes:
        order: The candidates in the order in which they are tried.
    """

    order: Sequence[int]

    def choose(self, standing: Standing) -> int:
        """Return the first in order that is admitted."""
        return _first(self.order, standing.admitted)


@dataclass(frozen=True, kw_only=True)
class _Guided:
    """A policy that a performance predictor guides.

    Attributes:
        candidates: The configurations.
        meta_features: Those of the target dataset.
        performance: Predicts scores.
    """

    candidates: Sequence[Configuration]
    meta_features: Mapping[str, float]
    performance: Performance

    def order(self, epochs: int) -> tuple[int, ...]:
        """Return the candidates from the highest predicted score after so many epochs to the lowest."""
        count = len(self.candidates)
        mean, _ = self._predict([()] * count, range(count), [epochs] * count)
        return tuple(np.argsort(-mean, kind="stable").tolist())

    def _predict(
        self, scores: Sequence[Sequence[float]], indices: Sequence[int], epochs: Sequence[int]
    ) -> tuple[Floats, Floats]:
        """Return mean and deviation of the score of each candidate of `indices` after the epoch of the same place.

        The predictor learns from all `scores`, those of candidates that can no longer be trained included.

        Raises:
            PredictorError: the predictor returned arrays of a wrong shape.
        """
        asked = set(indices)
        others = [index for index, seen in enumerate(scores) if seen and index not in asked]
        curves = [
            PartialCurve(configuration=self.candidates[index], scores=tuple(scores[index]))
            for index in (*indices, *others)
        ]
        prediction = self.performance.predict(
            self.meta_features, curves, [*epochs, *(len(scores[index]) + 1 for index in others)]
        )
        if prediction.mean.shape != (len(curves),) or prediction.std.shape != (len(curves),):
            raise PredictorError(
                f"the performance predictor returned shapes {prediction.mean.shape} and {prediction.std.shape} "
                f"for {len(curves)} curves; it must return one mean and one deviation for each"
            )
        return prediction.mean[: len(indices)], prediction.std[: len(indices)]


@dataclass(frozen=True, kw_only=True)
class QuickTune(_Guided):
    """The acquisition of QTT-SEG, section 2 (DyHPO, Wistuba et al. 2022; Quick-Tune, arXiv 2306.03828).

    First the candidate predicted to score highest where the remaining time lets it come to; then the one with the
    highest multi-fidelity expected improvement per predicted second.
    """

    def choose(self, standing: Standing) -> int:
        """Return the most promising of the admitted candidates.

        Raises:
            PredictorError: the predictor returned arrays of a wrong shape.
            ConfigurationError: the predictor returned values that are not finite.
        """
        admitted, scores = standing.admitted, standing.scores
        if not any(scores):
            mean, _ = self._predict(scores, admitted, _reachable(standing))
            return admitted[int(np.argmax(mean))]
        added = np.array([standing.steps[index] for index in admitted])
        epochs = [len(scores[index]) + int(extra) for index, extra in zip(admitted, added, strict=True)]
        mean, std = self._predict(scores, admitted, epochs)
        value = improvement_per_second(mean, std, best_scores_at(scores, epochs), _seconds(standing) * added)
        # Where every value has vanished, the highest mean is the best guess left.
        return admitted[int(np.lexsort((-mean, -value))[0])]


@dataclass(frozen=True, kw_only=True)
class BestPredicted(_Guided):
    """Trains whoever is predicted to score highest where the remaining time lets it come to.

    The paper's acquisition pays for surprise: it prefers the uncertain and the cheap, and looks one epoch ahead. On stored
    curves (`qttseg replay`) it is worth more to follow the mean, which learns with every epoch: a leader goes on until
    what it has shown puts another one before it.
    """

    def choose(self, standing: Standing) -> int:
        """Return the admitted candidate with the highest predicted score.

        Raises:
            PredictorError: the predictor returned arrays of a wrong shape.
        """
        mean, _ = self._predict(standing.scores, standing.admitted, _reachable(standing))
        return standing.admitted[int(np.argmax(mean))]


def _seconds(standing: Standing) -> Floats:
    """Return what an epoch of each admitted candidate is expected to take."""
    return np.maximum(standing.seconds[standing.admitted], LEAST_SECONDS)


def _reachable(standing: Standing) -> list[int]:
    """Return the epoch that each admitted candidate can come to in the remaining time; one more at least."""
    more = np.maximum(1.0, standing.remaining // (_seconds(standing) * SAFETY))
    done = np.array([len(standing.scores[index]) for index in standing.admitted])
    return [int(epoch) for epoch in np.minimum(standing.max_epochs, done + more)]


@dataclass(frozen=True, kw_only=True)
class LastValueGreedy:
    """Looks at some candidates for one epoch each, then always goes on with the one whose last score is highest.

    Attributes:
        order: The candidates in the order in which they are tried.
        looks: How many are looked at first.
    """

    order: Sequence[int]
    looks: int = 10

    def choose(self, standing: Standing) -> int:
        """Return the next to look at, or the best that is not finished."""
        started = [index for index in standing.admitted if standing.scores[index]]
        seen = sum(bool(scores) for scores in standing.scores)
        if not started or seen + len(standing.failed) < self.looks:
            fresh = [index for index in standing.admitted if not standing.scores[index]]
            return _first(self.order, fresh or standing.admitted)
        return max(started, key=lambda index: standing.scores[index][-1])


@dataclass(frozen=True, kw_only=True)
class SuccessiveHalving:
    """Asynchronous successive halving (ASHA, Li et al. 2020) for one worker.

    A candidate goes on from one rung of epochs to the next when it is in the best share of those that have come there;
    where none can go on, a fresh one is started.

    Attributes:
        order: The candidates in the order in which they are tried.
        reduction: A `1 / reduction` of a rung goes on; rungs lie a factor of `reduction` apart.
    """

    order: Sequence[int]
    reduction: int = 3

    def __post_init__(self) -> None:
        """Reject a reduction that reduces nothing.

        Raises:
            ConfigurationError: it is below 2.
        """
        if self.reduction < 2:
            raise ConfigurationError(f"a reduction of {self.reduction} keeps everything; give at least 2")

    def choose(self, standing: Standing) -> int:
        """Return who is under way, else who may go on, the furthest first, else a fresh one, else the best left."""
        rungs = _rungs(standing.max_epochs, self.reduction)
        admitted = set(standing.admitted)
        under_way = [i for i in standing.admitted if standing.scores[i] and len(standing.scores[i]) not in rungs]
        if under_way:
            return _first(self.order, under_way)
        for rung in reversed(rungs[:-1]):
            arrived = [i for i, scores in enumerate(standing.scores) if len(scores) >= rung]
            best = sorted(arrived, key=lambda i: -standing.scores[i][rung - 1])[: len(arrived) // self.reduction]
            promoted = [i for i in best if len(standing.scores[i]) == rung and i in admitted]
            if promoted:
                return promoted[0]
        fresh = [index for index in standing.admitted if not standing.scores[index]]
        return _first(self.order, fresh) if fresh else max(standing.admitted, key=lambda i: standing.scores[i][-1])


@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Hyperband (Li et al. 2018): brackets of synchronous successive halving, from many short to few long trainings.

    Attributes:
        order: The candidates in the order in which they are tried.
        reduction: A `1 / reduction` of a rung goes on.
    """

    order: Sequence[int]
    reduction: int = 3

    def choose(self, standing: Standing) -> int:
        """Return the next step of the first bracket that is not finished."""
        for members, rungs in self._brackets(standing):
            survivors = list(members)
            for place, rung in enumerate(rungs):
                waiting = [i for i in survivors if i not in standing.failed and len(standing.scores[i]) < rung]
                if waiting:
                    possible = [index for index in waiting if index in standing.admitted]
                    if not possible:
                        break  # nothing of this bracket fits any more; the next may
                    return max(possible, key=lambda index: len(standing.scores[index]))
                arrived = [index for index in survivors if len(standing.scores[index]) >= rung]
                ranked = sorted(arrived, key=lambda index: -standing.scores[index][rung - 1])
                survivors = ranked[: max(1, len(members) // self.reduction ** (place + 1))]
        return max(standing.admitted, key=lambda index: (standing.scores[index] or [-1.0])[-1])

    def _brackets(self, standing: Standing) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Yield the candidates and rungs of each bracket, as long as there are candidates."""
        rungs = _rungs(standing.max_epochs, self.reduction)
        last = len(rungs) - 1
        sizes = [-(-(last + 1) * self.reduction**s // (s + 1)) for s in range(last, -1, -1)]
        starts = accumulate(cycle(sizes), initial=0)
        for number, (start, end) in enumerate(pairwise(starts)):
            if start >= len(self.order):
                return
            yield self.order[start:end], rungs[number % len(sizes) :]


def _rungs(max_epochs: int, reduction: int) -> list[int]:
    """Return the rungs, the last one `max_epochs`: each as many epochs as the next one divided by `reduction`."""
    rungs = [max_epochs]
    while rungs[0] // reduction >= 1:
        rungs.insert(0, rungs[0] // reduction)
    return rungs


def _first(order: Sequence[int], among: Sequence[int]) -> int:
    wanted = set(among)
    return next(index for index in order if index in wanted)
