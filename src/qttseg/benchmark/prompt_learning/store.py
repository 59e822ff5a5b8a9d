"""The rows of prompt learning, append-only Parquet beside the results of the benchmark."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pyarrow as pa

from qttseg.benchmark.appending import AppendingStore
from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.results import Status
from qttseg.metadata.schema import VERSIONED
from qttseg.pipelines.boundaries import ClassScore

ROWS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("method", pa.string()),
        ("task", pa.string()),
        ("task_fingerprint", pa.string()),
        ("source", pa.string()),
        ("source_fingerprint", pa.string()),
        ("images", pa.int64()),
        ("seed", pa.int64()),
        ("prompt", pa.string()),
        ("noise", pa.float64()),
        ("draw", pa.int64()),
        ("backbone", pa.string()),
        ("backbone_fingerprint", pa.string()),
        ("settings", pa.string()),  # JSON: which there are differs from method to method
        ("status", pa.string()),
        ("reason", pa.string()),
        ("miou", pa.float64()),
        ("boundary_f1", pa.float64()),
        (
            "classes",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("images", pa.int64()),
                        ("iou", pa.float64()),
                        ("boundary_f1", pa.float64()),
                    ]
                )
            ),
        ),
        ("seconds", pa.float64()),
        ("parameters", pa.int64()),
        ("machine", pa.string()),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("finished_at", pa.float64()),
    ],
    metadata=VERSIONED,
)

_DERIVED = ("trial_id", "miou", "boundary_f1")
"""Columns for queries from outside, which a `Row` computes itself."""


class TrialStore(AppendingStore[Row]):
    """Rows of prompt learning; it may share its folder with a `ResultStore`."""

    schema: ClassVar[pa.Schema] = ROWS
    subfolder: ClassVar[str] = "prompt-learning"
    mend: ClassVar[str] = "delete it and run the experiments again, which redoes only what it held"

    @staticmethod
    def encode(measured: Row) -> dict[str, object]:
        """Return the columns of a row."""
        return vars(measured) | {
            "trial_id": measured.id,
            "miou": measured.miou,
            "boundary_f1": measured.boundary_f1,
            "settings": json.dumps(dict(measured.settings), sort_keys=True),
            "status": measured.status.value,
            "classes": [vars(score) for score in measured.classes],
        }

    @staticmethod
    def decode(row: dict[str, Any]) -> Row:
        """Return what `encode` was given."""
        fields = {name: value for name, value in row.items() if name not in _DERIVED}
        fields["settings"] = json.loads(fields["settings"])
        fields["status"] = Status(fields["status"])
        fields["classes"] = tuple(ClassScore(**score) for score in fields["classes"])
        return Row(**fields)
