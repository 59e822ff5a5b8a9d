"""Leave-one-dataset-out figures of the performance predictor against simple baselines, and how quick it is.

    python benches/predictors.py --store shipped
    python benches/predictors.py --csv published.csv
    python benches/predictors.py --store shipped --growth

Prints the mean Spearman correlation between predicted and true final scores after 0, 1 and 3 epochs, the calibration error
over all datasets (and what one that is perfectly calibrated would show on average, if its errors on a dataset went together
as these do), the seconds of one fit and the milliseconds of a suggestion among 128 candidates, of which twelve have been
trained for a while (and among 10,000). The baselines are fitted anew for each number of epochs, to the rank-normalised final
scores, and see the configuration and the rank-normalised scores so far. `--growth` fits stores of 2,000 and 20,000 runs, made
by repeating the given one, instead.
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
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.published import read_published
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.shipped import store_of
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.spaces import search_space
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.evaluation import (
    EPOCHS_SEEN,
    by_protocol,
    calibration_error,
    judge,
    quantile_levels,
    rank_correlation,
    separate,
)
from qttseg.predictors.features import Encoder
from qttseg.predictors.interface import PartialCurve
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.training_runs import TrainingRuns

Array = NDArray[np.float64]
Figures = dict[str, dict[int, list[float]]]

SIZES = (128, 10_000)


def main() -> None:
    arguments = _arguments()
    warnings.simplefilter("ignore", ConvergenceWarning)
    training = _training(arguments)
    print(f"{training.table.num_rows} runs, {len(training.datasets)} datasets, each left out once\n")
    if arguments.growth:
        growth(training, arguments.seed)
        return
    correlations: Figures = {}
    seconds: dict[str, list[float]] = {}
    levels: dict[int, list[Array]] = {seen: [] for seen in EPOCHS_SEEN}
    costs: list[tuple[float, float]] = []
    parted = (separate(training, dataset) for dataset in training.datasets)
    for rest, own in ((rest, task) for rest, tasks in parted for task in by_protocol(tasks)):
        costs.append(ours(rest, own, arguments.seed, correlations, seconds, levels))
        last_value(own, correlations)
        for name, make in BASELINES.items():
            baseline(name, lambda width, make=make: make(width, arguments.seed), rest, own, correlations, seconds)
    print(f"{'predictor':<18}" + "".join(f"{seen:>8}" for seen in EPOCHS_SEEN) + f"{'fit s':>9}")
    for name, figures in correlations.items():
        cells = "".join(f"{np.nanmean(figures[s]):8.3f}" if s in figures else f"{'-':>8}" for s in EPOCHS_SEEN)
        print(f"{name:<18}{cells}" + (f"{np.mean(seconds[name]):9.1f}" if name in seconds else f"{'-':>9}"))
    pooled = " / ".join(f"{calibration_error(np.concatenate(levels[seen])):.3f}" for seen in EPOCHS_SEEN)
    chance = " / ".join(f"{by_chance(levels[seen], arguments.seed):.3f}" for seen in EPOCHS_SEEN)
    print(f"\ncalibration error after {' / '.join(map(str, EPOCHS_SEEN))} epochs: {pooled} (by chance alone: {chance})")
    spearman, error = np.nanmean(costs, axis=0)
    print(f"seconds of an epoch: Spearman {spearman:.3f}, median error {error:.0%}")
    for size in SIZES:
        first, again = (1000 * np.median(seconds[f"{size} {which}"]) for which in ("first", "again"))
        print(f"a suggestion among {size} candidates: {again:.1f} ms ({first:.0f} ms the first time)")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="the published meta-dataset")
    parser.add_argument("--store", default="shipped", help="a learning-curve store")
    parser.add_argument("--growth", action="store_true", help="time fits of larger stores instead")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _training(arguments: argparse.Namespace) -> TrainingSet:
    if arguments.csv is None:
        return training_set(store_of(arguments.store))
    published = read_published(arguments.csv)
    with tempfile.TemporaryDirectory() as folder:
        store = CurveStore(folder)
        store.append(published.curves)
        for dataset in published.datasets:
            store.add_dataset(dataset.name, dataset.fingerprint, dataset.meta_features)
        return training_set(store)


def growth(training: TrainingSet, seed: int) -> None:
    for runs in (2_000, 20_000):
        copies = -(-runs // training.table.num_rows)
        larger = TrainingSet(table=pa.concat_tables([training.table] * copies).slice(0, runs), left_out=())
        started = time.perf_counter()
        PerformancePredictor.fit(larger, seed=seed)
        performance = time.perf_counter() - started
        started = time.perf_counter()
        CostPredictor.fit(larger)
        print(f"{runs:>7} runs: performance {performance:.1f} s, cost {time.perf_counter() - started:.1f} s")


def ours(
    rest: TrainingSet,
    own: TrainingSet,
    seed: int,
    correlations: Figures,
    seconds: dict[str, list[float]],
    levels: dict[int, list[Array]],
) -> tuple[float, float]:
    started = time.perf_counter()
    predictor = PerformancePredictor.fit(rest, seed=seed)
    seconds.setdefault("qttseg", []).append(time.perf_counter() - started)
    runs = TrainingRuns.with_scores(own)
    meta_features = next(iter(runs.meta_features.values()))
    ends = [len(values) for values in runs.values]
    for seen in EPOCHS_SEEN:
        predicted = predictor.predict(meta_features, partial(runs, [seen] * len(ends)), ends)
        note(correlations, "qttseg", seen, predicted.mean, finals(runs))
        levels[seen].append(quantile_levels(predicted, finals(runs)))
    for size in SIZES:
        suggest(predictor, runs, size, seconds)
    (fold,) = judge(predictor, CostPredictor.fit(rest), own)
    return fold.cost_spearman, fold.cost_error


def suggest(predictor: PerformancePredictor, runs: TrainingRuns, size: int, seconds: dict[str, list[float]]) -> None:
    """Time predictions as a tuner asks for them: many candidates, twelve of them trained for three epochs."""
    meta_features = next(iter(runs.meta_features.values()))
    started = partial(runs, [3] * min(12, len(runs.values)) + [0] * (len(runs.values) - 12))[:12]
    epochs = len(runs.values[0])
    fresh = [PartialCurve(configuration=configuration) for configuration in _candidates(runs, size - len(started))]
    for which in ("first", *["again"] * 9):
        begun = time.perf_counter()
        predictor.predict(meta_features, [*started, *fresh], [epochs] * size)
        seconds.setdefault(f"{size} {which}", []).append(time.perf_counter() - begun)


def _candidates(runs: TrainingRuns, count: int) -> Sequence[Configuration]:
    known = {parameter for configuration in runs.configurations for parameter in configuration}
    space = search_space("extended" if "adapter" in known else "paper")
    return [c for c in space.sample(count, seed=1) if known.intersection(c)]


def by_chance(levels: Sequence[Array], seed: int, draws: int = 1000) -> float:
    """Return the mean calibration error of normal errors that are right, with this correlation within datasets."""
    errors = [norm.ppf(np.clip(own, 1e-4, 1 - 1e-4)) for own in levels]
    within = float(np.mean([own.var(ddof=1) for own in errors]))
    sizes = np.array([len(own) for own in errors])
    between = max(float(np.var([own.mean() for own in errors], ddof=1)) - within / float(sizes.mean()), 0.0)
    share, generator = between / (between + within), np.random.default_rng(seed)
    drawn = [
        np.repeat(generator.normal(size=len(sizes)), sizes) * share**0.5
        + generator.normal(size=sizes.sum()) * (1 - share) ** 0.5
        for _ in range(draws)
    ]
    return float(np.mean([calibration_error(norm.cdf(errors)) for errors in drawn]))


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
    """Return the first `seen` scores (the last one for -1) as normal values of their ranks within the task."""
    columns = [-1] if seen < 0 else list(range(seen))
    normal = np.zeros((len(runs.values), len(columns)))
    for task in runs.meta_features:
        own = [i for i, other in enumerate(runs.tasks) if other == task]
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


def boosting(_: int, seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=150, learning_rate=0.05, min_samples_leaf=8, random_state=seed)


def matern(width: int, seed: int) -> GaussianProcessRegressor:
    kernel = ConstantKernel() * Matern(np.full(width, 5.0), (0.1, 1e3), nu=2.5) + WhiteKernel()
    return GaussianProcessRegressor(kernel, random_state=seed)


BASELINES: dict[str, Callable[[int, int], Any]] = {
    "extra-trees": trees,
    "gradient boosting": boosting,
    "matern gp": matern,
}


if __name__ == "__main__":
    main()
