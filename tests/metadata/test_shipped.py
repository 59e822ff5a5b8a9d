"""The learning curves in the package are what their card says, and were made with the weights in the package."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

import qttseg.metadata
from qttseg.errors import StoreError
from qttseg.metadata.card import data_card
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.procedural.suite import SUITES
from qttseg.metadata.shipped import store_of, writable_store
from qttseg.pipelines.loading import load_backbone

FOLDER = Path(qttseg.metadata.__file__).parent / "learning_curves"


def test_there_are_runs_of_ten_epochs_on_every_procedural_dataset():
    table = store_of("shipped").table(["dataset", "outcome", "records"])
    assert table.num_rows >= 200
    assert set(table["dataset"].to_pylist()) == set(SUITES["procedural13"])
    completed = table.filter(pc.equal(table["outcome"], "completed"))
    assert set(pc.list_value_length(completed["records"]).to_pylist()) == {10}


def test_they_were_made_with_the_shipped_weights_of_the_datasets_as_they_are_drawn_now():
    store = store_of("shipped")
    prints = set(store.table(["backbone_fingerprint"])["backbone_fingerprint"].to_pylist())
    assert prints == {load_backbone().fingerprint}
    stored = {row["name"]: row["fingerprint"] for row in store.datasets().to_pylist()}
    assert stored["procedural-polyp"] == resolve_dataset("procedural-polyp").fingerprint


def test_the_card_beside_them_is_theirs():
    assert (FOLDER / "CARD.md").read_text() == data_card(store_of("shipped"))


def test_they_are_small_and_cannot_be_added_to():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 3e6
    with pytest.raises(StoreError, match="for reading"):
        writable_store("shipped")
