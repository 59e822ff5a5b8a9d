"""Datasets whose stored learning curves can be searched, as if they were trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from qttseg.errors import BenchmarkError
from qttseg.metadata.runs import LearningCurve, Outcome, is_accelerated
from qttseg.tuning.policies import shuffled

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_USABLE = frozenset({Outcome.COMPLETED, Outcome.DIVERGED})

FEWEST = 8
"""Curves of a dataset below which a search on it says nothing."""


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """All that was stored of one dataset under one protocol with one backbone.

    Attributes:
        name: The dataset.
        fingerprint: Hash of its content.
        meta_features: Its meta-features.
        curves: Completed and diverged runs; at least one completed.
    """

    name: str
    fingerprint: str
    meta_features: Mapping[str, float]
    curves: tuple[LearningCurve, ...]

    @cached_property
    def epochs(self) -> int:
        """Epochs of the longest curve, after which a candidate is finished."""
        return max(len(curve.records) for curve in self.curves)

    @cached_property
    def epoch_seconds(self) -> float:
        """Median seconds of an epoch."""
        return median(record.seconds for curve in self.curves for record in curve.records)

    @property
    def accelerated(self) -> bool:
        """Whether the curves were made on accelerators; those of one protocol are taken for alike."""
        return is_accelerated(self.curves[0].machine)

    @cached_property
    def start_seconds(self) -> float:
        """Seconds of starting a configuration where the dataset is prepared: the median over the quicker half of runs."""
        setups = sorted(curve.setup_seconds for curve in self.curves)
        return median(setups[: max(1, len(setups) // 2)])

    @cached_property
    def _range(self) -> tuple[float, float]:
        """Worst and best stored score."""
        scores = [score for curve in self.curves for score in curve.scores]
        return min(scores), max(scores)

    def regret(self, score: float | None) -> float:
        """Return how far a score is from the best stored, as a share of the range of all; 1 before there is one."""
        worst, best = self._range
        return 1.0 if score is None or best == worst else (best - score) / (best - worst)


def stored_datasets(store: CurveStore) -> tuple[StoredDataset, ...]:
    """Return the datasets of a store that can be searched, those of one protocol and backbone together.

    Raises:
        BenchmarkError: no dataset has enough curves.
        StoreError: the store cannot be read.
    """
    known = {row["fingerprint"]: row for row in store.datasets().to_pylist()}
    groups: dict[tuple[str, str, str], list[LearningCurve]] = {}
    for curve in store.curves():
        if curve.outcome in _USABLE:
            run = curve.run
            groups.setdefault((run.dataset_fingerprint, run.protocol.id, run.backbone_fingerprint), []).append(curve)
    found = [
        StoredDataset(
            name=known.get(fingerprint, {}).get("name", curves[0].run.dataset),
            fingerprint=fingerprint,
            meta_features=dict(known.get(fingerprint, {}).get("meta_features", ())),
            curves=tuple(curves),
        )
        for (fingerprint, _, _), curves in groups.items()
        if len(curves) >= FEWEST and any(curve.records for curve in curves)
    ]
    if not found:
        raise BenchmarkError(f"no dataset in {store.uri} has {FEWEST} completed runs to search among; collect more")
    return tuple(sorted(found, key=lambda dataset: dataset.name))


def drawn_candidates(dataset: StoredDataset, seed: int, *, share: float = 0.8) -> tuple[LearningCurve, ...]:
    """Return this share of a dataset's curves, drawn from `seed`: what differs from one replay to the next."""
    count = max(FEWEST, round(share * len(dataset.curves)))
    return tuple(dataset.curves[index] for index in shuffled(len(dataset.curves), seed)[:count])


def budget_seconds(budget: str, dataset: StoredDataset) -> float:
    """Return the seconds of a budget such as `60` or, in median epochs of the dataset, `30x`.

    Raises:
        BenchmarkError: it is neither.
    """
    try:
        seconds = float(budget.removesuffix("x")) * (dataset.epoch_seconds if budget.endswith("x") else 1.0)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise BenchmarkError(f"{budget!r} is no budget; write seconds as 60, or multiples of an epoch as 30x")
    return seconds
