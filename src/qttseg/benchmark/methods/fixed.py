"""Competitors that search nothing: one sensible configuration, trained until the time is up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qttseg.benchmark.methods.interface import BenchmarkTask, MethodOutcome
from qttseg.benchmark.methods.sessions import tuned
from qttseg.metadata.configurations import Configuration, Value

ENDLESS = 10_000
"""Epochs that no budget comes to; the warm restarts of the schedule do not depend on it."""

BASE: Mapping[str, Value] = {
    "sched": "cosine_warm",
    "cosine_t0": 5,
    "cosine_t_mult": 2,
    "weight_decay": 1e-4,
    "horizontal_flip": 1,
    "vertical_flip": 0,
    "random_rotate": 1,
}
"""Warm restarts after 5, 15, 35, ... epochs (SGDR, arXiv 1608.03983), as nobody knows how many epochs the time allows."""

LORA = Configuration({**BASE, "lora": 1, "lora_rank": 8, "lora_dropout": 0.0, "lr": 5e-4})
DECODER = Configuration({**BASE, "lora": 0, "lr": 5e-4})
FULL = Configuration({**BASE, "lora": 0, "full": 1, "lr": 1e-4})
"""The whole encoder wants smaller steps than what is added to it."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What an expert would run: one configuration until the time is up, the epoch chosen by validation score.

    Attributes:
        configuration: What is trained, and how.
    """

    name: str = "default"
    budgeted: bool = True
    configuration: Configuration = LORA

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Train the one configuration."""
        return tuned(task, candidates=(self.configuration,), protocol=replace(task.protocol, epochs=ENDLESS))
