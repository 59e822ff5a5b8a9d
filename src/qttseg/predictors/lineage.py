"""Where a predictor comes from, and whom it must not be used on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import pyarrow.compute as pc

from qttseg.errors import LeakageError, PredictorError
from qttseg.metadata.queries import TrainingSet


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The training data of a predictor; every tuple is sorted.

    Attributes:
        left_out: Names of the datasets that were left out on purpose.
        datasets: Names of the datasets it has seen.
        fingerprints: Fingerprints of the datasets it has seen.
        protocol_ids: Protocols of the runs.
        backbones: Names of the backbones of the runs.
        backbone_fingerprints: Weights of the backbones of the runs.
        runs: Number of runs, whatever their outcome.
        space: Search space of their configurations, as in `paper-v1`.
    """

    left_out: tuple[str, ...]
    datasets: tuple[str, ...]
    fingerprints: tuple[str, ...]
    protocol_ids: tuple[str, ...]
    backbones: tuple[str, ...]
    backbone_fingerprints: tuple[str, ...]
    runs: int
    space: str

    @classmethod
    def of(cls, training: TrainingSet) -> Self:
        """Return the lineage of what is fitted to `training`.

        Raises:
            PredictorError: the runs are points of more than one search space, or there are none.
        """

        def values(column: str) -> tuple[str, ...]:
            return tuple(sorted(pc.unique(training.table[column]).to_pylist()))

        spaces = values("space")
        if len(spaces) != 1:
            raise PredictorError(
                f"a predictor learns from one search space; these runs come from {', '.join(spaces) or 'none'}. "
                "Keep one store for each space"
            )
        return cls(
            left_out=tuple(sorted(training.left_out)),
            datasets=values("dataset"),
            fingerprints=values("dataset_fingerprint"),
            protocol_ids=values("protocol_id"),
            backbones=values("backbone"),
            backbone_fingerprints=values("backbone_fingerprint"),
            runs=training.table.num_rows,
            space=spaces[0],
        )

    def has_seen(self, fingerprint: str, name: str) -> bool:
        """Return whether a dataset of this content or this name is among the training data."""
        return fingerprint in self.fingerprints or name in self.datasets

    def refuse(self, fingerprint: str, name: str) -> None:
        """Stop the use of the predictor on a dataset that it has seen.

        Raises:
            LeakageError: a dataset of this content or this name is among the training data.
        """
        if self.has_seen(fingerprint, name):
            raise LeakageError(
                f"this predictor has learnt from dataset {name} ({fingerprint}) and would know its answers; "
                f"train one that leaves it out. It has seen {', '.join(self.datasets)}"
            )

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Return the lineage that `to_dict` wrote.

        Raises:
            PredictorError: a field is missing or unknown.
        """
        try:
            plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
            return cls(**plain)  # type: ignore[arg-type]
        except TypeError as error:
            raise PredictorError(f"not a predictor's lineage: {error}") from error
