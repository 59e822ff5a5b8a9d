from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qttseg.benchmark.results import Result, Status
from qttseg.metadata.protocol import Protocol

TEMPLATE = Result(
    method="zero-shot",
    dataset="procedural-polyp",
    dataset_fingerprint="f" * 16,
    task="binary",
    budget=None,
    seed=0,
    status=Status.OK,
    protocol=Protocol(),
    backbone="sam-nano",
    backbone_fingerprint="b" * 16,
    machine="2 cores",
)


@pytest.fixture
def template() -> Result:
    return TEMPLATE


@pytest.fixture
def scored() -> Callable[..., Result]:
    """Make a result whose dataset's name is its fingerprint; without a score it is a failed one."""

    def make(method: str, dataset: str, score: float | None, budget: float | None = None, seed: int = 0) -> Result:
        return replace(
            TEMPLATE,
            method=method,
            dataset=dataset,
            dataset_fingerprint=dataset,
            score=score,
            budget=budget,
            seed=seed,
            status=Status.FAILED if score is None else Status.OK,
            reason="out of memory" if score is None else "",
            task="multiclass" if dataset.endswith("golf") else "binary",
        )

    return make


PLUG_IN = """
from dataclasses import dataclass

from qttseg.benchmark.methods import BoxFiller, MethodOutcome
from qttseg.errors import BudgetError


@dataclass
class Plug:
    name: str
    budgeted: bool = True

    def run(self, task):
        return getattr(self, self.name.removeprefix("plug-"))(task)

    def failing(self, task):
        return 1 / 0

    def late(self, task):
        raise BudgetError(f"{task.budget} s are not enough to train for one epoch")

    def peeking(self, task):
        for index in (*task.split.train, *task.split.validation):
            task.dataset[index]
        assert task.dataset.fingerprint
        task.dataset[task.split.test[0]]

    def slow(self, task):
        task.clock.advance(10.0)
        return MethodOutcome(
            segmenter=BoxFiller(), trajectory=((1.0, 0.25),), warm_start_seconds=3.0, lineage="made by hand"
        )


def failing():
    return Plug("plug-failing")


def late():
    return Plug("plug-late")


def peeking():
    return Plug("plug-peeking")


def slow():
    return Plug("plug-slow")
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package that registers methods."""
    site = tmp_path / "site"
    information = site / "qttseg_plug-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "qttseg_plug.py").write_text(PLUG_IN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: qttseg-plug\nVersion: 1.0\n")
    entries = [f"plug-{kind} = qttseg_plug:{kind}" for kind in ("failing", "late", "peeking", "slow", "missing")]
    entries.append("plug-misnamed = qttseg_plug:failing")
    (information / "entry_points.txt").write_text("\n".join(["[qttseg.methods]", *entries, ""]))
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("qttseg_plug", None)
