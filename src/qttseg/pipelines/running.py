"""Whole runs, one by one or packed: from configurations to learning curves, every ending typed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence

import torch

from qttseg import __version__
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.pipelines.deadline import NEVER, Deadline, DeadlineReached
from qttseg.pipelines.execution import OUT_OF_MEMORY
from qttseg.pipelines.fine_tuning import Diverged, FineTuning
from qttseg.pipelines.packed_fine_tuning import PackedFineTuning
from qttseg.pipelines.workbench import Workbench


def fine_tune(run: Run, workbench: Workbench, deadline: Deadline = NEVER) -> LearningCurve:
    """Train `run` for its protocol's epochs on a workbench of its dataset, protocol, backbone and seed.

    Divergence, lack of memory and the deadline end a run early; they are outcomes, not errors, and what was learnt
    until then is kept.
    """
    started = time.perf_counter()
    records: list[EpochRecord] = []
    outcome, reason, setup = Outcome.COMPLETED, "", 0.0
    try:
        training = FineTuning(workbench, run.configuration, seed=run.seed)
        setup = time.perf_counter() - started
        while training.epoch < run.protocol.epochs:
            records.append(training.train_epoch(deadline))
    except Diverged as diverged:
        outcome, reason = Outcome.DIVERGED, str(diverged)
    except DeadlineReached as reached:
        outcome, reason = Outcome.TIMED_OUT, str(reached)
    except OUT_OF_MEMORY as exhausted:
        outcome, reason = Outcome.OUT_OF_MEMORY, str(exhausted).splitlines()[0] if str(exhausted) else "out of memory"
    return _curve(
        run, outcome, reason, records, setup_seconds=setup, machine=describe_machine(workbench.backbone.device)
    )


def fine_tune_pack(runs: Sequence[Run], workbench: Workbench, deadline: Deadline = NEVER) -> list[LearningCurve]:
    """Train several runs at once, as `fine_tune` would each: all of one structure, on one workbench.

    The seconds of a record are its run's share of the pack's, and `machine` says so, as they are no others' to expect.

    Raises:
        torch.OutOfMemoryError: the pack is too large; nothing of it is kept.
    """
    started = time.perf_counter()
    pack = PackedFineTuning(workbench, [run.configuration for run in runs], seed=runs[0].seed)
    setup = (time.perf_counter() - started) / len(runs)
    late = ""
    try:
        while pack.alive and pack.epoch < runs[0].protocol.epochs:
            pack.train_epoch(deadline)
    except DeadlineReached as reached:
        late = str(reached)
    machine = f"{describe_machine(workbench.backbone.device)}, packs of {len(runs)}"
    curves = []
    for run, member in zip(runs, pack.members, strict=True):
        outcome, reason = Outcome.COMPLETED, ""
        if member.diverged:
            outcome, reason = Outcome.DIVERGED, member.diverged
        elif late:
            outcome, reason = Outcome.TIMED_OUT, late
        curves.append(_curve(run, outcome, reason, member.records, setup_seconds=setup, machine=machine))
    return curves


def _curve(
    run: Run, outcome: Outcome, reason: str, records: Sequence[EpochRecord], *, setup_seconds: float, machine: str
) -> LearningCurve:
    return LearningCurve(
        run=run,
        outcome=outcome,
        reason=reason,
        records=tuple(records),
        setup_seconds=setup_seconds,
        machine=machine,
        finished_at=time.time(),
        version=__version__,
    )


def describe_machine(device: torch.device) -> str:
    """Return a short description that two machines of one speed share, for cost predictors and captions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
