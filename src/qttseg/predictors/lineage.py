"""Where a predictor comes from, and whom it must not be used on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow.compute as pc

from qttseg.errors import LeakageError, PredictorError, StoreError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.queries import TrainingSet
from qttseg.metadata.sketches import Sketch


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
        sketched: The datasets it has seen whose sketches the store has, by which their twins are known.
    """

    left_out: tuple[str, ...]
    datasets: tuple[str, ...]
    fingerprints: tuple[str, ...]
    protocol_ids: tuple[str, ...]
    backbones: tuple[str, ...]
    backbone_fingerprints: tuple[str, ...]
    runs: int
    space: str
    sketched: tuple[Identity, ...] = ()

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
            sketched=_sketched(training),
        )

    def has_seen(self, target: Identity) -> bool:
        """Return whether a dataset of this content or name, or a twin of it, is among the training data."""
        return target.fingerprint in self.fingerprints or target.name in self.datasets or bool(self.twins_of(target))

    def twins_of(self, target: Identity) -> tuple[str, ...]:
        """Return the names of the datasets among the training data that hold largely the same images, as sketches tell."""
        own = target.sketch
        if own is None:
            return ()
        return tuple(seen.name for seen in self.sketched if seen.sketch and own.is_twin_of(seen.sketch))

    def refuse(self, target: Identity) -> None:
        """Stop the use of the predictor on a dataset that it has seen.

        Raises:
            LeakageError: a dataset of this content or name, or a twin of it, is among the training data.
        """
        if self.has_seen(target):
            twins = ", ".join(self.twins_of(target))
            under = f" (as {twins}, which holds largely the same images)" if twins else ""
            raise LeakageError(
                f"this predictor has learnt from dataset {target.name} ({target.fingerprint}){under} and would know its "
                f"answers; train one that leaves it out. It has seen {', '.join(self.datasets)}"
            )

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        sketched = [vars(seen) | {"sketch": seen.sketch.to_dict()} for seen in self.sketched if seen.sketch]
        return {**vars(self), "sketched": sketched}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the lineage that `to_dict` wrote.

        Raises:
            PredictorError: a field is missing, unknown or damaged.
        """
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        sketched = plain.pop("sketched", ())  # predictors of earlier versions carry none
        try:
            seen = (Identity(**{**one, "sketch": Sketch.from_dict(one["sketch"])}) for one in sketched)
            return cls(**plain, sketched=tuple(seen))
        except (TypeError, KeyError, StoreError) as error:
            raise PredictorError(f"not a predictor's lineage: {error}") from error


def seen_by_all(which: str, target: Identity, twins: Sequence[str], *, command: str) -> LeakageError:
    """Return the error that says how to train predictors that have not seen `target`, or its first twin."""
    under = f" (as {', '.join(twins)}, which holds largely the same images)" if twins else ""
    return LeakageError(
        f"all {which} have learnt from {target.name}{under}; "
        f"train some without it: {command} --leave-out {twins[0] if twins else target.name}"
    )


def _sketched(training: TrainingSet) -> tuple[Identity, ...]:
    columns = (training.table[name].to_pylist() for name in ("dataset_fingerprint", "dataset"))
    names = dict(zip(*columns, strict=True))
    return tuple(
        Identity(name=names[fingerprint], fingerprint=fingerprint, sketch=sketch.shortened())
        for fingerprint, sketch in sorted(training.sketches.items())
    )
