"""The learning curves in the package are what their cards say, and were made with the weights in the package."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

import qttseg.metadata
from qttseg.errors import StoreError
from qttseg.metadata.card import data_card
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.procedural.suite import SUITES
from qttseg.metadata.shipped import shipped_stores, store_of, writable_store
from qttseg.pipelines.loading import load_backbone

FOLDER = Path(qttseg.metadata.__file__).parent / "learning_curves"

DATASETS = {
    "shipped": SUITES["procedural13"],
    "shipped:extended-v4": (*SUITES["procedural13"], *SUITES["prompt-learning"]),
}


def test_there_is_a_store_for_each_search_space():
    assert shipped_stores() == tuple(DATASETS)
    with pytest.raises(
        StoreError, match="no store shipped:mine in the package; there are shipped, shipped:extended-v4"
    ):
        store_of("shipped:mine")


@pytest.mark.parametrize("name", DATASETS)
def test_there_are_runs_of_ten_epochs_on_every_procedural_dataset(name):
    table = store_of(name).table(["dataset", "outcome", "records"])
    assert table.num_rows >= 300
    assert set(table["dataset"].to_pylist()) == set(DATASETS[name])
    completed = table.filter(pc.equal(table["outcome"], "completed"))
    assert set(pc.list_value_length(completed["records"]).to_pylist()) == {10}


@pytest.mark.parametrize("name", DATASETS)
def test_they_were_made_with_the_shipped_weights_of_the_datasets_as_they_are_drawn_now(name):
    store = store_of(name)
    prints = set(store.table(["backbone_fingerprint"])["backbone_fingerprint"].to_pylist())
    assert prints == {load_backbone().fingerprint}
    stored = {row["name"]: row["fingerprint"] for row in store.datasets().to_pylist()}
    assert stored["procedural-polyp"] == resolve_dataset("procedural-polyp").fingerprint


@pytest.mark.parametrize(("name", "space"), [("shipped", "paper-v1"), ("shipped:extended-v4", "extended-v4")])
def test_the_card_beside_them_is_theirs(name, space):
    assert (FOLDER / space / "CARD.md").read_text() == data_card(store_of(name))


def test_they_are_small_and_cannot_be_added_to():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 3e6
    for name in DATASETS:
        with pytest.raises(StoreError, match="for reading"):
            writable_store(name)
