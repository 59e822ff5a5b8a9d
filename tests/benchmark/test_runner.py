from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qttseg.benchmark.results import Status
from qttseg.benchmark.runner import Benchmark, run_benchmark
from qttseg.benchmark.store import ResultStore
from qttseg.benchmark.tables import paper_table
from qttseg.errors import BenchmarkError, BudgetError, DatasetError, NotSetUpError
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split

TINY = Protocol(images=6, test_images=3, epochs=2)


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Nine images of 40 × 30 pixels with a bright square on a dark ground."""
    root = tmp_path / "squares"
    generator = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(9):
        mask = np.zeros((30, 40), np.uint8)
        top, left = generator.integers(2, 12, size=2)
        mask[top : top + 12, left : left + 14] = 1
        image = np.where(mask[..., None], 220, 40).astype(np.uint8) + generator.integers(0, 20, (30, 40, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    return str(root)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "store")


def test_test_images_are_embedded_once_and_no_session_profits_from_another(
    folder: str, store: ResultStore, monkeypatch: pytest.MonkeyPatch
):
    """Scoring is nobody's time, so it shares; a method's own time starts with an empty cache."""
    from qttseg.pipelines.backbones import Backbone
    from qttseg.pipelines.loading import load_backbone

    load_backbone().cache._kept.clear()
    encode, encoded = Backbone.encode, []
    monkeypatch.setattr(Backbone, "encode", lambda self, images: encoded.append(len(images)) or encode(self, images))
    run_benchmark(Benchmark(methods=("zero-shot",), datasets=(folder,), seeds=(0, 1), protocol=TINY), store)
    assert sum(encoded) == TINY.test_images
    encoded.clear()
    for _ in range(2):
        task = load_backbone().remembering()
        task.embed(torch.zeros(1, 3, task.resolution, task.resolution, dtype=torch.uint8))
    assert sum(encoded) == 2


def test_budget_free_methods_run_once_and_are_scored_on_the_fixed_test_images(folder: str, store: ResultStore):
    benchmark = Benchmark(
        methods=("zero-shot", "box-filling"), datasets=(folder,), budgets=(1.0, 2.0), seeds=(0, 1), protocol=TINY
    )
    seen: list[tuple[str, int, int]] = []
    report = run_benchmark(
        benchmark, store, on_progress=lambda result, done, total: seen.append((result.id, done, total))
    )
    assert [(result.seed, result.method) for result in report.results] == [
        (0, "zero-shot"),
        (0, "box-filling"),
        (1, "zero-shot"),
        (1, "box-filling"),
    ]
    assert [(done, total) for _, done, total in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not report.failed
    assert store.results() == report.results
    for result in report.results:
        assert result.budget is None
        assert len(result.image_scores) == 3
        assert result.score == pytest.approx(np.mean(result.image_scores))
        assert result.backbone == "sam-nano"
        assert "torch" in result.versions
        assert result.machine
    floor = [result for result in report.results if result.method == "box-filling"]
    assert all(result.score == pytest.approx(1.0, abs=0.15) for result in floor), "a box about a square is the square"


def test_a_resumed_benchmark_does_only_what_is_missing(folder: str, store: ResultStore):
    benchmark = Benchmark(methods=("box-filling",), datasets=(folder,), seeds=(0,), protocol=TINY)
    first = run_benchmark(benchmark, store)
    assert (len(first.results), first.skipped) == (1, 0)
    second = run_benchmark(replace(benchmark, seeds=(0, 1)), store)
    assert ([result.seed for result in second.results], second.skipped) == ([1], 1)
    assert run_benchmark(replace(benchmark, seeds=(1, 0)), store).results == ()


@pytest.mark.usefixtures("plug_in")
def test_failures_are_rows_with_a_reason_and_the_rest_goes_on(folder: str, store: ResultStore):
    benchmark = Benchmark(
        methods=("plug-failing", "plug-late", "plug-peeking", "box-filling"),
        datasets=(folder,),
        budgets=(5.0,),
        seeds=(0,),
        protocol=TINY,
    )
    report = run_benchmark(benchmark, store)
    failing, late, peeking, floor = report.results
    assert (failing.status, failing.reason) == (Status.FAILED, "ZeroDivisionError: division by zero")
    assert late.status is Status.TIMED_OUT
    assert peeking.status is Status.FAILED
    assert peeking.reason.startswith("LeakageError: image")
    assert floor.status is Status.OK
    assert report.failed == (failing, late, peeking)
    assert [cell.text for row in paper_table(report.results, "binary").rows for cell in row.cells].count(
        "(1 failed)"
    ) == 3

    assert run_benchmark(benchmark, store).results == ()
    again = run_benchmark(benchmark, store, retry_failed=True)
    assert [result.method for result in again.results] == ["plug-failing", "plug-late", "plug-peeking"]


@pytest.mark.usefixtures("plug_in")
def test_time_is_measured_outside_the_method_without_its_warm_start(folder: str, store: ResultStore):
    benchmark = Benchmark(methods=("plug-slow",), datasets=(folder,), budgets=(5.0,), seeds=(0,), protocol=TINY)
    (result,) = run_benchmark(benchmark, store, clock=ManualClock()).results
    assert (result.seconds, result.overrun, result.warm_start_seconds) == (7.0, 2.0, 3.0)
    assert result.trajectory == ((1.0, 0.25),)
    assert result.lineage == "made by hand"


@pytest.mark.usefixtures("ray_folder")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_score_as_this_process_does_and_tell_their_cold_start(folder: str, store: ResultStore, tmp_path: Path):
    benchmark = Benchmark(methods=("box-filling",), datasets=(folder,), seeds=(0,), protocol=TINY)
    (here,) = run_benchmark(benchmark, store).results
    other = ResultStore(tmp_path / "other")
    (there,) = run_benchmark(benchmark, other, workers=1).results
    assert (there.id, there.image_scores) == (here.id, here.image_scores)
    assert there.warm_start_seconds > here.warm_start_seconds
    assert ", 1 threads" in there.machine
    assert other.results() == (there,)


def test_what_a_method_lacks_is_said_before_anything_runs(
    folder: str, store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QTTSEG_AUTOGLUON", str(tmp_path))
    benchmark = Benchmark(methods=("box-filling", "autogluon"), datasets=(folder,), protocol=TINY)
    with pytest.raises(NotSetUpError, match="qttseg bench setup autogluon"):
        run_benchmark(benchmark, store)
    with pytest.raises(BenchmarkError, match="would share cuda"):
        run_benchmark(replace(benchmark, methods=("box-filling",)), store, device="cuda", workers=2)
    assert store.results() == ()


def test_what_cannot_be_run_is_refused_before_anything_runs(folder: str, store: ResultStore):
    good = {"methods": ("zero-shot",), "datasets": (folder,)}
    for wrong, error in (
        ({"budgets": (0.0,)}, BudgetError),
        ({"budgets": (float("nan"),)}, BudgetError),
        ({"seeds": ()}, BenchmarkError),
        ({"methods": ("zero-shot", "zero-shot")}, BenchmarkError),
    ):
        with pytest.raises(error):
            Benchmark(**(good | wrong))
    with pytest.raises(BenchmarkError, match="no method"):
        run_benchmark(Benchmark(methods=("box-filling", "nothing"), datasets=(folder,)), store)
    with pytest.raises(DatasetError):
        run_benchmark(Benchmark(methods=("box-filling",), datasets=(folder, "nothing")), store)
    assert store.results() == ()


def test_the_test_images_are_the_same_for_every_seed(folder: str):
    dataset = resolve_dataset(folder)
    first, second = (draw_split(dataset, TINY, seed=seed) for seed in (0, 1))
    assert first.test == second.test
