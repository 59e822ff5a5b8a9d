"""The result store: append-only Parquet beside the learning curves."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pyarrow as pa

from qttseg.benchmark.appending import AppendingStore
from qttseg.benchmark.results import Result, Status
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.schema import VERSIONED

RESULTS = pa.schema(
    [
        ("result_id", pa.string()),
        ("method", pa.string()),
        ("dataset", pa.string()),
        ("dataset_fingerprint", pa.string()),
        ("task", pa.string()),
        ("budget", pa.float64()),  # null for methods that need no time
        ("seed", pa.int64()),
        ("protocol_id", pa.string()),
        ("protocol", pa.string()),  # JSON
        ("backbone", pa.string()),
        ("backbone_fingerprint", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("image_scores", pa.list_(pa.float64())),
        ("validation_score", pa.float64()),
        ("seconds", pa.float64()),
        ("overrun", pa.float64()),
        ("warm_start_seconds", pa.float64()),
        ("trajectory", pa.list_(pa.struct([("seconds", pa.float64()), ("score", pa.float64())]))),
        ("lineage", pa.string()),
        ("machine", pa.string()),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("finished_at", pa.float64()),
    ],
    metadata=VERSIONED,
)

_DERIVED = ("result_id", "protocol_id", "overrun")
"""Columns for queries from outside, which a `Result` computes itself."""


class ResultStore(AppendingStore[Result]):
    """Scored runs of methods."""

    schema: ClassVar[pa.Schema] = RESULTS
    subfolder: ClassVar[str] = "results"
    mend: ClassVar[str] = "delete it and resume the benchmark, which redoes only its jobs"

    def results(self) -> tuple[Result, ...]:
        """Return every job's newest result, in the order in which the jobs were first done.

        Raises:
            StoreError: a file is damaged or was written by a newer qttseg.
        """
        return self.newest()

    @staticmethod
    def encode(measured: Result) -> dict[str, object]:
        """Return the columns of a row."""
        return vars(measured) | {
            "result_id": measured.id,
            "protocol_id": measured.protocol.id,
            "overrun": measured.overrun,
            "protocol": json.dumps(measured.protocol.to_dict(), sort_keys=True),
            "status": measured.status.value,
            "trajectory": [{"seconds": seconds, "score": score} for seconds, score in measured.trajectory],
        }

    @staticmethod
    def decode(row: dict[str, Any]) -> Result:
        """Return what `encode` was given."""
        fields = {name: value for name, value in row.items() if name not in _DERIVED}
        fields["protocol"] = Protocol.from_dict(json.loads(fields["protocol"]))
        fields["status"] = Status(fields["status"])
        fields["image_scores"] = tuple(fields["image_scores"])
        fields["trajectory"] = tuple((point["seconds"], point["score"]) for point in fields["trajectory"])
        return Result(**fields)
