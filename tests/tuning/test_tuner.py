from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.errors import ConfigurationError, PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord, Outcome
from qttseg.predictors.interface import PartialCurve, Prediction
from qttseg.tuning.acquisition import Floats
from qttseg.tuning.policies import SAFETY, BestPredicted, InOrder, Performance, Policy, QuickTune, shuffled
from qttseg.tuning.tuner import Cost, Tuner, predicted_seconds

EPOCHS = 4
META_FEATURES = {"images": 10.0}


class Curves:
    """Knows each candidate's last score and believes that it rises evenly to there."""

    def __init__(self, std: float = 0.05) -> None:
        self.std = std

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        assert meta_features == META_FEATURES
        last = np.array([curve.configuration["last"] for curve in curves])
        mean = last * np.array(epochs) / EPOCHS
        return Prediction(mean=mean, std=np.full(len(curves), self.std))


class Prices:
    """Charges what the configuration says, times a factor that stands for the wrong hardware."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def predict(
        self, meta_features: Mapping[str, float], configurations: Sequence[Configuration], **_: object
    ) -> Floats:
        assert meta_features == META_FEATURES
        return np.array([configuration["seconds"] * self.factor for configuration in configurations])


def record(epoch: int, score: float, seconds: float = 1.0) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        score=score,
        train_loss=0.5,
        learning_rate=1e-3,
        train_seconds=seconds,
        validation_seconds=0.0,
        peak_memory=1,
    )


def tuner_of(
    points: Sequence[tuple[float, float]],
    *,
    performance: Performance | None = None,
    cost: Cost | None = None,
    seed: int = 0,
    step: int = 1,
    guide: type[QuickTune | BestPredicted] = QuickTune,
) -> Tuner:
    """Return a tuner whose candidates have these last scores and seconds per epoch."""
    candidates = [Configuration({"last": last, "seconds": seconds}) for last, seconds in points]
    policy: Policy = InOrder(shuffled(len(candidates), seed))
    if performance is not None:
        policy = guide(candidates=candidates, meta_features=META_FEATURES, performance=performance)
    predicted = None if cost is None else predicted_seconds(cost, META_FEATURES, candidates)
    return Tuner(candidates, policy, max_epochs=EPOCHS, predicted=predicted, step=step)


def test_the_first_proposal_is_the_highest_predicted_that_can_finish():
    points = [(0.5, 1.0), (0.9, 100.0), (0.8, 1.0)]
    tuner = tuner_of(points, performance=Curves(), cost=Prices())
    assert tuner.ask(30.0).index == 2
    assert tuner.ask(1000.0).index == 1


def test_the_first_proposal_weighs_how_far_the_time_goes():
    tuner = tuner_of([(0.9, 10.0), (0.5, 1.0)], performance=Curves(), cost=Prices())
    # 12 s are one epoch of the first (0.9 / 4) and all of the second (0.5).
    assert tuner.ask(12.0).index == 1


def test_what_does_not_fit_gives_way_to_what_is_cheaper():
    tuner = tuner_of([(0.9, 10.0), (0.1, 1.0)], performance=Curves(), cost=Prices())
    assert tuner.ask(10.0 * SAFETY - 0.1).index == 1
    assert tuner.ask(1.0) is None
    assert tuner.ask(0.0) is None
    assert tuner.ask(-5.0) is None


def test_a_fresh_candidate_is_judged_by_what_others_had_after_one_epoch():
    tuner = tuner_of([(0.4, 1.0), (0.8, 1.0)], performance=Curves(std=0.0), cost=Prices())
    tuner.tell(0, record(1, 0.1))
    tuner.tell(0, record(2, 0.4))
    # Candidate 1 is at 0.2 after one epoch: below the incumbent, above what candidate 0 had by then.
    assert tuner.ask(100.0).index == 1


def test_a_candidate_counts_for_what_it_can_still_become():
    """The paper's acquisition sees one epoch ahead; what can be reached decides who is worth the rest of the time."""
    points = [(0.4, 1.0), (0.8, 1.0)]
    tuner = tuner_of(points, performance=Curves(std=0.0), cost=Prices(), guide=BestPredicted)
    tuner.tell(0, record(1, 0.35))
    assert tuner.ask(100.0).index == 1
    # In the time of one epoch candidate 1 only comes to 0.2, no further than candidate 0: the first of equals goes on.
    assert tuner.ask(SAFETY + 0.1).index == 0


