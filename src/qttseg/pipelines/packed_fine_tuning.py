"""Many configurations of one dataset trained at once on one device, each as it would be alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from qttseg.errors import ConfigurationError
from qttseg.metadata.adapters import adapter_of, structure_of
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.runs import EpochRecord
from qttseg.pipelines.adapters import adapt
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.batches import Batch, draw_batch
from qttseg.pipelines.deadline import NEVER, Deadline
from qttseg.pipelines.decoding import as_image
from qttseg.pipelines.fine_tuning import CLIP, epoch_seed, optimizer_and_schedule, peak_memory, seeded
from qttseg.pipelines.objectives import Objective, of_outlines
from qttseg.pipelines.outlines import OutlinePairs, outline_pairs
from qttseg.pipelines.packed_model import PackedModel
from qttseg.pipelines.schedules import Schedule
from qttseg.pipelines.views import view_images
from qttseg.pipelines.workbench import Workbench


class _Prompts(NamedTuple):
    """A batch's `ClassPrompts` as what `vmap` maps over, each with its share in the loss, which is 0 for padding."""

    owner: Tensor
    classes: Tensor
    where: Tensor
    targets: Tensor
    valid: Tensor
    share: Tensor


@dataclass(kw_only=True)
class Member:
    """One configuration of a pack.

    Attributes:
        configuration: Its hyperparameters.
        records: One for each finished epoch; seconds are its share of the pack's.
        diverged: Why its training ended early; empty while it goes on.
    """

    configuration: Configuration
    vector: Tensor
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    records: list[EpochRecord] = field(default_factory=list)
    diverged: str = ""
    _generator: Generator = field(default_factory=Generator)
    _losses: list[float] = field(default_factory=list)
    _rate: float = 0.0

    def begin_epoch(self, seed: int, images: int) -> list[int]:
        """Draw from `seed` in the coming epoch; return the order of the images."""
        self._generator.manual_seed(seed)
        self._losses.clear()
        order: list[int] = torch.randperm(images, generator=self._generator).tolist()
        return order

    def draw(self, workbench: Workbench, indices: list[int]) -> Batch:
        """Return these training images as this configuration sees them now."""
        return draw_batch(workbench, self.configuration, indices, self._generator)

    def step(self, loss: float, *, prompts: int) -> None:
        """Move along the gradient of a batch of so many prompts; end here where its loss is no finite number."""
        if not math.isfinite(loss):
            self.diverged = f"the loss is {loss} in epoch {len(self.records) + 1}"
            return
        self._losses.append(loss)
        self._rate = float(self.optimizer.param_groups[0]["lr"])
        if prompts:
            nn.utils.clip_grad_norm_([self.vector], CLIP)
            self.optimizer.step()
        self.schedule.after_step()

    def end_epoch(self, score: float, *, train_seconds: float, validation_seconds: float) -> None:
        """Add the record of an epoch that took this member so long."""
        self.schedule.after_epoch(score)
        self.records.append(
            EpochRecord(
                epoch=len(self.records) + 1,
                score=score,
                train_loss=sum(self._losses) / len(self._losses),
                learning_rate=self._rate,
                train_seconds=train_seconds,
                validation_seconds=validation_seconds,
                peak_memory=peak_memory(self.vector.device),
            )
        )


