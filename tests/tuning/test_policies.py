"""The rules a search can follow, each on curves that it could know nothing of beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.errors import ConfigurationError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord, Outcome
from qttseg.tuning.policies import Hyperband, InOrder, LastValueGreedy, Policy, SuccessiveHalving, shuffled
from qttseg.tuning.tuner import Tuner

EPOCHS = 9
POLICIES: dict[str, Callable[[Sequence[int]], Policy]] = {
    "random": InOrder,
    "greedy": lambda order: LastValueGreedy(order=order, looks=4),
    "asha": lambda order: SuccessiveHalving(order=order),
    "hyperband": lambda order: Hyperband(order=order),
}


def tuner_of(name: str, count: int, *, seed: int = 0) -> Tuner:
    candidates = [Configuration({"x": x}) for x in range(count)]
    return Tuner(candidates, POLICIES[name](shuffled(count, seed)), max_epochs=EPOCHS)


def told(tuner: Tuner, quality: Sequence[float], steps: int, *, failing: frozenset[int] = frozenset()) -> list[int]:
    """Train for so many epochs, scores rising to each candidate's quality; return who was trained."""
    trained = []
    for _ in range(steps):
        proposal = tuner.ask(1e9)
        if proposal is None:
            break
        index = proposal.index
        trained.append(index)
        if index in failing:
            tuner.fail(index, Outcome.DIVERGED)
            continue
        epoch = len(tuner.curves[index]) + 1
        tuner.tell(
            index,
            EpochRecord(
                epoch=epoch,
                score=quality[index] * (0.5 + 0.5 * epoch / EPOCHS),
                train_loss=1.0,
                learning_rate=1e-3,
                train_seconds=1.0,
                validation_seconds=0.0,
                peak_memory=1,
            ),
        )
    return trained


def test_a_random_order_is_drawn_for_each_dataset_and_seed() -> None:
    orders = {shuffled(50, seed, dataset) for seed in range(4) for dataset in ("", "polyp", "lesion")}
    assert len(orders) == 12
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert shuffled(50, 3, "polyp") in orders


@pytest.mark.parametrize("name", POLICIES)
@given(count=st.integers(1, 30), seed=st.integers(0, 20), failing=st.frozensets(st.integers(0, 29), max_size=4))
@settings(max_examples=15, deadline=None)
def test_in_the_end_every_candidate_is_finished_or_failed(name: str, count: int, seed: int, failing: frozenset[int]):
    tuner = tuner_of(name, count, seed=seed)
    quality = np.random.default_rng(seed).uniform(0, 1, count)
    trained = Counter(told(tuner, quality.tolist(), 10_000, failing=failing))
    failed = {index for index in failing if index < count}
    assert tuner.exhausted
    assert trained == {index: 1 if index in failed else EPOCHS for index in range(count)}


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_good_candidates_get_more_epochs(name: str):
    quality = np.linspace(0.1, 0.9, 27)
    better, worse = [], []
    for seed in range(10):
        tuner = tuner_of(name, 27, seed=seed)
        told(tuner, quality.tolist(), 60)
        epochs = np.array([len(curve) for curve in tuner.curves])
        middle = np.median(quality[epochs > 0])
        better.append(epochs[(epochs > 0) & (quality > middle)].mean())
        worse.append(epochs[(epochs > 0) & (quality < middle)].mean())
    assert np.mean(better) > 1.4 * np.mean(worse)


def test_greedy_goes_on_with_the_best_of_its_looks():
    tuner = tuner_of("greedy", 20)
    quality = np.random.default_rng(5).uniform(0.2, 0.9, 20)
    looks = told(tuner, quality.tolist(), 4)
    assert len(set(looks)) == 4
    best = max(looks, key=lambda index: quality[index])
    assert set(told(tuner, quality.tolist(), EPOCHS - 1)) == {best}


def test_successive_halving_lets_the_best_third_go_on():
    tuner = tuner_of("asha", 3)
    quality = [0.3, 0.9, 0.5]
    assert len(set(told(tuner, quality, 3))) == 3
    assert set(told(tuner, quality, 2)) == {1}
    assert [len(curve) for curve in tuner.curves] == [1, 3, 1]


def test_the_first_bracket_of_hyperband_begins_with_many():
    tuner = tuner_of("hyperband", 30)
    first = told(tuner, (np.arange(30) / 40).tolist(), 9)
    assert len(set(first)) == 9
    assert len(set(told(tuner, (np.arange(30) / 40).tolist(), 6))) == 3


def test_a_reduction_that_keeps_everything_is_refused():
    with pytest.raises(ConfigurationError, match="keeps everything"):
        SuccessiveHalving(order=[0], reduction=1)
