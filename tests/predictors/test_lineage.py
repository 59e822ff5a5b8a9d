from __future__ import annotations

import json

import pyarrow as pa
import pytest

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet
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


def test_search_spaces_do_not_mix(without_hard):
    table = without_hard.table
    spaces = pa.array(["paper-v1", *["other-v1"] * (table.num_rows - 1)])
    mixed = table.set_column(table.schema.get_field_index("space"), "space", spaces)
    with pytest.raises(PredictorError, match="other-v1, paper-v1"):
        Lineage.of(TrainingSet(table=mixed, left_out=()))
