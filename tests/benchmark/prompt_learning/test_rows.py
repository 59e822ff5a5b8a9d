"""Trials are stored as they were, known again, and refused where they make no sense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.store import TrialStore
from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.store import ResultStore
from qttseg.errors import BenchmarkError, StoreError
from qttseg.pipelines.boundaries import ClassScore

Make = Callable[..., Row]
SHARES = st.floats(0, 1)
SCORES = st.builds(ClassScore, name=st.text(min_size=1), images=st.integers(1, 99), iou=SHARES, boundary_f1=SHARES)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    classes=st.lists(SCORES, min_size=1).map(tuple),
    noise=SHARES,
    chosen=st.dictionaries(st.text(max_size=5), st.text() | st.integers(-9, 9) | st.booleans() | SHARES, max_size=3),
)
def test_a_trial_reads_back_as_it_was(
    tmp_path: Path, trial: Make, classes: tuple[ClassScore, ...], noise: float, chosen: dict
) -> None:
    row = replace(
        trial("plm", 0.5),
        classes=classes,
        prompt="box",
        noise=noise,
        settings=chosen,
        versions={"torch": "2.13"},
        finished_at=3.5,
    )
    store = TrialStore(tmp_path / "store")
    store.append(row)
    (read,) = (one for one in store.newest() if one.id == row.id)
    assert read == row
    assert read.miou == pytest.approx(sum(score.iou for score in classes) / len(classes))


def test_the_newest_of_an_id_counts_and_failures_stay(tmp_path: Path, trial: Make) -> None:
    ticks = iter(range(1, 9))
    store = TrialStore(tmp_path, clock=lambda: next(ticks))
    store.append(trial("plm", None), trial("sam", 0.3))
    assert [row.status for row in store.newest()] == [Status.FAILED, Status.OK]
    assert store.newest()[0].miou is None
    store.append(trial("plm", 0.6))
    assert [row.method for row in store.newest()] == ["plm", "sam"]
    assert store.newest()[0].miou == pytest.approx(0.6)
    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def test_it_shares_a_folder_with_results(tmp_path: Path, trial: Make, template: Result) -> None:
    ResultStore(tmp_path).append(template)
    TrialStore(tmp_path).append(trial("plm", 0.6))
    assert ResultStore(tmp_path).results() == (template,)
    assert len(TrialStore(tmp_path).newest()) == 1


def test_everything_that_decides_the_work_enters_the_id_and_names_do_not(trial: Make) -> None:
    row = trial("plm", 0.5)
    others = [
        replace(row, method="lora"),
        replace(row, task_fingerprint="x"),
        replace(row, source_fingerprint="x"),
        replace(row, images=40),
        replace(row, seed=1),
        replace(row, prompt="box"),
        replace(row, prompt="box", noise=0.1),
        replace(row, draw=1),
        replace(row, backbone_fingerprint="x"),
        replace(row, settings={"epochs": 3}),
    ]
    assert len({row.id, *(other.id for other in others)}) == len(others) + 1
    assert replace(row, task="renamed", seconds=9.0, machine="other").id == row.id
    assert replace(row, source_fingerprint="x").transferred
    assert not row.transferred


def test_a_damaged_file_is_named_with_its_mend(tmp_path: Path, trial: Make) -> None:
    store = TrialStore(tmp_path)
    store.append(trial("plm", 0.5))
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(StoreError, match="delete it and run the experiments again"):
        store.newest()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "words"}, "unknown prompt 'words'"),
        ({"images": -1}, "must not be negative"),
        ({"noise": 0.1}, "have no noise"),
        ({"classes": ()}, "ended ok has 0 classes"),
        ({"status": Status.FAILED}, "ended failed has 2 classes"),
    ],
)
def test_what_makes_no_sense_is_refused(trial: Make, fields: dict, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        replace(trial("plm", 0.5), **fields)
