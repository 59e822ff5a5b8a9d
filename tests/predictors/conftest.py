from __future__ import annotations

import numpy as np
import pytest

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import PAPER
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.spaces import search_space

EPOCHS = 5
RUNS = 32
"""Runs on each dataset; the configurations behind them were never trained."""

TOPS = {"easy": 0.9, "middling": 0.7, "hard": 0.4}
SIZES = {"easy": 100.0, "middling": 400.0, "hard": 1600.0}


def score_of(configuration: Configuration, top: float, epoch: int) -> float:
    """A world in which learning rates near 1e-3.5 are best and LoRA helps a little."""
    miss = (np.log10(float(configuration["lr"])) + 3.5) / 2
    return float(np.clip(top * (1 - 0.8 * miss**2 + 0.05 * int(configuration["lora"])) * (1 - 0.5**epoch), 0, 1))


def seconds_of(configuration: Configuration, size: float) -> float:
    return 2.0 * (size / 100) ** 0.25 * (1.5 if configuration["lora"] else 1.0)


def curve_of(
    configuration: Configuration, dataset: str, *, outcome: Outcome = Outcome.COMPLETED, epochs: int = EPOCHS
) -> LearningCurve:
    run = Run(
        dataset=dataset,
        dataset_fingerprint=f"print-{dataset}",
        configuration=configuration,
        space="paper-v1",
        protocol=PAPER,
        backbone="sam-nano",
        backbone_fingerprint="weights",
    )
    records = tuple(
        EpochRecord(
            epoch=epoch,
            score=score_of(configuration, TOPS[dataset], epoch),
            train_loss=1.0,
            learning_rate=1e-3,
            train_seconds=seconds_of(configuration, SIZES[dataset]),
            validation_seconds=0.0,
            peak_memory=1,
        )
        for epoch in range(1, epochs + 1)
    )
    return LearningCurve(run=run, outcome=outcome, records=records, machine="test machine")


@pytest.fixture(scope="session")
def configurations() -> tuple[Configuration, ...]:
    return search_space("paper").sample(3 * RUNS + 16, seed=1)


@pytest.fixture(scope="session")
def store(tmp_path_factory, configurations) -> CurveStore:
    store = CurveStore(tmp_path_factory.mktemp("store"))
    for place, dataset in enumerate(TOPS):
        store.append([curve_of(c, dataset) for c in configurations[RUNS * place : RUNS * (place + 1)]])
        store.add_dataset(dataset, f"print-{dataset}", {"images": SIZES[dataset], "height": 256.0})
    return store


@pytest.fixture(scope="session")
def small_store(tmp_path_factory, configurations) -> CurveStore:
    """Two datasets of ten runs, for what needs many fits."""
    store = CurveStore(tmp_path_factory.mktemp("small"))
    for place, dataset in enumerate(("easy", "middling")):
        store.append([curve_of(c, dataset) for c in configurations[10 * place : 10 * (place + 1)]])
        store.add_dataset(dataset, f"print-{dataset}", {"images": SIZES[dataset]})
    return store


@pytest.fixture(scope="session")
def without_hard(store) -> TrainingSet:
    return training_set(store, leave_out="hard")


@pytest.fixture(scope="session")
def make_curve():
    return curve_of


@pytest.fixture(scope="session")
def true_score():
    return score_of
