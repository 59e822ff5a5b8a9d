"""Successive halving as Ray Tune does it: its `ASHAScheduler` over our fine-tuning, within a time budget."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.schedulers import ASHAScheduler

from qttseg.errors import BudgetError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import Split
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.deadline import Deadline, DeadlineReached
from qttseg.pipelines.execution import OUT_OF_MEMORY
from qttseg.pipelines.fine_tuning import Diverged, FineTuning, FineTuningState, trained_segmenter
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.segmenter import Segmenter, zero_shot_segmenter
from qttseg.pipelines.workbench import Workbench
from qttseg.platform.cores import limit_threads, own_cores, pin
from qttseg.platform.ray_connection import connected

RESERVE = 3.0
"""Seconds of the budget for Ray Tune's way out and for making the best model again."""

_STATE = "state.safetensors"
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # or Ctrl-C would end in half a result
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search ended with.

    Attributes:
        segmenter: The best model by validation score; the untuned backbone where none was better.
        score: Its validation score.
        trajectory: (seconds since the start, score) of each new incumbent.
        warm_start_seconds: Starting and stopping Ray, imports and the backbone's load.
    """

    segmenter: Segmenter
    score: float
    trajectory: tuple[tuple[float, float], ...]
    warm_start_seconds: float


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """What the process that trains has to know."""

    dataset: Dataset
    split: Split
    protocol: Protocol
    backbone: str
    device: str
    candidates: tuple[Configuration, ...]
    budget: float
    seed: int
    cores: tuple[int, ...]
    threads: int
    folder: Path


def search(
    dataset: Dataset,
    split: Split,
    protocol: Protocol,
    backbone: Backbone,
    candidates: Sequence[Configuration],
    *,
    budget: float,
    device: str = "cpu",
    seed: int = 0,
) -> Found:
    """Search among `candidates`, one trial at a time, in their order.

    The budget begins when the process that trains has imported everything and loaded the backbone. Its cores and
    threads are those of the calling process.

    Raises:
        BudgetError: the time ended before anything was known.
        CollectionError: Ray cannot be started.
        Exception: whatever a trial raised.
    """
    called = time.monotonic()
    with TemporaryDirectory(prefix="qttseg-asha-") as folder:
        goal = _Goal(
            dataset=dataset,
            split=split,
            protocol=protocol,
            backbone=backbone.name,
            device=device,
            candidates=tuple(candidates),
            budget=budget,
            seed=seed,
            cores=own_cores(),
            threads=torch.get_num_threads(),
            folder=Path(folder),
        )
        with connected(None, cpus=1):
            diary, best = _fit(goal)
            if diary.ready is None:
                raise BudgetError("Ray Tune ended before its first trial said anything")
            segmenter = zero_shot_segmenter(backbone)
            if best is not None:
                index, state = best
                segmenter = trained_segmenter(backbone, goal.candidates[index], state, seed=seed)
            found = time.monotonic()
    stopping = time.monotonic() - found
    return Found(
        segmenter=segmenter,
        score=diary.incumbents[-1][1],
        trajectory=tuple(diary.incumbents),
        warm_start_seconds=diary.ready - called + stopping,
    )


def _fit(goal: _Goal) -> tuple[_Diary, tuple[int, FineTuningState] | None]:
    """Run Ray Tune; return what was reported, and the best candidate with its state unless nothing beat the backbone."""
    diary = _Diary()
    trainable = tune.with_resources(
        tune.with_parameters(Trial, goal=goal),
        # No CPU, but something: a benchmark that runs inside Ray holds the only cores there are, and lends them.
        {"memory": 2**20, "gpu": int(goal.device.startswith("cuda"))},
    )
    # Ray Tune finds a class by its name, and searches in one cluster share names: without its own, one would train
    # what another was given.
    tune.register_trainable(goal.folder.name, trainable)
    tuner = tune.Tuner(
        goal.folder.name,
        param_space={"candidate": tune.grid_search(list(range(len(goal.candidates))))},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=ASHAScheduler(max_t=goal.protocol.epochs, grace_period=1, reduction_factor=3),
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(goal.folder),
            stop=diary,
            verbose=0,
            failure_config=tune.FailureConfig(fail_fast=True),
        ),
    )
    with _environment(_SETTINGS):
        results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    checkpoints = [pair for place in range(len(results)) for pair in results[place].best_checkpoints or ()]
    if not checkpoints:
        return diary, None
    checkpoint, metrics = max(checkpoints, key=lambda pair: float(pair[1]["score"]))
    return diary, (int(metrics["candidate"]), FineTuningState.load(Path(checkpoint.path) / _STATE))


@dataclass(kw_only=True)
class _Desk:
    """What the trials of one process share: prepared images, the deadline, the best score so far."""

    workbench: Workbench
    zero_shot: Mapping[str, float]
    deadline: Deadline
    ready: float
    best: float


class Trial(tune.Trainable):
    """One configuration, an epoch a step; the process goes on to the next one with all that is prepared."""

    _desk: ClassVar[_Desk | None] = None

    def setup(self, config: dict[str, Any], *, goal: _Goal) -> None:  # type: ignore[override]  # with_parameters gives it
        """Prepare what is not prepared yet, and an untrained model."""
        self._goal = goal
        if Trial._desk is None:
            Trial._desk = _prepared(goal)
        self.desk = Trial._desk
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another configuration."""
        self._candidate = int(new_config["candidate"])
        self._training = FineTuning(self.desk.workbench, self._goal.candidates[self._candidate], seed=self._goal.seed)
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch, if the time allows."""
        desk = self.desk
        result: dict[str, Any] = {"candidate": self._candidate, "ready": desk.ready, **desk.zero_shot}
        try:
            score = self._training.train_epoch(desk.deadline).score
        except (DeadlineReached, Diverged, *OUT_OF_MEMORY):
            return result | {"score": 0.0, "trained": False, "late": desk.deadline.expired, "done": True}
        better, desk.best = score > desk.best, max(score, desk.best)
        return result | {
            "score": score,
            "trained": True,
            "moment": time.monotonic() - desk.ready,
            "late": desk.deadline.expired,
            "done": self._training.epoch == self._goal.protocol.epochs,
            SHOULD_CHECKPOINT: better,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Freeze."""
        self._training.state().save(Path(checkpoint_dir) / _STATE)

    def load_checkpoint(self, checkpoint: str) -> None:  # type: ignore[override]  # save_checkpoint returns no dictionary
        """Thaw."""
        self._training.restore(FineTuningState.load(Path(checkpoint) / _STATE))


