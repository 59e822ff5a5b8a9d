from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ConfigSpace import ConfigurationSpace, Constant, OrdinalHyperparameter

from qttseg.metadata.configurations import SearchSpace
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.tuning.events import Event
from qttseg.tuning.session import TuningResult, tune

TuneQuickly = Callable[..., TuningResult]


class Ticks:
    """A clock that goes on by one second each time it is read, so that sessions repeat exactly."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def decoder_only(*learning_rates: float) -> SearchSpace:
    """Return a space whose points train in no time."""
    values = {"lora": 0, "sched": "cosine", "weight_decay": 0.0}
    space = ConfigurationSpace(name="decoder-only")
    space.add(
        OrdinalHyperparameter("lr", learning_rates),
        *(Constant(name, value) for name, value in values.items()),
        *(Constant(name, 0) for name in ("horizontal_flip", "vertical_flip", "random_rotate")),
    )
    return SearchSpace(name="decoder-only", version=1, space=space)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return resolve_dataset("procedural-chest")


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    return Protocol(images=10, test_images=4, epochs=4, batch_size=1, prompt_noise=4)


@pytest.fixture(scope="session")
def space_of() -> Callable[..., SearchSpace]:
    return decoder_only


@pytest.fixture(scope="session")
def tune_quickly(dataset: Dataset, protocol: Protocol) -> TuneQuickly:
    """Tune as usual, but a small problem, by a clock that counts how often it is read."""

    def run(**changes: Any) -> TuningResult:
        options = {"protocol": protocol, "space": decoder_only(1e-3, 2e-3, 4e-3), "candidates": 3, "clock": Ticks()}
        return tune(dataset, **options | {"finishing": False} | changes)

    return run


@pytest.fixture(scope="session")
def session(tune_quickly: TuneQuickly) -> tuple[TuningResult, list[Event]]:
    """A session that had time for a part of its candidates, with all it reported."""
    events: list[Event] = []
    result = tune_quickly(budget=200, on_event=events.append)
    return result, events
