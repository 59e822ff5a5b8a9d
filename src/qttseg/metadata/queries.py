"""Questions to the learning-curve store, answered by DuckDB; the SQL stands in `metadata/sql`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from qttseg.errors import StoreError
from qttseg.metadata.sketches import Sketch, twins_among
from qttseg.metadata.store import CurveStore

_TWINS = pa.schema([("fingerprint", pa.string()), ("twin", pa.string())])


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """Learning curves to fit a predictor to.

    Attributes:
        table: One row for each run, whatever its outcome: run_id, dataset, dataset_fingerprint, space, configuration
            (JSON), outcome, scores (list of numbers in [0, 1], one for each finished epoch), epoch_seconds (list, as
            long), protocol_id, images (for training and validation, by that protocol), backbone, backbone_fingerprint, seed,
            machine, meta_features (map of text to number).
        left_out: Names of the datasets that were left out.
        sketches: What the images of the datasets within look like, by fingerprint; of those that the store knows.
    """

    table: pa.Table
    left_out: tuple[str, ...]
    sketches: Mapping[str, Sketch] = field(default_factory=dict)

    @cached_property
    def fingerprints(self) -> frozenset[str]:
        """Fingerprints of the datasets within."""
        return frozenset(pc.unique(self.table["dataset_fingerprint"]).to_pylist())

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets within, sorted."""
        return tuple(sorted(pc.unique(self.table["dataset"]).to_pylist()))


def training_set(store: CurveStore, *, leave_out: str | None = None) -> TrainingSet:
    """Return all stored runs but those of one dataset and its relatives.

    Args:
        store: Where the runs are.
        leave_out: Name or fingerprint of a dataset. What has the same content under another name, other content
            under the same name, or largely the same images (`sketches`), is left out too.

    Raises:
        StoreError: the store is empty, holds no such dataset or nothing else, or lacks a dataset's meta-features.
    """
    sketches = store.sketches()
    with _connected(store) as connection:
        left_out = _relatives(connection, leave_out, store, sketches) if leave_out is not None else {}
        fingerprints = sorted(set().union(*left_out.values()))
        table = _ask(connection, _sql("training_set"), {"left_out": fingerprints})
    if not table.num_rows:
        raise StoreError(
            f"{store.uri} holds no curves besides those of {', '.join(left_out)}; collect other datasets too"
        )
    without = pc.unique(table.filter(pc.is_null(table["meta_features"]))["dataset"]).to_pylist()
    if without:
        raise StoreError(
            f"{store.uri} lacks the meta-features of {', '.join(without)}; run qttseg collect on them again, "
            "which measures them and redoes no run"
        )
    kept = set(pc.unique(table["dataset_fingerprint"]).to_pylist()) & sketches.keys()
    within = {fingerprint: sketches[fingerprint] for fingerprint in sorted(kept)}
    return TrainingSet(table=table, left_out=tuple(left_out), sketches=within)


def summary(store: CurveStore) -> pa.Table:
    """Return one row for each dataset: runs, outcomes, scores of completed runs, seconds per epoch and total hours.

    Raises:
        StoreError: the store is empty.
    """
    return _answer(store, "summary")


def ends(store: CurveStore) -> pa.Table:
    """Return run_id, outcome, reason, finished_at (seconds since 1970) and seconds (setting up included) of each run.

    Raises:
        StoreError: the store is empty.
    """
    return _answer(store, "ends")


def costs(store: CurveStore) -> pa.Table:
    """Return the mean seconds of completed runs by dataset_fingerprint, protocol_id, backbone_fingerprint and adapter.

    Raises:
        StoreError: the store is empty.
    """
    return _answer(store, "costs")


def importance(store: CurveStore) -> pa.Table:
    """Return one row for each parameter, the most important first: how much of the scores' ranks it explains alone.

    Columns: parameter, runs, epsilon_squared (share of the variance, less what chance would explain), and the best and
    worst of its levels with their mean rank in [0, 1] within a dataset.

    Raises:
        StoreError: the store is empty.
    """
    return _answer(store, "importance")


def provenance(store: CurveStore) -> pa.Table:
    """Return one row for each combination of search space, backbone and protocol: its machines, versions and runs.

    Raises:
        StoreError: the store is empty.
    """
    return _answer(store, "provenance")


def query(store: CurveStore, sql: str) -> pa.Table:
    """Answer one SELECT statement over the views `runs`, `epochs` and `datasets`.

    The statement sees copies of the store's tables and can reach no file, network or setting.

    Raises:
        StoreError: the store is empty, or the statement is wrong or not a SELECT.
    """
    with _connected(store) as connection:
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return _ask(connection, sql)


def _answer(store: CurveStore, name: str) -> pa.Table:
    with _connected(store) as connection:
        return _ask(connection, _sql(name))


@contextmanager
def _connected(store: CurveStore) -> Iterator[duckdb.DuckDBPyConnection]:
    curves = store.table()
    if not curves.num_rows:
        raise StoreError(f"no curves in {store.uri}; run qttseg collect first")
    with duckdb.connect(":memory:") as connection:
        connection.register("stored_curves", curves)
        connection.register("stored_datasets", store.datasets())
        connection.execute(_sql("views"))
        yield connection


def _relatives(
    connection: duckdb.DuckDBPyConnection, dataset: str, store: CurveStore, sketches: Mapping[str, Sketch]
) -> dict[str, set[str]]:
    """Return the fingerprints of the dataset and its relatives by their names."""
    found: dict[str, set[str]] = {}
    twins = [{"fingerprint": one, "twin": other} for one, other in twins_among(sketches)]
    connection.register("twins", pa.Table.from_pylist(twins, schema=_TWINS))
    for row in _ask(connection, _sql("relatives"), {"dataset": dataset}).to_pylist():
        found.setdefault(row["dataset"], set()).add(row["fingerprint"])
    if not found:
        known = _ask(connection, "SELECT DISTINCT dataset FROM runs ORDER BY dataset")["dataset"].to_pylist()
        raise StoreError(f"{store.uri} has no dataset {dataset} to leave out; it has {', '.join(known)}")
    return found


def _ask(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in {
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        }:
            raise StoreError("a query is one SELECT statement over the views runs, epochs and datasets")
        return connection.sql(sql, params=parameters).to_arrow_table()
    except duckdb.Error as error:
        raise StoreError(f"the query cannot be answered: {error}") from error


def _sql(name: str) -> str:
    return (files("qttseg.metadata") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
