from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.queries import training_set
from qttseg.metadata.runs import LearningCurve
from qttseg.metadata.store import CurveStore
from qttseg.predictors.cost import CostPredictor

META = {"images": 200.0, "height": 256.0}


@pytest.fixture(scope="module")
def predictor(without_hard) -> CostPredictor:
    return CostPredictor.fit(without_hard)


def test_it_predicts_seconds(predictor, configurations):
    new = configurations[-16:]
    seconds = predictor.predict(META, new)
    truth = np.array([2.0 * 2**0.25 * (1.5 if c["lora"] else 1.0) for c in new])
    assert np.median(np.abs(seconds / truth - 1)) < 0.25
    lora = np.array([bool(c["lora"]) for c in new])
    assert seconds[lora].min() > seconds[~lora].max()


def learnt_on_two_machines(
    folder: Path,
    configurations: Sequence[Configuration],
    make_curve: Callable[[Configuration, str], LearningCurve],
    share: Callable[[int, Configuration], float],
    *,
    images: tuple[int, int] = (100, 100),
) -> CostPredictor:
    """Return a predictor, saved and loaded, of runs on a CPU (0) and a GPU (1), an epoch's seconds times `share`."""
    store = CurveStore(folder)
    for place, machine in enumerate(("x86_64 CPU, 2 cores", "NVIDIA H200")):
        for configuration in configurations[32 * place : 32 * (place + 1)]:
            curve = make_curve(configuration, "easy")
            factor = share(place, configuration)
            records = [replace(record, train_seconds=factor * record.train_seconds) for record in curve.records]
            run = replace(curve.run, protocol=replace(curve.run.protocol, images=images[place]))
            store.append([replace(curve, run=run, machine=machine, records=tuple(records))])
    store.add_dataset("easy", "print-easy", META)
    CostPredictor.fit(training_set(store)).save(folder / "both")
    return CostPredictor.load(folder / "both")


def test_lora_may_cost_another_share_on_an_accelerator(tmp_path, without_hard, configurations, make_curve):
    """There an epoch takes a tenth, and LoRA twice as long instead of half as long again."""

    def share(place: int, configuration: Configuration) -> float:
        return (0.1 * (4 / 3 if configuration["lora"] else 1.0)) if place else 1.0

    both = learnt_on_two_machines(tmp_path, configurations, make_curve, share)
    new = configurations[-16:]
    lora = np.array([bool(c["lora"]) for c in new])
    for accelerated, seconds, longer in ((False, 2.0, 1.5), (True, 0.2, 2.0)):
        found = both.predict(META, new, accelerated=accelerated)
        assert np.median(found[~lora]) == pytest.approx(seconds, rel=0.15)
        assert np.median(found[lora]) / np.median(found[~lora]) == pytest.approx(longer, rel=0.15)
    one = CostPredictor.fit(without_hard)
    np.testing.assert_array_equal(one.predict(META, new, accelerated=True), one.predict(META, new))


def test_an_epoch_on_more_images_takes_longer_also_where_none_of_that_size_was_seen(
    tmp_path, without_hard, configurations, make_curve
):
    """Two sizes in the store, of which the larger is on the quicker machine: neither is taken for the other."""
    both = learnt_on_two_machines(
        tmp_path, configurations, make_curve, lambda place, _: 0.4 if place else 1.0, images=(24, 96)
    )
    plain = [c for c in configurations[-16:] if not c["lora"]]
    for images, accelerated, seconds in ((24, False, 2.0), (96, False, 8.0), (96, True, 0.8), (24, True, 0.2)):
        found = both.predict(META, plain, images=images, accelerated=accelerated)
        assert np.median(found) == pytest.approx(seconds, rel=0.15)
    np.testing.assert_allclose(both.predict(META, plain, images=both.images), both.predict(META, plain))
    one = CostPredictor.fit(without_hard)
    older = replace(one, images=0.0)  # as files from before the number of images was asked
    np.testing.assert_array_equal(older.predict(META, plain, images=300), one.predict(META, plain))


def test_loading_brings_back_the_same_predictions_to_the_bit(predictor, configurations, tmp_path):
    predictor.save(tmp_path)
    again = CostPredictor.load(tmp_path)
    assert again == predictor
    np.testing.assert_array_equal(again.predict(META, configurations), predictor.predict(META, configurations))
