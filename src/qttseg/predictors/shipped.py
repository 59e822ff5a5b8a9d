"""The predictors in the package, trained on the shipped learning curves (`metadata.shipped`), and how the right ones are found.

`qttseg train --store shipped --all-leave-out --out FOLDER` makes them again. Those of a search space lie in a folder of its
id.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qttseg.errors import PredictorError
from qttseg.metadata.configurations import PAPER_SPACE
from qttseg.metadata.datasets import Identity
from qttseg.predictors.lineage import seen_by_all
from qttseg.predictors.training import Trained

if TYPE_CHECKING:
    from qttseg.predictors.registry import Registry

VERSION = "shipped"

_FOLDER = Path(__file__).parent / "pretrained"


def shipped_spaces() -> tuple[str, ...]:
    """Return the ids of the search spaces that there are predictors of."""
    return _folders(_FOLDER)


def shipped_names(space: str = PAPER_SPACE) -> tuple[str, ...]:
    """Return what there is of a search space: `all`, and `without-NAME` for each dataset of the shipped curves."""
    return _folders(_FOLDER / space) if space in shipped_spaces() else ()


def shipped(name: str = "all", *, space: str = PAPER_SPACE) -> Trained:
    """Return the shipped predictors of this name and search space.

    Raises:
        PredictorError: there are none.
    """
    names = shipped_names(space)
    if name not in names:
        there = ", ".join(names) or f"none of this search space, but of {', '.join(shipped_spaces())}"
        raise PredictorError(f"no predictors {name!r} of {space} are shipped; there are {there}")
    return Trained.load(_FOLDER / space / name, version=VERSION)


def shipped_for(target: Identity, *, space: str = PAPER_SPACE, allow_seen: bool = False) -> Trained:
    """Return the shipped predictors for a target: of all datasets, or of those that remain without it or its twin.

    Args:
        target: What they are for.
        space: Id of the search space that they are to know.
        allow_seen: Take those of all, whatever they have seen.

    Raises:
        PredictorError: none of this search space are shipped.
        LeakageError: all of them have learnt from the target or a twin of it.
    """
    best = shipped(space=space)
    if allow_seen or not best.lineage.has_seen(target):
        return best
    twins = best.lineage.twins_of(target)
    for name in dict.fromkeys((target.name, *twins)):
        if f"without-{name}" in shipped_names(space):
            trained = shipped(f"without-{name}", space=space)
            if not trained.lineage.has_seen(target):
                return trained
    raise seen_by_all("shipped predictors", target, twins, command="qttseg train --store shipped")


def predictors_for(
    target: Identity, registry: Registry | None, *, space: str = PAPER_SPACE, allow_seen: bool = False
) -> Trained:
    """Return the right predictors for a target: those of the registry, if it has any, else the shipped ones.

    Where neither knows the search space, those of the paper's are taken: they understand what it shares with theirs.

    Args:
        target: What they are for.
        registry: Where to look first.
        space: Id of the search space that they are to know.
        allow_seen: Take predictors whatever they have seen.

    Raises:
        LeakageError: all of them have learnt from the target or a twin of it.
    """
    shelves = [shipped_for] if registry is None or not registry.exists else [registry.load_for, shipped_for]
    *first, last = (
        partial(shelf, target, space=one) for one in dict.fromkeys((space, PAPER_SPACE)) for shelf in shelves
    )
    for load in first:
        with suppress(PredictorError):
            return load(allow_seen=allow_seen)
    return last(allow_seen=allow_seen)


def _folders(parent: Path) -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in parent.iterdir() if folder.is_dir()))
