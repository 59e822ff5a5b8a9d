"""The cost predictor: seconds per epoch of a configuration on a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.runs import is_accelerated
from qttseg.predictors.features import Encoder
from qttseg.predictors.lineage import Lineage
from qttseg.predictors.storage import load_parts, save_parts
from qttseg.predictors.training_runs import TrainingRuns

Array = NDArray[np.float64]

_KIND = "cost"

_PRIOR = {"configuration": 0.1, "meta": 0.1, "dataset": 0.2, "machine": 2.0, "accelerator": 10.0, "accelerated": 0.1}
"""Prior standard deviation of each kind of coefficient, in logarithms of seconds: hardware differs most."""

_NOISE = 0.1
"""Standard deviation of one run's logarithm of seconds."""


@dataclass(frozen=True, kw_only=True)
class CostPredictor:
    """Seconds per epoch as a product of effects: of the configuration, of the dataset and of the machine.

    They grow with the number of images, so what is learnt from few holds for many.

    What a configuration costs depends on the kind of machine (with LoRA an epoch takes several times as long as without on a
    CPU, on a GPU hardly longer), so that its effects differ between accelerators and others where the training data has both.

    A Bayesian linear model of the logarithm. Effects of single datasets and machines are estimated beside those of the
    meta-features, so that these have to explain only what they explain on several datasets; a new dataset or machine
    has the mean effect, which the tuner sets right by the epochs that it has timed.

    Attributes:
        encoder: Columns of configurations and meta-features.
        intercept: Logarithm of the seconds of a mean configuration on a mean dataset and machine, with `images`.
        coefficients: Of the encoded configuration, then of the meta-features.
        accelerated: What an accelerator adds to the intercept, then to the coefficient of each column of a configuration; 0
            where the training data does not tell, empty in files from before it was asked.
        images: For training and validation, on which an epoch takes what is predicted where nothing else is asked: as many as
            the training data had on average. 0 in files from before it was asked; what they predict holds for any number.
        lineage: The training data.
    """

    encoder: Encoder
    intercept: float
    coefficients: tuple[float, ...]
    accelerated: tuple[float, ...] = ()
    images: float = 0.0
    lineage: Lineage

    @classmethod
    def fit(cls, training: TrainingSet) -> Self:
        """Return the predictor that these runs teach; those of any outcome count if they finished an epoch.

        Raises:
            PredictorError: there are fewer than 8 such runs, or they mix search spaces.
        """
        lineage = Lineage.of(training)
        runs = TrainingRuns.with_seconds(training)
        epochs = max(len(values) for values in runs.values)
        encoder = Encoder.fit(runs.configurations, list(runs.meta_features.values()), epochs=epochs)
        metas = {key: encoder.meta_features(features) for key, features in runs.meta_features.items()}
        columns = encoder.configurations(runs.configurations)
        accelerated = np.array([[is_accelerated(machine)] for machine in runs.machines], np.float64)
        if accelerated.all():
            accelerated[:] = 0.0  # nothing to tell them from
        blocks = {
            "configuration": columns,
            "meta": np.array([metas[key] for key in runs.tasks]),
            "dataset": _one_hot(runs.tasks),
            "machine": _one_hot(runs.machines),
            "accelerator": accelerated,
            "accelerated": accelerated * columns,
        }
        design = np.column_stack(list(blocks.values()))
        precision = np.concatenate([np.full(b.shape[1], (_NOISE / _PRIOR[name]) ** 2) for name, b in blocks.items()])
        log_images = np.log(runs.images)
        log_seconds = np.log([values.mean() for values in runs.values]) - (log_images - log_images.mean())
        center, mean = design.mean(axis=0), log_seconds.mean()
        centred = design - center
        solution = np.linalg.solve(centred.T @ centred + np.diag(precision), centred.T @ (log_seconds - mean))
        plain, added = slice(len(encoder.kept) + len(encoder.meta_names)), slice(-len(encoder.kept) - 1, None)
        return cls(
            encoder=encoder,
            intercept=float(mean - center[plain] @ solution[plain] - center[added] @ solution[added]),
            coefficients=tuple(solution[plain].tolist()),
            accelerated=tuple(solution[added].tolist()),
            images=float(np.exp(log_images.mean())),
            lineage=lineage,
        )

    def predict(
        self,
        meta_features: Mapping[str, float],
        configurations: Sequence[Configuration],
        *,
        images: float | None = None,
        accelerated: bool = False,
    ) -> Array:
        """Return the seconds that an epoch of each configuration takes, validation included, `n`.

        Args:
            meta_features: Those of the dataset; missing ones count as average.
            configurations: The candidates, `n`.
            images: How many are trained and validated on; by default as many as in the training data.
            accelerated: Whether they are trained on an accelerator.

        Raises:
            PredictorError: a configuration is of another space.
        """
        columns = self.encoder.configurations(configurations)
        meta = self.encoder.meta_features(meta_features)
        own, others = np.split(np.array(self.coefficients), [columns.shape[1]])
        intercept = self.intercept
        if accelerated and self.accelerated:
            intercept, own = intercept + self.accelerated[0], own + self.accelerated[1:]
        share = images / self.images if images and self.images else 1.0
        seconds: Array = share * np.exp(intercept + columns @ own + meta @ others)
        return seconds

    def save(self, folder: Path) -> None:
        """Write the predictor to `folder` as safetensors and JSON."""
        document = {
            "encoder": self.encoder.to_dict(),
            "intercept": self.intercept,
            "images": self.images,
            "lineage": self.lineage.to_dict(),
        }
        tensors = {
            "coefficients": torch.tensor(self.coefficients, dtype=torch.float64),
            "accelerated": torch.tensor(self.accelerated, dtype=torch.float64),
        }
        save_parts(folder, kind=_KIND, tensors=tensors, document=document)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the predictor that `save` wrote; its predictions are the same to the bit.

        Raises:
            PredictorError: there is none in `folder`, or it is damaged.
        """
        tensors, document = load_parts(folder, kind=_KIND)
        none = torch.zeros(0)  # in files from before there were any
        return cls(
            encoder=Encoder.from_dict(document["encoder"]),
            intercept=document["intercept"],
            coefficients=tuple(tensors["coefficients"].tolist()),
            accelerated=tuple(tensors.get("accelerated", none).tolist()),
            images=document.get("images", 0.0),
            lineage=Lineage.from_dict(document["lineage"]),
        )


def _one_hot(labels: Sequence[str]) -> Array:
    names = sorted(set(labels))
    return np.array([[float(label == name) for name in names] for label in labels])
