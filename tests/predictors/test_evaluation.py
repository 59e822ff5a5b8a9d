from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from scipy.stats import norm

from qttseg.errors import LeakageError, PredictorError
from qttseg.metadata.queries import training_set
from qttseg.metadata.runs import Outcome
from qttseg.metadata.sketches import Sketch
from qttseg.metadata.store import CurveStore
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.evaluation import (
    calibration_error,
    judge,
    judge_unseen,
    leave_one_dataset_out,
    quantile_levels,
    rank_correlation,
    separate,
)
from qttseg.predictors.interface import Prediction
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.training_runs import TrainingRuns


def test_separating_a_dataset_takes_its_twins_along(store):
    everything = training_set(store)
    names = [
        {"easy": "easy", "middling": "twin of easy", "hard": "hard"}[n] for n in everything.table["dataset"].to_pylist()
    ]
    prints = ["print-easy" if p != "print-hard" else p for p in everything.table["dataset_fingerprint"].to_pylist()]
    table = everything.table.drop_columns(["dataset", "dataset_fingerprint"])
    table = table.append_column("dataset", [names]).append_column("dataset_fingerprint", [prints])
    rest, own = separate(type(everything)(table=table, left_out=()), "easy")
    assert rest.datasets == ("hard",)
    assert rest.left_out == ("easy",)
    assert own.datasets == ("easy",)


def test_separating_a_dataset_takes_along_those_of_largely_the_same_images(store):
    looks = np.random.default_rng(0).bytes(32 * 50)
    sketches = {
        "print-easy": Sketch(images=40, looks=looks[: 32 * 40]),
        "print-hard": Sketch(images=40, looks=looks[32 * 10 :]),
    }
    rest, own = separate(replace(training_set(store), sketches=sketches), "easy")
    assert rest.datasets == ("middling",)
    assert rest.sketches == {}
    assert own.datasets == ("easy",)


def test_a_perfect_forecaster_is_calibrated_and_a_bold_one_is_not():
    truth = norm.ppf((np.arange(2000) + 0.5) / 2000)
    honest = Prediction(mean=np.zeros(2000), std=np.ones(2000))
    bold = Prediction(mean=np.zeros(2000), std=np.full(2000, 0.1))
    assert calibration_error(quantile_levels(honest, truth)) < 0.01
    assert calibration_error(quantile_levels(bold, truth)) > 0.15


def test_constant_values_have_no_rank_correlation():
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert rank_correlation(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1)


def test_every_dataset_is_left_out_once(without_hard):
    report = leave_one_dataset_out(without_hard)
    assert [fold.dataset for fold in report.folds] == ["easy", "middling"]
    means = report.means()
    assert means["spearman_3"] > 0.8
    assert means["mae_3"] < means["mae_0"]
    assert means["cost_spearman"] > 0.7


def test_one_dataset_cannot_be_left_out_of_itself(store):
    everything = training_set(store)
    own = separate(everything, "easy")[1]
    with pytest.raises(PredictorError, match="at least two"):
        leave_one_dataset_out(own)


def test_a_dataset_of_a_few_runs_is_too_small_to_fit_to_but_not_to_judge_by(without_hard):
    rest, own = separate(without_hard, "easy")
    few = type(own)(table=own.table.slice(0, 3), left_out=())
    with pytest.raises(PredictorError, match="at least 8"):
        PerformancePredictor.fit(few)
    (fold,) = judge(PerformancePredictor.fit(rest), CostPredictor.fit(rest), few)
    assert (fold.dataset, fold.runs) == ("easy", 3)
    assert all(np.isfinite(error) for error in fold.mae.values())


def test_fitted_predictors_are_judged_on_what_they_have_not_seen(store, without_hard):
    _, own = separate(training_set(store), "hard")
    performance, cost = PerformancePredictor.fit(without_hard, seed=0), CostPredictor.fit(without_hard)
    report = judge_unseen(performance, cost, own)
    (fold,) = report.folds
    assert (fold.dataset, fold.runs) == ("hard", len(own.table))
    assert report.means()["spearman_3"] == judge(performance, cost, own)[0].spearman[3] > 0.5
    with pytest.raises(LeakageError, match="has learnt from dataset easy"):
        judge_unseen(performance, cost, training_set(store))


def with_points(curve):
    """Every other run was asked with points, and all its scores are half as high."""
    if int(curve.run.id, 16) % 2:
        return curve
    run = replace(curve.run, protocol=replace(curve.run.protocol, prompt="point"))
    records = tuple(replace(record, score=record.score / 2) for record in curve.records)
    return replace(curve, run=run, records=records)


def test_scores_under_different_protocols_are_judged_apart(tmp_path, store):
    both = CurveStore(tmp_path / "both")
    both.take_in(store, change=with_points)
    training = training_set(both)
    runs = TrainingRuns.with_scores(training)
    assert len(runs.meta_features) == len(set(runs.tasks)) == 2 * len(training.datasets)
    assert sorted(runs.datasets.values()) == [0, 0, 1, 1, 2, 2]
    rest, own = separate(training, "hard")
    assert set(rest.datasets) == {"easy", "middling"}
    folds = judge(PerformancePredictor.fit(rest), CostPredictor.fit(rest), own)
    assert [fold.dataset for fold in folds] == ["hard", "hard"]
    assert sum(fold.runs for fold in folds) == own.table.num_rows
    assert all(fold.spearman[0] > 0.8 for fold in folds)


def test_a_protocol_under_which_every_run_failed_is_left_out(tmp_path, store, without_hard):
    def broken(curve):
        curve = with_points(curve)
        asked_with_points = curve.run.protocol.prompt == "point"
        return replace(curve, outcome=Outcome.FAILED, records=()) if asked_with_points else curve

    both = CurveStore(tmp_path / "both")
    both.take_in(store, change=broken)
    _, own = separate(training_set(both), "hard")
    (fold,) = judge(PerformancePredictor.fit(without_hard), CostPredictor.fit(without_hard), own)
    assert 0 < fold.runs < own.table.num_rows
    failed = replace(own, table=own.table.filter(pc.equal(own.table["outcome"], Outcome.FAILED)))
    with pytest.raises(PredictorError, match="0 completed or diverged runs"):
        judge(PerformancePredictor.fit(without_hard), CostPredictor.fit(without_hard), failed)
