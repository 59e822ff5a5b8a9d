"""How good predictors are on datasets they have not seen: leave one dataset out, predict it, compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from qttseg.errors import PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.runs import is_accelerated
from qttseg.metadata.sketches import with_twins
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.interface import PartialCurve, PerformanceModel, Prediction
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.training_runs import TrainingRuns, tell_a_score

Array = NDArray[np.float64]

EPOCHS_SEEN = (0, 1, 3)
"""After how many epochs of each run its final score is predicted."""

_LEVELS = np.arange(0.05, 1.0, 0.05)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What predictors of all other datasets are worth on one dataset.

    Attributes:
        dataset: The dataset that was left out.
        runs: Runs that were predicted.
        spearman: Rank correlation of predicted and true final score, in [-1, 1], by epochs seen; higher is better.
        mae: Mean absolute error of the final score, by epochs seen; lower is better.
        levels: At which predicted quantile each true score lay, in [0, 1], by epochs seen.
        cost_spearman: Rank correlation of predicted and true seconds per epoch, in [-1, 1]; higher is better.
        cost_error: Median of |predicted / true - 1| of the seconds per epoch; lower is better.
    """

    dataset: str
    runs: int
    spearman: Mapping[int, float]
    mae: Mapping[int, float]
    levels: Mapping[int, Array]
    cost_spearman: float
    cost_error: float

    def metrics(self) -> dict[str, float]:
        """Return the numbers by flat names, as in `spearman_0` and `cost_error`."""
        calibration = {seen: calibration_error(levels) for seen, levels in self.levels.items()}
        by_epochs = {"spearman": self.spearman, "mae": self.mae, "calibration_error": calibration}
        flat = {f"{name}_{seen}": value for name, values in by_epochs.items() for seen, value in values.items()}
        return flat | {"cost_spearman": self.cost_spearman, "cost_error": self.cost_error}


@dataclass(frozen=True, kw_only=True)
class Report:
    """One fold for each dataset and protocol."""

    folds: tuple[Fold, ...]

    def means(self) -> dict[str, float]:
        """Return each metric's mean over the datasets that have it (all scores of one may be equal).

        The calibration error is that of all datasets together: the level of a dataset is one draw, whatever the number
        of its runs, so that of a single one cannot tell.
        """
        rows = [fold.metrics() for fold in self.folds]
        values = {name: [row[name] for row in rows if name in row and np.isfinite(row[name])] for name in rows[0]}
        means = {name: float(np.mean(found)) for name, found in values.items() if found}
        for seen in EPOCHS_SEEN:
            levels = [fold.levels[seen] for fold in self.folds if seen in fold.levels]
            if levels:
                means[f"calibration_error_{seen}"] = calibration_error(np.concatenate(levels))
        return means


def leave_one_dataset_out(
    training: TrainingSet, *, seed: int = 0, kind: type[PerformanceModel] = PerformancePredictor
) -> Report:
    """Return how well predictors of all but one dataset do on that one, for each dataset in turn.

    Every fold fits both predictors anew, so this takes one training for each dataset.

    Raises:
        PredictorError: there are fewer than two datasets, or too few runs without one of them.
    """
    if len(training.datasets) < 2:
        raise PredictorError("leave-one-dataset-out needs curves of at least two datasets; collect another")
    folds: list[Fold] = []
    for dataset in training.datasets:
        rest, own = separate(training, dataset)
        folds += judge(kind.fit(rest, seed=seed), CostPredictor.fit(rest), own)
    return Report(folds=tuple(folds))


def judge_unseen(performance: PerformanceModel, cost: CostPredictor, training: TrainingSet) -> Report:
    """Return how well fitted predictors do on each dataset of `training`.

    Raises:
        LeakageError: they have seen one of the datasets, or a twin of it.
        PredictorError: a dataset has no usable run.
    """
    names, fingerprints = (training.table[column].to_pylist() for column in ("dataset", "dataset_fingerprint"))
    for name, fingerprint in sorted(set(zip(names, fingerprints, strict=True))):
        sketch = training.sketches.get(fingerprint)
        performance.lineage.refuse(Identity(name=name, fingerprint=fingerprint, sketch=sketch))
    owns = (separate(training, name)[1] for name in training.datasets)
    return Report(folds=tuple(fold for own in owns for fold in judge(performance, cost, own)))


