"""The predictors in the package, trained on the shipped learning curves (`metadata.shipped`), and how the right ones are found.

`qttseg train --store shipped --all-leave-out --out FOLDER` makes them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qttseg.errors import LeakageError, PredictorError
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


def shipped_for(name: str, fingerprint: str, *, allow_seen: bool = False) -> Trained:
    """Return the shipped predictors for a target: of all datasets, or of those that remain without it.

    Args:
        name: The target's name.
        fingerprint: Its fingerprint.
        allow_seen: Take those of all, whatever they have seen.

    Raises:
        LeakageError: all of them have learnt from the target.
    """
    best = shipped()
    if allow_seen or not best.lineage.has_seen(fingerprint, name):
        return best
    without = f"without-{name}"
    if without in shipped_names():
        trained = shipped(without)
        if not trained.lineage.has_seen(fingerprint, name):
            return trained
    raise LeakageError(
        f"all shipped predictors have learnt from {name}; train some without it: "
        f"qttseg train --store shipped --leave-out {name}"
    )


def predictors_for(name: str, fingerprint: str, registry: Registry | None, *, allow_seen: bool = False) -> Trained:
    """Return the right predictors for a target: those of the registry, if it has any, else the shipped ones.

    Args:
        name: The target's name.
        fingerprint: Its fingerprint.
        registry: Where to look first.
        allow_seen: Take predictors whatever they have seen.

    Raises:
        LeakageError: all of them have learnt from the target.
    """
    if registry is None or not registry.exists:
        return shipped_for(name, fingerprint, allow_seen=allow_seen)
    try:
        return registry.load_for(name, fingerprint, allow_seen=allow_seen)
    except PredictorError:
        return shipped_for(name, fingerprint, allow_seen=allow_seen)
