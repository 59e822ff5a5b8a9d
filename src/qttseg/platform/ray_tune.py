"""Our search inside Ray Tune: a searcher that names configurations and a scheduler that pauses and thaws their trials.

    bridge = RayTuneSearch(tuner, seconds=60)
    tune.Tuner(Trainable, tune_config=tune.TuneConfig(search_alg=bridge.searcher, scheduler=bridge.scheduler,
               num_samples=-1, reuse_actors=False)).fit()

Trials report `score` (higher is better) once an epoch and save checkpoints, as Ray Tune wants it of trials that pause.
`examples/ray_tune_search.py` runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from qttseg.metadata.runs import EpochRecord, Outcome
from qttseg.tuning.tuner import Tuner

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController


class RayTuneSearch:
    """What the searcher and the scheduler of one experiment share: the tuner, the deadline, who is trained.

    The budget starts with the first configuration that Ray Tune asks for.

    Args:
        tuner: Says what to train next; its policy may use predictors.
        seconds: The budget.
        metric: Name under which trials report their score in [0, 1]; higher is better.
        clock: Returns now in seconds.
    """

    def __init__(
        self, tuner: Tuner, *, seconds: float, metric: str = "score", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tuner = tuner
        self.metric = metric
        self.searcher = QttSearcher(self)
        self.scheduler = FreezeThaw(self)
        self._seconds, self._clock = seconds, clock
        self._started: float | None = None
        self._candidates: dict[str, int] = {}
        self._running: set[int] = set()

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        if self._started is None:
            self._started = self._clock()
        return self._seconds - (self._clock() - self._started)

    def wanted(self) -> int | None:
        """Return the candidate that another worker should train, new or paused; None if nothing is left that fits."""
        proposal = self.tuner.ask(self.remaining, busy=self._running)
        return None if proposal is None else proposal.index

    def candidate(self, trial_id: str) -> int:
        """Return the candidate that a trial trains."""
        return self._candidates[trial_id]

    def is_started(self, index: int) -> bool:
        """Whether a candidate has a trial already."""
        return index in self._candidates.values()

    def start(self, trial_id: str, index: int) -> None:
        """Take note that a trial trains a candidate from now on."""
        self._candidates[trial_id] = index
        self._running.add(index)

    def run(self, trial_id: str, *, running: bool) -> None:
        """Take note that a trial runs, or no longer does."""
        (self._running.add if running else self._running.discard)(self._candidates[trial_id])

    def tell(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Hand a trial's report to the tuner; one of an epoch that is known already is passed over."""
        index = self._candidates[trial_id]
        epoch = len(self.tuner.curves[index]) + 1
        if index in self.tuner.failures or result["training_iteration"] < epoch:
            return
        record = EpochRecord(
            epoch=epoch,
            score=float(result[self.metric]),
            train_loss=float(result.get("train_loss", 0.0)),
            learning_rate=float(result.get("learning_rate", 0.0)),
            train_seconds=float(result["time_this_iter_s"]),
            validation_seconds=0.0,
            peak_memory=0,
        )
        self.tuner.tell(index, record)

    def fail(self, trial_id: str) -> None:
        """Never train a trial's candidate again."""
        self.tuner.fail(self._candidates[trial_id], Outcome.FAILED)
        self.run(trial_id, running=False)


class QttSearcher(Searcher):
    """Names a configuration when the tuner wants one that was not started yet."""

    def __init__(self, search: RayTuneSearch) -> None:
        super().__init__(metric=search.metric, mode="max")
        self._search = search

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return a configuration, None while paused trials come first, or FINISHED when nothing fits any more."""
        index = self._search.wanted()
        if index is None:
            finished = cast("dict[str, Any]", Searcher.FINISHED)  # Ray Tune declares configurations only
            return None if self._search.scheduler.is_working else finished
        if self._search.is_started(index):
            return None
        self._search.start(trial_id, index)
        return dict(self._search.tuner.candidates[index])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002
        """Do nothing: the scheduler has told the tuner."""

    def save(self, checkpoint_path: str) -> None:
        """Write which candidates were started, for a human eye; an interrupted search starts anew."""
        curves = {str(i): [r.score for r in own] for i, own in enumerate(self._search.tuner.curves) if own}
        Path(checkpoint_path).write_text(json.dumps(curves), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: an interrupted search starts anew."""


class FreezeThaw(TrialScheduler):
    """Pauses a trial as soon as the tuner wants another one, and thaws it when its turn comes."""

    _supports_buffered_results = False

    def __init__(self, search: RayTuneSearch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._search = search
        self._trials: dict[str, Trial] = {}

    @property
    def is_working(self) -> bool:
        """Whether a trial is running or about to."""
        return any(trial.status in {Trial.RUNNING, Trial.PENDING} for trial in self._trials.values())

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take note of a new trial."""
        self._trials[trial.trial_id] = trial

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Never train its configuration again."""
        self._search.fail(trial.trial_id)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Tell the tuner, and go on with the trial, pause it or stop it."""
        search, own = self._search, trial.trial_id
        search.tell(own, result)
        search.run(own, running=False)
        wanted = search.wanted()
        if wanted is None or len(search.tuner.curves[search.candidate(own)]) >= search.tuner.max_epochs:
            return self.STOP
        if wanted == search.candidate(own):
            search.run(own, running=True)
            return self.CONTINUE
        return self.PAUSE

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """Take note that the trial no longer runs."""
        self._search.run(trial.trial_id, running=False)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take note that the trial no longer waits."""
        self._search.run(trial.trial_id, running=False)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """Return the paused trial that the tuner wants, else a new one; stop what waits when nothing fits any more."""
        waiting = [trial for trial in self._trials.values() if trial.status in {Trial.PENDING, Trial.PAUSED}]
        for trial in waiting:
            if trial.status == Trial.PENDING:
                return trial
        wanted = self._search.wanted()
        if wanted is None:
            for trial in waiting:
                tune_controller.stop_trial(trial)  # type: ignore[no-untyped-call]
            return None
        for trial in waiting:
            if self._search.candidate(trial.trial_id) == wanted:
                self._search.run(trial.trial_id, running=True)
                return trial
        return None

    def debug_string(self) -> str:
        """Say how the search stands."""
        best = self._search.tuner.incumbent
        return "qttseg: nothing seen yet" if best is None else f"qttseg: best {best.score:.3f}, candidate {best.index}"
