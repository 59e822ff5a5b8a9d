"""The live search: ask, train an epoch, tell, until the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypedDict

import torch

from qttseg import __version__
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.pipelines.deadline import Deadline, DeadlineReached
from qttseg.pipelines.fine_tuning import Diverged, FineTuning, FineTuningState, trained_segmenter
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.segmenter import Segmenter, zero_shot_segmenter
from qttseg.pipelines.workbench import Workbench
from qttseg.tuning.events import Ending, Event, Failed, Finished, Finishing, NewIncumbent, Scored, Started, Trying
from qttseg.tuning.policies import SAFETY
from qttseg.tuning.states import FreezeThaw
from qttseg.tuning.tuner import Proposal, Tuner

_LEAST_SHARE = 0.1
"""Share of an epoch below which last steps are not worth a validation."""


class _Now(TypedDict):
    seconds_left: float
    best: float | None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The incumbent, with what is needed to make its model again.

    Attributes:
        configuration: What was trained; None for the untuned backbone.
        epoch: Finished epochs; 0 for the untuned backbone.
        finish_steps: Optimisation steps after these, in which the learning rate fell to 0.
        score: Observed validation score; None where the time ended before it could be measured.
        state: A copy that further training does not touch; None for the untuned backbone.
    """

    configuration: Configuration | None = None
    epoch: int = 0
    finish_steps: int = 0
    score: float | None = None
    state: FineTuningState | None = None


