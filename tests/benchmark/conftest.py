from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.store import ResultStore
from qttseg.metadata.datasets import Dataset, Sample
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


SKILLS = {"zero-shot": 0.0, "random": 0.5, "autogluon": 0.4, "autogluon-boxes": 0.6, "qtt-seg": 0.8}
"""Share of what is missing to a perfect score that each method makes up for in the end."""


def made_results(
    datasets: Sequence[str] = ("procedural-polyp", "widgets", "procedural-golf"),
    methods: Sequence[str] = ("zero-shot", "random", "qtt-seg"),
    budgets: Sequence[float] = (60.0, 120.0),
    seeds: int = 2,
) -> list[Result]:
    """Results as a benchmark would give them, drawn from a seed: learning that saturates, one failure, one overrun."""
    generator = np.random.default_rng(0)
    levels = {dataset: generator.uniform(0.1, 0.7) for dataset in datasets}
    made = [
        _made(method, dataset, budget, seed, levels[dataset], generator)
        for seed in range(seeds)
        for dataset in datasets
        for method in methods
        for budget in (budgets if SKILLS[method] else [None])
    ]
    last = made[-1]
    made[-1] = replace(last, status=Status.FAILED, reason="RuntimeError: <out> of memory", score=None, trajectory=())
    made[-2] = replace(made[-2], seconds=1.1 * made[-2].seconds)
    return made


def _made(
    method: str, dataset: str, budget: float | None, seed: int, level: float, generator: np.random.Generator
) -> Result:
    times = [] if budget is None else np.linspace(2.0, 0.9 * budget, 8)
    gains = [(1 - level) * SKILLS[method] * (1 - np.exp(-time / 40)) for time in times]
    score = float(np.clip(level + (gains[-1] if gains else 0.0) + generator.normal(0, 0.02), 0, 1))
    return replace(
        TEMPLATE,
        method=method,
        dataset=dataset,
        dataset_fingerprint=f"content-of-{dataset}",
        budget=budget,
        seed=seed,
        score=score,
        image_scores=(score,) * 4,
        validation_score=None if budget is None else score,
        seconds=budget or 0.0,
        trajectory=tuple((float(time), float(level + gain)) for time, gain in zip(times, gains, strict=True)),
        lineage="predictors 3, 240 runs, this one left out" if method == "qtt-seg" else "",
        versions={"qttseg": "0.1.0", "torch": "2.13.0"},
        task="multiclass" if dataset in ("procedural-golf", "terrain", "cholec") else "binary",
        finished_at=1.8e9 + seed,
    )


@dataclass(frozen=True)
class Blobs:
    """A disc that is brighter than its ground, in another place for each index."""

    def load(self, index: int) -> Sample:
        y, x = np.mgrid[:90, :120]
        disc = (y - 30 - 5 * index) ** 2 + (x - 40 - 9 * index) ** 2 < 22**2
        image = np.stack([60 + 120 * disc, 90 + x // 2, 80 + y], axis=-1).astype(np.uint8)
        return Sample(image=image, mask=disc.astype(np.uint8), name=f"blob{index}")


def keep_pictures(gallery: Gallery, results: Sequence[Result]) -> None:
    """Keep pictures of four test images for every result that has a score."""
    blobs = Dataset(
        name="blobs",
        task="binary",
        classes=("background", "blob"),
        names=tuple(f"blob{index}" for index in range(4)),
        source=Blobs(),
    )
    predictions = [np.roll(blobs[index].mask, 6, axis=1) for index in range(4)]
    for result in results:
        if result.score is not None:
            gallery.keep(result, blobs, range(4), predictions)


@pytest.fixture
def made() -> Callable[..., list[Result]]:
    return made_results


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    """A store with results and pictures, to be read only."""
    store, results = ResultStore(tmp_path_factory.mktemp("filled")), made_results()
    for result in results:
        store.append(result)
    keep_pictures(Gallery(uri=store.uri), results)
    return store


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
