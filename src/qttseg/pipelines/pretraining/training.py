"""`qttseg backbone pretrain`: resumable training of sam-nano from nothing but drawn images."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from qttseg.errors import BackboneError
from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.backbones import PIXEL_MEAN, PIXEL_STD, decode_prompts
from qttseg.pipelines.losses import bce_loss, dice_loss
from qttseg.pipelines.nano import NANO, NanoArchitecture, nano_sam
from qttseg.pipelines.pretraining.drawing import draw
from qttseg.pipelines.prompts import mask_boxes


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """Everything that decides the weights, so that anyone can make them again.

    Attributes:
        steps: Optimisation steps that the cosine schedule spans.
        batch: Images of a step.
        objects: Objects drawn in an image.
        prompts: Objects of an image that are prompted for.
        learning_rate: Peak learning rate of AdamW.
        warm_up: Steps of linear warm-up.
        encoder_rate: Share of the learning rate that the image encoder gets; at the full rate its embeddings collapse
            to a constant in the first steps, and the model fills boxes without looking at the image.
        encoder_warm_up: Steps of linear warm-up of the image encoder after the rehearsal.
        rehearsal: First steps, in which the decoder learns on noise alone to fill the box it is given. Without them
            the whole model predicts nothing for thousands of steps before it finds out what a prompt is.
        weight_decay: Weight decay of AdamW.
        average: Decay of the exponential moving average that is shipped.
        point_share: Share of steps prompted by a point inside the object, trained on three masks; the rest by boxes.
        nearby: Cross-entropy counts within the object's box grown by this share of its size, Dice everywhere.
        box_noise: Most share of its size by which each side of a box moves.
        seed: Seed of weights and images.
    """

    steps: int = 2000
    batch: int = 12
    objects: int = 3
    prompts: int = 3
    learning_rate: float = 8e-4
    warm_up: int = 50
    encoder_rate: float = 0.2
    encoder_warm_up: int = 300
    rehearsal: int = 200
    weight_decay: float = 0.05
    average: float = 0.998
    point_share: float = 0.2
    nearby: float = 0.5
    box_noise: float = 0.1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PretrainingProgress:
    """Where a pre-training stands: finished steps of all, and the running mean loss and IoU of box prompts."""

    step: int
    steps: int
    loss: float
    iou: float


def pretrain(
    out: Path,
    recipe: PretrainingRecipe,
    *,
    architecture: NanoArchitecture = NANO,
    device: str = "cpu",
    save_every: int = 200,
    stop_after: int | None = None,
    on_progress: Callable[[PretrainingProgress], None] | None = None,
) -> Path:
    """Train a nano backbone and write its averaged weights (safetensors, fp16) to `out`.

    A checkpoint beside `out` lets a second call go on where a killed one stopped; every step draws its images from
    (seed, step), so the result does not depend on interruptions.

    Args:
        out: File of the finished weights; `out` with `.checkpoint` appended holds the state.
        recipe: What to train.
        architecture: Sizes of the model.
        device: Where to train.
        save_every: Steps between checkpoints, each of which also writes `out`.
        stop_after: Stop, resumably, after this many steps of this call.
        on_progress: Called after every step.

    Raises:
        BackboneError: the checkpoint was made by another recipe.
    """
    trainer = _Trainer(recipe, architecture, device)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.is_file():
        trainer.restore(checkpoint)
    last = recipe.steps if stop_after is None else min(recipe.steps, trainer.step + stop_after)
    out.parent.mkdir(parents=True, exist_ok=True)
    while trainer.step < last:
        progress = trainer.train_step()
        if on_progress is not None:
            on_progress(progress)
        if trainer.step % save_every == 0 or trainer.step == last:
            trainer.save(checkpoint)
            trainer.export(out)
    return out


class _Trainer:
    """Model, optimiser and moving average of one pre-training."""

    def __init__(self, recipe: PretrainingRecipe, architecture: NanoArchitecture, device: str) -> None:
        self._recipe = recipe
        self._architecture = architecture
        self._device = torch.device(device)
        sam: Any = nano_sam(architecture, seed=recipe.seed).to(self._device)
        self._sam = sam
        use_fused_attention(self._sam.image_encoder)
        parameters = dict(self._sam.named_parameters())
        parts = [
            [name for name in parameters if name.startswith("image_encoder") == is_encoder]
            for is_encoder in (False, True)
        ]
        self._names = parts[0] + parts[1]
        self._optimizer = torch.optim.AdamW(
            [{"params": [parameters[name] for name in names]} for names in parts],
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.98),
        )
        self._average = {name: tensor.detach().clone() for name, tensor in self._sam.state_dict().items()}
        self._loss, self._iou = math.nan, math.nan
        self.step = 0

    def train_step(self) -> PretrainingProgress:
        """Take one optimisation step on images drawn from (seed, step)."""
        recipe = self._recipe
        generator = Generator(self._device).manual_seed(recipe.seed * 1_000_003 + self.step)
        by_point = False
        if self.step < recipe.rehearsal:
            embeddings, target = self._rehearsed(generator)
        else:
            by_point = torch.rand(1, generator=generator, device=self._device).item() < recipe.point_share
            embeddings, target = self._drawn(generator)
        logits, guess = self._decode(embeddings, target, generator, by_point=by_point)
        loss, iou = _loss(logits, guess, target, nearby=recipe.nearby)
        for group, rate in zip(self._optimizer.param_groups, self._learning_rates(), strict=True):
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._sam.parameters(), 1.0)
        self._optimizer.step()
        self.step += 1
        self._update_average()
        self._loss = _running(self._loss, loss.item())
        self._iou = self._iou if by_point else _running(self._iou, iou)
        return PretrainingProgress(step=self.step, steps=recipe.steps, loss=self._loss, iou=self._iou)

    def _rehearsed(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return noise in place of embeddings (p × c × g × g) and filled boxes as masks (p × r × r)."""
        architecture, prompts = self._architecture, self._recipe.batch * self._recipe.prompts
        side, grid = architecture.resolution, architecture.resolution // architecture.patch
        shape = (prompts, architecture.prompt_width, grid, grid)
        embeddings = torch.randn(shape, generator=generator, device=self._device)
        corners = torch.rand((prompts, 2, 2), generator=generator, device=self._device).sort(dim=1).values * side
        line = torch.arange(side, device=self._device)
        inside = (line >= corners[:, 0, :, None]) & (line <= corners[:, 1, :, None] + 2)
        return embeddings, (inside[:, 1, :, None] & inside[:, 0, None, :]).float()

    def _drawn(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the embeddings (p × c × g × g) and masks (p × r × r) of prompted objects in drawn images."""
        recipe = self._recipe
        drawing = draw(recipe.batch, self._architecture.resolution, recipe.objects, generator)
        owner, target = _targets(drawing.masks, recipe.prompts, generator)
        mean = torch.tensor(PIXEL_MEAN, device=self._device).view(3, 1, 1)
        std = torch.tensor(PIXEL_STD, device=self._device).view(3, 1, 1)
        return self._sam.image_encoder((drawing.images - mean) / std)[owner], target

    def _decode(
        self, embeddings: Tensor, target: Tensor, generator: Generator, *, by_point: bool
    ) -> tuple[Tensor, Tensor]:
        """Return logits and IoU guesses: three masks for a point, the single one for a box."""
        prompt = self._sam.prompt_encoder
        if by_point:
            points = _points_in(target, generator)[:, None]
            labels = torch.ones(points.shape[:2], device=self._device)
            sparse, dense = prompt(points=(points, labels), boxes=None, masks=None)
        else:
            boxes = _noisy_boxes(target, self._recipe.box_noise, generator)
            sparse, dense = prompt(points=None, boxes=boxes, masks=None)
        masks = slice(1, None) if by_point else slice(0, 1)
        decoder = self._sam.mask_decoder
        return decode_prompts(decoder, embeddings, prompt.get_dense_pe(), sparse, dense, masks=masks)

    def _learning_rates(self) -> tuple[float, float]:
        """Return the learning rates of decoder and prompt encoder, and of the image encoder, which warms up later."""
        recipe = self._recipe
        peak = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / recipe.steps))
        warm, encoder_warm = (
            min(1.0, max(0, self.step + 1 - start) / steps)
            for start, steps in ((0, recipe.warm_up), (recipe.rehearsal, recipe.encoder_warm_up))
        )
        return peak * warm, peak * encoder_warm * recipe.encoder_rate

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._recipe.average, (1 + self.step) / (10 + self.step))
        for name, tensor in self._sam.state_dict().items():
            self._average[name].lerp_(tensor, 1 - decay)

    def save(self, checkpoint: Path) -> None:
        """Write the whole state aside and put it in place at once."""
        tensors = {f"model.{name}": tensor for name, tensor in self._sam.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{self._names[index]}.{key}": value for key, value in state.items()}
        _write(checkpoint, tensors, self._provenance() | {"step": str(self.step)})

    def restore(self, checkpoint: Path) -> None:
        from safetensors import safe_open

        with safe_open(checkpoint, framework="pt", device=str(self._device)) as file:
            provenance = dict(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        self.step = int(provenance.pop("step"))
        if provenance != self._provenance():
            raise BackboneError(f"{checkpoint} was made by another recipe; delete it, or choose another --out")
        self._sam.load_state_dict(_below(tensors, "model."))
        self._average = _below(tensors, "average.")
        layout = self._optimizer.state_dict()
        layout["state"] = {i: _below(tensors, f"optimizer.{name}.") for i, name in enumerate(self._names)}
        layout["state"] = {i: state for i, state in layout["state"].items() if state}
        self._optimizer.load_state_dict(layout)

    def export(self, out: Path) -> None:
        """Write the averaged weights in half precision."""
        weights = {name: tensor.half() for name, tensor in self._average.items()}
        _write(out, weights, self._provenance() | {"step": str(self.step)})

    def _provenance(self) -> dict[str, str]:
        return {"recipe": json.dumps(asdict(self._recipe)), "architecture": json.dumps(asdict(self._architecture))}


def _running(old: float, new: float) -> float:
    return new if math.isnan(old) else 0.98 * old + 0.02 * new


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    from safetensors.torch import save_file

    aside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside, metadata=dict(metadata))
    aside.replace(path)


def _targets(masks: Tensor, prompts: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Choose the objects to prompt for: at most `prompts` an image, each with at least 20 visible pixels.

    Returns:
        For each of p prompts the index of its image, and its mask (p × r × r).
    """
    big_enough = masks.sum(dim=(2, 3)) >= 20
    order = torch.rand(big_enough.shape, generator=generator, device=masks.device) + big_enough
    chosen = order.topk(prompts, dim=1).indices
    keep = big_enough.gather(1, chosen)
    owner = torch.arange(len(masks), device=masks.device)[:, None].expand_as(chosen)
    return owner[keep], masks[owner[keep], chosen[keep]].float()


def _noisy_boxes(target: Tensor, noise: float, generator: Generator) -> Tensor:
    """Return boxes (p × 4) about each mask with each side moved by up to `noise` of the box's size, mostly outward."""
    box = mask_boxes(target > 0)
    size = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=target.device)
    moves = torch.rand(box.shape, generator=generator, device=target.device) * 1.3 - 0.3
    return (box + outward * moves * noise * size).clamp(0, target.shape[-1])


