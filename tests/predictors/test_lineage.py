from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from qttseg.errors import LeakageError, PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.sketches import Sketch
from qttseg.predictors.lineage import Lineage


def test_it_names_all_training_data_and_survives_json(without_hard):
    lineage = Lineage.of(without_hard)
    assert lineage.datasets == ("easy", "middling")
    assert lineage.fingerprints == ("print-easy", "print-middling")
    assert lineage.left_out == ("hard",)
    assert lineage.space == "paper-v1"
    assert lineage.runs == without_hard.table.num_rows
    assert Lineage.from_dict(json.loads(json.dumps(lineage.to_dict()))) == lineage


def test_an_unknown_field_is_refused():
    with pytest.raises(PredictorError, match="lineage"):
        Lineage.from_dict({"author": "someone"})


def test_a_twin_of_what_it_has_seen_is_refused_by_the_name_it_has_there(without_hard):
    looks = np.random.default_rng(0).bytes(32 * 60)
    sketches = {"print-easy": Sketch(images=60, looks=looks)}
    lineage = Lineage.of(replace(without_hard, sketches=sketches))
    assert Lineage.from_dict(json.loads(json.dumps(lineage.to_dict()))) == lineage
    enlarged = Identity(name="mine", fingerprint="other", sketch=Sketch(images=50, looks=looks[: 32 * 50]))
    stranger = replace(enlarged, sketch=Sketch(images=50, looks=np.random.default_rng(1).bytes(32 * 50)))
    assert lineage.twins_of(enlarged) == ("easy",)
    with pytest.raises(LeakageError, match=r"mine .*\(as easy, which holds largely the same images\)"):
        lineage.refuse(enlarged)
    for harmless in (stranger, replace(enlarged, sketch=None)):
        lineage.refuse(harmless)


def test_the_lineage_of_earlier_versions_has_no_sketches(without_hard):
    lineage = Lineage.of(without_hard)
    values = lineage.to_dict()
    del values["sketched"]
    assert Lineage.from_dict(values) == lineage


@pytest.mark.parametrize("wrong", [[{"name": "easy"}], [{"name": "a", "fingerprint": "b", "sketch": {}}], [3]])
def test_damaged_sketches_are_refused(without_hard, wrong):
    with pytest.raises(PredictorError, match="lineage"):
        Lineage.from_dict({**Lineage.of(without_hard).to_dict(), "sketched": wrong})


def test_search_spaces_do_not_mix(without_hard):
    table = without_hard.table
    spaces = pa.array(["paper-v1", *["other-v1"] * (table.num_rows - 1)])
    mixed = table.set_column(table.schema.get_field_index("space"), "space", spaces)
    with pytest.raises(PredictorError, match="other-v1, paper-v1"):
        Lineage.of(TrainingSet(table=mixed, left_out=()))
