from __future__ import annotations

from collections.abc import Callable

import pytest

from qttseg.errors import BudgetError
from qttseg.metadata.configurations import SearchSpace
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import Outcome
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.scoring import evaluate
from qttseg.pipelines.workbench import Workbench
from qttseg.tuning.events import Event, Failed, Finished, Finishing, NewIncumbent, Scored, Started, Trying
from qttseg.tuning.session import TuningResult
from qttseg.tuning.states import FreezeThaw

Session = tuple[TuningResult, list[Event]]


Tune = Callable[..., TuningResult]
Spaces = Callable[..., SearchSpace]


def test_the_chosen_model_is_the_one_that_scored_best(session: Session, dataset: Dataset):
    result, _ = session
    observed = [score for curve in result.curves for score in curve.scores]
    assert result.score == max(observed) > result.zero_shot_score
    # Later epochs went on training; the incumbent's weights must still be those that scored.
    again = evaluate(result.segmenter, dataset, result.split.validation, result.protocol, seed=result.seed)
    assert again.score == pytest.approx(result.score, abs=1e-6)


def test_the_trajectory_rises_from_zero_shot_to_the_result(session: Session):
    result, events = session
    seconds, scores = zip(*result.trajectory, strict=True)
    assert scores[0] == result.zero_shot_score
    assert scores[-1] == result.score
    assert list(scores) == sorted(set(scores))
    assert list(seconds) == sorted(seconds)
    assert len([event for event in events if isinstance(event, NewIncumbent)]) == len(scores)


def test_the_budget_is_kept_with_a_reserve_for_the_export(session: Session):
    result, events = session
    assert result.overrun == 0.0
    assert result.seconds <= result.budget
    assert result.ending == "budget"
    (started,) = (event for event in events if isinstance(event, Started))
    assert 0 < started.reserve == result.reserve
    assert isinstance(events[-1], Finished)
    assert events[-1].seconds_left > 0


def test_without_predictors_candidates_are_finished_one_by_one(session: Session, protocol: Protocol):
    result, events = session
    tried = [(event.configuration, event.epoch) for event in events if isinstance(event, Trying)]
    order = list(dict.fromkeys(configuration for configuration, _ in tried))
    each = [(configuration, epoch + 1) for configuration in order for epoch in range(protocol.epochs)]
    assert tried == each[: len(tried)]
    assert Outcome.COMPLETED in [curve.outcome for curve in result.curves]


def test_every_epoch_is_reported_and_stored_once(session: Session):
    result, events = session
    reported = [event.score for event in events if isinstance(event, Scored)]
    assert sorted(reported) == sorted(score for curve in result.curves for score in curve.scores)
    assert len({curve.run.id for curve in result.curves}) == len(result.curves)
    assert {curve.run.dataset_fingerprint for curve in result.curves} == {result.dataset_fingerprint}
    assert {curve.run.space for curve in result.curves} == {"decoder-only-v1"}


def test_the_leader_uses_the_time_in_which_no_epoch_of_it_fits(tune_quickly: Tune, dataset: Dataset):
    won = 0
    for budget in (40, 46, 52, 64):
        events: list[Event] = []
        result = tune_quickly(budget=budget, finishing=True, on_event=events.append)
        observed = [score for curve in result.curves for score in curve.scores]
        last = [event for event in events if isinstance(event, Finishing)]
        assert len(last) <= 1
        assert result.overrun == 0.0
        assert sorted(observed) == sorted(event.score for event in events if isinstance(event, Scored))
        if result.finish_steps:
            won += 1
            (event,) = last
            steps = len(result.split.train)  # a batch is an image
            assert (event.configuration, event.epoch) == (result.configuration, result.epoch)
            assert 0 < event.steps == result.finish_steps < steps
            assert result.score > max(observed)
            again = evaluate(result.segmenter, dataset, result.split.validation, result.protocol, seed=result.seed)
            assert again.score == pytest.approx(result.score, abs=1e-6)
        else:
            assert result.score == max(result.zero_shot_score, *observed)
    assert won


def test_lack_of_memory_in_the_last_steps_keeps_the_incumbent(tune_quickly: Tune):
    def run_short(event: Event) -> None:
        if isinstance(event, Finishing) and event.steps:
            raise MemoryError("no room")

    result = tune_quickly(budget=46, finishing=True, on_event=run_short)
    assert [(curve.outcome, curve.reason) for curve in result.curves] == [(Outcome.OUT_OF_MEMORY, "no room")]
    assert (result.score, result.epoch, result.finish_steps) == (result.curves[0].scores[-1], 1, 0)
    assert result.overrun == 0.0