def _points_in(target: Tensor, generator: Generator) -> Tensor:
    """Return one uniformly drawn pixel (p × 2, as x, y) inside each mask."""
    drawn = torch.rand(target.shape, generator=generator, device=target.device) * target
    index = drawn.flatten(1).argmax(dim=1)
    width = target.shape[-1]
    return torch.stack([index % width, index // width], dim=1).float()


def _loss(logits: Tensor, guess: Tensor, target: Tensor, *, nearby: float) -> tuple[Tensor, float]:
    """Return BCE + Dice of the best of the masks plus the IoU head's error, and the mean IoU of that mask.

    Most of an image is far from a prompted object; counted in full it teaches only to predict nothing.
    """
    resized = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    wanted = target[:, None].expand_as(resized)
    near = _grown_boxes(target, nearby)[:, None].expand_as(resized)
    loss = bce_loss(resized, wanted, near) + dice_loss(resized, wanted, torch.ones_like(wanted))
    best = loss.argmin(dim=1, keepdim=True)
    with torch.no_grad():
        inside = (resized > 0).float()
        overlap = (inside * wanted).sum(dim=(2, 3))
        iou = overlap / (inside.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) - overlap).clamp_min(1)
    total = loss.gather(1, best).mean() + F.mse_loss(guess, iou)
    return total, iou.gather(1, best).mean().item()


def _grown_boxes(target: Tensor, share: float) -> Tensor:
    """Return 1 within each mask's box grown by `share` of its size to every side, 0 elsewhere; p × r × r."""
    boxes = mask_boxes(target > 0)
    margin = share * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    line = torch.arange(target.shape[-1], device=target.device)
    across = (line >= low[:, :1]) & (line < high[:, :1])
    down = (line >= low[:, 1:]) & (line < high[:, 1:])
    return (down[:, :, None] & across[:, None, :]).float()
