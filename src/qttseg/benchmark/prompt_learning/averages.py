"""From rows to what is compared: which rows count, and their means over draws of prompts and over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

from qttseg.benchmark.prompt_learning.rows import METHODS, Row

Measure = Callable[[Row], float | None]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean with its spread.

    Attributes:
        mean: Mean over `count` values, each a mean over draws of prompts where the values are seeds.
        std: Sample standard deviation over them; None for fewer than two.
        count: How many values there are.
        failed: How many trials gave none.
    """

    mean: float
    std: float | None
    count: int
    failed: int = 0


def average(values: Collection[float], *, failed: int = 0) -> Average | None:
    """Return the mean of values, None where there is none."""
    if not values:
        return None
    return Average(mean=fmean(values), std=stdev(values) if len(values) > 1 else None, count=len(values), failed=failed)


def over_seeds(rows: Collection[Row], measure: Measure) -> Average | None:
    """Return the mean over seeds of the means over draws of prompts."""
    found = [(row.seed, measure(row)) for row in rows]
    by_seed = gathered(((seed, value) for seed, value in found if value is not None))
    return average([fmean(values) for values in by_seed.values()], failed=sum(value is None for _, value in found))


def over_draws(rows: Collection[Row], measure: Measure) -> Average | None:
    """Return the mean, and the standard deviation over draws of prompts of one trained model, averaged over seeds.

    Only the latter says how much a prompt's place matters: seeds, which train otherwise, do not enter the spread.
    """
    found = [(row.seed, measure(row)) for row in rows]
    models = [
        average(values) for values in gathered((seed, value) for seed, value in found if value is not None).values()
    ]
    known = [model for model in models if model is not None]
    if not known:
        return None
    spreads = [model.std for model in known if model.std is not None]
    return Average(
        mean=fmean(model.mean for model in known),
        std=fmean(spreads) if spreads else None,
        count=sum(model.count for model in known),
        failed=sum(value is None for _, value in found),
    )


T = TypeVar("T")


def gathered(pairs: Iterable[tuple[Key, T]]) -> dict[Key, list[T]]:
    """Return the values of each key, in the order in which they came."""
    found: defaultdict[Key, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


def comparable(rows: Iterable[Row]) -> tuple[tuple[Row, ...], ...]:
    """Return the rows in groups that may stand in one table: those of one backbone."""
    return tuple(map(tuple, gathered((row.backbone_fingerprint, row) for row in rows).values()))


def current(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows of each method's newest settings for each pair of source and task and each kind of prompt.

    A method that was tried with other settings before (longer, with another loss) would otherwise be averaged with itself.
    """
    kinds = gathered(((row.method, row.source_fingerprint, row.task_fingerprint, row.prompt), row) for row in rows)
    kept: list[Row] = []
    for members in kinds.values():
        newest = max(members, key=lambda row: row.finished_at).settings
        kept += [row for row in members if row.settings == newest]
    return tuple(kept)


def fullest(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows trained and tested on one dataset, of each method those trained on the most images."""
    kinds = gathered(
        ((row.method, row.task_fingerprint, row.prompt), row) for row in current(rows) if not row.transferred
    )
    return tuple(
        row for members in kinds.values() for row in members if row.images == max(other.images for other in members)
    )


def methods_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the methods, those of the paper first and in its order."""
    known = list(METHODS)
    found = {row.method for row in rows}
    return (*(method for method in known if method in found), *sorted(found - set(known)))


def tasks_of(rows: Iterable[Row]) -> dict[str, str]:
    """Return label by fingerprint; a name whose content has changed is told apart in its label."""
    names = {row.task_fingerprint: row.task for row in rows}
    taken = list(names.values())
    return {
        fingerprint: name if taken.count(name) == 1 else f"{name} ({fingerprint[:6]})"
        for fingerprint, name in sorted(names.items(), key=lambda item: item[1])
    }
