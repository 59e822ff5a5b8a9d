"""The result store: append-only Parquet beside the learning curves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from qttseg.benchmark.results import Result, Status
from qttseg.errors import ConfigurationError, StoreError
from qttseg.metadata.files import Folder
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.schema import VERSIONED
from qttseg.metadata.tables import part_name, read_table, write_table

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


_MEND = "delete it and resume the benchmark, which redoes only its jobs"


class ResultStore:
    """Results in one folder of Parquet files, one for each append; each appears whole or not at all.

    Failures are rows like all others. Of results with one id the newest counts.

    Args:
        uri: A path, or a URI of any filesystem that pyarrow or fsspec can open.
        clock: Nanoseconds since 1970; decides which of two files is newer.
    """

    def __init__(self, uri: str | Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder = Folder(uri)
        self._clock = clock

    @property
    def uri(self) -> str:
        """Where the store is."""
        return self._folder.uri

    def append(self, result: Result) -> None:
        """Add a result.

        Raises:
            StoreError: the disk is full or refuses.
        """
        table = pa.Table.from_pylist([_row(result)], schema=RESULTS)
        write_table(self._folder, part_name("results", self._clock()), table)

    def results(self) -> tuple[Result, ...]:
        """Return every job's newest result, in the order in which the jobs were first done.

        Raises:
            StoreError: a file is damaged or was written by a newer qttseg.
        """
        newest = {
            result.id: result for name in self._folder.files("results", ".parquet") for result in self._read(name)
        }
        return tuple(newest.values())

    def _read(self, name: str) -> list[Result]:
        rows = read_table(self._folder, name, RESULTS, mend=_MEND).to_pylist(maps_as_pydicts="strict")
        try:
            return [_result(row) for row in rows]
        except (ValueError, ConfigurationError) as error:
            raise StoreError(f"{name} below {self.uri} holds no results ({error}); {_MEND}") from error


def _row(result: Result) -> dict[str, object]:
    row = vars(result) | {"result_id": result.id, "protocol_id": result.protocol.id, "overrun": result.overrun}
    row["protocol"] = json.dumps(result.protocol.to_dict(), sort_keys=True)
    row["status"] = result.status.value
    row["trajectory"] = [{"seconds": seconds, "score": score} for seconds, score in result.trajectory]
    return row


def _result(row: dict[str, Any]) -> Result:
    fields = {name: value for name, value in row.items() if name not in _DERIVED}
    fields["protocol"] = Protocol.from_dict(json.loads(fields["protocol"]))
    fields["status"] = Status(fields["status"])
    fields["image_scores"] = tuple(fields["image_scores"])
    fields["trajectory"] = tuple((point["seconds"], point["score"]) for point in fields["trajectory"])
    return Result(**fields)
