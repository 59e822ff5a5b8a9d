"""Which runs a collection consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.adapters import STRUCTURE
from qttseg.metadata.configurations import Configuration, SearchSpace
from qttseg.metadata.hashing import content_id
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import Run

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_BLOCK = 64
"""Configurations drawn at once; a constant, because the draws depend on it."""


def plan_runs(
    datasets: Mapping[str, str],
    space: SearchSpace,
    protocol: Protocol,
    *,
    backbone: str,
    backbone_fingerprint: str,
    runs: int,
    alike: int = 1,
    seed: int = 0,
) -> tuple[Run, ...]:
    """Return `runs` distinct runs, spread evenly over the datasets (QTT-SEG, section 4).

    A larger plan of the same arguments begins with the smaller one, so a collection can be extended; a dataset's
    configurations do not depend on the other datasets.

    Args:
        datasets: Fingerprints by the names under which workers resolve the datasets.
        space: Where the configurations are drawn from.
        protocol: The conditions of every run.
        backbone: Name by which workers load the backbone.
        backbone_fingerprint: Hash of its weights.
        runs: How many; at least 1.
        alike: How many of a dataset's configurations in a row share modules, loss and shapes, so that they fit in one pack;
            at least 1. Each is drawn as ever but for these.
        seed: Draws the configurations, and is every run's own seed.

    Raises:
        CollectionError: there is no dataset, two have the same content, or there are too few configurations.
    """
    _check_count(runs)
    _check(datasets, space, runs)
    if alike < 1:
        raise CollectionError(f"configurations are drawn in rows of at least one alike; {alike} were asked for")
    draws = {name: _configurations(space, fingerprint, seed, alike) for name, fingerprint in datasets.items()}
    return tuple(
        Run(
            dataset=name,
            dataset_fingerprint=datasets[name],
            configuration=next(draws[name]),
            space=space.id,
            protocol=protocol,
            backbone=backbone,
            backbone_fingerprint=backbone_fingerprint,
            seed=seed,
        )
        for name in islice(cycle(datasets), runs)
    )


def _check(datasets: Mapping[str, str], space: SearchSpace, runs: int) -> None:
    if not datasets:
        raise CollectionError("a collection needs at least one dataset")
    names: dict[str, str] = {}
    for name, fingerprint in datasets.items():
        if fingerprint in names:
            raise CollectionError(
                f"datasets {names[fingerprint]} and {name} have the same content; name only one of them"
            )
        names[fingerprint] = name
    most = space.size * len(datasets)
    if runs > most:
        raise CollectionError(
            f"search space {space.id} has {space.size} configurations: {most} runs on {len(datasets)} datasets "
            f"are possible and {runs} were asked for"
        )


def _configurations(space: SearchSpace, fingerprint: str, seed: int, alike: int) -> Iterator[Configuration]:
    """Yield distinct configurations without end, or until the space is exhausted."""
    seen: set[Configuration] = set()
    block = 0
    while len(seen) < space.size:
        own_seed = int(content_id({"dataset": fingerprint, "seed": seed, "block": block}, length=8), 16) % 2**31
        for first in space.sample(min(_BLOCK, space.size), seed=own_seed):
            for configuration in _row(space, first, alike, seed=own_seed + len(seen)):
                if configuration not in seen:
                    seen.add(configuration)
                    yield configuration
        block += 1


def _row(space: SearchSpace, first: Configuration, alike: int, *, seed: int) -> Iterator[Configuration]:
    """Yield `first`, then others that are drawn but for the parameters of its structure, `alike` in all."""
    yield first
    structure = {name: first[name] for name in STRUCTURE if name in first}
    free = {name: value for name, value in structure.items() if not space.space.parents_of[name]}
    for other in space.sample(alike - 1, seed=seed, where=free) if alike > 1 else ():
        yield Configuration({**other, **structure})


def plan_collection(
    datasets: Sequence[str],
    space: SearchSpace,
    protocol: Protocol,
    *,
    backbone: str,
    runs: int,
    alike: int = 1,
    seed: int = 0,
) -> tuple[Run, ...]:
    """Resolve datasets and backbone and return the plan of the runs.

    Args:
        datasets: Names or absolute paths that `resolve_dataset` knows.
        space: Where the configurations are drawn from.
        protocol: The conditions of every run.
        backbone: Name that `load_backbone` knows.
        runs: How many.
        alike: How many of a dataset's configurations in a row fit in one pack; see `plan_runs`.
        seed: Draws configurations, splits and training.

    Raises:
        CollectionError: the plan is impossible; see `plan_runs`.
        DatasetError: a dataset is unknown or cannot be read.
        BackboneError: the backbone is unknown or its weights are missing.
    """
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.pipelines.loading import load_backbone

    _check_count(runs)
    fingerprint = load_backbone(backbone).fingerprint  # first, as it is quick to be wrong
    return plan_runs(
        {name: resolve_dataset(name).fingerprint for name in datasets},
        space,
        protocol,
        backbone=backbone,
        backbone_fingerprint=fingerprint,
        runs=runs,
        alike=alike,
        seed=seed,
    )


def describe_datasets(plan: Sequence[Run], store: CurveStore) -> None:
    """Put the meta-features and the sketches of the plan's datasets into `store`, where they are not yet.

    Meta-features are measured on images that the runs train and validate on, never on test images. Sketches are of all
    images: they serve nothing but to know a dataset's twins.

    Raises:
        DatasetError: a dataset is unknown or cannot be read.
        StoreError: the store cannot be written.
    """
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.metadata.meta_features import measure
    from qttseg.metadata.sketches import Sketch
    from qttseg.metadata.splits import draw_split

    measured, sketched = set(store.datasets()["fingerprint"].to_pylist()), store.sketches().keys()
    for fingerprint, run in {run.dataset_fingerprint: run for run in plan}.items():
        if fingerprint in measured & sketched:
            continue
        dataset = resolve_dataset(run.dataset)
        if fingerprint not in sketched:
            store.add_sketch(dataset.fingerprint, Sketch.of(dataset.facts, fingerprint=dataset.fingerprint))
        if fingerprint not in measured:
            split = draw_split(dataset, run.protocol, seed=run.seed)
            meta_features = measure(dataset, split.train + split.validation)
            store.add_dataset(dataset.name, dataset.fingerprint, meta_features.to_dict())


def _check_count(runs: int) -> None:
    if runs < 1:
        raise CollectionError(f"a collection needs at least one run; {runs} were asked for")