def test_a_budget_too_small_to_prepare_gives_the_untuned_model(tune_quickly: Tune, dataset: Dataset):
    result = tune_quickly(budget=0.5)
    assert (result.configuration, result.epoch, result.score, result.curves) == (None, 0, None, ())
    assert result.overrun > 0
    sample = dataset[0]
    assert result.segmenter.segment(sample.image, {1: (0.0, 0.0, 50.0, 50.0)}).shape == sample.mask.shape


def test_a_budget_too_small_to_train_gives_the_untuned_model_scored(tune_quickly: Tune):
    result = tune_quickly(budget=9)
    assert (result.configuration, result.score) == (None, result.zero_shot_score)
    assert [score for _, score in result.trajectory] == [result.zero_shot_score]


def test_the_same_seed_gives_the_same_session(tune_quickly: Tune, session: Session):
    first, _ = session
    second = tune_quickly(budget=200)
    assert [curve.scores for curve in first.curves] == [curve.scores for curve in second.curves]
    assert first.trajectory == second.trajectory


def test_an_interrupt_ends_with_the_incumbent(tune_quickly: Tune):
    def press_ctrl_c(event: Event) -> None:
        if isinstance(event, NewIncumbent) and event.configuration is not None:
            raise KeyboardInterrupt

    result = tune_quickly(budget=1000, on_event=press_ctrl_c)
    assert result.ending == "interrupted"
    (curve,) = (curve for curve in result.curves if curve.run.configuration == result.configuration)
    assert curve.outcome is (Outcome.COMPLETED if result.epoch == result.protocol.epochs else Outcome.TIMED_OUT)
    assert (result.epoch, result.score) == (len(curve.records), curve.scores[-1])
    assert result.score == max(score for curve in result.curves for score in curve.scores)


def test_all_candidates_finished_end_the_session_early(tune_quickly: Tune, protocol: Protocol):
    result = tune_quickly(budget=10_000, candidates=1)
    assert result.ending == "exhausted"
    assert [(curve.outcome, len(curve.records)) for curve in result.curves] == [(Outcome.COMPLETED, protocol.epochs)]


def test_a_diverged_candidate_is_left_and_the_untuned_model_stays(tune_quickly: Tune, space_of: Spaces):
    events: list[Event] = []
    result = tune_quickly(budget=10_000, space=space_of(1e30, 1e31), candidates=2, on_event=events.append)
    assert result.ending == "exhausted"
    assert [curve.outcome for curve in result.curves] == [Outcome.DIVERGED] * 2
    assert all("loss" in curve.reason for curve in result.curves)
    assert len([event for event in events if isinstance(event, Failed)]) == 2
    assert (result.configuration, result.score) == (None, result.zero_shot_score)


def test_lack_of_memory_ends_a_candidate_and_not_the_session(tune_quickly: Tune):
    def run_short(event: Event) -> None:
        if isinstance(event, Trying) and event.epoch == 2:
            raise MemoryError("no room")

    result = tune_quickly(budget=10_000, candidates=2, on_event=run_short)
    endings = [(curve.outcome, curve.reason, len(curve.records)) for curve in result.curves]
    assert endings == [(Outcome.OUT_OF_MEMORY, "no room", 1)] * 2
    assert result.score == max(result.zero_shot_score, *(curve.scores[0] for curve in result.curves))


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_budget_is_an_error(tune_quickly: Tune, budget: float):
    with pytest.raises(BudgetError, match="positive"):
        tune_quickly(budget=budget)


def test_frozen_trainings_go_on_as_if_never_frozen(dataset: Dataset, protocol: Protocol, space_of: Spaces):
    workbench = Workbench.prepare(dataset, protocol, load_backbone(), seed=0)
    points = space_of(1e-3, 4e-3).sample(2, seed=0)
    crowded = FreezeThaw(lambda _, configuration: FineTuning(workbench, configuration, seed=0), most_ready=1)
    unbroken = [FineTuning(workbench, point, seed=0) for point in points]
    for _ in range(3):
        for index, point in enumerate(points):
            record = crowded.thaw(index, point).train_epoch()
            crowded.scored(index, record.score)
            expected = unbroken[index].train_epoch()
            assert (record.epoch, record.score) == (expected.epoch, expected.score)
            assert record.train_loss == pytest.approx(expected.train_loss)


def test_time_spent_before_the_call_is_part_of_the_budget(tune_quickly: Tune):
    result = tune_quickly(budget=200, spent=150)
    assert 150 < result.seconds <= 200
    assert all(at > 150 for at, _ in result.trajectory)
