"""Our half: starts quicktunetool, hands it curves, and searches by its ask and tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from qttseg.benchmark.foreign.companion import Companion
from qttseg.benchmark.foreign.environment import QUICKTUNETOOL
from qttseg.errors import BenchmarkError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.runs import EpochRecord, Outcome
from qttseg.predictors.training_runs import TrainingRuns
from qttseg.tuning.tuner import Proposal

_RUNNER = Path(__file__).with_name("runner.py")

_FIT_SECONDS = 7200.0
_ANSWER_SECONDS = 600.0
"""After these it hangs; far beyond what it takes on a slow machine."""

_QUOTED = 8
"""Lines of a traceback that tell where in quicktunetool it went wrong."""


@contextmanager
def quicktunetool(
    training: TrainingSet, *, epochs: int, command: Sequence[str] | None = None
) -> Iterator[QuickTuneTool]:
    """Fit quicktunetool's predictors and yield the process that has them, which ends with the `with`.

    Args:
        training: What it is fitted to; must not hold the dataset that will be searched on.
        epochs: Epochs after which a candidate is finished.
        command: What to start instead of the runner in its environment.

    Raises:
        NotSetUpError: its environment has not been made.
        PredictorError: there are too few runs.
        BenchmarkError: it died.
    """
    if command is None:
        QUICKTUNETOOL.check()
        command = (str(QUICKTUNETOOL.python), "-I", str(_RUNNER))
    data = _curves(training, epochs)
    folder = Path(mkdtemp(prefix="qttseg-quicktunetool-"))
    curves = folder / "curves.json"
    curves.write_text(json.dumps(data), encoding="utf-8")
    # quicktunetool keeps things below the home folder; there, two at once would overwrite each other's.
    home = {"HOME": str(folder)}
    process = Companion("quicktunetool", [*command, str(curves)], folder=folder, environment=home, quoted=_QUOTED)
    try:
        yield QuickTuneTool(process)
    finally:
        process.close()


class QuickTuneTool:
    """quicktunetool with its predictors fitted, in a process of its own.

    Attributes:
        fit_seconds: What fitting took.
        decision_seconds: What each decision took so far; replays charge it what they charge everybody.

    Raises:
        BenchmarkError: the process died.
    """

    def __init__(self, process: Companion) -> None:
        self._process = process
        self.fit_seconds = _number(process.receive(seconds=_FIT_SECONDS), "seconds")
        self.decision_seconds: list[float] = []

    def search(
        self, configurations: Sequence[Configuration], meta_features: Mapping[str, float], *, seed: int
    ) -> QuickTuneToolSearch:
        """Return a new search among `configurations`; the one before is over.

        Raises:
            BenchmarkError: the process died.
        """
        pipelines = [_pipeline(configuration, meta_features) for configuration in configurations]
        self._request("start", pipelines=pipelines, seed=seed)
        return QuickTuneToolSearch(self, configurations)

    def ask(self) -> tuple[int, int] | None:
        """Return the candidate to train next and the epoch that it comes to; None when quicktunetool is done.

        Raises:
            BenchmarkError: the process died or its answer makes no sense.
        """
        answer = self._request("ask")
        self.decision_seconds.append(_number(answer, "seconds"))
        if "candidate" in answer and answer["candidate"] is None:
            return None
        return int(_number(answer, "candidate")), int(_number(answer, "epoch"))

    def tell(self, candidate: int, epoch: int, score: float | None) -> None:
        """Report the score of a candidate's epoch, or with None that it failed.

        Raises:
            BenchmarkError: the process died.
        """
        self._request("tell", candidate=candidate, epoch=epoch, score=score)

    def _request(self, do: str, **arguments: object) -> Mapping[str, Any]:
        return self._process.ask({"do": do, **arguments}, seconds=_ANSWER_SECONDS)


class QuickTuneToolSearch:
    """One search by quicktunetool, asked and told as `Tuner` is.

    It does not know the deadline: a proposal that does not fit is begun and lost, as it would be in a live run.
    """

    def __init__(self, tool: QuickTuneTool, configurations: Sequence[Configuration]) -> None:
        self._tool = tool
        self._configurations = configurations
        self._done = [0] * len(configurations)

    def ask(self, remaining: float) -> Proposal | None:
        """Return what to train next, or None when the time is over or quicktunetool is done.

        Raises:
            BenchmarkError: the process died, or it names no candidate or an epoch that cannot follow.
        """
        choice = self._tool.ask() if remaining > 0 else None
        if choice is None:
            return None
        index, epoch = choice
        if not 0 <= index < len(self._done) or epoch != self._done[index] + 1:
            raise BenchmarkError(
                f"quicktunetool wants epoch {epoch} of candidate {index}; there are {len(self._done)} candidates from 0 "
                "on, and epochs follow each other. This bridge is for version 0.0.4"
            )
        return Proposal(index=index, configuration=self._configurations[index], epochs=1, seconds=0.0)

    def tell(self, index: int, record: EpochRecord) -> None:
        """Report what an epoch gave.

        Raises:
            BenchmarkError: the process died.
        """
        self._done[index] = record.epoch
        self._tool.tell(index, record.epoch, record.score)

    def fail(self, index: int, outcome: Outcome) -> None:  # noqa: ARG002 (it knows one way to fail)
        """Report that a candidate failed.

        Raises:
            BenchmarkError: the process died.
        """
        self._tool.tell(index, self._done[index] + 1, None)


def _number(answer: Mapping[str, Any], key: str) -> float:
    value = answer.get(key)
    if not isinstance(value, int | float):
        raise BenchmarkError(f"quicktunetool answered {dict(answer)}, without a number as {key}")
    return float(value)


def _curves(training: TrainingSet, epochs: int) -> dict[str, object]:
    """Return the file that the runner reads: every curve cut or filled with NaN to `epochs`, and seconds of an epoch."""
    scores, costs = TrainingRuns.with_scores(training), TrainingRuns.with_seconds(training)
    missing = np.full(epochs, np.nan)
    rows = [np.concatenate([values, missing])[:epochs].tolist() for values in scores.values]
    return {
        "scores": {"pipelines": list(_pipelines(scores)), "values": rows},
        "costs": {"pipelines": list(_pipelines(costs)), "values": [float(values.mean()) for values in costs.values]},
    }


def _pipelines(runs: TrainingRuns) -> Iterator[dict[str, object]]:
    for configuration, task in zip(runs.configurations, runs.tasks, strict=True):
        yield _pipeline(configuration, runs.meta_features[task])


def _pipeline(configuration: Configuration, meta_features: Mapping[str, float]) -> dict[str, object]:
    """Return what quicktunetool calls a pipeline; parameters and meta-features of one name would be one column."""
    return {**configuration, **{f"meta:{name}": value for name, value in meta_features.items()}}
