"""AutoGluon itself, where `qttseg bench setup autogluon` has been run."""

from __future__ import annotations

import pytest

from qttseg.benchmark.arena import Arena
from qttseg.benchmark.foreign.environment import AUTOGLUON
from qttseg.benchmark.methods.autogluon import AutoGluon
from qttseg.benchmark.methods.catalogue import method
from qttseg.benchmark.results import Job, Status
from qttseg.errors import NotSetUpError
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol

PYTHON, IS_THERE = AUTOGLUON.python, AUTOGLUON.is_there
"""Looked up before tests get a cache folder of their own."""


@pytest.mark.skipif(not IS_THERE, reason="qttseg bench setup autogluon has not been run")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "boxes"), [("procedural-polyp", False), ("procedural-terrain", True)])
def test_it_fine_tunes_the_very_same_weights(name, boxes):
    dataset = resolve_dataset(name)
    arena = Arena.load("sam-nano", device="cpu", registry=None, gallery=None)
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
    result = arena.run(job, AutoGluon(boxes=boxes, python=PYTHON), dataset)
    assert (result.status, result.reason) == (Status.OK, "")
    assert len(result.image_scores) == 4
    assert result.versions["autogluon/autogluon.multimodal"]
    assert result.warm_start_seconds > 1


def test_where_it_is_not_set_up_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("QTTSEG_AUTOGLUON", str(tmp_path / "nowhere"))
    with pytest.raises(NotSetUpError, match="run `qttseg bench setup autogluon`"):
        method("autogluon").check()