def test_the_leader_goes_on_until_another_one_is_predicted_to_pass_it():
    tuner = tuner_of([(0.8, 1.0), (0.6, 1.0)], performance=Curves(std=0.0), cost=Prices(), guide=BestPredicted)
    for epoch, score in enumerate((0.2, 0.4, 0.6), start=1):
        assert tuner.ask(100.0).index == 0
        tuner.tell(0, record(epoch, score))


def test_those_under_way_elsewhere_are_not_proposed_again():
    tuner = tuner_of([(0.9, 1.0), (0.5, 1.0)], performance=Curves(), cost=Prices())
    assert tuner.ask(100.0).index == 0
    assert tuner.ask(100.0, busy={0}).index == 1
    assert tuner.ask(100.0, busy={0, 1}) is None


def test_equal_promise_goes_to_the_cheaper():
    tuner = tuner_of([(0.8, 4.0), (0.8, 1.0), (0.2, 1.0)], performance=Curves(), cost=Prices())
    tuner.tell(2, record(1, 0.1))
    assert tuner.ask(100.0).index == 1


def test_without_hope_the_highest_prediction_is_taken():
    tuner = tuner_of([(0.1, 1.0), (0.3, 1.0), (0.2, 1.0)], performance=Curves(std=0.0), cost=Prices())
    tuner.tell(0, record(1, 0.99))
    assert tuner.ask(100.0).index == 1


def test_own_epochs_replace_the_predicted_cost_and_calibrate_the_others():
    tuner = tuner_of([(0.5, 1.0), (0.5, 2.0)], performance=Curves(), cost=Prices(factor=0.1))
    np.testing.assert_allclose(tuner.seconds_per_epoch(), [0.1, 0.2])
    tuner.tell(0, record(1, 0.1, seconds=1.0))
    np.testing.assert_allclose(tuner.seconds_per_epoch(), [1.0, 2.0])
    tuner.tell(0, record(2, 0.2, seconds=1.4))
    np.testing.assert_allclose(tuner.seconds_per_epoch(), [1.2, 2.4])


def test_without_a_cost_predictor_the_mean_of_the_seen_is_expected():
    tuner = tuner_of([(0.5, 1.0)] * 3, performance=Curves())
    assert tuner.ask(0.01) is not None
    tuner.tell(0, record(1, 0.1, seconds=2.0))
    tuner.tell(1, record(1, 0.1, seconds=4.0))
    np.testing.assert_allclose(tuner.seconds_per_epoch(), [2.0, 4.0, 3.0])
    # Candidate 2 may be cheaper than those seen; once it is seen not to be, nothing fits into a second.
    assert tuner.ask(1.0).index == 2
    tuner.tell(2, record(1, 0.1, seconds=3.0))
    assert tuner.ask(1.0) is None


def test_failed_candidates_are_never_asked_again_but_their_scores_stay():
    tuner = tuner_of([(0.9, 1.0), (0.1, 1.0)], performance=Curves(), cost=Prices())
    tuner.tell(0, record(1, 0.7))
    tuner.fail(0, Outcome.DIVERGED)
    assert tuner.ask(100.0).index == 1
    assert tuner.incumbent.score == 0.7
    assert dict(tuner.failures) == {0: Outcome.DIVERGED}
    assert not tuner.exhausted
    tuner.fail(1, Outcome.OUT_OF_MEMORY)
    assert tuner.exhausted
    assert tuner.ask(100.0) is None


def test_the_earlier_of_equal_scores_stays_incumbent():
    tuner = tuner_of([(0.5, 1.0), (0.5, 1.0)])
    assert tuner.tell(0, record(1, 0.6))
    assert not tuner.tell(1, record(1, 0.6))
    assert not tuner.tell(0, record(2, 0.5))
    assert (tuner.incumbent.index, tuner.incumbent.epoch) == (0, 1)


