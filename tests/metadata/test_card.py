import random
import re
from pathlib import Path

import pytest

from qttseg.errors import StoreError
from qttseg.metadata.card import data_card
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.queries import importance
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore


@pytest.fixture
def store(tmp_path: Path) -> CurveStore:
    """Runs whose score is 0.9 with LoRA and 0.5 without, a little more at a high rate, whatever else they do."""
    chance = random.Random(0)
    store, curves = CurveStore(tmp_path), []
    for index in range(200):
        lora, rate = index % 2, chance.uniform(1e-5, 1e-2)
        values = {"lora": lora, "lr": rate, "horizontal_flip": chance.randint(0, 1)}
        if lora:
            values["lora_rank"] = chance.choice([2, 4, 8])
        score = 0.5 + 0.4 * lora + 5 * rate + chance.gauss(0, 0.01)
        record = EpochRecord(
            epoch=1,
            score=score,
            train_loss=1.0,
            learning_rate=rate,
            train_seconds=3.0,
            validation_seconds=1.0,
            peak_memory=1,
        )
        run = Run(
            dataset="polyp" if index % 3 else "leaf",
            dataset_fingerprint=f"content-{index % 3 > 0}",
            configuration=Configuration(values),
            space="paper-v1",
            protocol=Protocol(),
            backbone="sam-nano",
            backbone_fingerprint="weights",
        )
        curves.append(LearningCurve(run=run, outcome=Outcome.COMPLETED, records=(record,), machine="one CPU"))
    store.append(curves)
    return store


def test_what_decides_the_score_is_told_from_what_does_not(store: CurveStore):
    rows = {row["parameter"]: row for row in importance(store).to_pylist()}
    assert next(iter(rows)) == "lora"
    assert rows["lora"]["epsilon_squared"] > 0.6
    assert (rows["lora"]["best"], rows["lora"]["worst"]) == ("1", "0")
    assert 0.05 < rows["lr"]["epsilon_squared"] < 0.4
    assert " to " in rows["lr"]["best"]
    assert abs(rows["horizontal_flip"]["epsilon_squared"]) < 0.05
    assert rows["lora_rank"]["runs"] == 100  # where it is active


def test_the_card_tells_what_a_reader_must_know(store: CurveStore):
    card = data_card(store)
    assert "200 runs on 2 datasets" in card
    assert "sam-nano (weights)" in card
    assert "one CPU" in card
    assert re.search(r"\| polyp \| 13\d \|", card)
    assert "| lora | 200 |" in card
    assert "epochs 10" in card


def test_an_empty_store_has_no_card(tmp_path: Path):
    with pytest.raises(StoreError, match="run qttseg collect first"):
        data_card(CurveStore(tmp_path / "none"))
