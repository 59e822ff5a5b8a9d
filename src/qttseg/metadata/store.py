"""The learning-curve store: append-only Parquet that survives killed writers and concurrent readers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from qttseg.errors import StoreError
from qttseg.metadata.files import Folder
from qttseg.metadata.runs import LearningCurve, Outcome
from qttseg.metadata.schema import CURVES, DATASETS, SKETCHES, curves_of_table, table_of_curves
from qttseg.metadata.sketches import Sketch
from qttseg.metadata.tables import part_name, read_table, write_table

_SMALL = 64 * 2**20
"""Bytes below which a part file is worth merging with others."""

_READ_ATTEMPTS = 5

_MEND = "delete it and collect again: only the runs it held are redone"


class CurveStore:
    """Learning curves, the meta-features and the sketches of their datasets, in one folder of Parquet files.

    Layout: `curves/part-<time>-<random>.parquet`, one for each `append`; `datasets/<fingerprint>.parquet` and, since
    version 1 of the schema, `sketches/<fingerprint>.parquet`, which older stores lack; JSON documents such as `plan.json`. Every file appears whole or not at all, so any number of processes may read, append
    and compact at once. A run that was stored twice counts once, with its newest row.

    Args:
        uri: A path, or a URI of any filesystem that pyarrow or fsspec can open.
        clock: Nanoseconds since 1970; decides which of two rows is newer.
    """

    def __init__(self, uri: str | Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder = Folder(uri)
        self._clock = clock

    @property
    def uri(self) -> str:
        """Where the store is."""
        return self._folder.uri

    @property
    def is_empty(self) -> bool:
        """Whether no curve was ever appended."""
        return not self._parts()

    def append(self, curves: Sequence[LearningCurve]) -> None:
        """Add curves: all of them, or none if writing fails.

        Raises:
            StoreError: the disk is full or refuses, or a value does not fit its column.
        """
        if curves:
            # Two rows of one run in one call would be equally new: the later one counts.
            latest = {curve.run.id: curve for curve in curves}
            self._write_part(table_of_curves(list(latest.values()), appended=self._clock()))

    def add_dataset(self, name: str, fingerprint: str, meta_features: Mapping[str, float]) -> None:
        """Add a dataset's meta-features, replacing those stored for the same fingerprint.

        Raises:
            StoreError: the fingerprint cannot name a file, or writing fails.
        """
        _check_name(fingerprint)
        row = {"name": name, "fingerprint": fingerprint, "meta_features": dict(meta_features)}
        table = pa.Table.from_pylist([row], schema=DATASETS)
        write_table(self._folder, f"datasets/{fingerprint}.parquet", table)

    def add_sketch(self, fingerprint: str, sketch: Sketch) -> None:
        """Add a dataset's sketch, by which its twins are known, replacing that stored for the same fingerprint.

        Raises:
            StoreError: the fingerprint cannot name a file, or writing fails.
        """
        _check_name(fingerprint)
        row = {"fingerprint": fingerprint, "images": sketch.images, "looks": sketch.looks}
        write_table(self._folder, f"sketches/{fingerprint}.parquet", pa.Table.from_pylist([row], schema=SKETCHES))

    def take_in(
        self, other: CurveStore, *, change: Callable[[LearningCurve], LearningCurve] = lambda curve: curve
    ) -> int:
        """Add all that another store holds, and return how many runs it has; of a run that both have, its curve counts.

        Args:
            other: What to add.
            change: What becomes of each curve on the way.

        Raises:
            StoreError: the other store is damaged, or writing fails.
        """
        curves = [change(curve) for curve in other.curves()]
        for row in other.datasets().to_pylist():
            self.add_dataset(row["name"], row["fingerprint"], dict(row["meta_features"]))
        for fingerprint, sketch in other.sketches().items():
            self.add_sketch(fingerprint, sketch)
        self.append(curves)
        return len(curves)

    def sketches(self) -> dict[str, Sketch]:
        """Return the sketches by the fingerprints of their datasets; older stores have none.

        Raises:
            StoreError: a file is damaged or was written by a newer qttseg.
        """
        rows = self._read_all(lambda: self._folder.files("sketches", ".parquet"), SKETCHES, SKETCHES.names)[1]
        return {row["fingerprint"]: Sketch(images=row["images"], looks=row["looks"]) for row in rows.to_pylist()}

    def curves(self) -> Iterator[LearningCurve]:
        """Yield every run's newest curve, in the order in which the runs were first appended.

        Raises:
            StoreError: a part file is damaged or was written by a newer qttseg.
        """
        return curves_of_table(self.table())

    def run_ids(self, outcomes: Collection[Outcome] | None = None) -> frozenset[str]:
        """Return the ids of the stored runs, or of those whose newest outcome is among `outcomes`."""
        rows = self.table(["run_id", "outcome"])
        return frozenset(
            run_id
            for run_id, outcome in zip(rows["run_id"].to_pylist(), rows["outcome"].to_pylist(), strict=True)
            if outcomes is None or outcome in outcomes
        )

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the newest row of each run with these columns of `schema.CURVES`; all of them by default."""
        columns = CURVES.names if columns is None else columns
        wanted = list(dict.fromkeys([*columns, "run_id", "appended"]))
        return _newest(self._read_all(self._parts, CURVES, wanted)[1]).select(list(columns))

    def datasets(self) -> pa.Table:
        """Return one row for each dataset whose meta-features are known: name, fingerprint, meta_features."""
        return self._read_all(lambda: self._folder.files("datasets", ".parquet"), DATASETS, DATASETS.names)[1]

    def compact(self) -> int:
        """Merge small part files, drop rows that newer ones replaced, and clean up after killed writers.

        A file is only merged with others that are together at least half as large, so that no row is written again and
        again. A reader may see a merged file beside the files it was merged from; their rows are the same,
        so nothing counts twice.

        Returns:
            The number of part files that were merged.
        """
        for folder in ("curves", "datasets", "sketches"):
            self._folder.sweep(folder)
        names, table = self._read_all(self._small_parts, CURVES, CURVES.names)
        if len(names) < 2:
            return 0
        self._write_part(_newest(table))
        for name in names:
            self._folder.delete(name)
        return len(names)

    def write_json(self, name: str, document: Mapping[str, object]) -> None:
        """Keep a JSON document beside the curves.

        Raises:
            StoreError: writing fails.
        """
        self._folder.write(name, json.dumps(document, indent=1).encode())

    def read_json(self, name: str) -> dict[str, object] | None:
        """Return the document that `write_json` kept, or None where there is none.

        Raises:
            StoreError: it is no JSON object.
        """
        try:
            with self._folder.open(name) as file:
                document = json.loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{name} below {self.uri} is damaged: {error}; delete it") from error
        if not isinstance(document, dict):
            raise StoreError(f"{name} below {self.uri} is no JSON object; delete it")
        return document

    def _parts(self) -> dict[str, int]:
        return {name: size for name, size in self._folder.files("curves", ".parquet").items() if "/part-" in name}

    def _small_parts(self) -> list[str]:
        """Return the files to merge: from the smallest on, each at most twice as large as those before it together."""
        parts = sorted(self._parts().items(), key=lambda part: part[1])
        chosen: list[str] = []
        together = 0
        for name, size in parts:
            if size >= _SMALL or (chosen and size > 2 * together):
                break
            chosen.append(name)
            together += size
        return sorted(chosen)

    def _write_part(self, table: pa.Table) -> None:
        write_table(self._folder, part_name("curves", self._clock()), table)

    def _read_all(
        self, list_names: Callable[[], Collection[str]], schema: pa.Schema, columns: Sequence[str]
    ) -> tuple[list[str], pa.Table]:
        """Return the listed files' names and rows; list again when one was merged away meanwhile."""
        for _ in range(_READ_ATTEMPTS):
            names = list(list_names())
            try:
                tables = [read_table(self._folder, name, schema, columns, mend=_MEND) for name in names]
            except FileNotFoundError:
                continue
            return names, pa.concat_tables([schema.empty_table().select(columns), *tables])
        raise StoreError(f"{self.uri} is being rewritten all the time; stop the other compactions and try again")


def _check_name(fingerprint: str) -> None:
    if not re.fullmatch(r"[\w-]+", fingerprint, re.ASCII):
        raise StoreError(f"dataset fingerprint {fingerprint!r} must consist of letters, digits, - and _")


def _newest(table: pa.Table) -> pa.Table:
    """Return the newest row of each run, in the order in which the runs first came."""
    by_age = np.argsort(table["appended"].to_numpy(), kind="stable")
    run_ids = table["run_id"].to_pylist()
    newest = {run_ids[row]: row for row in by_age.tolist()}
    return table.combine_chunks().take(pa.array(newest.values(), pa.int64()))
