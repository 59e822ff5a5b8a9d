"""Which datasets of a store of learning curves count as the same as one that may be new to it."""

from __future__ import annotations

from dataclasses import dataclass

from qttseg.metadata.datasets import Identity
from qttseg.metadata.sketches import TWINS_SHARE
from qttseg.metadata.store import CurveStore


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A dataset that a store has curves of.

    Attributes:
        name: What the store calls it.
        store: Where the store is.
        share: Share of the smaller dataset's images that both hold, in [0, 1]; 1 for equal content.
    """

    name: str
    store: str
    share: float


def twins_in(store: CurveStore, dataset: Identity) -> tuple[Twin, ...]:
    """Return what is left out, too, wherever `dataset` is: datasets of its content and its twins, the nearest first.

    Raises:
        StoreError: the store is damaged or cannot be read.
    """
    sketches = store.sketches()
    found = []
    for row in store.datasets().select(["name", "fingerprint"]).to_pylist():
        sketch = sketches.get(row["fingerprint"])
        known = row["fingerprint"] == dataset.fingerprint
        share = 1.0 if known else dataset.sketch.share_in_common(sketch) if dataset.sketch and sketch else 0.0
        if share >= TWINS_SHARE:
            found.append(Twin(name=row["name"], store=store.uri, share=share))
    return tuple(sorted(found, key=lambda twin: -twin.share))
