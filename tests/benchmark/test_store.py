from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.store import RESULTS, ResultStore
from qttseg.errors import StoreError
from qttseg.metadata.protocol import Protocol

SCORES = st.floats(0, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from(Status),
    reason=st.text(st.characters(exclude_categories=["Cs"])),
    score=st.none() | SCORES,
    image_scores=st.lists(SCORES).map(tuple),
    trajectory=st.lists(st.tuples(st.floats(0, 200), SCORES)).map(tuple),
    budget=st.none() | st.floats(1, 200),
    epochs=st.integers(1, 20),
)
def test_a_result_reads_back_as_it_was(
    tmp_path: Path,
    template: Result,
    status: Status,
    reason: str,
    score: float | None,
    image_scores: tuple[float, ...],
    trajectory: tuple[tuple[float, float], ...],
    budget: float | None,
    epochs: int,
):
    result = replace(
        template,
        status=status,
        reason=reason,
        score=score,
        image_scores=image_scores,
        trajectory=trajectory,
        budget=budget,
        protocol=Protocol(epochs=epochs),
        seconds=61.5,
        validation_score=score,
        versions={"torch": "2.13", "python": "3.11"},
    )
    store = ResultStore(tmp_path / "store")
    store.append(result)
    assert result in store.results()


def test_the_newest_row_of_an_id_counts_and_failures_stay(tmp_path: Path, scored: Callable[..., Result]):
    store = ResultStore(tmp_path)
    assert store.results() == ()
    failed, other, mended = (
        scored("qtt-seg", "a", None, 60.0),
        scored("random", "a", None, 60.0),
        scored("qtt-seg", "a", 0.5, 60.0),
    )
    for result in (failed, other, mended):
        store.append(result)
    assert store.results() == (mended, other)
    assert ResultStore(tmp_path).results() == (mended, other)


def test_the_id_holds_what_decides_the_work(template: Result):
    same = replace(template, score=0.9, machine="another", dataset="renamed", seconds=3.0)
    assert same.id == template.id
    assert replace(template, budget=60).id == replace(template, budget=60.0).id
    others = [
        replace(template, method="random"),
        replace(template, dataset_fingerprint="0"),
        replace(template, budget=60.0),
        replace(template, seed=1),
        replace(template, protocol=Protocol(epochs=1)),
        replace(template, backbone_fingerprint="0"),
    ]
    assert len({template.id, *(other.id for other in others)}) == 7


def test_overrun_is_what_exceeds_the_budget(template: Result):
    assert replace(template, budget=60.0, seconds=61.5).overrun == 1.5
    assert replace(template, budget=60.0, seconds=59.0).overrun == 0.0
    assert replace(template, budget=None, seconds=59.0).overrun == 0.0


def test_damaged_and_foreign_files_are_named(tmp_path: Path, template: Result):
    store = ResultStore(tmp_path)
    store.append(template)
    (part,) = (tmp_path / "results").iterdir()
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(StoreError, match=part.name):
        store.results()
    newer = RESULTS.with_metadata({b"qttseg.schema": b"999"})
    pq.write_table(newer.empty_table(), part)
    with pytest.raises(StoreError, match="upgrade"):
        store.results()
    pq.write_table(pa.table({"x": [1]}), part)
    with pytest.raises(StoreError, match="columns"):
        store.results()


def test_nothing_is_left_behind_but_the_parts(tmp_path: Path, template: Result):
    ResultStore(tmp_path).append(template)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".parquet"]
