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
from torch import Generator, Tensor, nn

from qttseg.errors import BackboneError
from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.decoding import decode_prompts
from qttseg.pipelines.nano import NANO, NanoArchitecture, nano_sam
from qttseg.pipelines.pixels import normalise
from qttseg.pipelines.pretraining.drawing import draw
from qttseg.pipelines.pretraining.grouping import GroupingHead
from qttseg.pipelines.pretraining.objective import choose_objects, noisy_boxes, objective, points_in
from qttseg.pipelines.pretraining.recipe import PretrainingRecipe

_REHEARSAL_SIDE = 64
"""Pixels; what a box is can be learnt on a small image, at a fraction of the cost."""


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
    """Model, optimisers and moving average of one pre-training."""

    def __init__(self, recipe: PretrainingRecipe, architecture: NanoArchitecture, device: str) -> None:
        self._recipe = recipe
        self._architecture = architecture
        self._device = torch.device(device)
        sam: Any = nano_sam(architecture, seed=recipe.seed).to(self._device)
        self._sam = sam
        use_fused_attention(self._sam.image_encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self._grouping = GroupingHead(architecture.prompt_width).to(self._device)
        self._model = nn.ModuleDict({"sam": self._sam, "grouping": self._grouping})
        self._groups = _parameter_groups(self._model)
        self._optimizers = _optimizers(self._model, self._groups, recipe)
        self._average = {name: tensor.detach().clone() for name, tensor in self._sam.state_dict().items()}
        self._loss, self._iou = math.nan, math.nan
        self.step = 0

    def train_step(self) -> PretrainingProgress:
        """Take one optimisation step on images drawn from (seed, step)."""
        recipe = self._recipe
        if self.step == recipe.main_steps:
            self._begin_finish()
        generator = Generator(self._device).manual_seed(recipe.seed * 1_000_003 + self.step)
        by_point, grouping = False, torch.zeros((), device=self._device)
        if self.step < recipe.rehearsal:
            embeddings, target = self._rehearsed(generator)
        else:
            by_point = torch.rand(1, generator=generator, device=self._device).item() < recipe.point_share
            embeddings, target, grouping = self._drawn(generator)
        logits, guess = self._decode(embeddings, target, generator, by_point=by_point)
        loss, iou = objective(logits, guess, target, nearby=recipe.nearby, focal=self._focal)
        self._move(loss if self._finishing else loss + recipe.grouping * grouping)
        self.step += 1
        self._update_average()
        self._loss = _running(self._loss, loss.item())
        self._iou = self._iou if by_point else _running(self._iou, iou)
        return PretrainingProgress(step=self.step, steps=recipe.steps, loss=self._loss, iou=self._iou)

    @property
    def _finishing(self) -> bool:
        return self.step >= self._recipe.main_steps

    @property
    def _focal(self) -> float:
        """The weight of the focal loss at this step."""
        recipe = self._recipe
        if self._finishing:
            return recipe.finishing_focal
        return recipe.focal if self.step < recipe.main_steps - recipe.sharpening else recipe.late_focal

    def _begin_finish(self) -> None:
        """Go on from the moving average, with fresh optimisers."""
        self._sam.load_state_dict(self._average)
        self._optimizers = _optimizers(self._model, self._groups, self._recipe)

    def _rehearsed(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return noise in place of embeddings (p × c × g × g) and filled boxes as masks (p × 4g × 4g)."""
        side, prompts = _REHEARSAL_SIDE, self._recipe.batch * self._recipe.prompts
        grid = side // self._architecture.patch
        shape = (prompts, self._architecture.prompt_width, grid, grid)
        embeddings = torch.randn(shape, generator=generator, device=self._device)
        corners = torch.rand((prompts, 2, 2), generator=generator, device=self._device).sort(dim=1).values * side
        line = torch.arange(side, device=self._device)
        inside = (line >= corners[:, 0, :, None]) & (line <= corners[:, 1, :, None] + 1)
        return embeddings, (inside[:, 1, :, None] & inside[:, 0, None, :]).float()

    def _drawn(self, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings (p × c × g × g) and masks (p × r × r) of prompted objects, and the grouping loss."""
        recipe = self._recipe
        side = self._architecture.resolution
        if self.step < recipe.rehearsal + recipe.coarse:
            side //= 2
        drawing = draw(recipe.batch, side, recipe.objects, generator)
        owner, target = choose_objects(drawing.masks, recipe.prompts, generator)
        embeddings = self._encode(drawing.images, generator)
        return embeddings[owner], target, self._grouping(embeddings, drawing.masks, generator)

    def _encode(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the embeddings of images (b × 3 × s × s) up to the encoder's own size; a smaller one lies anywhere."""
        encoder = self._sam.image_encoder
        tokens = encoder.patch_embed(normalise(images, self._device))
        rows, columns = tokens.shape[1:3]
        free = self._architecture.grid - rows + 1
        top, left = torch.randint(free, (2,), generator=generator, device=self._device).tolist()
        tokens = tokens + encoder.pos_embed[:, top : top + rows, left : left + columns]
        for block in encoder.blocks:
            tokens = block(tokens)
        embeddings: Tensor = encoder.neck(tokens.permute(0, 3, 1, 2))
        return embeddings

    def _decode(
        self, embeddings: Tensor, target: Tensor, generator: Generator, *, by_point: bool
    ) -> tuple[Tensor, Tensor]:
        """Return logits and IoU guesses: three masks for points, the single one for a box."""
        prompt, side = self._sam.prompt_encoder, target.shape[-1]
        prompt.image_embedding_size, prompt.input_image_size = tuple(embeddings.shape[-2:]), (side, side)
        if by_point:
            count = int(torch.randint(1, 4, (1,), generator=generator, device=self._device).item())
            points = points_in(target, count, generator)
            labels = torch.ones(points.shape[:2], device=self._device)
            sparse, dense = prompt(points=(points, labels), boxes=None, masks=None)
        else:
            noise = self._recipe.box_noise * side / self._architecture.resolution
            sparse, dense = prompt(points=None, boxes=noisy_boxes(target, noise, generator), masks=None)
        masks = slice(1, None) if by_point else slice(0, 1)
        decoder = self._sam.mask_decoder
        decoded = decode_prompts(decoder, embeddings, prompt.get_dense_pe(), sparse, dense, masks=masks)
        return decoded.logits, decoded.guess

    def _move(self, loss: Tensor) -> None:
        """Take one step of every optimiser along the gradient of `loss`."""
        rates = _learning_rates(self._recipe, self.step)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rates[group["part"]]
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for optimizer in self._optimizers.values():
            optimizer.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        recipe = self._recipe
        limit = recipe.finishing_average if self.step > recipe.main_steps else recipe.average
        decay = min(limit, (1 + self.step) / (10 + self.step))
        for name, tensor in self._sam.state_dict().items():
            self._average[name].lerp_(tensor, 1 - decay)

    def save(self, checkpoint: Path) -> None:
        """Write the whole state aside and put it in place at once."""
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        for kind, optimizer in self._optimizers.items():
            names = self._names(kind)
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{kind}.{names[index]}.{key}": value for key, value in state.items()}
        _write(checkpoint, tensors, self._provenance() | {"step": str(self.step)})

    def restore(self, checkpoint: Path) -> None:
        """Go on from what `save` wrote."""
        from safetensors import safe_open

        with safe_open(checkpoint, framework="pt", device=str(self._device)) as file:
            provenance = dict(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        self.step = int(provenance.pop("step"))
        if provenance != self._provenance():
            raise BackboneError(f"{checkpoint} was made by another recipe; delete it, or choose another --out")
        self._model.load_state_dict(_below(tensors, "model."))
        self._average = _below(tensors, "average.")
        for kind, optimizer in self._optimizers.items():
            layout = optimizer.state_dict()
            states = {i: _below(tensors, f"{kind}.{name}.") for i, name in enumerate(self._names(kind))}
            layout["state"] = {i: state for i, state in states.items() if state}
            optimizer.load_state_dict(layout)

    def _names(self, kind: str) -> list[str]:
        """Return the names of an optimiser's parameters in its own order."""
        return [name for (owner, _), names in self._groups.items() if owner == kind for name in names]

    def export(self, out: Path) -> None:
        """Write the averaged weights in half precision."""
        weights = {name: tensor.half() for name, tensor in self._average.items()}
        _write(out, weights, self._provenance() | {"step": str(self.step)})

    def _provenance(self) -> dict[str, str]:
        return {"recipe": json.dumps(asdict(self._recipe)), "architecture": json.dumps(asdict(self._architecture))}


def _parameter_groups(sam: nn.Module) -> dict[tuple[str, str], list[str]]:
    """Return the names of the parameters by (optimiser, part): matrices of the transformers go to Muon."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, parameter in sam.named_parameters():
        matrix = parameter.dim() == 2 and (".blocks." in name or ".transformer." in name)
        part = "encoder" if name.startswith(("sam.image_encoder", "grouping")) else "decoder"
        groups.setdefault(("muon" if matrix else "adamw", part), []).append(name)
    return groups


def _optimizers(
    sam: nn.Module, groups: Mapping[tuple[str, str], list[str]], recipe: PretrainingRecipe
) -> dict[str, torch.optim.Optimizer]:
    """Return Muon (Jordan et al. 2024) and AdamW, each over its groups; one learning rate serves both."""
    parameters = dict(sam.named_parameters())

    def of(kind: str) -> list[dict[str, Any]]:
        return [
            {"params": [parameters[name] for name in names], "part": part}
            for (owner, part), names in groups.items()
            if owner == kind
        ]

    return {
        "muon": torch.optim.Muon(of("muon"), weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        "adamw": torch.optim.AdamW(of("adamw"), weight_decay=recipe.weight_decay, betas=(0.9, 0.98)),
    }


def _learning_rates(recipe: PretrainingRecipe, step: int) -> dict[str, float]:
    """Return the learning rate of each part: the encoder warms up after the rehearsal, both fall to zero in the end."""
    if step >= recipe.main_steps:
        left = (recipe.steps - step) / recipe.finishing
        rate = recipe.finishing_rate * min(1.0, left / 0.7) * min(1.0, (step + 1 - recipe.main_steps) / 20)
        return {"decoder": rate, "encoder": rate * recipe.encoder_rate}
    decay = min(1.0, (recipe.main_steps - step) / (recipe.main_steps * (1 - recipe.decay_from)))
    warm, encoder_warm = (
        min(1.0, max(0, step + 1 - start) / steps)
        for start, steps in ((0, recipe.warm_up), (recipe.rehearsal, recipe.encoder_warm_up))
    )
    peak = recipe.learning_rate * decay
    return {"decoder": peak * warm, "encoder": peak * encoder_warm * recipe.encoder_rate}


def _running(old: float, new: float) -> float:
    return new if math.isnan(old) else 0.98 * old + 0.02 * new


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    from safetensors.torch import save_file

    aside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside, metadata=dict(metadata))
    aside.replace(path)