def _prepared(goal: _Goal) -> _Desk:
    """Load the backbone, start the clock, read the images and score the untuned backbone."""
    limit_threads(goal.threads)
    pin(goal.cores)
    backbone = load_backbone(goal.backbone, device=goal.device)
    ready = _first(goal.folder / "ready", time.monotonic())
    workbench = Workbench.prepare(goal.dataset, goal.protocol, backbone.remembering(), seed=goal.seed, split=goal.split)
    scoring = time.monotonic()
    score = workbench.validate(workbench.backbone)
    now = time.monotonic()
    return _Desk(
        workbench=workbench,
        zero_shot={"zero_shot": score, "zero_shot_moment": now - ready},
        deadline=Deadline(at=ready + goal.budget - RESERVE - (now - scoring)),
        ready=ready,
        best=score,
    )


def _first(file: Path, moment: float) -> float:
    """Return the moment that was written first: a process that takes another's place does not start the clock again."""
    try:
        with file.open("x", encoding="ascii") as stream:
            stream.write(repr(moment))
    except FileExistsError:
        return float(file.read_text(encoding="ascii"))
    return moment


class _Diary(tune.Stopper):
    """Takes note of every report, and ends the search when the time is up."""

    def __init__(self) -> None:
        self.ready: float | None = None
        self.incumbents: list[tuple[float, float]] = []
        self._late = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note a report; return whether the trial should stop."""
        if self.ready is None:
            self.ready = float(result["ready"])
            self.incumbents.append((float(result["zero_shot_moment"]), float(result["zero_shot"])))
        if result["trained"] and result["score"] > self.incumbents[-1][1]:
            self.incumbents.append((float(result["moment"]), float(result["score"])))
        self._late = self._late or bool(result["late"])
        return self._late

    def stop_all(self) -> bool:
        """Whether the time is up."""
        return self._late


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
