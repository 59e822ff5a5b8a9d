"""Fine-tuning under Ray Tune, our predictors choosing what to train.

    python examples/ray_tune_search.py procedural-chest --seconds 30

The trainable is an ordinary one: it trains an epoch a step, reports its score and saves its state.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ray import tune

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.meta_features import measure
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split
from qttseg.pipelines.fine_tuning import FineTuning, FineTuningState
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.spaces import search_space
from qttseg.pipelines.workbench import Workbench
from qttseg.platform.ray_tune import RayTuneSearch
from qttseg.predictors.shipped import shipped_for
from qttseg.tuning.policies import BestPredicted
from qttseg.tuning.tuner import Tuner, predicted_seconds

PROTOCOL = Protocol(images=24, epochs=6)


class Trial(tune.Trainable):
    """One configuration, an epoch a step."""

    def setup(self, config: dict[str, Any], *, dataset: str) -> None:
        """Prepare the images and the model."""
        workbench = Workbench.prepare(resolve_dataset(dataset), PROTOCOL, load_backbone(), seed=0)
        self._training = FineTuning(workbench, Configuration(config), seed=0)

    def step(self) -> dict[str, Any]:
        """Train an epoch."""
        record = self._training.train_epoch()
        return {"score": record.score, "done": record.epoch == PROTOCOL.epochs}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Freeze."""
        self._training.state().save(Path(checkpoint_dir) / "state.safetensors")

    def load_checkpoint(self, checkpoint: str) -> None:
        """Thaw."""
        self._training.restore(FineTuningState.load(Path(checkpoint) / "state.safetensors"))


def main() -> None:
    """Search, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="procedural-chest")
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    target = resolve_dataset(arguments.dataset)
    split = draw_split(target, PROTOCOL, seed=0)
    meta_features = measure(target, split.train + split.validation).to_dict()
    predictors = shipped_for(target.identity)
    candidates = search_space().sample(64, seed=0)
    policy = BestPredicted(candidates=candidates, meta_features=meta_features, performance=predictors.performance)
    search = RayTuneSearch(
        Tuner(
            candidates,
            policy,
            max_epochs=PROTOCOL.epochs,
            predicted=predicted_seconds(predictors.cost, meta_features, candidates),
        ),
        seconds=arguments.seconds,
    )
    results = tune.Tuner(
        tune.with_parameters(Trial, dataset=arguments.dataset),
        tune_config=tune.TuneConfig(search_alg=search.searcher, scheduler=search.scheduler, num_samples=-1),
    ).fit()
    best = results.get_best_result("score", "max")
    print(f"best score {best.metrics['score']:.3f} with {best.config}")


if __name__ == "__main__":
    main()
