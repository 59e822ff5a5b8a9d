"""Examination of many pairs at once: in parallel, with news of how far it is, and remembering what has not changed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cache
from importlib.resources import files
from typing import Protocol, TypeVar, runtime_checkable

import PIL
import pyarrow as pa

from qttseg.errors import StoreError
from qttseg.metadata.caching import cache_folder
from qttseg.metadata.datasets import Source
from qttseg.metadata.facts import Facts, facts_of
from qttseg.metadata.files import Folder
from qttseg.metadata.schema import VERSIONED
from qttseg.metadata.tables import read_table, write_table

Progress = Callable[[int, int], None]
"""Told the number of pairs that are done and that of all."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_COUNTS = pa.map_(pa.uint8(), pa.int64())
_SCHEMA = pa.schema(
    [
        ("stamp", pa.string()),
        ("image_size", pa.list_(pa.int64())),
        ("mask_size", pa.list_(pa.int64())),
        ("pixels", _COUNTS),
        ("components", _COUNTS),
        ("digest", pa.string()),
        ("binary_digest", pa.string()),
        ("look", pa.binary()),
    ],
    metadata=VERSIONED,
)
_AHEAD = 32
"""Pairs that are waiting for each thread; a queue of all of them would take memory for nothing."""


def unheard(done: int, total: int) -> None:
    """Tell nobody."""


@runtime_checkable
class Examined(Protocol):
    """A source that knows the facts about its items without loading them one by one."""

    def facts(self) -> tuple[Facts, ...]:
        """Return the facts about each item."""
        ...


@runtime_checkable
class Stamped(Protocol):
    """A source the facts about whose items are worth remembering on disk."""

    def stamp(self) -> str:
        """Return a text that changes whenever the content may have changed, without reading the content."""
        ...


def facts_of_source(source: Source, count: int) -> tuple[Facts, ...]:
    """Return the facts about the first `count` items of a source; those of `Stamped` ones are remembered.

    Raises:
        DatasetError: an item cannot be read.
    """
    if isinstance(source, Examined):
        return source.facts()

    def examine(index: int) -> Facts:
        sample = source.load(index)
        return facts_of(sample.image, sample.mask)

    stamp = source.stamp() if isinstance(source, Stamped) else ""
    return tuple(examine_all(examine, [stamp and f"{stamp} {index}" for index in range(count)], shelf=stamp))


def examine_all(
    examine: Callable[[int], Facts], stamps: Sequence[str], *, shelf: str, on_progress: Progress = unheard
) -> list[Facts]:
    """Return the facts about all pairs, in order.

    Those whose stamp is known from an earlier call are remembered, in the user's cache folder; what was found before an
    interruption is, too. A cache that is damaged, read-only or full only costs time. Pairs with a problem are examined
    again each time, since what stands in the way may lie outside the files.

    Args:
        examine: Finds the facts about the pair at an index.
        stamps: For each pair a text that changes whenever it may have changed; an empty one is not remembered.
        shelf: What the pairs belong to, as a folder's path; decides where they are remembered.
        on_progress: Told of each pair.
    """
    name = f"facts/{hashlib.sha256(f'{_reading()} {shelf!r}'.encode()).hexdigest()}.parquet"
    known = _recall(name)
    missing = [index for index, stamp in enumerate(stamps) if stamp not in known]
    fresh: dict[int, Facts] = {}
    on_progress(len(stamps) - len(missing), len(stamps))
    try:
        with closing(in_threads(examine, missing)) as found:
            for index, facts in zip(missing, found, strict=True):
                fresh[index] = facts
                on_progress(len(stamps) - len(missing) + len(fresh), len(stamps))
    finally:
        lasting = {stamps[index]: facts for index, facts in fresh.items() if stamps[index] and facts.readable}
        if lasting:
            _remember(name, {stamp: known[stamp] for stamp in stamps if stamp in known} | lasting)
    return [fresh[index] if index in fresh else known[stamp] for index, stamp in enumerate(stamps)]


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield `work(item)` for all items, in order, a few ahead; decoding and hashing release the interpreter lock."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@cache
def _reading() -> str:
    """Return what the facts depend on besides the files: the code that finds them, and what decodes images."""
    code = b"".join((files("qttseg.metadata") / f"{room}.py").read_bytes() for room in ("facts", "images", "looks"))
    return f"{PIL.__version__} {hashlib.sha256(code).hexdigest()}"


def _recall(name: str) -> dict[str, Facts]:
    try:
        rows = read_table(Folder(cache_folder()), name, _SCHEMA, mend="delete it").to_pylist()
    except (FileNotFoundError, StoreError):
        return {}
    return {
        row.pop("stamp"): Facts(
            image_size=tuple(row.pop("image_size")),
            mask_size=tuple(row.pop("mask_size")),
            pixels=dict(row.pop("pixels")),
            components=dict(row.pop("components")),
            **row,
        )
        for row in rows
    }


def _remember(name: str, known: dict[str, Facts]) -> None:
    rows = [
        {field: getattr(facts, field) for field in _SCHEMA.names if field != "stamp"} | {"stamp": stamp}
        for stamp, facts in known.items()
    ]
    with suppress(StoreError):
        write_table(Folder(cache_folder()), name, pa.Table.from_pylist(rows, schema=_SCHEMA))
