"""Makes the trials of a plan: each training once, its questions after it, what is stored never again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qttseg.benchmark.prompt_learning.plans import CONFIGURATIONS, UNTRAINED, Plan, Question, Training
from qttseg.benchmark.prompt_learning.rows import Row, Trial
from qttseg.benchmark.prompt_learning.store import TrialStore
from qttseg.benchmark.provenance import decisive_versions
from qttseg.benchmark.results import Status
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split
from qttseg.pipelines.boundaries import ClassScore, class_scores
from qttseg.pipelines.fine_tuning import Diverged, FineTuning, train_to_best
from qttseg.pipelines.oracle import oracle_map
from qttseg.pipelines.prompts import Prompt, true_boxes
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.scoring import image_prompts
from qttseg.pipelines.segmenter import Segmenter, zero_shot_segmenter
from qttseg.pipelines.workbench import Workbench

if TYPE_CHECKING:
    from qttseg.pipelines.backbones import Backbone

_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A model, ready to be asked.

    Attributes:
        segmenter: Answers.
        seconds: Wall time of its training.
        parameters: How many numbers were trained.
    """

    segmenter: Segmenter
    seconds: float = 0.0
    parameters: int = 0


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Where trials are made.

    Attributes:
        backbone: What all methods start from.
        protocol: Images, validation share, test images, epochs and batch size of every training.
        clock: Returns now, in seconds.
    """

    backbone: Backbone
    protocol: Protocol
    clock: Callable[[], float] = time.perf_counter

    def run(self, plan: Plan, store: TrialStore, *, on_progress: Callable[[Row, int, int], None]) -> tuple[int, int]:
        """Make every trial of `plan` that `store` does not hold with scores; return how many were made and skipped.

        Args:
            plan: The trainings with their questions.
            store: Rows are appended after each training.
            on_progress: Called with each row, the number of rows made and of rows to make.

        Raises:
            DatasetError: a dataset is unknown or cannot be read.
        """
        known = {row.id for row in store.newest() if row.status is Status.OK}
        work = {
            training: [
                (trial, question) for trial, question in self._trials(training, questions) if trial.id not in known
            ]
            for training, questions in plan.items()
        }
        total, made = sum(map(len, work.values())), 0
        for training, asked in work.items():
            if not asked:
                continue
            rows = self._rows(training, asked)
            store.append(*rows)
            for row in rows:
                made += 1
                on_progress(row, made, total)
        return made, sum(map(len, plan.values())) - total

    def _dataset(self, name: str) -> Dataset:
        """Return the dataset of a name or folder, looked up and hashed once for all its trials."""
        if name not in self._datasets:
            self._datasets[name] = resolve_dataset(name)
        return self._datasets[name]

    @cached_property
    def _datasets(self) -> dict[str, Dataset]:
        return {}

    def _trials(self, training: Training, questions: Sequence[Question]) -> list[tuple[Trial, Question]]:
        source = self._dataset(training.source)
        return [
            (self._trial(training, source, self._dataset(question.task), question), question) for question in questions
        ]

    def _trial(self, training: Training, source: Dataset, task: Dataset, question: Question) -> Trial:
        trained = training.method not in UNTRAINED
        settings = {**CONFIGURATIONS[training.method], "epochs": self.protocol.epochs} if trained else {}
        return Trial(
            method=training.method,
            task=task.name,
            task_fingerprint=task.fingerprint,
            source=source.name,
            source_fingerprint=source.fingerprint,
            images=training.images,
            seed=training.seed,
            prompt=question.prompt,
            noise=question.noise,
            draw=question.draw,
            backbone=self.backbone.name,
            backbone_fingerprint=self.backbone.fingerprint,
            settings=settings,
        )

    def _rows(self, training: Training, asked: Sequence[tuple[Trial, Question]]) -> list[Row]:
        try:
            made = self._made(training)
        except Diverged as diverged:
            return [self._row(trial, status=Status.FAILED, reason=str(diverged)) for trial, _ in asked]
        return [
            self._row(
                trial,
                status=Status.OK,
                classes=self._asked(training, made.segmenter, question),
                seconds=made.seconds,
                parameters=made.parameters,
            )
            for trial, question in asked
        ]

    def _row(self, trial: Trial, **outcome: object) -> Row:
        return Row(
            **vars(trial),
            **outcome,  # type: ignore[arg-type]
            machine=describe_machine(self.backbone.device),
            versions=decisive_versions(),
            finished_at=time.time(),
        )

    def _made(self, training: Training) -> _Made:
        """Train as the method says, and take the epoch with the best validation score.

        Raises:
            Diverged: the loss is no longer a number.
        """
        if training.method in UNTRAINED:
            return _Made(segmenter=zero_shot_segmenter(self.backbone))
        protocol = replace(self.protocol, prompt=training.prompt)
        dataset = self._dataset(training.source)
        split = draw_split(dataset, protocol, seed=training.seed)
        split = replace(split, train=split.train[: training.images])
        started = self.clock()
        bench = Workbench.prepare(dataset, protocol, self.backbone.remembering(), seed=training.seed, split=split)
        fine_tuning = FineTuning(bench, CONFIGURATIONS[training.method], seed=training.seed)
        state = train_to_best(fine_tuning)
        return _Made(
            segmenter=fine_tuning.segmenter(),
            seconds=self.clock() - started,
            parameters=sum(tensor.numel() for tensor in state.weights.values()),
        )

    def _asked(self, training: Training, segmenter: Segmenter, question: Question) -> tuple[ClassScore, ...]:
        """Return how well each class of the task's test images is met."""
        task = self._dataset(question.task)
        test = draw_split(task, self.protocol, seed=0).test
        predicted: list[NDArray[np.uint8]] = []
        truths: list[NDArray[np.uint8]] = []
        for start in range(0, len(test), _AT_ONCE):
            chunk = test[start : start + _AT_ONCE]
            samples = [task[index] for index in chunk]
            prompts = [asked_prompts(task, index, s.mask, question) for index, s in zip(chunk, samples, strict=True)]
            truths += [sample.mask for sample in samples]
            if training.method == "oracle":
                predicted += [
                    oracle_map(segmenter, sample.image, own, sample.mask)
                    for sample, own in zip(samples, prompts, strict=True)
                ]
            else:
                predicted += segmenter.segment_all([sample.image for sample in samples], prompts)
        return class_scores(predicted, truths, classes=task.classes)


def asked_prompts(dataset: Dataset, index: int, mask: NDArray[np.uint8], question: Question) -> dict[int, Prompt]:
    """Return the prompts of a test image: always the same for a (dataset, image, question).

    Points lie anywhere in each class; each side of a box is moved in or out by up to a share of the box's size.
    """
    if question.prompt == "point":
        return image_prompts(dataset, index, mask, Protocol(prompt="point"), question.draw)
    name = [ord(character) for character in dataset.names[index]]
    generator = np.random.default_rng([question.draw, len(name), *name])
    height, width = mask.shape
    moved: dict[int, Prompt] = {}
    for label, (x0, y0, x1, y1) in true_boxes(mask).items():
        across, down = (
            generator.uniform(-question.noise, question.noise, size=2) * side for side in (x1 - x0, y1 - y0)
        )
        left, right = x0 + float(across[0]), x1 + float(across[1])
        top, bottom = y0 + float(down[0]), y1 + float(down[1])
        moved[label] = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    return moved