class LiveSearch:
    """The search of one session. The untuned backbone is the first incumbent, so a model is always on hand.

    Args:
        workbench: The prepared images.
        make_tuner: Measures what the tuner needs and returns it; called once the untuned backbone is scored.
        seed: Draws LoRA's first weights and the order of training.
        budget: Seconds that the user granted.
        deadline: When they end.
        reserve: Seconds of the budget to keep for what follows the search.
        previews: Images that will be segmented in that time too; what they take is measured and added.
        finishing: Whether the leader makes use of the time in which no epoch of it fits any more.
        on_event: Called at each step; its time counts.
    """

    def __init__(
        self,
        workbench: Workbench,
        make_tuner: Callable[[], Tuner],
        *,
        seed: int,
        budget: float,
        deadline: Deadline,
        reserve: float,
        previews: int,
        finishing: bool,
        on_event: Callable[[Event], None],
    ) -> None:
        self.workbench = workbench
        self.best = Best()
        self.zero_shot_score: float | None = None
        self.trajectory: list[tuple[float, float]] = []
        self.reserve = reserve
        self.tuner: Tuner | None = None
        self.setup_seconds: dict[int, float] = {}
        self.reasons: dict[int, str] = {}
        self._make_tuner = make_tuner
        self.seed = seed
        self._budget = budget
        self._deadline = deadline
        self._previews = previews
        self._finishing = finishing
        self._on_event = on_event
        self._longest_stretch = 0.0
        self._trainings = FreezeThaw(self._start)

    def run(self) -> Ending:
        """Search until nothing more fits into the time, every candidate is done, or the user interrupts."""
        ending: Ending
        try:
            ending = self._search()
        except DeadlineReached:
            ending = "budget"
        except KeyboardInterrupt:
            ending = "interrupted"
        curves = self.tuner.curves if self.tuner else ()
        self._on_event(
            Finished(**self._now(), ending=ending, tried=sum(map(bool, curves)), epochs=sum(map(len, curves)))
        )
        return ending

    def segmenter(self) -> Segmenter:
        """Return the incumbent's model, made from its own copy of the weights."""
        if self.best.configuration is None or self.best.state is None:
            return zero_shot_segmenter(self.workbench.backbone)
        return trained_segmenter(self.workbench.backbone, self.best.configuration, self.best.state, seed=self.seed)

    def curves(self, space: str) -> tuple[LearningCurve, ...]:
        """Return a learning curve for each configuration that was started, in the order of the candidates.

        Args:
            space: Search space the candidates are points of, as in `paper-v1`.
        """
        if self.tuner is None:
            return ()
        started = self.setup_seconds.keys() | self.tuner.failures.keys()
        return tuple(self._curve(self.tuner, index, space) for index in sorted(started))

    def _curve(self, tuner: Tuner, index: int, space: str) -> LearningCurve:
        bench, records = self.workbench, tuner.curves[index]
        outcome, reason = tuner.failures.get(index), self.reasons.get(index, "")
        if outcome is None and len(records) == tuner.max_epochs:
            outcome = Outcome.COMPLETED
        elif outcome is None:
            outcome, reason = Outcome.TIMED_OUT, "the session ended while this configuration was frozen"
        run = Run(
            dataset=bench.dataset.name,
            dataset_fingerprint=bench.dataset.fingerprint,
            configuration=tuner.candidates[index],
            space=space,
            protocol=bench.protocol,
            backbone=bench.backbone.name,
            backbone_fingerprint=bench.backbone.fingerprint,
            seed=self.seed,
        )
        return LearningCurve(
            run=run,
            outcome=outcome,
            reason=reason,
            records=records,
            setup_seconds=self.setup_seconds.get(index, 0.0),
            machine=describe_machine(bench.backbone.device),
            finished_at=time.time(),
            version=__version__,
        )

    def _search(self) -> Ending:
        self._score_untuned()
        self.tuner = tuner = self._make_tuner()
        self._on_event(
            Started(
                **self._now(),
                dataset=self.workbench.dataset.name,
                train=len(self.workbench.split.train),
                validation=len(self.workbench.split.validation),
                candidates=len(tuner.candidates),
                reserve=self.reserve,
            )
        )
        while (proposal := tuner.ask(self._time_to_train.remaining)) is not None:
            if self._finishing and self._finish(tuner):
                return "budget"
            self._train(tuner, proposal)
        return "exhausted" if tuner.exhausted else "budget"

    def _finish(self, tuner: Tuner) -> bool:
        """Where no epoch of the leader fits any more, but some steps do, let it take them; return whether it did.

        Their score is no point of its learning curve.
        """
        index = tuner.leader
        if index is None:
            return False
        last = tuner.curves[index][-1]
        share = (self._time_to_train.remaining / SAFETY - last.validation_seconds) / max(last.train_seconds, 1e-6)
        if not _LEAST_SHARE <= share < 1:
            return False
        steps = max(1, int(share * self.workbench.steps_per_epoch))
        with self._failing(tuner, index):
            training = self._trainings.thaw(index, tuner.candidates[index])
            told = Finishing(**self._now(), configuration=training.configuration, epoch=training.epoch, steps=steps)
            self._on_event(told)
            self._offer(training, training.finish(steps, self._time_to_train), finish_steps=steps)
        return True

    @property
    def _time_to_train(self) -> Deadline:
        """The end of training.

        A training notices it a step or a validation too late; then the incumbent is made again, which costs as much
        as setting a training up; then the export follows.
        """
        choosing = max(self.setup_seconds.values(), default=0.0)
        return replace(self._deadline, at=self._deadline.at - self.reserve - choosing - self._longest_stretch)

    def _score_untuned(self) -> None:
        self._deadline.check()
        before = self._deadline.remaining
        score = self.workbench.validate(self.workbench.backbone)
        seconds = before - self._deadline.remaining
        self._longest_stretch = seconds
        self.reserve += self._previews * seconds / len(self.workbench.split.validation)
        self.zero_shot_score = score
        self._crown(Best(score=score))

    def _train(self, tuner: Tuner, proposal: Proposal) -> None:
        """Add the proposed epochs, or take the candidate out of the search."""
        index, configuration = proposal.index, proposal.configuration
        with self._failing(tuner, index):
            training = self._trainings.thaw(index, configuration)
            for _ in range(proposal.epochs):
                expected = proposal.seconds / proposal.epochs
                self._on_event(
                    Trying(
                        **self._now(), configuration=configuration, epoch=training.epoch + 1, expected_seconds=expected
                    )
                )
                self._take_in(tuner, index, training, training.train_epoch(self._time_to_train))

    def _take_in(self, tuner: Tuner, index: int, training: FineTuning, record: EpochRecord) -> None:
        tuner.tell(index, record)
        self._trainings.scored(index, record.score)
        step = record.train_seconds / self.workbench.steps_per_epoch
        self._longest_stretch = max(self._longest_stretch, step, record.validation_seconds)
        scored = Scored(**self._now(), configuration=training.configuration, epoch=record.epoch, score=record.score)
        self._on_event(scored)
        self._offer(training, record.score)
        if record.epoch == tuner.max_epochs:
            self._trainings.forget(index)

    def _offer(self, training: FineTuning, score: float, *, finish_steps: int = 0) -> None:
        """Crown what a training has come to if its score is the best so far."""
        if self.best.score is None or score > self.best.score:
            self._crown(
                Best(
                    configuration=training.configuration,
                    epoch=training.epoch,
                    finish_steps=finish_steps,
                    score=score,
                    state=training.state(),
                )
            )

    def _crown(self, best: Best) -> None:
        self.best = best
        if best.score is not None:
            self.trajectory.append((self._budget - self._deadline.remaining, best.score))
        self._on_event(NewIncumbent(**self._now(), configuration=best.configuration, epoch=best.epoch))

    @contextmanager
    def _failing(self, tuner: Tuner, index: int) -> Iterator[None]:
        """Take the candidate out of the search if its training diverges or needs more memory than there is."""
        try:
            yield
        except Diverged as diverged:
            self._fail(tuner, index, Outcome.DIVERGED, str(diverged))
        except (torch.OutOfMemoryError, MemoryError) as exhausted:
            self._fail(tuner, index, Outcome.OUT_OF_MEMORY, next(iter(str(exhausted).splitlines()), "out of memory"))

    def _fail(self, tuner: Tuner, index: int, outcome: Outcome, reason: str) -> None:
        tuner.fail(index, outcome)
        self._trainings.forget(index)
        self.reasons[index] = reason
        self._on_event(Failed(**self._now(), configuration=tuner.candidates[index], outcome=outcome, reason=reason))

    def _start(self, index: int, configuration: Configuration) -> FineTuning:
        before = self._deadline.remaining
        training = FineTuning(self.workbench, configuration, seed=self.seed, clock=self._deadline.clock)
        self.setup_seconds.setdefault(index, before - self._deadline.remaining)
        return training

    def _now(self) -> _Now:
        return {"seconds_left": self._deadline.remaining, "best": self.best.score}
