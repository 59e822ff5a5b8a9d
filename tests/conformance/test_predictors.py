"""Performance predictors keep to the rules, ours and a plug-in's, and what breaks one is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from qttseg.cli import app
from qttseg.errors import PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.protocol import PAPER
from qttseg.metadata.queries import TrainingSet, training_set
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.spaces import search_space
from qttseg.predictors.conformance import check
from qttseg.predictors.interface import predictor_class
from qttseg.predictors.performance import PerformancePredictor
from qttseg.predictors.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def curves(tmp_path_factory) -> CurveStore:
    """Two datasets of twelve runs whose scores depend on the learning rate."""
    store = CurveStore(tmp_path_factory.mktemp("curves"))
    for place, dataset in enumerate(("one", "two")):
        store.add_dataset(dataset, f"print-{dataset}", {"images": 100.0 * (1 + place)})
        store.append([_curve(c, dataset) for c in search_space("paper").sample(12, seed=place)])
    return store


def _curve(configuration, dataset: str) -> LearningCurve:
    run = Run(
        dataset=dataset,
        dataset_fingerprint=f"print-{dataset}",
        configuration=configuration,
        space="paper-v1",
        protocol=PAPER,
        backbone="sam-nano",
        backbone_fingerprint="weights",
    )
    good = float(np.clip(1 + np.log10(float(configuration["lr"])) / 5, 0.1, 1))
    records = tuple(
        EpochRecord(
            epoch=epoch,
            score=good * (1 - 0.5**epoch),
            train_loss=1.0,
            learning_rate=1e-3,
            train_seconds=1.0,
            validation_seconds=0.1,
            peak_memory=1,
        )
        for epoch in range(1, 5)
    )
    return LearningCurve(run=run, outcome=Outcome.COMPLETED, records=records, machine="test machine")


@pytest.fixture(scope="module")
def training(curves) -> TrainingSet:
    return training_set(curves)


@pytest.fixture
def last_value(monkeypatch) -> type:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return predictor_class("last_value_predictor:LastValue")


def test_ours_keeps_to_the_rules(training):
    assert check(PerformancePredictor, training).lineage.datasets == ("one", "two")


def test_the_example_keeps_to_the_rules(last_value, training):
    assert check(last_value, training).lineage.datasets == ("one", "two")


def _constant(name, value):
    """Return a breach: the named part of every prediction is `value`."""

    def predict(self, meta_features, curves, epochs, *, honest):
        answer = honest(self, meta_features, curves, epochs)
        return replace(answer, **{name: np.full(len(curves), value)})

    return predict


def _ordered(self, meta_features, curves, epochs, *, honest):
    answer = honest(self, meta_features, curves, epochs)
    return replace(answer, mean=answer.mean + 0.1 * np.arange(len(curves)))


def _obliging(self, meta_features, curves, epochs, *, honest):
    return honest(
        self, meta_features, curves, [max(e, len(c.scores) + 1) for c, e in zip(curves, epochs, strict=False)]
    )


@pytest.mark.parametrize(
    ("breach", "complaint"),
    [
        (_constant("mean", float("nan")), "mean is not finite"),
        (_constant("std", 0.0), "not positive"),
        (_ordered, "order of the candidates"),
        (_obliging, "instead of raising"),
    ],
)
def test_a_broken_prediction_is_named(last_value, training, breach, complaint):
    honest = last_value.predict
    broken = type("Broken", (last_value,), {"predict": lambda *args: breach(*args, honest=honest)})
    with pytest.raises(PredictorError, match=complaint):
        check(broken, training)


def test_a_pickle_and_a_forgetful_lineage_are_named(last_value, training):
    def save(self, folder):
        last_value.save(self, folder)
        (folder / "extra.pkl").write_bytes(pickle.dumps(1))

    with pytest.raises(PredictorError, match="pickle"):
        check(type("Pickler", (last_value,), {"save": save}), training)

    def fit(cls, training, *, seed=0):
        honest = last_value.fit.__func__(cls, training)
        return replace(honest, lineage=replace(honest.lineage, fingerprints=()))

    with pytest.raises(PredictorError, match="does not name the datasets"):
        check(type("Forgetful", (last_value,), {"fit": classmethod(fit)}), training)


@pytest.mark.parametrize("name", ["nowhere:Nothing", "json", "json:JSONDecoder", "json:nothing"])
def test_what_is_no_predictor_is_refused(name):
    with pytest.raises(PredictorError, match="predictor"):
        predictor_class(name)


def test_a_predictor_of_ones_own_is_registered_and_found_again(last_value, curves, tmp_path):
    registry = f"sqlite:///{tmp_path / 'mlflow.db'}"
    asked = ["predictors", "register", "last_value_predictor:LastValue", "--store", curves.uri, "--leave-out", "two"]
    result = CliRunner().invoke(app, [*asked, "--registry", registry])
    assert result.exit_code == 0, result.output
    found = Registry(registry).load_for(Identity(name="two", fingerprint="print-two"))
    assert type(found.performance).__name__ == "LastValue"
    assert found.lineage.datasets == ("one",)
    assert found.figures["spearman_1"] > 0.5
