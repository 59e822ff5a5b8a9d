"""What every registered benchmark method must keep to; a plug-in's methods are tested once it is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qttseg.benchmark.methods import BenchmarkTask, Method, MethodOutcome, method, method_names
from qttseg.benchmark.methods.interface import NeedsSetUp
from qttseg.benchmark.results import Status
from qttseg.benchmark.runner import Benchmark, run_benchmark
from qttseg.benchmark.sealing import seal
from qttseg.benchmark.store import ResultStore
from qttseg.errors import NotSetUpError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split
from qttseg.pipelines.backbones import fingerprint_of
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.prompts import true_boxes
from qttseg.platform.ray_connection import connected
from qttseg.predictors.registry import Registry

PROTOCOL = Protocol(images=8, test_images=4, epochs=3)
BUDGET = 2.0

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _ray(ray_folder: None) -> Iterator[None]:
    """Start Ray once for all methods that need it."""
    with connected(None, cpus=1):
        yield


def ready(name: str) -> Method:
    """Return a method that has what it needs; tests of another one are skipped."""
    competitor = method(name)
    if isinstance(competitor, NeedsSetUp):
        try:
            competitor.check()
        except NotSetUpError as missing:
            pytest.skip(str(missing))
    return competitor


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a method, watched."""

    name: str
    task: BenchmarkTask
    dataset: Dataset
    outcome: MethodOutcome
    seconds: float
    backbone_before: str


@pytest.fixture(scope="module", params=method_names())
def trial(request: pytest.FixtureRequest, registry: Registry, target: Dataset) -> Trial:
    competitor = ready(request.param)
    split = draw_split(target, PROTOCOL, seed=0)
    backbone = load_backbone()
    before = fingerprint_of(backbone.sam.state_dict())
    task = BenchmarkTask(
        dataset=seal(target, split.test),
        split=split,
        protocol=PROTOCOL,
        backbone=backbone,
        device="cpu",
        budget=BUDGET if competitor.budgeted else None,
        seed=0,
        clock=time.monotonic,
        registry=registry,
    )
    started = time.monotonic()
    outcome = competitor.run(task)
    return Trial(
        name=request.param,
        task=task,
        dataset=target,
        outcome=outcome,
        seconds=time.monotonic() - started,
        backbone_before=before,
    )


def test_it_carries_the_name_it_is_registered_under(trial: Trial):
    assert method(trial.name).name == trial.name
    assert method(trial.name).budgeted == method(trial.name).budgeted


def test_it_segments_images_it_has_never_seen_at_their_own_size(trial: Trial):
    samples = [trial.dataset[index] for index in trial.task.split.test]
    boxes = [true_boxes(sample.mask) for sample in samples]
    maps = trial.outcome.segmenter.segment_all([sample.image for sample in samples], boxes)
    assert len(maps) == len(samples)
    for predicted, sample, prompts in zip(maps, samples, boxes, strict=True):
        assert predicted.dtype == np.uint8
        assert predicted.shape == sample.mask.shape
        assert set(np.unique(predicted)) <= {0, *prompts}


def test_it_takes_images_of_any_size_and_none_of_the_classes(trial: Trial):
    images = [np.full((37, 91, 3), 90, np.uint8), np.full((120, 50, 3), 200, np.uint8)]
    boxes = [{}, {2: (5.0, 10.0, 45.0, 100.0)}]
    empty, one = trial.outcome.segmenter.segment_all(images, boxes)
    assert empty.shape == (37, 91)
    assert not empty.any()
    assert one.shape == (120, 50)
    assert set(np.unique(one)) <= {0, 2}


def test_its_segmenter_answers_the_same_twice(trial: Trial):
    sample = trial.dataset[trial.task.split.test[0]]
    first, second = (
        trial.outcome.segmenter.segment_all([sample.image], [true_boxes(sample.mask)])[0] for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_a_method_that_uses_its_budget_comes_to_an_end_by_itself(trial: Trial):
    """Overruns are reported, not forbidden; one of many times the budget is a method that does not look at the clock."""
    if trial.task.budget is not None:
        assert trial.seconds - trial.outcome.warm_start_seconds < 30 * trial.task.budget


def test_it_leaves_the_shared_backbone_as_it_was(trial: Trial):
    assert fingerprint_of(trial.task.backbone.sam.state_dict()) == trial.backbone_before


def test_what_it_reports_of_its_time_lies_within_the_run(trial: Trial):
    outcome = trial.outcome
    assert 0 <= outcome.warm_start_seconds <= trial.seconds
    moments = [seconds for seconds, _ in outcome.trajectory]
    assert moments == sorted(moments)
    assert all(0 <= moment <= trial.seconds for moment in moments)


def test_its_incumbents_improve_up_to_the_one_it_hands_over(trial: Trial):
    scores = [score for _, score in trial.outcome.trajectory]
    assert all(0 <= score <= 1 for score in scores)
    assert all(earlier < later for earlier, later in pairwise(scores))
    assert trial.outcome.validation_score == (scores[-1] if scores else None)


@pytest.mark.parametrize("name", method_names())
def test_it_uses_no_predictors_that_have_seen_the_target(name: str, registry: Registry, seen: Path, tmp_path: Path):
    ready(name)
    benchmark = Benchmark(methods=(name,), datasets=(str(seen),), budgets=(0.5,), seeds=(0,), protocol=PROTOCOL)
    (result,) = run_benchmark(benchmark, ResultStore(tmp_path), registry=registry).results
    if result.status is Status.OK:
        # The registry's have seen it; the shipped ones have not.
        assert not result.lineage or result.lineage.startswith("predictors shipped")
    else:
        assert result.reason.startswith("LeakageError")
