from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from qttseg.errors import LeakageError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset, Identity
from qttseg.metadata.meta_features import measure
from qttseg.metadata.protocol import Protocol
from qttseg.predictors.interface import PartialCurve, Prediction
from qttseg.tuning.acquisition import Floats
from qttseg.tuning.events import Event, Trying
from qttseg.tuning.session import TuningResult

Tune = Callable[..., TuningResult]
FAVOURITE = 4e-3


@dataclass
class Past:
    """What the predictors below have been trained on."""

    seen: tuple[str, ...] = ()
    protocol_ids: tuple[str, ...] = ()
    backbone_fingerprints: tuple[str, ...] = ()
    space: str = "paper-v1"

    def refuse(self, target: Identity) -> None:
        if target.fingerprint in self.seen:
            raise LeakageError(f"trained on {target.name}")


@dataclass
class Favouring:
    """Believes in one learning rate, and remembers what it was told of the target."""

    lineage: Past
    asked_about: list[Mapping[str, float]] = field(default_factory=list)

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        assert all(epoch > len(curve.scores) for curve, epoch in zip(curves, epochs, strict=True))
        self.asked_about.append(meta_features)
        mean = np.array([0.9 if curve.configuration["lr"] == FAVOURITE else 0.1 for curve in curves])
        return Prediction(mean=mean, std=np.full(len(curves), 0.01))


@dataclass
class Flat:
    """Believes that every epoch takes as long, and remembers of how many images."""

    lineage: Past
    asked_of: list[object] = field(default_factory=list)

    def predict(
        self, meta_features: Mapping[str, float], configurations: Sequence[Configuration], **asked: object
    ) -> Floats:
        assert meta_features
        assert not asked["accelerated"]
        self.asked_of.append(asked["images"])
        return np.full(len(configurations), 10.0)


@dataclass
class Pair:
    performance: Favouring
    cost: Flat
    strangeness: float = 1.0

    def novelty(self, _: Mapping[str, float]) -> float:
        return self.strangeness


def predictors(*, strangeness: float = 1.0, **past: object) -> Pair:
    lineage = Past(**past)  # type: ignore[arg-type]
    return Pair(performance=Favouring(lineage=lineage), cost=Flat(lineage=lineage), strangeness=strangeness)


def test_the_predictors_favourite_is_tried_first(tune_quickly: Tune):
    events: list[Event] = []
    result = tune_quickly(budget=60, predictors=predictors(), on_event=events.append)
    first = next(event for event in events if isinstance(event, Trying))
    assert first.configuration["lr"] == FAVOURITE
    assert first.expected_seconds == 10.0
    assert result.overrun == 0


def test_predictors_are_asked_about_training_and_validation_images(tune_quickly: Tune, dataset: Dataset):
    trained = predictors()
    result = tune_quickly(budget=60, predictors=trained)
    expected = measure(dataset, result.split.train + result.split.validation).to_dict()
    assert trained.performance.asked_about[0] == expected
    assert trained.cost.asked_of == [len(result.split.train + result.split.validation)]


def test_predictors_that_know_the_target_are_refused_unless_asked_for(tune_quickly: Tune, dataset: Dataset):
    knowing = predictors(seen=(dataset.fingerprint,))
    with pytest.raises(LeakageError):
        tune_quickly(budget=60, predictors=knowing)
    assert tune_quickly(budget=60, predictors=knowing, allow_seen=True).curves


def test_strange_conditions_are_remarked_on(tune_quickly: Tune, protocol: Protocol):
    strange = tune_quickly(budget=0.5, predictors=predictors())
    assert [word in note for word, note in zip(("backbone", "protocols", "space"), strange.notes, strict=True)] == 3 * [
        True
    ]
    backbone = strange.segmenter.backbone
    known = predictors(
        protocol_ids=(protocol.id,), backbone_fingerprints=(backbone.fingerprint,), space="decoder-only-v1"
    )
    assert tune_quickly(budget=0.5, predictors=known).notes == ()


def test_on_a_strange_dataset_predictors_only_say_where_to_begin(tune_quickly: Tune):
    far = predictors(strangeness=9.0)
    events: list[Event] = []
    result = tune_quickly(budget=60, predictors=far, on_event=events.append)
    assert next(event for event in events if isinstance(event, Trying)).configuration["lr"] == FAVOURITE
    assert len(far.performance.asked_about) == 1
    assert any("unlike those" in note for note in result.notes)
