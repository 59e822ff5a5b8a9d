"""Leave-one-dataset-out figures of the performance predictor against simple baselines.

    python benches/predictors.py published.csv

Prints the mean Spearman correlation between predicted and true final scores after 0, 1 and 3 epochs, the seconds of one
fit and the milliseconds of predicting 128 candidates. The baselines are fitted anew for each number of epochs, to the
rank-normalised final scores, and see the configuration and the rank-normalised scores so far.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from qttseg.metadata.published import read_published
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.store import CurveStore
from qttseg.predictors.evaluation import EPOCHS_SEEN, rank_correlation, separate
from qttseg.predictors.features import Encoder
from qttseg.predictors.interface import PartialCurve
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.training_runs import TrainingRuns

Array = NDArray[np.float64]
Figures = dict[str, dict[int, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, help="the published meta-dataset")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with tempfile.TemporaryDirectory() as folder:
        training = imported(arguments.csv, folder)
    correlations: Figures = {}
    seconds: dict[str, list[float]] = {}
    for dataset in training.datasets:
        rest, own = separate(training, dataset)
        ours(rest, own, arguments.seed, correlations, seconds)
        last_value(own, correlations)
        for name, make in BASELINES.items():
            baseline(name, lambda width, make=make: make(width, arguments.seed), rest, own, correlations, seconds)
    print(f"{training.table.num_rows} runs, {len(training.datasets)} datasets, each left out once\n")
    print(f"{'predictor':<14}" + "".join(f"{seen:>8}" for seen in EPOCHS_SEEN) + f"{'fit s':>9}{'128 in ms':>11}")
    for name, figures in correlations.items():
        cells = "".join(f"{np.nanmean(figures[s]):8.3f}" if s in figures else f"{'-':>8}" for s in EPOCHS_SEEN)
        fit = f"{np.mean(seconds[name]):9.1f}" if name in seconds else f"{'-':>9}"
        asked = seconds.get(f"{name} predict")
        print(f"{name:<14}{cells}{fit}" + (f"{1000 * np.median(asked):11.0f}" if asked else f"{'-':>11}"))


def imported(csv: Path, folder: str) -> TrainingSet:
    published = read_published(csv)
    store = CurveStore(folder)
    store.append(published.curves)
    for dataset in published.datasets:
        store.add_dataset(dataset.name, dataset.fingerprint, dataset.meta_features)
    return training_set(store)


def ours(
    rest: TrainingSet, own: TrainingSet, seed: int, correlations: Figures, seconds: dict[str, list[float]]
) -> None:
    started = time.perf_counter()
    predictor = PerformancePredictor.fit(rest, seed=seed)
    seconds.setdefault("qttseg", []).append(time.perf_counter() - started)
    runs = TrainingRuns.with_scores(own)
    meta_features = next(iter(runs.meta_features.values()))
    ends = [len(values) for values in runs.values]
    for seen in EPOCHS_SEEN:
        predicted = predictor.predict(meta_features, partial(runs, [seen] * len(ends)), ends).mean
        note(correlations, "qttseg", seen, predicted, finals(runs))
    # As a tuner asks: 128 candidates, some of which have been trained for a while.
    curves = (partial(runs, [3] * 12 + [0] * (len(ends) - 12)) * 128)[:128]
    started = time.perf_counter()
    predictor.predict(meta_features, curves, (ends * 128)[:128])
    seconds.setdefault("qttseg predict", []).append(time.perf_counter() - started)


def last_value(own: TrainingSet, correlations: Figures) -> None:
    runs = TrainingRuns.with_scores(own)
    for seen in EPOCHS_SEEN[1:]:
        note(correlations, "last value", seen, np.array([v[seen - 1] for v in runs.values]), finals(runs))


def baseline(
    name: str,
    make: Callable[[int], Any],
    rest: TrainingSet,
    own: TrainingSet,
    correlations: Figures,
    seconds: dict[str, list[float]],
) -> None:
    known, new = TrainingRuns.with_scores(rest), TrainingRuns.with_scores(own)
    encoder = Encoder.fit(known.configurations, list(known.meta_features.values()), epochs=len(known.values[0]))
    for seen in EPOCHS_SEEN:
        x, target = (np.column_stack([encoder.configurations(r.configurations), ranked(r, seen)]) for r in (known, new))
        started = time.perf_counter()
        model = make(x.shape[1]).fit(x, ranked(known, -1)[:, 0])
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        note(correlations, name, seen, model.predict(target), finals(new))


def ranked(runs: TrainingRuns, seen: int) -> Array:
    """Return the first `seen` scores (the last one for -1) as normal values of their ranks within the dataset."""
    columns = [-1] if seen < 0 else list(range(seen))
    normal = np.zeros((len(runs.values), len(columns)))
    for dataset in runs.meta_features:
        own = [i for i, other in enumerate(runs.datasets) if other == dataset]
        for place, column in enumerate(columns):
            ranks = rankdata([runs.values[i][column] for i in own])
            normal[own, place] = norm.ppf((ranks - 0.5) / len(own))
    return normal


def partial(runs: TrainingRuns, seen: Sequence[int]) -> list[PartialCurve]:
    triples = zip(runs.configurations, runs.values, seen, strict=True)
    return [PartialCurve(configuration=c, scores=tuple(v[:s].tolist())) for c, v, s in triples]


def finals(runs: TrainingRuns) -> Array:
    return np.array([values[-1] for values in runs.values])


def note(correlations: Figures, name: str, seen: int, predicted: Array, truth: Array) -> None:
    correlations.setdefault(name, {}).setdefault(seen, []).append(rank_correlation(predicted, truth))


def trees(_: int, seed: int) -> ExtraTreesRegressor:
    return ExtraTreesRegressor(300, min_samples_leaf=3, max_features=0.5, random_state=seed)


def matern(width: int, seed: int) -> GaussianProcessRegressor:
    kernel = ConstantKernel() * Matern(np.full(width, 5.0), (0.1, 1e3), nu=2.5) + WhiteKernel()
    return GaussianProcessRegressor(kernel, random_state=seed)


BASELINES: dict[str, Callable[[int, int], Any]] = {"extra-trees": trees, "matern gp": matern}


if __name__ == "__main__":
    main()
