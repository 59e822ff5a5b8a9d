"""Searches on stored curves: the clock is simulated, the tuner is the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qttseg.benchmark.regret import regret_curves, summarise_regret
from qttseg.benchmark.regret_figure import draw_regret
from qttseg.benchmark.replay import (
    GUIDED,
    OPTIMISERS,
    Replayed,
    Task,
    replay,
    replay_all,
)
from qttseg.benchmark.stored_datasets import StoredDataset, budget_seconds, drawn_candidates, stored_datasets
from qttseg.errors import BenchmarkError
from qttseg.metadata.store import CurveStore
from qttseg.predictors.training import train

UNGUIDED = [name for name in OPTIMISERS if name not in GUIDED]


def nobody(dataset: StoredDataset) -> None:
    raise AssertionError("neither predictors nor quicktunetool are needed")


def test_a_store_gives_its_datasets_with_enough_usable_curves(store: CurveStore, tmp_path: Path):
    datasets = stored_datasets(store)
    assert [dataset.name for dataset in datasets] == ["leaf", "polyp", "road"]
    assert all(len(dataset.curves) == 21 for dataset in datasets)
    assert datasets[0].meta_features == {"images": 100.0}
    assert (datasets[0].epoch_seconds, datasets[0].start_seconds) == (2.0, 0.5)
    with pytest.raises(BenchmarkError, match="collect more"):
        stored_datasets(CurveStore(tmp_path / "none"))


@pytest.mark.parametrize("optimiser", UNGUIDED)
def test_the_clock_and_the_regret_only_go_one_way_and_the_budget_holds(store: CurveStore, optimiser: str):
    for dataset in stored_datasets(store):
        for seed in range(3):
            task = Task(dataset=dataset, candidates=drawn_candidates(dataset, seed), seed=seed, predictors=None)
            done = replay(task, optimiser, budget=60.0)
            assert list(done.times) == sorted(done.times)
            assert list(done.regrets) == sorted(done.regrets, reverse=True)
            assert done.times[-1] <= 60.0
            # An epoch takes 2 s, a decision 0.02 s, a start 0.5 s: no more can have been trained.
            assert 60 / 2.52 - 2 <= done.epochs <= 60 / 2.02
            assert done.regret_at(0.0) == 1.0
            assert done.regret_at(1e9) == done.regret


def test_guided_searches_keep_to_the_clock_and_see_from_a_few_epochs_who_is_good(store: CurveStore):
    dataset = stored_datasets(store)[0]
    trained = train(store, leave_out=dataset.fingerprint, evaluate=False)
    task = Task(dataset=dataset, candidates=dataset.curves, seed=0, predictors=trained)
    for optimiser in sorted(GUIDED):
        done = replay(task, optimiser, budget=40.0)
        assert done.times[-1] <= 40.0
        assert list(done.regrets) == sorted(done.regrets, reverse=True)
        assert done.regret < replay(task, "random", budget=40.0).regret


def test_with_all_the_time_in_the_world_the_best_is_found(store: CurveStore):
    (dataset, *_) = stored_datasets(store)
    for optimiser in UNGUIDED:
        task = Task(dataset=dataset, candidates=dataset.curves, seed=0, predictors=None)
        done = replay(task, optimiser, budget=1e6)
        assert done.regret == 0.0
        assert done.epochs == 20 * 10 + 2


def test_a_replay_is_the_same_every_time_and_another_seed_another_draw(store: CurveStore):
    (dataset, *_) = stored_datasets(store)
    first, again, other = (
        replay(
            Task(dataset=dataset, candidates=drawn_candidates(dataset, s), seed=s, predictors=None), "asha", budget=50
        )
        for s in (0, 0, 1)
    )
    assert first == again
    assert first.times != other.times or first.regrets != other.regrets
    assert len(drawn_candidates(dataset, 0)) == 17


def test_budgets_may_be_multiples_of_an_epoch(store: CurveStore):
    (dataset, *_) = stored_datasets(store)
    assert budget_seconds("60", dataset) == 60.0
    assert budget_seconds("30x", dataset) == 60.0
    for wrong in ("x", "soon", "-1", "0x"):
        with pytest.raises(BenchmarkError, match="is no budget"):
            budget_seconds(wrong, dataset)


def test_unknown_optimisers_and_missing_predictors_are_told(store: CurveStore):
    (dataset, *_) = stored_datasets(store)
    task = Task(dataset=dataset, candidates=dataset.curves, seed=0, predictors=None)
    with pytest.raises(BenchmarkError, match="no optimiser 'magic'; known are random"):
        replay(task, "magic", budget=10)
    with pytest.raises(BenchmarkError, match="needs predictors"):
        replay(task, "quick-tune", budget=10)
    with pytest.raises(BenchmarkError, match="quicktunetool needs its process"):
        replay(task, "quicktunetool", budget=10)


def test_summaries_tell_who_is_better_and_how_sure_that_is(store: CurveStore, tmp_path: Path):
    replays = list(replay_all(stored_datasets(store), UNGUIDED, ["20x", "60x"], 5, predictors=nobody, foreign=nobody))
    summaries = summarise_regret(replays, reference="random")
    assert [summary.budget for summary in summaries] == ["20x"] * 4 + ["60x"] * 4
    for label in ("20x", "60x"):
        own = {summary.optimiser: summary for summary in summaries if summary.budget == label}
        assert set(own) == set(UNGUIDED)
        assert all(one.low <= one.regret <= one.high for one in own.values())
        assert np.mean([one.rank for one in own.values()]) == pytest.approx(2.5)
        assert own["random"].p_value is None
        assert own["asha"].regret < own["random"].regret
        assert all(one.replays == 15 for one in own.values())
    curves = regret_curves(replays, "60x")
    for _, mean, low, high in curves.values():
        assert mean[0] == 1.0
        assert (np.diff(mean) <= 1e-12).all()
        assert ((low <= mean + 1e-9) & (mean <= high + 1e-9)).all()
    draw_regret(replays, tmp_path / "figures" / "regret.png")
    assert (tmp_path / "figures" / "regret.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_replayed_alike_is_not_compared():
    def one(optimiser: str, dataset: str) -> Replayed:
        return Replayed(
            optimiser=optimiser, dataset=dataset, budget=1.0, label="1", seed=0, times=(0.5,), regrets=(0.2,), epochs=1
        )

    with pytest.raises(BenchmarkError, match="same datasets and seeds"):
        summarise_regret([one("random", "a"), one("asha", "b")], reference="random")
    with pytest.raises(BenchmarkError, match="nothing was replayed"):
        summarise_regret([], reference="random")
    with pytest.raises(BenchmarkError, match="add it to the optimisers"):
        summarise_regret([one("random", "a")], reference="quick-tune")
