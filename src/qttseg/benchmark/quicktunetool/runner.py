"""The foreign half: runs in quicktunetool's environment, where there is no qttseg.

    python -I runner.py CURVES

CURVES is a JSON file: `scores` with `pipelines` (one object of parameters and meta-features a run) and `values` (a row of
scores a run, as wide as there are epochs, NaN where none was measured), and `costs` with `pipelines` and `values` (seconds
of an epoch a run). Both predictors are fitted to it, then every line of stdin is a request and gets one line on stdout:

    (after the fit)                                            → {"seconds": of the fit}
    {"do": "start", "pipelines": [...], "seed": 0}             → {}
    {"do": "ask"}                                              → {"candidate": 3 or null, "epoch": 1, "seconds": of the choice}
    {"do": "tell", "candidate": 3, "epoch": 1, "score": 0.5}   → {}; a score of null: the candidate failed
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
import pandas as pd

Json = dict[str, Any]


def _without_tuners() -> None:
    """Let `qtt.optimizers` be imported alone: the package's own `__init__` wants torchvision for an image classifier."""
    spec = find_spec("qtt")
    if spec is None or spec.origin is None:
        raise ImportError("quicktunetool is not installed in this environment")
    package = ModuleType("qtt")
    package.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["qtt"] = package


_without_tuners()

from ConfigSpace import ConfigurationSpace  # noqa: E402
from qtt.optimizers import QuickOptimizer  # noqa: E402
from qtt.predictors import CostPredictor, PerfPredictor, cost  # noqa: E402


class _SmallSets(cost.MetricLogger):  # type: ignore[misc]
    """Logs at least every step: on few runs 0.0.4 wants to log every 0th and divides by that."""

    def log_every(self, iterable: Any, print_freq: int, *rest: Any) -> Any:  # noqa: ANN401
        return super().log_every(iterable, max(1, print_freq), *rest)


cost.MetricLogger = _SmallSets


class Search:
    """Fitted predictors and the search under way, with quicktunetool's defaults but for the cost predictor's use.

    The paper weighs expected improvement by predicted cost; in quicktunetool that has to be asked for.
    """

    def __init__(self, curves: Json) -> None:
        scores, costs = curves["scores"], curves["costs"]
        pipelines = pd.DataFrame(scores["pipelines"])
        self._columns = list(pipelines.columns)
        values = np.array(scores["values"], dtype=float)
        self._epochs = values.shape[1]
        self._performance = PerfPredictor(path="performance", seed=0, verbosity=0)
        self._performance.fit(pipelines, values)
        self._cost = CostPredictor(path="cost", seed=0, verbosity=0)
        seconds = np.array(costs["values"], dtype=float)[:, None]
        self._cost.fit(pd.DataFrame(costs["pipelines"]).reindex(columns=self._columns), seconds)

    def start(self, pipelines: list[Json], seed: int) -> Json:
        """Forget what was told and search among these; the predictors stay as they were fitted."""
        self._optimizer = QuickOptimizer(
            ConfigurationSpace(),  # the candidates are given
            self._epochs,
            self._performance,
            self._cost,
            cost_aware=True,
            path="optimizer",
            seed=seed,
            verbosity=0,
        )
        self._optimizer.setup_pandas(pd.DataFrame(pipelines).reindex(columns=self._columns))
        return {}

    def ask(self) -> Json:
        """Return what to train next; null when quicktunetool ends, as it does once each candidate has had an epoch."""
        began = time.perf_counter()
        over = len(self._optimizer.failed | self._optimizer.stoped) == self._optimizer.N  # else it picks from nothing
        if not over:
            self._optimizer.ante()
        trial = None if over else self._optimizer.ask()
        seconds = time.perf_counter() - began
        if trial is None:
            return {"candidate": None, "epoch": 0, "seconds": seconds}
        return {"candidate": int(trial["config-id"]), "epoch": int(trial["fidelity"]), "seconds": seconds}

    def tell(self, candidate: int, epoch: int, score: float | None) -> Json:
        """Take in the score of an epoch."""
        told = {"config-id": candidate, "fidelity": epoch, "status": score is not None, "cost": 0.0, "score": score}
        self._optimizer.tell(told)
        self._optimizer.post()
        return {}


def _replies() -> TextIO:
    """Return what stdout was; from now on whatever a library prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> None:
    """Fit, then answer until stdin ends."""
    logging.disable(logging.WARNING)
    replies = _replies()

    def reply(answer: Json) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    curves = Path(sys.argv[1]).resolve()
    os.chdir(curves.parent)  # whoever made that folder deletes what quicktunetool writes
    began = time.perf_counter()
    search = Search(json.loads(curves.read_text(encoding="utf-8")))
    reply({"seconds": time.perf_counter() - began})
    for line in sys.stdin:
        request = json.loads(line)
        reply(getattr(search, request.pop("do"))(**request))


if __name__ == "__main__":
    main()
