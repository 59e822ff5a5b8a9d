import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qttseg.errors import StoreError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.schema import CURVES
from qttseg.metadata.sketches import Sketch
from qttseg.metadata.store import CurveStore

numbers = st.floats(allow_nan=False)
texts = st.text(max_size=20)
integers = st.integers(-(2**63), 2**63 - 1)

configurations = st.dictionaries(texts, st.booleans() | st.integers() | numbers | texts, max_size=4).map(Configuration)
protocols = st.builds(
    Protocol,
    images=st.integers(2, 500),
    validation_share=st.floats(0.01, 0.99),
    prompt=st.sampled_from(["box", "whole-image", "point"]),
    points=st.integers(1, 3),
    split=st.sampled_from(["grouped", "ungrouped"]),
    metric=st.sampled_from(["mean-class-iou", "pooled-binary-iou"]),
)
runs = st.builds(
    Run,
    dataset=texts,
    dataset_fingerprint=texts,
    configuration=configurations,
    space=texts,
    protocol=protocols,
    backbone=texts,
    backbone_fingerprint=texts,
    seed=integers,
)
records = st.builds(
    EpochRecord,
    epoch=integers,
    score=numbers,
    train_loss=numbers,
    learning_rate=numbers,
    train_seconds=numbers,
    validation_seconds=numbers,
    peak_memory=integers,
)
curves = st.builds(
    LearningCurve,
    run=runs,
    outcome=st.sampled_from(Outcome),
    reason=texts,
    records=st.lists(records, max_size=3).map(tuple),
    setup_seconds=numbers,
    machine=texts,
    finished_at=numbers,
    version=texts,
)


def curve_of(seed: int, *, outcome: Outcome = Outcome.COMPLETED, reason: str = "") -> LearningCurve:
    run = Run(
        dataset="polyp",
        dataset_fingerprint="f" * 16,
        configuration=Configuration({"lr": 1e-3}),
        space="paper-v1",
        protocol=Protocol(),
        backbone="sam-nano",
        backbone_fingerprint="b" * 16,
        seed=seed,
    )
    return LearningCurve(run=run, outcome=outcome, reason=reason)


