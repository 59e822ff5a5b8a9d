"""The Arrow schema of stored learning curves, and the way from rows to `LearningCurve` and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from qttseg.errors import ConfigurationError, StoreError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run

VERSION = 1
"""Rises when the meaning or the type of a column changes."""

_VERSION_KEY = b"qttseg.schema"
VERSIONED = {_VERSION_KEY: str(VERSION).encode()}
"""Metadata of every Parquet file of qttseg: one version for all schemas."""

RECORD = pa.struct(
    [
        ("epoch", pa.int64()),
        ("score", pa.float64()),
        ("train_loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("train_seconds", pa.float64()),
        ("validation_seconds", pa.float64()),
        ("peak_memory", pa.int64()),
    ]
)

CURVES = pa.schema(
    [
        ("run_id", pa.string()),
        ("dataset", pa.string()),
        ("dataset_fingerprint", pa.string()),
        ("space", pa.string()),
        ("configuration", pa.string()),  # JSON: which parameters are active differs from row to row
        ("protocol_id", pa.string()),
        ("protocol", pa.string()),  # JSON
        ("backbone", pa.string()),
        ("backbone_fingerprint", pa.string()),
        ("seed", pa.int64()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("records", pa.list_(RECORD)),
        ("setup_seconds", pa.float64()),
        ("machine", pa.string()),
        ("finished_at", pa.float64()),
        ("version", pa.string()),
        ("appended", pa.int64()),  # nanoseconds since 1970; among rows of one run the newest counts
    ],
    metadata=VERSIONED,
)

DATASETS = pa.schema(
    [
        ("name", pa.string()),
        ("fingerprint", pa.string()),
        ("meta_features", pa.map_(pa.string(), pa.float64())),
    ],
    metadata=VERSIONED,
)

SKETCHES = pa.schema(
    [
        ("fingerprint", pa.string()),
        ("images", pa.int64()),
        ("looks", pa.binary()),
    ],
    metadata=VERSIONED,
)


def check_schema(found: pa.Schema, expected: pa.Schema, *, where: str) -> None:
    """Check that a file can be read as `expected`.

    Raises:
        StoreError: it was written by a newer qttseg, or is no file of this store.
    """
    version = (found.metadata or {}).get(_VERSION_KEY, b"").decode()
    if version.isdecimal() and int(version) > VERSION:
        raise StoreError(
            f"{where} has schema version {version} and this qttseg reads up to {VERSION}; "
            "upgrade with: pip install --upgrade qttseg"
        )
    if not found.equals(expected):
        raise StoreError(f"{where} does not have the columns of a qttseg store; move it elsewhere")


def table_of_curves(curves: Sequence[LearningCurve], *, appended: int) -> pa.Table:
    """Return one row for each curve.

    Raises:
        StoreError: a value does not fit its column, as a seed beyond 64 bits.
    """
    try:
        return pa.Table.from_pylist([_row(curve, appended) for curve in curves], schema=CURVES)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise StoreError(f"a learning curve cannot be stored: {error}") from error


def curves_of_table(table: pa.Table) -> Iterator[LearningCurve]:
    """Yield the curve of each row.

    Raises:
        StoreError: a row holds a protocol, configuration or outcome that this version does not know.
    """
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            try:
                yield _curve(row)
            except (ConfigurationError, ValueError) as error:
                raise StoreError(
                    f"run {row['run_id']} (written by qttseg {row['version'] or 'of unknown version'}) "
                    f"cannot be understood: {error}; upgrade qttseg"
                ) from error


def _row(curve: LearningCurve, appended: int) -> dict[str, object]:
    run = curve.run
    return {
        "run_id": run.id,
        "dataset": run.dataset,
        "dataset_fingerprint": run.dataset_fingerprint,
        "space": run.space,
        "configuration": run.configuration.to_json(),
        "protocol_id": run.protocol.id,
        "protocol": json.dumps(run.protocol.to_dict(), sort_keys=True),
        "backbone": run.backbone,
        "backbone_fingerprint": run.backbone_fingerprint,
        "seed": run.seed,
        "outcome": curve.outcome.value,
        "reason": curve.reason,
        "records": [asdict(record) for record in curve.records],
        "setup_seconds": curve.setup_seconds,
        "machine": curve.machine,
        "finished_at": curve.finished_at,
        "version": curve.version,
        "appended": appended,
    }


def _curve(row: dict[str, Any]) -> LearningCurve:
    run = Run(
        dataset=row["dataset"],
        dataset_fingerprint=row["dataset_fingerprint"],
        configuration=Configuration.from_json(row["configuration"]),
        space=row["space"],
        protocol=Protocol.from_dict(json.loads(row["protocol"])),
        backbone=row["backbone"],
        backbone_fingerprint=row["backbone_fingerprint"],
        seed=row["seed"],
    )
    return LearningCurve(
        run=run,
        outcome=Outcome(row["outcome"]),
        reason=row["reason"],
        records=tuple(EpochRecord(**record) for record in row["records"]),
        setup_seconds=row["setup_seconds"],
        machine=row["machine"],
        finished_at=row["finished_at"],
        version=row["version"],
    )
