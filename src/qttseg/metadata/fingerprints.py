"""Fingerprints of datasets: the same pixels have the same fingerprint under any name, format and order."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

from qttseg.metadata.caching import cache_folder
from qttseg.metadata.datasets import Sample, Source

THREADS = min(4, os.cpu_count() or 1)


@runtime_checkable
class Stamped(Protocol):
    """A source whose fingerprint is worth remembering on disk."""

    def stamp(self) -> str:
        """Return a text that changes whenever the content may have changed, without reading the content."""
        ...


def digest(sample: Sample) -> str:
    """Return the SHA-256 of one pair's shape and pixels, as 64 hexadecimal digits."""
    pixels = hashlib.sha256(repr(sample.image.shape).encode())
    pixels.update(sample.image.tobytes())
    pixels.update(sample.mask.tobytes())
    return pixels.hexdigest()


def fingerprint(source: Source, count: int) -> str:
    """Return sixteen hexadecimal digits of the pixels of all `count` pairs of `source`.

    Sources that are `Stamped` are read once only: the fingerprint is kept in the user's cache folder.

    Raises:
        DatasetError: an item cannot be read.
    """
    note = (
        cache_folder() / "fingerprints" / hashlib.sha256(source.stamp().encode()).hexdigest()
        if isinstance(source, Stamped)
        else None
    )
    remembered = _recall(note) if note else None
    if remembered:
        return remembered
    with ThreadPoolExecutor(THREADS) as pool:
        digests = sorted(pool.map(lambda index: digest(source.load(index)), range(count)))
    found = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    if note:
        _remember(note, found)
    return found


def _recall(note: Path) -> str | None:
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{16}", text) else None


def _remember(note: Path, found: str) -> None:
    """Write aside and rename, so that a reader never sees half a note; a full or read-only disk only costs time."""
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=note.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(found)
        Path(aside).replace(note)
