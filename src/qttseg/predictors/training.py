"""From a store of learning curves to predictors, with an honest word on how good they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.store import CurveStore
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.evaluation import Fold, Report, judge, leave_one_dataset_out, separate
from qttseg.predictors.lineage import Lineage
from qttseg.predictors.performance import PerformancePredictor


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A performance and a cost predictor of the same curves.

    Attributes:
        performance: Predicts scores.
        cost: Predicts seconds per epoch.
        report: How good such predictors are on datasets they have not seen; None where that was not asked for.
        version: Version in the registry it was loaded from; empty before it is registered.
    """

    performance: PerformancePredictor
    cost: CostPredictor
    report: Report | None = None
    version: str = ""

    @property
    def lineage(self) -> Lineage:
        """The training data."""
        return self.performance.lineage

    def __str__(self) -> str:
        left_out = ", ".join(self.lineage.left_out) or "nothing"
        return f"predictors {self.version or 'unregistered'}, {self.lineage.runs} runs, {left_out} left out"

    def save(self, folder: Path) -> None:
        """Write both predictors below `folder`."""
        self.performance.save(folder / "performance")
        self.cost.save(folder / "cost")

    @classmethod
    def load(cls, folder: Path, *, version: str = "") -> Self:
        """Return the predictors that `save` wrote.

        Raises:
            PredictorError: they are missing or damaged.
        """
        performance, cost = PerformancePredictor.load(folder / "performance"), CostPredictor.load(folder / "cost")
        return cls(performance=performance, cost=cost, version=version)


def train(store: CurveStore, *, leave_out: str | None = None, seed: int = 0, evaluate: bool = True) -> Trained:
    """Return predictors of all curves of `store`, or of all but those of one dataset and its twins.

    With a dataset left out they are judged on that one. Without, every dataset is left out in turn for the report, which
    takes a fit for each.

    Args:
        store: Where the curves are.
        leave_out: Name or fingerprint of the dataset to leave out.
        seed: Of all random draws.
        evaluate: Whether to judge them at all.

    Raises:
        StoreError: the store is empty or holds no such dataset.
        PredictorError: there are too few runs, or they mix search spaces.
    """
    if leave_out is None:
        everything = training_set(store)
        trained = _fitted(everything, seed)
        worthwhile = evaluate and len(everything.datasets) > 1
        return replace(trained, report=leave_one_dataset_out(everything, seed=seed) if worthwhile else None)
    trained = _fitted(training_set(store, leave_out=leave_out), seed)
    return replace(trained, report=_judged(trained, training_set(store))) if evaluate else trained


def train_all(store: CurveStore, *, seed: int = 0, evaluate: bool = True) -> Iterator[Trained]:
    """Yield predictors without each dataset in turn, then those of all, whose report gathers the others'.

    Raises:
        StoreError: the store is empty.
        PredictorError: there are fewer than two datasets or too few runs, or they mix search spaces.
    """
    everything = training_set(store)
    if len(everything.datasets) < 2:
        raise PredictorError("leaving one dataset out needs curves of at least two; collect another dataset")
    folds: list[Fold] = []
    for dataset in everything.datasets:
        trained = train(store, leave_out=dataset, seed=seed, evaluate=evaluate)
        folds += trained.report.folds if trained.report else ()
        yield trained
    yield replace(_fitted(everything, seed), report=Report(folds=tuple(folds)) if folds else None)


def _fitted(training: TrainingSet, seed: int) -> Trained:
    return Trained(performance=PerformancePredictor.fit(training, seed=seed), cost=CostPredictor.fit(training))


def _judged(trained: Trained, everything: TrainingSet) -> Report:
    names = [name for name in trained.lineage.left_out if name in everything.datasets]
    return Report(
        folds=tuple(judge(trained.performance, trained.cost, separate(everything, name)[1]) for name in names)
    )