def test_random_search_finishes_one_candidate_after_the_other():
    tuner = tuner_of([(0.5, 1.0)] * 5, seed=3)
    order = []
    while (proposal := tuner.ask(1e6)) is not None:
        order.append(proposal.index)
        tuner.tell(proposal.index, record(len(tuner.curves[proposal.index]) + 1, 0.5))
    visited = order[::EPOCHS]
    assert order == [index for index in visited for _ in range(EPOCHS)]
    assert sorted(visited) == [0, 1, 2, 3, 4]
    orders = {tuner_of([(0.5, 1.0)] * 5, seed=seed).ask(1e6).index for seed in range(20)}
    assert len(orders) > 1


def test_a_step_ends_at_the_last_epoch():
    tuner = tuner_of([(0.5, 1.0)], performance=Curves(), cost=Prices(), step=3)
    assert tuner.ask(100.0).epochs == 3
    for epoch in (1, 2, 3):
        tuner.tell(0, record(epoch, 0.1))
    assert (tuner.ask(100.0).epochs, tuner.ask(100.0).seconds) == (1, 1.0)


@pytest.mark.parametrize(
    ("index", "told"),
    [(0, record(2, 0.5)), (0, record(1, float("nan"))), (0, record(1, 0.5, float("inf"))), (7, record(1, 0.5))],
    ids=["skips an epoch", "no score", "no duration", "no such candidate"],
)
def test_telling_what_cannot_be_is_an_error(index: int, told: EpochRecord):
    with pytest.raises(ConfigurationError):
        tuner_of([(0.5, 1.0)]).tell(index, told)


def test_telling_of_a_failed_candidate_is_an_error():
    tuner = tuner_of([(0.5, 1.0)])
    tuner.fail(0, Outcome.FAILED)
    with pytest.raises(ConfigurationError, match="failed"):
        tuner.tell(0, record(1, 0.5))


def test_no_candidates_is_an_error():
    with pytest.raises(ConfigurationError, match="no candidates"):
        Tuner([], InOrder([]), max_epochs=EPOCHS)


def test_predictors_that_answer_nonsense_are_named():
    class OneForAll:
        def predict(self, *_: object) -> Prediction:
            return Prediction(mean=np.zeros(1), std=np.zeros(1))

    with pytest.raises(PredictorError, match="shapes"):
        tuner_of([(0.5, 1.0), (0.5, 1.0)], performance=OneForAll()).ask(10.0)
    with pytest.raises(PredictorError, match="positive seconds"):
        tuner_of([(0.5, -1.0)], cost=Prices())


points_of = st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=6)


@settings(deadline=None)
@given(
    points=points_of,
    budget=st.floats(0.1, 60),
    factor=st.floats(0.2, 5),
    guided=st.booleans(),
    data=st.data(),
)
def test_a_whole_search_keeps_every_promise(
    points: list[tuple[float, float]], budget: float, factor: float, guided: bool, data: st.DataObject
):
    performance = Curves() if guided else None
    tuner, twin = (tuner_of(points, performance=performance, cost=Prices(factor)) for _ in range(2))
    remaining, best = budget, -1.0
    while (proposal := tuner.ask(remaining)) is not None:
        index = proposal.index
        assert proposal == tuner.ask(remaining) == twin.ask(remaining)
        assert index not in tuner.failures
        done = len(tuner.curves[index])
        assert done + proposal.epochs <= EPOCHS
        assert proposal.seconds == pytest.approx(tuner.seconds_per_epoch()[index])
        assert proposal.seconds * SAFETY <= remaining
        if data.draw(st.integers(0, 9)) == 0:
            tuner.fail(index, Outcome.DIVERGED)
            twin.fail(index, Outcome.DIVERGED)
            continue
        told = record(done + 1, data.draw(st.floats(0, 1)), points[index][1])
        assert tuner.tell(index, told) == twin.tell(index, told)
        assert tuner.incumbent.score == max(best, told.score)
        best = tuner.incumbent.score
        remaining -= told.seconds
    seconds = tuner.seconds_per_epoch()
    assert all(
        len(curve) == EPOCHS or index in tuner.failures or seconds[index] * SAFETY > remaining
        for index, curve in enumerate(tuner.curves)
    )
