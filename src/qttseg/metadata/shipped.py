"""The learning curves in the package: 13 procedural datasets, fine-tuned from sam-nano (their card lies beside them)."""

from __future__ import annotations

from pathlib import Path

from qttseg.errors import StoreError
from qttseg.metadata.store import CurveStore

SHIPPED = "shipped"
"""What stands for the shipped store where a store is asked for."""

_FOLDER = Path(__file__).parent / "learning_curves"


def store_of(uri: str) -> CurveStore:
    """Return the store at `uri` to read from; `shipped` is the one in the package."""
    return CurveStore(_FOLDER if uri == SHIPPED else uri)


def writable_store(uri: str) -> CurveStore:
    """Return the store at `uri` to add to.

    Raises:
        StoreError: it is the one in the package.
    """
    if uri == SHIPPED:
        raise StoreError("the shipped store is for reading; name a folder of your own with --store")
    return CurveStore(uri)
