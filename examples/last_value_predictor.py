"""A performance predictor of one's own in forty lines: a run goes on as runs usually do from its last score.

PYTHONPATH=examples qttseg predictors register last_value_predictor:LastValue --store shipped --all-leave-out
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet
from qttseg.predictors.interface import PartialCurve, Prediction
from qttseg.predictors.lineage import Lineage
from qttseg.predictors.training_runs import TrainingRuns


@dataclass(frozen=True, kw_only=True)
class LastValue:
    """The last score plus what runs usually gain from there; without a score, the usual final one.

    Attributes:
        gains: Mean gain until the end, by epochs seen; the first is the mean final score.
        spreads: Standard deviations of those.
        lineage: The training data.
    """

    gains: tuple[float, ...]
    spreads: tuple[float, ...]
    lineage: Lineage

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int = 0) -> Self:
        """Return the usual gains; nothing is drawn, so the seed does not matter."""
        curves = TrainingRuns.with_scores(training).values
        epochs = max(map(len, curves))
        gained = [[v[-1] - (v[seen - 1] if seen else 0.0) for v in curves if len(v) > seen] for seen in range(epochs)]
        return cls(
            gains=tuple(float(np.mean(own)) for own in gained),
            spreads=tuple(float(np.std(own)) + 1e-3 for own in gained),
            lineage=Lineage.of(training),
        )

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        """Return the last score plus the usual gain, whatever the configuration and the epoch."""
        if len(curves) != len(epochs) or any(e <= len(c.scores) for c, e in zip(curves, epochs, strict=True)):
            raise PredictorError("ask for one later epoch of each curve")
        places = [min(len(curve.scores), len(self.gains) - 1) for curve in curves]
        last = np.array([curve.scores[-1] if curve.scores else 0.0 for curve in curves])
        gains, spreads = np.array(self.gains), np.array(self.spreads)
        return Prediction(mean=last + gains[places], std=spreads[places])

    def save(self, folder: Path) -> None:
        """Write everything as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {"gains": self.gains, "spreads": self.spreads, "lineage": self.lineage.to_dict()}
        (folder / "last-value.json").write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote."""
        document = json.loads((folder / "last-value.json").read_text(encoding="utf-8"))
        lineage = Lineage.from_dict(document["lineage"])
        return cls(gains=tuple(document["gains"]), spreads=tuple(document["spreads"]), lineage=lineage)
