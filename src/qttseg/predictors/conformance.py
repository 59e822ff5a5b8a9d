"""What every performance predictor must keep to, ours or a plug-in's; looked at before one is registered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet
from qttseg.predictors.interface import PartialCurve, PerformanceModel, Prediction, class_name
from qttseg.predictors.training_runs import TrainingRuns

_CANDIDATES = 24


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A fitted predictor and questions to it: a third of the candidates unseen, a third after one epoch, a third later."""

    model: PerformanceModel
    training: TrainingSet
    meta_features: Mapping[str, float]
    curves: tuple[PartialCurve, ...]
    epochs: tuple[int, ...]

    def ask(self, model: PerformanceModel | None = None) -> Prediction:
        return (self.model if model is None else model).predict(self.meta_features, self.curves, self.epochs)


def check(kind: type[PerformanceModel], training: TrainingSet, *, seed: int = 0) -> PerformanceModel:
    """Fit a predictor of this class to `training`, hold it to the rules, and return it.

    Raises:
        PredictorError: it breaks a rule; the message says which.
    """
    model = kind.fit(training, seed=seed)
    runs = TrainingRuns.with_scores(training)
    chosen = list(zip(runs.configurations, runs.values, strict=True))[:_CANDIDATES]
    shown = [(0, 1, max(1, len(values) - 1))[place % 3] for place, (_, values) in enumerate(chosen)]
    trial = _Trial(
        model=model,
        training=training,
        meta_features=next(iter(runs.meta_features.values())),
        curves=tuple(
            PartialCurve(configuration=c, scores=tuple(values[:count].tolist()))
            for (c, values), count in zip(chosen, shown, strict=True)
        ),
        epochs=tuple(max(count + 1, len(values)) for (_, values), count in zip(chosen, shown, strict=True)),
    )
    for rule in _RULES:
        for broken in rule(trial):
            raise PredictorError(f"{class_name(kind)} is no usable predictor: {broken}")
    return model


def _answers_are_numbers(trial: _Trial) -> Iterator[str]:
    answer = trial.ask()
    for name, values in (("mean", answer.mean), ("std", answer.std)):
        if np.shape(values) != (len(trial.curves),):
            yield f"{name} has shape {np.shape(values)} for {len(trial.curves)} candidates"
        elif not np.isfinite(values).all():
            yield f"{name} is not finite"
    if not (np.asarray(answer.std) > 0).all():
        yield "a standard deviation is not positive"


def _nothing_asked(trial: _Trial) -> Iterator[str]:
    if len(trial.model.predict(trial.meta_features, [], []).mean):
        yield "it answers where nothing was asked"


def _missing_meta_features(trial: _Trial) -> Iterator[str]:
    if not np.isfinite(trial.model.predict({}, trial.curves, trial.epochs).mean).all():
        yield "it needs meta-features that a dataset may lack"


def _order_does_not_matter(trial: _Trial) -> Iterator[str]:
    forward = trial.ask()
    backward = trial.model.predict(trial.meta_features, trial.curves[::-1], trial.epochs[::-1])
    for one, other in ((forward.mean, backward.mean), (forward.std, backward.std)):
        if not np.allclose(one, other[::-1], rtol=1e-5, atol=1e-7):
            yield "its predictions depend on the order of the candidates"


def _senseless_questions(trial: _Trial) -> Iterator[str]:
    seen = [curve for curve in trial.curves if curve.scores][:1]
    for curves, epochs, what in (
        (seen, [len(seen[0].scores)], "about an epoch that was seen"),
        (trial.curves[:2], [trial.epochs[0]], "with fewer epochs than candidates"),
    ):
        try:
            trial.model.predict(trial.meta_features, curves, epochs)
        except PredictorError:
            continue
        yield f"it answers a question {what} instead of raising PredictorError"


def _saved_and_loaded(trial: _Trial) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        trial.model.save(Path(folder) / "predictor")
        pickles = [path.name for path in Path(folder).rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]
        if pickles:
            yield f"it writes a pickle ({pickles[0]}); loading one runs whatever it holds"
        again = type(trial.model).load(Path(folder) / "predictor")
    before, after = trial.ask(), trial.ask(again)
    if not (np.array_equal(before.mean, after.mean) and np.array_equal(before.std, after.std)):
        yield "its predictions differ after saving and loading"
    if again.lineage != trial.model.lineage:
        yield "its lineage differs after saving and loading"


def _lineage_is_complete(trial: _Trial) -> Iterator[str]:
    unnamed = trial.training.fingerprints - set(trial.model.lineage.fingerprints)
    if unnamed:
        yield f"its lineage does not name the datasets {', '.join(sorted(unnamed))} that it learnt from"


_RULES: tuple[Callable[[_Trial], Iterator[str]], ...] = (
    _answers_are_numbers,
    _nothing_asked,
    _missing_meta_features,
    _order_does_not_matter,
    _senseless_questions,
    _saved_and_loaded,
    _lineage_is_complete,
)
