"""The predictors in the package, trained on the shipped learning curves (`metadata.shipped`), and how the right ones are found.

`qttseg train --store shipped --all-leave-out --out FOLDER` makes them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qttseg.errors import PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.predictors.lineage import seen_by_all
from qttseg.predictors.training import Trained

if TYPE_CHECKING:
    from qttseg.predictors.registry import Registry

VERSION = "shipped"

_FOLDER = Path(__file__).parent / "pretrained"


def shipped_names() -> tuple[str, ...]:
    """Return what there is: `all`, and `without-NAME` for each dataset of the shipped curves."""
    return tuple(sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir()))


def shipped(name: str = "all") -> Trained:
    """Return the shipped predictors of this name.

    Raises:
        PredictorError: there are none.
    """
    if name not in shipped_names():
        raise PredictorError(f"no predictors {name!r} are shipped; there are {', '.join(shipped_names())}")
    return Trained.load(_FOLDER / name, version=VERSION)


def shipped_for(target: Identity, *, allow_seen: bool = False) -> Trained:
    """Return the shipped predictors for a target: of all datasets, or of those that remain without it or its twin.

    Args:
        target: What they are for.
        allow_seen: Take those of all, whatever they have seen.

    Raises:
        LeakageError: all of them have learnt from the target or a twin of it.
    """
    best = shipped()
    if allow_seen or not best.lineage.has_seen(target):
        return best
    twins = best.lineage.twins_of(target)
    for name in dict.fromkeys((target.name, *twins)):
        if f"without-{name}" in shipped_names():
            trained = shipped(f"without-{name}")
            if not trained.lineage.has_seen(target):
                return trained
    raise seen_by_all("shipped predictors", target, twins, command="qttseg train --store shipped")


def predictors_for(target: Identity, registry: Registry | None, *, allow_seen: bool = False) -> Trained:
    """Return the right predictors for a target: those of the registry, if it has any, else the shipped ones.

    Args:
        target: What they are for.
        registry: Where to look first.
        allow_seen: Take predictors whatever they have seen.

    Raises:
        LeakageError: all of them have learnt from the target or a twin of it.
    """
    if registry is None or not registry.exists:
        return shipped_for(target, allow_seen=allow_seen)
    try:
        return registry.load_for(target, allow_seen=allow_seen)
    except PredictorError:
        return shipped_for(target, allow_seen=allow_seen)
