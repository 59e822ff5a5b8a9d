"""A resumable fine-tuning: one epoch at a time, frozen and thawed without repeating any."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Generator, Tensor, nn

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord
from qttseg.pipelines.adapters import adapt, copy_into, trainable_tensors
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.batches import Batch, draw_batch
from qttseg.pipelines.deadline import NEVER, Deadline, DeadlineReached
from qttseg.pipelines.execution import OUT_OF_MEMORY
from qttseg.pipelines.objectives import Objective
from qttseg.pipelines.schedules import Schedule, build_schedule
from qttseg.pipelines.segmenter import Segmenter
from qttseg.pipelines.views import view_images
from qttseg.pipelines.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIP = 1.0
"""Largest norm of a step's gradient."""


class Diverged(Exception):  # noqa: N818 (an outcome, not an error of the program)
    """The loss is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class FineTuningState:
    """All of a frozen training: weights, optimiser moments, schedule.

    Attributes:
        epoch: Finished epochs.
        tensors: `model.*` weights and `optimizer.*` moments, by parameter name.
        progress: The schedule's and the optimiser's numbers, as JSON.
    """

    epoch: int
    tensors: dict[str, Tensor]
    progress: str

    @property
    def weights(self) -> dict[str, Tensor]:
        """The trained tensors, by their name in the model."""
        return {
            name.removeprefix("model."): tensor for name, tensor in self.tensors.items() if name.startswith("model.")
        }

    def save(self, path: Path) -> None:
        """Write the state as safetensors, put in place at once."""
        from safetensors.torch import save_file

        aside = path.with_name(f".{path.name}.{os.getpid()}")
        save_file(self.tensors, aside, metadata={"epoch": str(self.epoch), "progress": self.progress})
        aside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the state that `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return cls(epoch=int(metadata["epoch"]), tensors=tensors, progress=metadata["progress"])


class FineTuning:
    """The training of one configuration on a workbench.

    All randomness of an epoch is drawn from (seed, epoch), so a restored training goes on bit for bit as an unbroken
    one does on a CPU. The learning-rate schedule spans the protocol's epochs, whatever fidelity is trained to.
    """

    def __init__(
        self,
        workbench: Workbench,
        configuration: Configuration,
        *,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.workbench = workbench
        self.configuration = configuration
        self.seed = seed
        self.epoch = 0
        self._clock = clock
        self._backbone = adapt(workbench.backbone, configuration, seed=seed)
        self._parameters = trainable_tensors(self._backbone)
        self._objective = Objective.of(configuration)
        self._execution = workbench.execution
        self._execution.prepare(self._backbone)
        self._optimizer, self._schedule = optimizer_and_schedule(self._parameters.values(), configuration, workbench)

    def train_epoch(self, deadline: Deadline = NEVER) -> EpochRecord:
        """Train one more epoch and validate.

        Raises:
            DeadlineReached: the deadline passed; the state is that of the last finished epoch.
            Diverged: the loss is not finite; this training is of no more use.
        """
        before = self.state() if math.isfinite(deadline.at) else None
        try:
            return self._train_epoch(deadline)
        except DeadlineReached:
            if before is not None:
                self.restore(before)
            raise

    def _train_epoch(self, deadline: Deadline) -> EpochRecord:
        started = self._clock()
        rates, losses = zip(*self._take_steps(self.workbench.steps_per_epoch, deadline), strict=True)
        trained = self._clock()
        score = self.workbench.validate(self._backbone)
        deadline.check()
        self._schedule.after_epoch(score)
        self.epoch += 1
        return EpochRecord(
            epoch=self.epoch,
            score=score,
            train_loss=sum(losses) / len(losses),
            learning_rate=rates[-1],
            train_seconds=trained - started,
            validation_seconds=self._clock() - trained,
            peak_memory=peak_memory(self._backbone.device),
        )

    def finish(self, steps: int, deadline: Deadline = NEVER) -> float:
        """Take a last few steps, in which the learning rate falls evenly to 0, and return the validation score.

        So a training whose next epoch no longer fits into the time makes use of what is left, and ends annealed whatever
        its schedule meant to do later (Li, Yumer, Ramanan: Budgeted Training, ICLR 2020). It cannot go on afterwards.

        Args:
            steps: How many, at most those of an epoch.
            deadline: When it has to be over.

        Raises:
            DeadlineReached: the deadline passed.
            Diverged: the loss is not finite.
        """
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]

        def anneal(number: int) -> None:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * (1 - number / steps)

        self._take_steps(steps, deadline, before_each=anneal)
        score = self.workbench.validate(self._backbone)
        deadline.check()
        return score

    def _take_steps(
        self, count: int, deadline: Deadline, *, before_each: Callable[[int], None] = lambda _: None
    ) -> list[tuple[float, float]]:
        """Take the first steps of the next epoch and return the learning rate and the loss of each."""
        generator = Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.workbench.split.train), generator=generator)
        taken: list[tuple[float, float]] = []
        with seeded(epoch_seed(self.seed, self.epoch), self._backbone.device):
            self._backbone.sam.train()
            for number, indices in enumerate(order.split(self.workbench.protocol.batch_size)[:count]):
                before_each(number)
                rate = float(self._optimizer.param_groups[0]["lr"])
                taken.append((rate, self._step(indices.tolist(), generator)))
                deadline.check()
            self._backbone.sam.eval()
        return taken

    def _step(self, indices: list[int], generator: Generator) -> float:
        """Take one optimisation step and return its loss."""
        batch = draw_batch(self.workbench, self.configuration, indices, generator)
        value = self._backward(batch) if len(batch.prompts.owner) else 0.0
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} in epoch {self.epoch + 1}")
        if len(batch.prompts.owner):
            nn.utils.clip_grad_norm_(self._parameters.values(), CLIP)
            self._optimizer.step()
        self._schedule.after_step()
        return value

    def _backward(self, batch: Batch) -> float:
        """Return the loss of a batch and leave its gradients; where memory runs out, go on in a way that needs less."""
        while True:
            self._optimizer.zero_grad()
            try:
                return sum(self._backward_piece(batch, piece) for piece in batch.pieces(self._execution.micro_batch))
            except OUT_OF_MEMORY:
                smaller = self._execution.smaller(len(batch.keys))
                if smaller is None:
                    raise
                self._execution = smaller
                self._execution.prepare(self._backbone)
            torch.cuda.empty_cache()

    def _backward_piece(self, batch: Batch, piece: slice) -> float:
        """Add the gradients of some images' share of the batch's loss, and return that share.

        The loss is averaged over the batch's prompts.
        """
        prompts = batch.prompts.of(piece)
        if not len(prompts.owner):
            return 0.0
        images, views = batch.images[piece], batch.views[piece]
        if self._backbone.trains_encoder:
            embeddings = self._backbone.encode(view_images(self._backbone.normalise(images), views))
        else:
            embeddings = self._backbone.embed(images, views, keys=batch.keys[piece])
        decoded = self._backbone.decode(embeddings[prompts.owner], prompts.where, prompts.classes)
        loss = self._objective(self._backbone, decoded, prompts).sum() / len(batch.prompts.owner)
        loss.backward()
        return loss.item()

    def state(self) -> FineTuningState:
        """Return a copy of everything that a continuation needs."""
        tensors = {f"model.{name}": tensor.detach().clone() for name, tensor in self._parameters.items()}
        layout = self._optimizer.state_dict()
        names = list(self._parameters)
        for index, moments in layout["state"].items():
            tensors |= {f"optimizer.{names[index]}.{key}": value.clone() for key, value in moments.items()}
        groups = [{key: value for key, value in group.items() if key != "params"} for group in layout["param_groups"]]
        progress = json.dumps({"groups": groups, "schedule": self._schedule.scheduler.state_dict()})
        return FineTuningState(epoch=self.epoch, tensors=tensors, progress=progress)

    def restore(self, state: FineTuningState) -> None:
        """Go back, or on, to `state`, which a training of the same configuration and workbench made."""
        copy_into(self._backbone, state.weights)
        progress = json.loads(state.progress)
        layout = self._optimizer.state_dict()
        layout["state"] = {}
        for index, name in enumerate(self._parameters):
            prefix = f"optimizer.{name}."
            moments = {k.removeprefix(prefix): v.clone() for k, v in state.tensors.items() if k.startswith(prefix)}
            if moments:
                layout["state"][index] = moments
        for group, numbers in zip(layout["param_groups"], progress["groups"], strict=True):
            group.update(numbers)
        self._optimizer.load_state_dict(layout)
        self._schedule.scheduler.load_state_dict(progress["schedule"])
        self._backbone.sam.eval()
        self.epoch = state.epoch

    def segmenter(self) -> Segmenter:
        """Return the model as trained so far; it changes with further training."""
        return Segmenter(backbone=self._backbone)


def train_to_best(training: FineTuning) -> FineTuningState:
    """Train to the protocol's last epoch, go back to the one with the best validation score, and return its state.

    Raises:
        Diverged: the loss is no longer a number.
    """
    best, state = -1.0, training.state()
    while training.epoch < training.workbench.protocol.epochs:
        record = training.train_epoch()
        if record.score > best:
            best, state = record.score, training.state()
    training.restore(state)
    return state


def trained_segmenter(
    backbone: Backbone, configuration: Configuration, state: FineTuningState, *, seed: int
) -> Segmenter:
    """Return the model that `backbone` had become in a fine-tuning when `state` was taken."""
    adapted = adapt(backbone, configuration, seed=seed)
    copy_into(adapted, state.weights)
    adapted.sam.eval()
    return Segmenter(backbone=adapted)


def optimizer_and_schedule(
    parameters: Iterable[Tensor], configuration: Configuration, workbench: Workbench
) -> tuple[torch.optim.AdamW, Schedule]:
    """Return what moves `parameters` as `configuration` says, the schedule spanning the workbench's epochs."""
    optimizer = torch.optim.AdamW(
        parameters, lr=float(configuration["lr"]), weight_decay=float(configuration["weight_decay"]), fused=True
    )
    epochs, steps = workbench.protocol.epochs, workbench.steps_per_epoch
    return optimizer, build_schedule(configuration, optimizer, epochs=epochs, steps_per_epoch=steps)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of everything that is drawn in an epoch."""
    return (seed * 1_000_003 + epoch * 7919 + 17) % 2**63


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's own random numbers (dropout) from `seed`, and leave the outer stream as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use so far: of the GPU, or else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
