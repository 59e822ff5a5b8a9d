import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.spaces import search_space
from qttseg.platform.executors import InProcessExecutor
from qttseg.platform.planning import plan_runs
from qttseg.platform.work import FineTuningWork

PROTOCOL = Protocol(images=6, test_images=2, epochs=1, validation_share=0.34)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, ...]:
    monkeypatch.setenv("QTTSEG_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "squares"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for item in range(8):
        mask = np.zeros((48, 48), dtype=np.uint8)
        mask[8 + item : 30 + item, 10:35] = 1
        Image.fromarray(mask).save(folder / "masks" / f"{item}.png")
        Image.fromarray(np.stack([mask * 200, mask * 90, mask * 50], axis=2)).save(folder / "images" / f"{item}.png")
    backbone = load_backbone("sam-nano")
    return plan_runs(
        {str(folder): resolve_dataset(str(folder)).fingerprint},
        search_space("paper"),
        PROTOCOL,
        backbone="sam-nano",
        backbone_fingerprint=backbone.fingerprint,
        runs=2,
    )


def do(runs: tuple[Run, ...], make_work: Callable[[], Callable[[Run], LearningCurve]]) -> list[LearningCurve]:
    return list(InProcessExecutor().run(make_work, runs))


def test_runs_are_fine_tuned(runs: tuple[Run, ...]):
    make_work = pickle.loads(pickle.dumps(partial(FineTuningWork, device="cpu")))  # noqa: S301 our own
    curves = do(runs, make_work)
    assert [curve.outcome for curve in curves] == [Outcome.COMPLETED] * 2, [curve.reason for curve in curves]
    assert all(0 <= curve.scores[0] <= 1 for curve in curves)
    assert curves[0].setup_seconds > curves[1].setup_seconds  # the second run finds its dataset prepared


def test_a_limit_ends_a_run(runs: tuple[Run, ...]):
    (curve,) = do(runs[:1], partial(FineTuningWork, device="cpu", limit=0.0))
    assert curve.outcome is Outcome.TIMED_OUT


def test_data_that_changed_since_planning_fails_the_run(runs: tuple[Run, ...]):
    changed = (
        replace(runs[0], dataset_fingerprint="other"),
        replace(runs[0], backbone_fingerprint="other"),
        replace(runs[0], dataset="procedural-nonsense", dataset_fingerprint="more"),
    )
    reasons = [curve.reason for curve in do(changed, partial(FineTuningWork, device="cpu"))]
    assert all(curve.startswith(("CollectionError", "DatasetError")) for curve in reasons)
    assert sum("has changed since the run was planned" in reason for reason in reasons) == 2
