"""What a performance predictor is to everything that uses one, ours or another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.queries import TrainingSet
from qttseg.predictors.lineage import Lineage

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PartialCurve:
    """A configuration and the scores seen so far.

    Attributes:
        configuration: The hyperparameters.
        scores: Validation scores in [0, 1] after epochs 1, 2, ...; empty if it was never trained.
    """

    configuration: Configuration
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Reject scores that no metric gives.

        Raises:
            PredictorError: a score is not in [0, 1].
        """
        if not all(0 <= score <= 1 for score in self.scores):
            raise PredictorError(f"scores lie in [0, 1]; {self.configuration!r} has {self.scores}")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted scores, `n` each, on the scale of the scores; higher is better.

    Attributes:
        mean: The score expected: mean or median of what is predicted.
        std: Standard deviation of the score, the noise of a run included.
    """

    mean: Array
    std: Array


class PerformanceModel(Protocol):
    """A performance predictor; `conformance.check` holds one to what is said here."""

    @property
    def lineage(self) -> Lineage:
        """The training data."""
        ...

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int = 0) -> Self:
        """Return the predictor that these curves teach; the same for the same curves and seed.

        Raises:
            PredictorError: they are too few.
        """
        ...

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        """Return the predicted score of each curve after the epoch of the same place in `epochs`.

        Predictions do not depend on the order of the candidates.

        Args:
            meta_features: Those of the dataset; any may be missing.
            curves: What is known about each candidate, `n`; may be none.
            epochs: The epoch asked for, `n`; each larger than the number of scores.

        Raises:
            PredictorError: the lengths differ, or an epoch was already seen.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the predictor to `folder`, without pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the predictor that `save` wrote; its predictions are the same to the bit.

        Raises:
            PredictorError: there is none in `folder`, or it is damaged.
        """
        ...


def predictor_class(name: str) -> type[PerformanceModel]:
    """Return the class called `module:Class`.

    Raises:
        PredictorError: it cannot be imported, or lacks what a predictor needs.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PredictorError(
            f"{name!r} names no predictor ({error}); write module:Class, importable from here"
        ) from error
    missing = [part for part in ("fit", "predict", "save", "load") if not callable(getattr(found, part, None))]
    if missing:
        raise PredictorError(f"{name} is no predictor: it has no {', '.join(missing)}")
    return cast("type[PerformanceModel]", found)


def class_name(kind: type[object]) -> str:
    """Return the name by which `predictor_class` finds a class."""
    return f"{kind.__module__}:{kind.__qualname__}"
