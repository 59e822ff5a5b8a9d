"""From configurations, meta-features and partial learning curves to numbers that a Gaussian process can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import PredictorError
from qttseg.metadata.configurations import Configuration, Value

Array = NDArray[np.float64]

_LOG_RATIO = 50.0
"""Positive parameters that span more than this factor (learning rates) are taken as logarithms."""

_META_LIMIT = 3.0
"""Standard deviations beyond which a dataset counts as no stranger than that."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """How one hyperparameter becomes columns: its value, or one column for each choice; then whether it is active.

    Attributes:
        name: The hyperparameter.
        kind: Its scale.
        choices: The texts seen in training, if it is a choice; another text is none of them.
        inactive: What stands for the value (after the logarithm) where the parameter is inactive: the mean.
    """

    name: str
    kind: Literal["number", "log", "choice"]
    choices: tuple[str, ...] = ()
    inactive: float = 0.0

    @classmethod
    def of(cls, name: str, values: Sequence[Value]) -> Self:
        """Return the parameter that took these values where it was active."""
        if any(isinstance(value, str) for value in values):
            return cls(name=name, kind="choice", choices=tuple(sorted({str(value) for value in values})))
        numbers = np.array([float(value) for value in values])
        wide = numbers.min() > 0 and numbers.max() / numbers.min() > _LOG_RATIO
        parameter = cls(name=name, kind="log" if wide else "number")
        return cls(name=name, kind=parameter.kind, inactive=float(np.mean([parameter._number(v) for v in numbers])))

    def columns(self, configuration: Mapping[str, Value]) -> list[float]:
        """Return this parameter's columns for one configuration."""
        active = self.name in configuration
        if self.kind == "choice":
            chosen = str(configuration[self.name]) if active else None
            return [*(float(chosen == choice) for choice in self.choices), float(active)]
        return [self._number(configuration[self.name]) if active else self.inactive, float(active)]

    def _number(self, value: Value) -> float:
        try:
            number = float(value)
        except ValueError:
            raise PredictorError(f"parameter {self.name} is {value!r}; it was a number in training") from None
        return float(np.log(max(number, 1e-12))) if self.kind == "log" else number


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Fixed columns for configurations and meta-features, learnt from the training data alone.

    Attributes:
        parameters: The hyperparameters, sorted by name; others are ignored at prediction.
        epochs: Epochs that learning-rate schedules span.
        kept: Raw columns that vary and repeat no other.
        center: Mean of each kept column.
        scale: Standard deviation of each kept column.
        meta_names: Meta-features that vary over the training datasets, sorted.
        meta_center: Their means over datasets, after the signed logarithm of `1 + |x|`.
        meta_scale: Their standard deviations over datasets.
        datasets: The standardised meta-features of each dataset.
    """

    parameters: tuple[Parameter, ...]
    epochs: int
    kept: tuple[int, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    meta_names: tuple[str, ...]
    meta_center: tuple[float, ...]
    meta_scale: tuple[float, ...]
    datasets: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def fit(
        cls, configurations: Sequence[Configuration], meta_features: Sequence[Mapping[str, float]], *, epochs: int
    ) -> Self:
        """Return the encoder for these configurations and datasets (one mapping for each dataset)."""
        plain = [dict(configuration) for configuration in configurations]
        names = sorted({name for configuration in plain for name in configuration})
        parameters = tuple(Parameter.of(name, [c[name] for c in plain if name in c]) for name in names)
        raw = np.array([_columns(parameters, epochs, configuration) for configuration in plain])
        kept = _distinct(raw)
        meta_names = sorted({name for features in meta_features for name in features})
        meta = np.array([[_squashed(features.get(name)) for name in meta_names] for features in meta_features])
        known = [
            i for i in range(len(meta_names)) if np.isfinite(meta[:, i]).sum() > 1 and np.nanstd(meta[:, i]) > 1e-9
        ]
        encoder = cls(
            parameters=parameters,
            epochs=epochs,
            kept=kept,
            center=tuple(raw[:, kept].mean(axis=0).tolist()),
            scale=tuple(raw[:, kept].std(axis=0).tolist()),
            meta_names=tuple(meta_names[i] for i in known),
            meta_center=tuple(float(np.nanmean(meta[:, i])) for i in known),
            meta_scale=tuple(float(np.nanstd(meta[:, i])) for i in known),
        )
        rows = tuple(tuple(encoder.meta_features(features).tolist()) for features in meta_features)
        return replace(encoder, datasets=rows)

    def configurations(self, configurations: Sequence[Configuration]) -> Array:
        """Return the standardised columns of `configurations`, `n x len(kept)`.

        Raises:
            PredictorError: a configuration has none of the known parameters, or a text where a number belongs.
        """
        known = self._encoded
        rows = [known.get(configuration) for configuration in configurations]
        for place, configuration in enumerate(configurations):
            if rows[place] is None:
                rows[place] = known[configuration] = self._row(configuration)
        return np.array(rows, np.float64).reshape(len(configurations), len(self.kept))

    @cached_property
    def _encoded(self) -> dict[Configuration, Array]:
        """Configurations encoded before: a tuner asks about the same candidates again and again."""
        return {}

    def _row(self, configuration: Configuration) -> Array:
        if not any(parameter.name in configuration for parameter in self.parameters):
            known = ", ".join(parameter.name for parameter in self.parameters)
            raise PredictorError(f"{configuration!r} has none of the parameters this predictor knows: {known}")
        raw = np.array(_columns(self.parameters, self.epochs, dict(configuration)))[list(self.kept)]
        row: Array = (raw - self.center) / np.array(self.scale)
        return row

    def meta_features(self, meta_features: Mapping[str, float]) -> Array:
        """Return the standardised meta-features, `len(meta_names)`; missing ones count as the mean."""
        values = np.array([_squashed(meta_features.get(name)) for name in self.meta_names], dtype=np.float64)
        standardised = (values - self.meta_center) / np.array(self.meta_scale)
        bounded: Array = np.clip(np.nan_to_num(standardised, nan=0.0), -_META_LIMIT, _META_LIMIT)
        return bounded

    def novelty(self, meta_features: Mapping[str, float]) -> float:
        """Return how far a dataset lies from the nearest training dataset; 1 is as far as those usually lie apart.

        0 where that cannot be told: fewer than three training datasets, or no meta-feature in which they differ.
        """
        known = np.unique(np.array(self.datasets), axis=0)  # a dataset seen under several protocols is one
        if len(known) < 3 or not self.meta_names:
            return 0.0
        apart = np.linalg.norm(known[:, None] - known[None], axis=2) + np.diag(np.full(len(known), np.inf))
        usual = float(np.median(apart.min(axis=1)))
        away = float(np.linalg.norm(known - self.meta_features(meta_features), axis=1).min())
        return away / usual if usual > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the encoder that `to_dict` wrote and JSON carried."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        parameters = tuple(Parameter(**entry | {"choices": tuple(entry["choices"])}) for entry in plain["parameters"])
        datasets = tuple(tuple(row) for row in plain["datasets"])
        return cls(**plain | {"parameters": parameters, "datasets": datasets})


def mean_rate_share(configuration: Mapping[str, Value], epochs: int) -> float:
    """Return the mean learning rate over all epochs as a share of `lr`, in (0, 1].

    A plateau schedule depends on the scores to come and counts as constant, as does an unknown schedule.
    """
    schedule = configuration.get("sched")
    if schedule in {"cosine", "cosine_warm", "onecycle"}:
        return 0.5
    if schedule == "poly":
        return 1 / (1 + float(configuration.get("poly_power", 1.0)))
    if schedule == "step":
        size, factor = int(configuration.get("step_size", epochs)), float(configuration.get("decay_rate", 0.1))
        return float(np.mean(factor ** (np.arange(epochs) // size)))
    return 1.0


def _columns(parameters: Sequence[Parameter], epochs: int, configuration: Mapping[str, Value]) -> list[float]:
    columns = [column for parameter in parameters for column in parameter.columns(configuration)]
    effective = float(configuration.get("lr", 1.0)) * mean_rate_share(configuration, epochs)
    return [*columns, float(np.log(max(effective, 1e-12)))]


def _distinct(raw: Array) -> tuple[int, ...]:
    """Return the columns that vary and are no affine copy of an earlier one (an indicator and its parent)."""
    kept: list[int] = []
    seen: set[bytes] = set()
    for index in range(raw.shape[1]):
        column = raw[:, index]
        spread = column.std()
        if spread < 1e-12:
            continue
        standard = np.round((column - column.mean()) / spread, 6)
        standard = (standard * np.sign(standard[np.flatnonzero(standard)[0]])) + 0.0
        if standard.tobytes() not in seen:
            seen.add(standard.tobytes())
            kept.append(index)
    return tuple(kept)


def _squashed(value: float | None) -> float:
    return float("nan") if value is None or not np.isfinite(value) else float(np.sign(value) * np.log1p(abs(value)))