class PackedFineTuning:
    """The trainings of several configurations on a workbench, step by step together.

    Every member sees the images, views and prompts that it would see alone, has its own AdamW and schedule, and ends
    alone when it diverges: its learning curve is that of a `FineTuning`, but for rounding and dropout's random numbers.
    On a GPU, which one small model cannot fill, a pack costs little more than a single training; on a CPU it saves
    nothing. Packs always train whole batches, with everything kept for the way back.

    Args:
        workbench: Where they train.
        configurations: All of one structure (`metadata.adapters.structure_of`); ranks of LoRA may differ.
        seed: Every member's.
        clock: Seconds, never falling.

    Raises:
        ConfigurationError: the configurations differ in structure.
    """

    def __init__(
        self,
        workbench: Workbench,
        configurations: Sequence[Configuration],
        *,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.workbench = workbench
        self.seed = seed
        self.epoch = 0
        self._clock = clock
        if len({structure_of(configuration) for configuration in configurations}) > 1:
            raise ConfigurationError(
                "configurations that differ in adapter, depth, points or loss do not go in one pack"
            )
        self._objective = Objective.of(configurations[0])
        self._model = PackedModel(
            [adapt(workbench.backbone, configuration, seed=seed) for configuration in configurations],
            [float(c["lora_dropout"]) if adapter_of(c).lora else 0.0 for c in configurations],
        )
        self.members = [
            self._member(configuration, vector)
            for configuration, vector in zip(configurations, self._model.vectors, strict=True)
        ]

    def _member(self, configuration: Configuration, vector: Tensor) -> Member:
        optimizer, schedule = optimizer_and_schedule([vector], configuration, self.workbench)
        return Member(configuration=configuration, vector=vector, optimizer=optimizer, schedule=schedule)

    @property
    def alive(self) -> list[Member]:
        """The members that have not diverged."""
        return [member for member in self.members if not member.diverged]

    def train_epoch(self, deadline: Deadline = NEVER) -> None:
        """Train every member that is alive one more epoch, validate it and add to its records.

        Raises:
            DeadlineReached: the deadline passed; the epoch is lost.
        """
        started = self._clock()
        seed = epoch_seed(self.seed, self.epoch)
        order: list[int] = []
        for member in self.alive:
            order = member.begin_epoch(seed, len(self.workbench.split.train))
        size = self.workbench.protocol.batch_size
        with seeded(seed, self._model.base.device):
            self._model.base.sam.train()
            for start in range(0, len(order), size):
                self._step(order[start : start + size])
                deadline.check()
            self._model.base.sam.eval()
        trained = self._clock()
        alive = self.alive
        scores = self.workbench.scores(self._model) if alive else []
        deadline.check()
        self.epoch += 1
        ended = self._clock()
        for member, score in zip(alive, scores, strict=True):
            member.end_epoch(
                score,
                train_seconds=(trained - started) / len(alive),
                validation_seconds=(ended - trained) / len(alive),
            )

    def try_step(self) -> None:
        """Take the first step of an epoch, to see what it needs; this pack is then of no more use."""
        for member in self.alive:
            order = member.begin_epoch(self.seed, len(self.workbench.split.train))
        self._model.base.sam.train()
        self._step(order[: self.workbench.protocol.batch_size])

    def _step(self, indices: list[int]) -> None:
        """Take one optimisation step of every member that is alive."""
        alive = self.alive
        if not alive:
            return
        batches = [member.draw(self.workbench, indices) for member in alive]
        for member, batch, loss in zip(alive, batches, self._backward(batches), strict=True):
            member.step(loss, prompts=len(batch.prompts.owner))
        self._model.keep([place for place, member in enumerate(self.members) if not member.diverged])

    def _backward(self, batches: Sequence[Batch]) -> list[float]:
        """Leave each member's gradients in its vector and return the losses, each averaged over its own prompts."""
        for vector in self._model.vectors:
            vector.grad = None
        most = max(len(batch.prompts.owner) for batch in batches)
        if not most:
            return [0.0] * len(batches)
        base = self._model.base
        if self._model.trains_encoder:
            inputs = [view_images(base.normalise(batch.images), batch.views) for batch in batches]
        else:
            inputs = [base.embed(batch.images, batch.views, keys=batch.keys) for batch in batches]
        prompts = _Prompts(*map(torch.stack, zip(*(_padded_prompts(batch, most) for batch in batches), strict=True)))
        losses = self._losses(torch.stack(inputs), prompts)
        losses.sum().backward()
        values: list[float] = losses.tolist()
        return values

    def _losses(self, inputs: Tensor, prompts: _Prompts) -> Tensor:
        """Return each member's loss; all tensors have one entry for each member.

        Outlines follow from what was predicted and cannot be found for all members at once, so that matching them is a
        step of its own.
        """
        objective = self._objective
        forward = partial(_of_masks, objective, from_images=self._model.trains_encoder)
        losses, logits, features = self._model.each(forward, inputs, prompts)
        if objective.points:
            pairs = outline_pairs(logits[:, :, 0], prompts.targets, prompts.valid, count=objective.points)
            weights = torch.tensor([Objective.of(m.configuration).weight for m in self.alive], device=logits.device)
            matched = self._model.each(
                _of_outlines, features, pairs.predicted, pairs.true, pairs.weight * prompts.share * weights[:, None]
            )
            losses = losses + matched
        return losses  # type: ignore[no-any-return]


def members_that_fit(workbench: Workbench, configurations: Sequence[Configuration], *, seed: int) -> int:
    """Return how many of `configurations` can be trained at once in the memory of the GPU; on a CPU, all.

    A step of one and a step of two members, then thrown away, tell what each further member takes.
    """
    device = workbench.backbone.device
    if device.type != "cuda" or len(configurations) < 2:
        return len(configurations)
    widest = sorted(configurations, key=lambda c: float(c.get("lora_rank", 0)), reverse=True)[:2]
    one, two = (_bytes_of_a_step(workbench, widest[:count], seed=seed, device=device) for count in (1, 2))
    torch.cuda.empty_cache()
    return min(len(configurations), _count_that_fits(one, two, free=torch.cuda.mem_get_info(device)[0]))


def _bytes_of_a_step(
    workbench: Workbench, configurations: Sequence[Configuration], *, seed: int, device: torch.device
) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    PackedFineTuning(workbench, configurations, seed=seed).try_step()
    return torch.cuda.max_memory_allocated(device) - before


def _count_that_fits(one: int, two: int, *, free: int) -> int:
    """Return how many members fit into a tenth less than `free` bytes, of which one takes `one` and two take `two`."""
    return max(1, 1 + int((0.9 * free - one) / max(1, two - one)))


def _of_masks(
    objective: Objective,
    backbone: Backbone,
    inputs: Tensor,
    prompts: _Prompts,
    *,
    from_images: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, logits and features of one member."""
    embeddings = backbone.encode(inputs) if from_images else inputs
    decoded = backbone.decode(embeddings[prompts.owner], prompts.where, prompts.classes)
    losses = objective.of_masks(decoded, prompts.targets, prompts.valid, prompts.owner)
    return (losses * prompts.share).sum(), decoded.logits, decoded.features


def _of_outlines(backbone: Backbone, features: Tensor, predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    pairs = OutlinePairs(predicted=predicted, true=true, weight=weight)
    return of_outlines(backbone, as_image(features), pairs).sum()


def _padded_prompts(batch: Batch, most: int) -> _Prompts:
    """Return `most` prompts, the last of them empty."""
    prompts = batch.prompts
    count = len(prompts.owner)
    share = prompts.where.new_full((count,), 1 / max(1, count))
    tensors = (prompts.owner, prompts.classes, prompts.where, prompts.targets, prompts.valid, share)
    return _Prompts(*(torch.cat([tensor, tensor.new_zeros((most - count, *tensor.shape[1:]))]) for tensor in tensors))
