"""The performance predictor: from a configuration and its partial learning curve to its score at a later epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import PredictorError
from qttseg.metadata.queries import TrainingSet
from qttseg.predictors.caution import USUAL, Caution, Misses
from qttseg.predictors.curve_model import CurveModel, Questions
from qttseg.predictors.features import Encoder
from qttseg.predictors.interface import PartialCurve, Prediction
from qttseg.predictors.lessons import Lesson
from qttseg.predictors.lineage import Lineage
from qttseg.predictors.normalisation import Scale, ScalePrior, Warp, raw_moments
from qttseg.predictors.storage import load_parts, save_parts, tensors_of
from qttseg.predictors.training_runs import TrainingRuns

Array = NDArray[np.float64]

_LOOKS, _LOOKED_AT = (0, 1, 3, 6), 40
"""After how many epochs predictions of left-out datasets are looked at, and for how many runs of each."""

_KIND = "performance"
_TARGET = -1
"""Number of the target dataset, and the largest number of its runs; training datasets and runs count from 0."""


@dataclass(frozen=True, kw_only=True)
class PerformancePredictor:
    """Predicts scores of any configuration at any epoch on a dataset it has never seen.

    Two deep-kernel Gaussian processes share the work: one judges configurations that were never trained, the other
    continues partial curves from their last score. Both also learn from the curves given to `predict`, and so adapt
    to the target dataset. Diverged runs count as the worst score of their dataset; failed, timed-out and
    out-of-memory ones are left out, since they say nothing about the quality of a configuration.

    Attributes:
        encoder: Columns of configurations and meta-features.
        warp: From shares of what a dataset allows to normal values.
        prior: What the scales of the training datasets say about that of a new one.
        fresh: The model of configurations without a curve.
        partial: The model of partial curves.
        lineage: The training data.
        caution: How much higher and wider than the models' own the predictions are.
    """

    encoder: Encoder
    warp: Warp
    prior: ScalePrior
    fresh: CurveModel
    partial: CurveModel
    lineage: Lineage
    caution: Caution = USUAL

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int = 0) -> Self:
        """Return the predictor that these curves teach; the same for the same curves and seed.

        Raises:
            PredictorError: there are fewer than 8 usable runs, all of one configuration or of one epoch, or they mix
                search spaces.
        """
        lineage = Lineage.of(training)
        runs = TrainingRuns.with_scores(training)
        epochs = max(len(scores) for scores in runs.values)
        if epochs < 2:
            raise PredictorError("all curves have one epoch; a performance predictor needs runs of at least 2")
        encoder = Encoder.fit(runs.configurations, list(runs.meta_features.values()), epochs=epochs)
        if not encoder.kept:
            raise PredictorError("all runs have the same configuration; a performance predictor needs different ones")
        scales = {key: Scale.of(np.array([scores[-1] for scores in runs.of_task(key)])) for key in runs.meta_features}
        shares = [scales[key].shares(v) for key, v in zip(runs.tasks, runs.values, strict=True)]
        warp = Warp.of(np.array([share[-1] for share in shares]))
        normal = [warp.to_normal(share) for share in shares]
        lesson = Lesson.draw(runs, normal, encoder, np.random.default_rng(seed))
        unseen = lesson.seen == 0
        questions = lesson.questions
        fresh, fresh_without = CurveModel.fit(questions[unseen], lesson.answers[unseen], epochs=epochs, seed=seed)
        asked = questions[~unseen]
        continued = asked.continued(lesson.shown, _cross_fitted(asked, fresh_without))
        partial, partial_without = CurveModel.fit(continued, lesson.answers[~unseen], epochs=epochs, seed=seed)
        prior = ScalePrior.of(list(scales.values()))
        predictor = cls(encoder=encoder, warp=warp, prior=prior, fresh=fresh, partial=partial, lineage=lineage)

        def without(number: int) -> PerformancePredictor:
            others = ScalePrior.of([scale for key, scale in scales.items() if runs.datasets[key] != number])
            return replace(predictor, prior=others, fresh=fresh_without(number), partial=partial_without(number))

        several = len(set(runs.datasets.values())) > 1
        return replace(predictor, caution=_caution(runs, without)) if several else predictor

    def predict(
        self, meta_features: Mapping[str, float], curves: Sequence[PartialCurve], epochs: Sequence[int]
    ) -> Prediction:
        """Return the predicted score of each curve after the epoch of the same place in `epochs`.

        The scale of the dataset's scores is found out from all `curves` that have scores; without any, it is the mean
        of the training datasets, which leaves the order of the predictions as it is.

        Args:
            meta_features: Those of the dataset; missing ones count as average.
            curves: What is known about each candidate, `n`.
            epochs: The epoch asked for, `n`; each larger than the number of scores.

        Raises:
            PredictorError: the lengths differ, an epoch was already seen, or a configuration is of another space.
        """
        if len(curves) != len(epochs):
            raise PredictorError(f"{len(curves)} curves but {len(epochs)} epochs; one epoch is asked for each curve")
        if not curves:
            return Prediction(mean=np.empty(0), std=np.empty(0))
        for curve, epoch in zip(curves, epochs, strict=True):
            if epoch <= len(curve.scores):
                raise PredictorError(
                    f"epoch {epoch} of {curve.configuration!r} was already seen; ask for {len(curve.scores) + 1} or later"
                )
        target = _Target(
            predictor=self,
            configurations=self.encoder.configurations([curve.configuration for curve in curves]),
            meta=self.encoder.meta_features(meta_features),
            scores=tuple(np.array(curve.scores) for curve in curves),
            epochs=np.array(epochs, np.intp),
        )
        scale, mean, std = target.judge()
        last = np.array([curve.scores[-1] if curve.scores else np.nan for curve in curves])
        mean, std = raw_moments(mean, std, self.warp, scale, seen=last)
        mean, std = self.caution.applied(mean, std, np.array([len(curve.scores) for curve in curves]))
        return Prediction(mean=mean, std=std)

    def save(self, folder: Path) -> None:
        """Write the predictor to `folder` as safetensors and JSON."""
        tensors = {
            f"{name}.{key}": tensor
            for name, model in (("fresh", self.fresh), ("partial", self.partial))
            for key, tensor in model.tensors().items()
        }
        document = {
            "encoder": self.encoder.to_dict(),
            "warp": asdict(self.warp),
            "prior": asdict(self.prior),
            "fresh": self.fresh.to_dict(),
            "partial": self.partial.to_dict(),
            "caution": asdict(self.caution),
            "lineage": self.lineage.to_dict(),
        }
        save_parts(folder, kind=_KIND, tensors=tensors, document=document)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the predictor that `save` wrote; its predictions are the same to the bit.

        Raises:
            PredictorError: there is none in `folder`, or it is damaged.
        """
        tensors, document = load_parts(folder, kind=_KIND)

        def model(name: str) -> CurveModel:
            return CurveModel.from_dict(document[name], tensors_of(name, tensors))

        return cls(
            encoder=Encoder.from_dict(document["encoder"]),
            warp=Warp(**{key: tuple(value) for key, value in document["warp"].items()}),
            prior=ScalePrior(**document["prior"] | {"unsure": tuple(document["prior"]["unsure"])}),
            fresh=model("fresh"),
            partial=model("partial"),
            caution=Caution(**{key: tuple(value) for key, value in document["caution"].items()}),
            lineage=Lineage.from_dict(document["lineage"]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target:
    """The candidates on the dataset that is predicted for: encoded, with the raw scores shown and the epoch asked for of each."""

    predictor: PerformancePredictor
    configurations: Array
    meta: Array
    scores: tuple[Array, ...]
    epochs: NDArray[np.intp]

    def judge(self) -> tuple[Scale, Array, Array]:
        """Return the scale of the target's scores, and mean and deviation of the normal value of each candidate."""
        fresh, partial = self.predictor.fresh, self.predictor.partial
        lengths = np.array([len(scores) for scores in self.scores], np.intp)
        started, others = np.flatnonzero(lengths), np.flatnonzero(lengths == 0)
        scores, count = [self.scores[i] for i in started], len(started)
        answered = _answered(scores)
        first, later = answered[answered[:, 1] == 0], answered[answered[:, 1] > 0]
        # What was expected of the scores seen last, then of those that are continued.
        rows = started[np.concatenate([np.arange(count), np.arange(count), later[:, 0]])]
        questions = self._ask(rows, np.concatenate([lengths[started], self.epochs[started], later[:, 2]]))
        expected, unsure = fresh.predict(questions)
        last = np.array([z[-1] for z in scores])
        scale = self.predictor.prior.locate(last, expected[:count], unsure[:count], self.predictor.warp)
        normal = [self.predictor.warp.to_normal(scale.shares(z)) for z in scores]
        mean, std = np.empty(len(lengths)), np.empty(len(lengths))
        if len(others):
            answers = np.array([normal[i][t - 1] for i, _, t in first])
            asked = self._ask(others, self.epochs[others])
            mean[others], std[others] = fresh.predict(asked, self._ask(started[first[:, 0]], first[:, 2]), answers)
        if count:
            answers = np.array([normal[i][t - 1] for i, _, t in later])
            shown = [*normal, *(normal[i][:s] for i, s, _ in later)]
            asked = questions[count:].continued(shown, expected[count:])
            mean[started], std[started] = partial.predict(asked[:count], asked[count:], answers)
        return scale, mean, std

    def _ask(self, rows: NDArray[np.intp], target: NDArray[np.intp]) -> Questions:
        """Return questions about candidates as if they had shown nothing."""
        return Questions.before_training(
            self.configurations[rows],
            self.meta[None],
            dataset=np.full(len(rows), _TARGET, np.float64),
            task=np.full(len(rows), _TARGET, np.float64),
            run=(_TARGET - rows).astype(np.float64),
            target=target.astype(np.float64),
        )


def _cross_fitted(questions: Questions, without: Callable[[int], CurveModel]) -> Array:
    """Return what a model that has not seen the dataset in question would answer, for each question."""
    answers = np.empty(len(questions))
    for dataset in np.unique(questions.dataset):
        mine = questions.dataset == dataset
        answers[mine], _ = without(int(dataset)).predict(questions[mine])
    return answers


def _caution(runs: TrainingRuns, without: Callable[[int], PerformancePredictor]) -> Caution:
    """Return what predictions of each dataset by the others teach, asked as a search asks.

    Args:
        runs: The training runs.
        without: Returns the predictor that has not seen the dataset of this number.
    """
    misses: dict[int, list[Misses]] = {seen: [] for seen in _LOOKS}
    for key, meta_features in runs.meta_features.items():
        own = [i for i, task in enumerate(runs.tasks) if task == key][:_LOOKED_AT]
        predictor = without(runs.datasets[key])
        for seen, found in misses.items():
            longer = [(runs.configurations[i], runs.values[i]) for i in own if len(runs.values[i]) > seen]
            curves = [PartialCurve(configuration=c, scores=tuple(v[:seen].tolist())) for c, v in longer]
            if longer:
                predicted = predictor.predict(meta_features, curves, [len(v) for _, v in longer])
                errors = np.array([v[-1] for _, v in longer]) - predicted.mean
                found.append(Misses(errors=errors, deviations=predicted.std))
    return Caution.of(misses)


def _answered(scores: Sequence[Array]) -> NDArray[np.intp]:
    """Return the questions that curves have already answered: place of the curve, epochs shown, epoch asked for; `n x 3`."""
    rows = [
        (place, seen, target)
        for place, length in enumerate(map(len, scores))
        for seen, target in sorted({(0, 1), (0, length), (1, length), (length // 2, length)})
        if seen < target
    ]
    return np.array(rows, np.intp).reshape(-1, 3)
