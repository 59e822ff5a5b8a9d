"""Our search inside Ray Tune: real trials of a toy trainable, paused and thawed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from qttseg.metadata.configurations import Configuration
from qttseg.platform.ray_tune import RayTuneSearch
from qttseg.tuning.policies import LastValueGreedy
from qttseg.tuning.tuner import Tuner

EPOCHS = 4

pytestmark = [
    pytest.mark.usefixtures("ray_folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Toy(tune.Trainable):
    """Scores its quality times the share of epochs done; leaves a line for each epoch it trains."""

    def setup(self, config: dict[str, Any], *, log: str) -> None:
        self._config, self._log, self._done = config, Path(log), 0

    def step(self) -> dict[str, Any]:
        if self._config["x"] == 3:
            raise RuntimeError("this one breaks")
        self._done += 1
        (self._log / f"{self._config['x']}-{self._done}-{self.trial_id}").touch()
        return {"score": (0.1 + 0.1 * self._config["x"]) * self._done / EPOCHS}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "state.json").write_text(json.dumps(self._done))

    def load_checkpoint(self, checkpoint: str) -> None:
        self._done = json.loads((Path(checkpoint) / "state.json").read_text())


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Tuner, Sequence[str]]]:
    """Search among six candidates and return the tuner and the epochs that were trained."""

    def run(*, seconds: float = 600.0, cpus: int = 1) -> tuple[Tuner, Sequence[str]]:
        log = tmp_path / "log"
        log.mkdir()
        monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        candidates = [Configuration({"x": x}) for x in range(6)]
        tuner = Tuner(candidates, LastValueGreedy(order=range(6), looks=4), max_epochs=EPOCHS)
        search = RayTuneSearch(tuner, seconds=seconds)
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
        try:
            tune.Tuner(
                tune.with_parameters(Toy, log=str(log)),
                tune_config=tune.TuneConfig(search_alg=search.searcher, scheduler=search.scheduler, num_samples=-1),
                run_config=tune.RunConfig(storage_path=str(tmp_path / "results"), verbose=0),
            ).fit()
        finally:
            ray.shutdown()
        return tuner, sorted(path.name.rsplit("-", 1)[0] for path in log.iterdir())

    return run


def test_trials_are_paused_and_thawed_and_no_epoch_is_trained_twice(fit):
    tuner, trained = fit()
    assert len(trained) == len(set(trained))
    assert set(tuner.failures) == {3}
    assert [len(curve) for curve in tuner.curves] == [EPOCHS, EPOCHS, EPOCHS, 0, EPOCHS, EPOCHS]
    assert tuner.incumbent.index == 5
    assert len(trained) == 5 * EPOCHS


def test_two_workers_never_train_one_candidate_at_once(fit):
    tuner, trained = fit(cpus=2)
    assert len(trained) == len(set(trained)) == 5 * EPOCHS
    assert tuner.exhausted


def test_nothing_is_started_after_the_deadline(fit):
    tuner, trained = fit(seconds=0.001)
    assert len(trained) <= 1
    assert not tuner.exhausted