@contextmanager
def at_most_bytes_in_a_file(limit: int) -> Iterator[None]:
    """Let the system refuse to write files beyond `limit` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(stored=st.lists(curves, max_size=4, unique_by=lambda curve: curve.run.id))
def test_curves_come_back_as_they_were(tmp_path: Path, stored: list[LearningCurve]):
    store = CurveStore(tmp_path / uuid4().hex)
    store.append(stored[:2])
    store.append(stored[2:])
    assert list(store.curves()) == stored
    assert [curve.run.id for curve in store.curves()] == [curve.run.id for curve in stored]
    store.compact()
    assert list(store.curves()) == stored


def test_a_diverged_epoch_keeps_its_nan(tmp_path: Path):
    record = EpochRecord(
        epoch=1,
        score=0.2,
        train_loss=math.nan,
        learning_rate=math.inf,
        train_seconds=1.0,
        validation_seconds=1.0,
        peak_memory=1,
    )
    store = CurveStore(tmp_path)
    store.append([replace(curve_of(0), records=(record,))])
    (back,) = store.curves()
    assert math.isnan(back.records[0].train_loss)
    assert math.isinf(back.records[0].learning_rate)


@pytest.mark.parametrize("place", ["path", "file", "memory"])
def test_a_store_lives_anywhere(tmp_path: Path, place: str):
    uri = {"path": str(tmp_path / "a"), "file": f"file://{tmp_path}/b", "memory": f"memory://{uuid4().hex}/c"}[place]
    store = CurveStore(uri)
    assert store.is_empty
    assert store.run_ids() == frozenset()
    for seed in range(3):
        store.append([curve_of(seed)])
    store.add_dataset("polyp", "f" * 16, {"images": 100.0})
    store.write_json("plan.json", {"a": 1})
    store.write_json("plan.json", {"a": 2})
    again = CurveStore(uri)
    assert not again.is_empty
    assert again.compact() == 3
    assert [curve.run.seed for curve in again.curves()] == [0, 1, 2]
    assert again.datasets().to_pylist() == [
        {"name": "polyp", "fingerprint": "f" * 16, "meta_features": [("images", 100.0)]}
    ]
    assert again.read_json("plan.json") == {"a": 2}
    assert again.read_json("other.json") is None


def test_an_unknown_place_is_named():
    with pytest.raises(StoreError, match="nowhere://x"):
        CurveStore("nowhere://x")


def test_the_newest_row_of_a_run_counts(tmp_path: Path):
    store = CurveStore(tmp_path, clock=count(1).__next__)
    failed = curve_of(0, outcome=Outcome.FAILED, reason="no luck")
    store.append([failed, curve_of(1)])
    assert store.run_ids({Outcome.FAILED}) == {failed.run.id}
    store.append([curve_of(0)])
    assert store.run_ids({Outcome.FAILED}) == frozenset()
    assert [curve.outcome for curve in store.curves()] == [Outcome.COMPLETED] * 2
    store.compact()
    assert [curve.outcome for curve in store.curves()] == [Outcome.COMPLETED] * 2
    store.append([curve_of(0), failed])
    assert store.run_ids({Outcome.FAILED}) == {failed.run.id}


def test_compaction_beside_a_writer_loses_no_newer_row(tmp_path: Path):
    """A row appended after compaction has read, but before it writes, is in an older file and still the newer row."""
    clock = count(1)
    store = CurveStore(tmp_path, clock=clock.__next__)
    store.append([curve_of(0, outcome=Outcome.FAILED)])
    store.append([curve_of(1)])
    before = {path: path.read_bytes() for path in (tmp_path / "curves").iterdir()}
    store.append([curve_of(0)])
    (between,) = set((tmp_path / "curves").iterdir()) - set(before)
    hidden = between.rename(tmp_path / "between")
    store.compact()
    hidden.rename(between)
    for path, content in before.items():  # and a reader that sees the old files beside the merged one
        path.write_bytes(content)
    assert sorted((curve.run.seed, curve.outcome) for curve in store.curves()) == [
        (0, Outcome.COMPLETED),
        (1, Outcome.COMPLETED),
    ]


def test_a_reader_survives_a_file_that_is_merged_away_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = CurveStore(tmp_path)
    for seed in range(3):
        store.append([curve_of(seed)])
    listed = store._parts

    def list_then_compact() -> dict[str, int]:
        names = listed()
        CurveStore(tmp_path).compact()
        return names

    monkeypatch.setattr(store, "_parts", list_then_compact)
    assert len(list(store.curves())) == 3


def test_leftovers_of_killed_writers_are_ignored_and_swept(tmp_path: Path):
    store = CurveStore(tmp_path)
    store.append([curve_of(0)])
    (part,) = (tmp_path / "curves").iterdir()
    old, young = (part.with_name(f".{part.name}.{name}") for name in ("old", "young"))
    for leftover in (old, young):
        leftover.write_bytes(part.read_bytes()[:100])
    os.utime(old, (0, 0))
    assert len(list(store.curves())) == 1
    store.compact()
    assert set((tmp_path / "curves").iterdir()) == {part, young}  # the young one's writer may be alive


def test_a_full_disk_changes_nothing(tmp_path: Path):
    store = CurveStore(tmp_path)
    store.append([curve_of(0)])
    with at_most_bytes_in_a_file(1000), pytest.raises(StoreError, match="free some disk space"):
        store.append([curve_of(seed) for seed in range(1, 100)])
    assert len(list((tmp_path / "curves").iterdir())) == 1
    assert [curve.run.seed for curve in store.curves()] == [0]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign"])
def test_a_damaged_part_is_named(tmp_path: Path, damage: str):
    store = CurveStore(tmp_path)
    store.append([curve_of(seed) for seed in range(50)])
    (part,) = (tmp_path / "curves").iterdir()
    content = bytearray(part.read_bytes())
    if damage == "cut":
        part.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[200] ^= 0xFF
        part.write_bytes(content)
    else:
        pq.write_table(pa.table({"a": [1]}), part)
    with pytest.raises(StoreError, match=part.name):
        list(store.curves())


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path):
    (tmp_path / "curves").mkdir()
    newer = CURVES.append(pa.field("more", pa.string())).with_metadata({b"qttseg.schema": b"99"})
    pq.write_table(newer.empty_table(), tmp_path / "curves" / "part-1.parquet")
    with pytest.raises(StoreError, match="upgrade"):
        CurveStore(tmp_path).run_ids()


def test_what_does_not_fit_is_refused(tmp_path: Path):
    store = CurveStore(tmp_path)
    with pytest.raises(StoreError, match="cannot be stored"):
        store.append([curve_of(2**70)])
    with pytest.raises(StoreError, match="fingerprint"):
        store.add_dataset("x", "../x", {})
    store.append([])
    assert store.is_empty


def test_a_store_takes_another_in(tmp_path: Path):
    mine, other = (CurveStore(tmp_path / name) for name in ("mine", "other"))
    sketch = Sketch(images=4, looks=bytes(32 * 4))
    mine.append([curve_of(0), curve_of(1)])
    other.append([curve_of(1, outcome=Outcome.FAILED, reason="the other one"), curve_of(2)])
    other.add_dataset("polyp", "f" * 16, {"images": 4.0})
    other.add_sketch("f" * 16, sketch)
    for _ in range(2):
        assert mine.take_in(other) == 2
        assert {curve.run.seed: curve.reason for curve in mine.curves()} == {0: "", 1: "the other one", 2: ""}
        assert mine.datasets().to_pylist() == other.datasets().to_pylist()
        assert mine.sketches() == {"f" * 16: sketch}


def test_sketches_are_kept_by_fingerprint_and_the_newest_counts(tmp_path: Path):
    store = CurveStore(tmp_path)
    assert store.sketches() == {}
    for images in (3, 2):
        store.add_sketch("abc", Sketch(images=images, looks=bytes(range(64))))
    store.add_sketch("def", Sketch(images=0, looks=b""))
    assert store.sketches() == {
        "abc": Sketch(images=2, looks=bytes(range(64))),
        "def": Sketch(images=0, looks=b""),
    }
    with pytest.raises(StoreError, match="fingerprint"):
        store.add_sketch("../abc", Sketch(images=0, looks=b""))
