"""The learning curves in the package: procedural datasets, fine-tuned from sam-nano (their cards lie beside them)."""

from __future__ import annotations

from pathlib import Path

from qttseg.errors import StoreError
from qttseg.metadata.configurations import PAPER_SPACE
from qttseg.metadata.store import CurveStore

SHIPPED = "shipped"
"""What stands for the shipped store of the paper's search space where a store is asked for."""

_FOLDER = Path(__file__).parent / "learning_curves"


def shipped_stores() -> tuple[str, ...]:
    """Return the names of the stores in the package: `shipped`, and `shipped:SPACE` for each other search space."""
    spaces = sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir())
    return (SHIPPED, *(f"{SHIPPED}:{space}" for space in spaces if space != PAPER_SPACE))


def store_of(uri: str) -> CurveStore:
    """Return the store at `uri` to read from; `shipped` and `shipped:SPACE` are those in the package.

    Raises:
        StoreError: none of this search space is shipped.
    """
    if not _is_shipped(uri):
        return CurveStore(uri)
    if uri != SHIPPED and uri not in shipped_stores():
        raise StoreError(f"there is no store {uri} in the package; there are {', '.join(shipped_stores())}")
    return CurveStore(_FOLDER / (uri.partition(":")[2] or PAPER_SPACE))


def writable_store(uri: str) -> CurveStore:
    """Return the store at `uri` to add to.

    Raises:
        StoreError: it is one in the package.
    """
    if _is_shipped(uri):
        raise StoreError("the shipped stores are for reading; name a folder of your own with --store")
    return CurveStore(uri)


def _is_shipped(uri: str) -> bool:
    return uri.partition(":")[0] == SHIPPED
