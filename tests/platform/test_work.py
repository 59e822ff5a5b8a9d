import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.pipelines.deadline import Deadline
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.packed_fine_tuning import PackedFineTuning
from qttseg.pipelines.spaces import search_space
from qttseg.pipelines.workbench import Workbench
from qttseg.platform.executors import InProcessExecutor, Work
from qttseg.platform.planning import plan_runs
from qttseg.platform.work import FineTuningWork

_LONG = 0.1
"""Seconds that preparing takes at least, where a test says so."""

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


def do(runs: tuple[Run, ...], make_work: Callable[[], Work], *, pack: int = 1) -> list[LearningCurve]:
    done = InProcessExecutor(pack=pack).run(make_work, runs, lambda _: 1.0)
    return [curve for some in done for curve in some]


def test_runs_are_fine_tuned_and_their_dataset_is_prepared_once(runs: tuple[Run, ...], monkeypatch: pytest.MonkeyPatch):
    prepared: list[str] = []
    prepare = Workbench.prepare

    def counting(dataset: Dataset, *arguments: Any, **options: Any) -> Workbench:
        prepared.append(dataset.name)
        time.sleep(_LONG)
        return prepare(dataset, *arguments, **options)

    monkeypatch.setattr(Workbench, "prepare", counting)
    make_work = pickle.loads(pickle.dumps(partial(FineTuningWork, device="cpu")))  # noqa: S301 our own
    curves = do(runs, make_work)
    assert [curve.outcome for curve in curves] == [Outcome.COMPLETED] * 2, [curve.reason for curve in curves]
    assert all(0 <= curve.scores[0] <= 1 for curve in curves)
    assert curves[0].setup_seconds >= _LONG
    assert prepared == ["squares"]  # the second run finds its dataset prepared


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


def alike(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return runs of one structure, two epochs each, of which the third diverges."""
    protocol = replace(PROTOCOL, epochs=2)
    plain = {"lora": 0, "sched": "cosine", "weight_decay": 0.0} | dict.fromkeys(
        ("horizontal_flip", "vertical_flip", "random_rotate"), 0
    )
    configurations = [Configuration({**plain, "lr": lr}) for lr in (1e-4, 1e-3, 1e30, 2e-3)]
    return tuple(replace(runs[0], protocol=protocol, configuration=own) for own in configurations)


def test_a_pack_is_trained_at_once_and_ends_run_by_run(runs: tuple[Run, ...]):
    packed = do(alike(runs), partial(FineTuningWork, device="cpu"), pack=4)
    single = do(alike(runs), partial(FineTuningWork, device="cpu"))
    assert all("packs of" in curve.machine for curve in packed if curve.records)
    assert not any("packs of" in curve.machine for curve in single)
    found, expected = ({c.run.id: (c.outcome, c.scores) for c in curves} for curves in (packed, single))
    assert {outcome for outcome, _ in found.values()} == {Outcome.COMPLETED, Outcome.DIVERGED}
    for run_id, (outcome, scores) in expected.items():
        assert found[run_id][0] is outcome
        assert found[run_id][1] == pytest.approx(scores, abs=1e-2)


def test_a_pack_that_does_not_fit_is_halved_and_so_are_later_ones(
    runs: tuple[Run, ...], monkeypatch: pytest.MonkeyPatch
):
    tried: list[int] = []
    whole = PackedFineTuning.train_epoch

    def cramped(self: PackedFineTuning, deadline: Deadline) -> None:
        tried.append(len(self.members))
        if len(self.members) > 2:
            raise MemoryError("no more")
        whole(self, deadline)

    monkeypatch.setattr(PackedFineTuning, "train_epoch", cramped)
    work = FineTuningWork(device="cpu")
    for _ in range(2):
        curves = work(alike(runs))
        assert [curve.outcome for curve in curves] == [
            Outcome.COMPLETED, Outcome.COMPLETED, Outcome.DIVERGED, Outcome.COMPLETED,
        ]  # fmt: skip
    assert tried == [4, *[2] * 4, *[2] * 4]  # two epochs of each half
