"""The six learning-rate schedules of Table 3, each spanning the protocol's epochs whatever fidelity is trained to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)

from qttseg.errors import ConfigurationError
from qttseg.metadata.configurations import Configuration


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A scheduler and when it steps.

    Attributes:
        scheduler: torch's scheduler, bound to its optimiser.
        unit: After each step, after each epoch, or after each epoch with the validation score.
    """

    scheduler: LRScheduler
    unit: Literal["step", "epoch", "score"]

    def after_step(self) -> None:
        """Advance a schedule that moves with every optimisation step."""
        if self.unit == "step":
            self.scheduler.step()

    def after_epoch(self, score: float) -> None:
        """Advance a schedule that moves with every epoch, given its validation score (higher is better)."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(score)
        elif self.unit == "epoch":
            self.scheduler.step()


def build_schedule(
    configuration: Configuration, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int
) -> Schedule:
    """Return the schedule that `configuration` names.

    Args:
        configuration: A point of a space with the parameter `sched` and those it makes active.
        optimizer: The optimiser whose learning rate it moves.
        epochs: Epochs of the protocol, not of the present fidelity.
        steps_per_epoch: Optimisation steps of an epoch.

    Raises:
        ConfigurationError: `sched` is unknown.
    """
    kind = configuration["sched"]

    def number(name: str) -> float:
        return float(configuration[name])

    if kind == "cosine":
        return Schedule(scheduler=CosineAnnealingLR(optimizer, T_max=epochs), unit="epoch")
    if kind == "cosine_warm":
        period, factor = int(number("cosine_t0")), int(number("cosine_t_mult"))
        return Schedule(scheduler=CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=factor), unit="epoch")
    if kind == "onecycle":
        total_steps, warm_up = epochs * steps_per_epoch, number("onecycle_pct_start")
        if warm_up * total_steps == 1:
            warm_up = 0.0  # torch divides by the length of the warm-up less one step
        scheduler = OneCycleLR(
            optimizer,
            max_lr=number("lr"),
            total_steps=total_steps,
            pct_start=warm_up,
            div_factor=number("onecycle_div_factor"),
            final_div_factor=number("onecycle_final_div_factor"),
        )
        return Schedule(scheduler=scheduler, unit="step")
    if kind == "plateau":
        plateau = ReduceLROnPlateau(
            optimizer, mode="max", factor=number("decay_rate"), patience=int(number("patience_epochs"))
        )
        return Schedule(scheduler=plateau, unit="score")
    if kind == "poly":
        return Schedule(scheduler=PolynomialLR(optimizer, total_iters=epochs, power=number("poly_power")), unit="epoch")
    if kind == "step":
        gamma = number("decay_rate")
        return Schedule(scheduler=StepLR(optimizer, step_size=int(number("step_size")), gamma=gamma), unit="epoch")
    raise ConfigurationError(f"unknown learning-rate schedule {kind!r}; known are cosine, cosine_warm, onecycle, ...")
