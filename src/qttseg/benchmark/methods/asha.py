"""Successive halving as Ray Tune does it, on the same candidates and the same training as ours."""

from __future__ import annotations

from dataclasses import dataclass

from qttseg.benchmark.methods.interface import BenchmarkTask, MethodOutcome
from qttseg.benchmark.methods.sessions import CANDIDATES, budget_of


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Ray Tune's `ASHAScheduler` (Li et al. 2020, arXiv 1810.05934)."""

    name: str = "asha"
    budgeted: bool = True
    candidates: int = CANDIDATES

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Let Ray Tune search."""
        from qttseg.pipelines.spaces import search_space
        from qttseg.platform.ray_asha import search
        from qttseg.tuning.policies import shuffled

        points = search_space().sample(self.candidates, seed=task.seed)
        order = shuffled(self.candidates, task.seed, task.dataset.name)
        found = search(
            task.dataset,
            task.split,
            task.protocol,
            task.backbone,
            [points[index] for index in order],
            budget=budget_of(task),
            device=task.device,
            seed=task.seed,
        )
        return MethodOutcome(
            segmenter=found.segmenter,
            validation_score=found.score,
            trajectory=found.trajectory,
            warm_start_seconds=found.warm_start_seconds,
        )
