"""From a store of learning curves to predictors, with an honest word on how good they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.store import CurveStore
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.evaluation import Fold, Report, judge, leave_one_dataset_out, separate
from qttseg.predictors.interface import PerformanceModel, class_name, predictor_class
from qttseg.predictors.lineage import Lineage
from qttseg.predictors.performance import PerformancePredictor

_DOCUMENT = "trained.json"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A performance and a cost predictor of the same curves.

    Attributes:
        performance: Predicts scores.
        cost: Predicts seconds per epoch.
        figures: How good such predictors are on datasets they have not seen (`Report.means`); empty where nobody asked.
        version: Where it was loaded from: a version in the registry, or `shipped`; empty before it is registered.
    """

    performance: PerformanceModel
    cost: CostPredictor
    figures: Mapping[str, float] = field(default_factory=dict)
    version: str = ""

    @property
    def lineage(self) -> Lineage:
        """The training data."""
        return self.performance.lineage

    @property
    def name(self) -> str:
        """What was left out, or `all` if nothing was."""
        return "-".join(f"without-{name}" for name in self.lineage.left_out) or "all"

    def novelty(self, meta_features: Mapping[str, float]) -> float:
        """Return how far a dataset lies from those the predictors learnt from; 1 is usual (`Encoder.novelty`)."""
        return self.cost.encoder.novelty(meta_features)

    def __str__(self) -> str:
        left_out = ", ".join(self.lineage.left_out) or "nothing"
        return f"predictors {self.version or 'unregistered'}, {self.lineage.runs} runs, {left_out} left out"

    def save(self, folder: Path) -> None:
        """Write both predictors and their figures below `folder`."""
        self.performance.save(folder / "performance")
        self.cost.save(folder / "cost")
        document = {"performance": class_name(type(self.performance)), "figures": dict(self.figures)}
        (folder / _DOCUMENT).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, version: str = "") -> Self:
        """Return the predictors that `save` wrote.

        Raises:
            PredictorError: they are missing or damaged, or their class is not installed.
        """
        try:
            document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
            kind, figures = predictor_class(document["performance"]), document["figures"]
        except FileNotFoundError as error:
            raise PredictorError(f"no predictors in {folder}: {_DOCUMENT} is missing") from error
        except (ValueError, KeyError) as error:
            raise PredictorError(f"the predictors in {folder} are damaged: {error}") from error
        cost = CostPredictor.load(folder / "cost")
        return cls(performance=kind.load(folder / "performance"), cost=cost, figures=figures, version=version)


def train(
    store: CurveStore,
    *,
    leave_out: str | None = None,
    seed: int = 0,
    evaluate: bool = True,
    kind: type[PerformanceModel] = PerformancePredictor,
) -> Trained:
    """Return predictors of all curves of `store`, or of all but those of one dataset and its twins.

    With a dataset left out they are judged on that one. Without, every dataset is left out in turn for the figures,
    which takes a fit for each.

    Args:
        store: Where the curves are.
        leave_out: Name or fingerprint of the dataset to leave out.
        seed: Of all random draws.
        evaluate: Whether to judge them at all.
        kind: Class of the performance predictor.

    Raises:
        StoreError: the store is empty or holds no such dataset.
        PredictorError: there are too few runs, or they mix search spaces.
    """
    everything = training_set(store)
    if leave_out is None:
        trained = _fitted(everything, seed, kind)
        if not evaluate or len(everything.datasets) < 2:
            return trained
        return replace(trained, figures=leave_one_dataset_out(everything, seed=seed, kind=kind).means())
    trained = _fitted(training_set(store, leave_out=leave_out), seed, kind)
    return _judged(trained, everything)[0] if evaluate else trained


def train_all(
    store: CurveStore, *, seed: int = 0, evaluate: bool = True, kind: type[PerformanceModel] = PerformancePredictor
) -> Iterator[Trained]:
    """Yield predictors without each dataset in turn, then those of all, whose figures gather the others'.

    Raises:
        StoreError: the store is empty.
        PredictorError: there are fewer than two datasets or too few runs, or they mix search spaces.
    """
    everything = training_set(store)
    if len(everything.datasets) < 2:
        raise PredictorError("leaving one dataset out needs curves of at least two; collect another dataset")
    gathered: list[Fold] = []
    for dataset in everything.datasets:
        trained = _fitted(training_set(store, leave_out=dataset), seed, kind)
        if evaluate:
            trained, folds = _judged(trained, everything)
            gathered += folds
        yield trained
    figures = Report(folds=tuple(gathered)).means() if gathered else {}
    yield replace(_fitted(everything, seed, kind), figures=figures)


def _fitted(training: TrainingSet, seed: int, kind: type[PerformanceModel]) -> Trained:
    return Trained(performance=kind.fit(training, seed=seed), cost=CostPredictor.fit(training))


def _judged(trained: Trained, everything: TrainingSet) -> tuple[Trained, tuple[Fold, ...]]:
    """Return the predictors with their figures on what was left out, and the folds behind the figures."""
    names = [name for name in trained.lineage.left_out if name in everything.datasets]
    owns = (separate(everything, name)[1] for name in names)
    folds = tuple(fold for own in owns for fold in judge(trained.performance, trained.cost, own))
    return replace(trained, figures=Report(folds=folds).means()), folds