def separate(training: TrainingSet, dataset: str) -> tuple[TrainingSet, TrainingSet]:
    """Return the training set without `dataset`, its twins and what shares its name, and the runs on `dataset`."""
    table = training.table
    own = pc.equal(table["dataset"], dataset)
    out = with_twins(pc.unique(table["dataset_fingerprint"].filter(own)).to_pylist(), training.sketches)
    rest = table.filter(pc.invert(pc.is_in(table["dataset_fingerprint"], value_set=pa.array(sorted(out), pa.string()))))
    kept = {fingerprint: sketch for fingerprint, sketch in training.sketches.items() if fingerprint not in out}
    return (
        TrainingSet(table=rest, left_out=(*training.left_out, dataset), sketches=kept),
        TrainingSet(table=table.filter(own), left_out=training.left_out),
    )


def quantile_levels(prediction: Prediction, truth: Array) -> Array:
    """Return at which predicted quantile each true score lies, in [0, 1]; evenly spread if the predictor is honest."""
    levels: Array = norm.cdf((truth - prediction.mean) / prediction.std)
    return levels


def calibration_error(levels: Array) -> float:
    """Return the mean difference between nominal and true coverage of the predicted quantiles, in [0, 1]."""
    covered = (levels[:, None] <= _LEVELS).mean(axis=0)
    return float(np.abs(covered - _LEVELS).mean())


def rank_correlation(predicted: Array, truth: Array) -> float:
    """Return Spearman's rank correlation; NaN where one side is constant, as it has no order then."""
    if len(truth) < 2 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(spearmanr(predicted, truth).statistic)


def judge(performance: PerformanceModel, cost: CostPredictor, own: TrainingSet) -> tuple[Fold, ...]:
    """Return what fitted predictors are worth on the runs of one dataset, which they have not seen: a fold a protocol.

    Protocols under which every run failed are left out.

    Raises:
        PredictorError: there is no usable run.
    """
    usable = [task for task in by_protocol(own) if tell_a_score(task)]
    return tuple(_fold(performance, cost, task) for task in usable or [own])


def by_protocol(training: TrainingSet) -> Iterator[TrainingSet]:
    """Yield the runs of each protocol, whose scores alone can be compared."""
    column = training.table["protocol_id"]
    for protocol in sorted(pc.unique(column).to_pylist()):
        yield replace(training, table=training.table.filter(pc.equal(column, protocol)))


def _fold(performance: PerformanceModel, cost: CostPredictor, own: TrainingSet) -> Fold:
    runs = TrainingRuns.with_scores(own, fewest=1)
    meta_features = next(iter(runs.meta_features.values()))
    spearman, mae, levels = {}, {}, {}
    for seen in EPOCHS_SEEN:
        truth, prediction = _final_scores(performance, runs, meta_features, seen)
        if len(truth):
            spearman[seen] = rank_correlation(prediction.mean, truth)
            mae[seen] = float(np.abs(prediction.mean - truth).mean())
            levels[seen] = quantile_levels(prediction, truth)
    timed = TrainingRuns.with_seconds(own, fewest=1)
    seconds = np.array([values.mean() for values in timed.values])
    predicted = np.where(
        [is_accelerated(machine) for machine in timed.machines],
        cost.predict(meta_features, timed.configurations, images=timed.images[0], accelerated=True),
        cost.predict(meta_features, timed.configurations, images=timed.images[0]),
    )
    return Fold(
        dataset=own.datasets[0],
        runs=len(runs.values),
        spearman=spearman,
        mae=mae,
        levels=levels,
        cost_spearman=rank_correlation(predicted, seconds),
        cost_error=float(np.median(np.abs(predicted / seconds - 1))),
    )


def _final_scores(
    performance: PerformanceModel, runs: TrainingRuns, meta_features: Mapping[str, float], seen: int
) -> tuple[Array, Prediction]:
    """Return true and predicted final scores of all runs that are longer than `seen` epochs."""
    pairs = [(c, v) for c, v in zip(runs.configurations, runs.values, strict=True) if len(v) > seen]
    curves = [PartialCurve(configuration=c, scores=tuple(v[:seen].tolist())) for c, v in pairs]
    truth = np.array([values[-1] for _, values in pairs])
    return truth, performance.predict(meta_features, curves, [len(values) for _, values in pairs])
