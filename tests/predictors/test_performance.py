from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from qttseg.errors import LeakageError, PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.queries import training_set
from qttseg.metadata.runs import Outcome
from qttseg.metadata.store import CurveStore
from qttseg.predictors.interface import PartialCurve
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.training_runs import TrainingRuns

META = {"images": 1600.0, "height": 256.0}


@pytest.fixture(scope="module")
def predictor(without_hard) -> PerformancePredictor:
    return PerformancePredictor.fit(without_hard, seed=0)


@pytest.fixture
def fill(tmp_path):
    def filled(*curves):
        store = CurveStore(tmp_path)
        store.append(curves)
        for dataset in {curve.run.dataset for curve in curves}:
            store.add_dataset(dataset, f"print-{dataset}", META)
        return training_set(store)

    return filled


def curves_of(configurations, true_score, seen: int, top: float = 0.4) -> list[PartialCurve]:
    return [
        PartialCurve(configuration=c, scores=tuple(true_score(c, top, epoch) for epoch in range(1, seen + 1)))
        for c in configurations
    ]


def test_new_configurations_of_a_new_dataset_are_ranked_well(predictor, configurations, true_score):
    new = configurations[-16:]
    prediction = predictor.predict(META, curves_of(new, true_score, 0), [5] * len(new))
    assert spearmanr(prediction.mean, [true_score(c, 0.4, 5) for c in new]).statistic > 0.6


def test_scores_seen_bring_the_level_of_the_dataset(predictor, configurations, true_score):
    new, truth = configurations[-16:], [true_score(c, 0.4, 5) for c in configurations[-16:]]
    errors = []
    for seen in (0, 1, 3):
        prediction = predictor.predict(META, curves_of(new, true_score, seen), [5] * len(new))
        errors.append(float(np.abs(prediction.mean - truth).mean()))
    assert errors[2] < 0.05
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]  # at first, only the level of the training datasets is known


def test_curves_of_the_target_teach_about_configurations_without_one(predictor, configurations, true_score):
    seen, unseen = configurations[-16:-8], configurations[-8:]
    blind = predictor.predict(META, curves_of(unseen, true_score, 0), [5] * 8)
    curves = curves_of(seen, true_score, 3) + curves_of(unseen, true_score, 0)
    informed = predictor.predict(META, curves, [5] * 16)
    truth = np.array([true_score(c, 0.4, 5) for c in unseen])
    assert np.abs(informed.mean[8:] - truth).mean() < np.abs(blind.mean - truth).mean()


def test_predictions_do_not_depend_on_the_order_of_the_candidates(predictor, configurations, true_score):
    curves = curves_of(configurations[-16:-12], true_score, 2) + curves_of(configurations[-12:-8], true_score, 0)
    forward = predictor.predict(META, curves, [5] * 8)
    backward = predictor.predict(META, curves[::-1], [5] * 8)
    np.testing.assert_allclose(forward.mean, backward.mean[::-1], rtol=1e-6)
    np.testing.assert_allclose(forward.std, backward.std[::-1], rtol=1e-6)


def test_loading_brings_back_the_same_predictions_to_the_bit(predictor, configurations, true_score, tmp_path):
    predictor.save(tmp_path)
    again = PerformancePredictor.load(tmp_path)
    curves = curves_of(configurations[:6], true_score, 2) + curves_of(configurations[6:20], true_score, 0)
    before, after = (p.predict(META, curves, [5] * 20) for p in (predictor, again))
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.std, after.std)
    assert again.lineage == predictor.lineage
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_the_same_seed_gives_the_same_predictor(small_store, configurations, true_score):
    curves = curves_of(configurations[-16:], true_score, 1)
    first, second = (PerformancePredictor.fit(training_set(small_store), seed=3) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict(META, curves, [5] * 16).mean, second.predict(META, curves, [5] * 16).mean
    )


def test_its_lineage_refuses_what_it_has_seen(predictor):
    assert predictor.lineage.left_out == ("hard",)
    predictor.lineage.refuse(Identity(name="hard", fingerprint="print-hard"))
    for fingerprint, name in (("print-easy", "renamed"), ("changed", "easy")):
        with pytest.raises(LeakageError, match=name):
            predictor.lineage.refuse(Identity(name=name, fingerprint=fingerprint))


def test_nothing_asked_nothing_predicted(predictor):
    assert predictor.predict(META, [], []).mean.shape == (0,)


def test_senseless_questions_are_refused(predictor, configurations, true_score):
    curves = curves_of(configurations[:2], true_score, 3)
    with pytest.raises(PredictorError, match="already seen"):
        predictor.predict(META, curves, [5, 3])
    with pytest.raises(PredictorError, match="2 curves but 1 epochs"):
        predictor.predict(META, curves, [5])
    for score in (1.2, float("nan")):
        with pytest.raises(PredictorError, match=r"lie in \[0, 1\]"):
            PartialCurve(configuration=configurations[0], scores=(score,))


def test_a_damaged_or_missing_predictor_is_named(predictor, tmp_path):
    with pytest.raises(PredictorError, match="no predictor in"):
        PerformancePredictor.load(tmp_path)
    predictor.save(tmp_path)
    (tmp_path / "tensors.safetensors").write_bytes(b"torn")
    with pytest.raises(PredictorError, match="damaged"):
        PerformancePredictor.load(tmp_path)


def test_a_predictor_of_an_earlier_version_is_to_be_trained_again(predictor, tmp_path):
    predictor.save(tmp_path)
    document = tmp_path / "predictor.json"
    document.write_text(document.read_text().replace('"version": 3', '"version": 2'))
    with pytest.raises(PredictorError, match=r"version 2; expected performance version 3.*qttseg train"):
        PerformancePredictor.load(tmp_path)


def test_eight_runs_of_one_dataset_are_enough_and_seven_are_not(fill, make_curve, configurations):
    enough = fill(*(make_curve(c, "easy") for c in configurations[:8]))
    prediction = PerformancePredictor.fit(enough).predict({}, [PartialCurve(configuration=configurations[9])], [5])
    assert np.isfinite([*prediction.mean, *prediction.std]).all()
    few = enough.table.slice(0, 7)
    with pytest.raises(PredictorError, match=r"7 completed or diverged runs.*at least 8"):
        PerformancePredictor.fit(type(enough)(table=few, left_out=()))


def test_diverged_runs_count_as_the_worst_and_failed_ones_not_at_all(fill, make_curve, configurations):
    completed = [make_curve(c, "easy") for c in configurations[:8]]
    diverged = make_curve(configurations[8], "easy", outcome=Outcome.DIVERGED, epochs=2)
    lost = [
        make_curve(c, "easy", outcome=outcome, epochs=2)
        for c, outcome in zip(
            configurations[9:12], (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY), strict=True
        )
    ]
    training = fill(*completed, diverged, *lost)
    runs = TrainingRuns.with_scores(training)
    worst = min(score for curve in [*completed, diverged] for score in curve.scores)
    assert len(runs.values) == 9
    (values,) = (v for c, v in zip(runs.configurations, runs.values, strict=True) if c == diverged.run.configuration)
    assert values.tolist() == [*diverged.scores, worst, worst, worst]
    assert len(TrainingRuns.with_seconds(training).values) == 12
