"""AutoGluon itself, where `qttseg bench setup autogluon` has been run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from qttseg.benchmark.arena import Arena
from qttseg.benchmark.autogluon.environment import AutoGluonEnvironment, autogluon_environment
from qttseg.benchmark.methods.autogluon import AutoGluon
from qttseg.benchmark.methods.catalogue import method
from qttseg.benchmark.results import Job, Status
from qttseg.errors import BenchmarkError, NotSetUpError
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol

REAL = autogluon_environment()
"""Looked up before tests get a cache folder of their own."""


def is_there() -> bool:
    try:
        REAL.check()
    except NotSetUpError:
        return False
    return True


@pytest.mark.skipif(not is_there(), reason="qttseg bench setup autogluon has not been run")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "boxes"), [("procedural-polyp", False), ("procedural-terrain", True)])
def test_it_fine_tunes_the_very_same_weights(name, boxes):
    dataset = resolve_dataset(name)
    arena = Arena.load("sam-nano", device="cpu", registry=None)
    job = Job(
        method="autogluon",
        dataset=name,
        dataset_fingerprint=dataset.fingerprint,
        task=dataset.task,
        budget=10.0,
        seed=0,
        protocol=Protocol(images=8, test_images=4),
        backbone=arena.backbone.name,
        backbone_fingerprint=arena.backbone.fingerprint,
    )
    result = arena.run(job, AutoGluon(boxes=boxes, python=REAL.python), dataset)
    assert (result.status, result.reason) == (Status.OK, "")
    assert len(result.image_scores) == 4
    assert result.versions["autogluon/autogluon.multimodal"]
    assert result.warm_start_seconds > 1


def test_where_it_is_not_set_up_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("QTTSEG_AUTOGLUON", str(tmp_path / "nowhere"))
    with pytest.raises(NotSetUpError, match="run `qttseg bench setup autogluon`"):
        method("autogluon").check()


@dataclass(frozen=True, kw_only=True)
class Offline(AutoGluonEnvironment):
    """Its interpreter is a pip that has no network."""

    def prepare(self) -> None:
        self.python.parent.mkdir(parents=True)
        self.python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for torch' >&2\nexit 1\n")
        self.python.chmod(0o755)


def test_an_installation_that_breaks_off_is_explained_and_counts_for_nothing(monkeypatch, tmp_path):
    environment = Offline(folder=tmp_path / "autogluon")
    monkeypatch.setattr("venv.create", lambda *_, **__: environment.prepare())
    with pytest.raises(BenchmarkError, match=r"cannot be installed .* No matching distribution .* disk space"):
        environment.set_up()
    with pytest.raises(NotSetUpError):
        environment.check()
