"""Append-only Parquet stores of what was measured: one file for each append, of rows with one id the newest counts."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa

from qttseg.errors import BenchmarkError, ConfigurationError, StoreError
from qttseg.metadata.files import Folder
from qttseg.metadata.tables import part_name, read_table, write_table


class Identified(Protocol):
    """What can be stored: it knows by what it is the same."""

    @property
    def id(self) -> str:
        """Hash of everything that decides the work."""
        ...


Measured = TypeVar("Measured", bound=Identified)


class AppendingStore(ABC, Generic[Measured]):
    """Rows in one sub-folder of Parquet files, one for each append; each appears whole or not at all.

    Failures are rows like all others.

    Args:
        uri: A path, or a URI of any filesystem that pyarrow or fsspec can open.
        clock: Nanoseconds since 1970; decides which of two files is newer.
    """

    schema: ClassVar[pa.Schema]
    subfolder: ClassVar[str]
    mend: ClassVar[str]

    def __init__(self, uri: str | Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder = Folder(uri)
        self._clock = clock

    @staticmethod
    @abstractmethod
    def encode(measured: Measured) -> dict[str, object]:
        """Return the columns of a row."""

    @staticmethod
    @abstractmethod
    def decode(row: dict[str, Any]) -> Measured:
        """Return what `encode` was given."""

    @property
    def uri(self) -> str:
        """Where the store is."""
        return self._folder.uri

    def append(self, *measured: Measured) -> None:
        """Add rows; all appear at once.

        Raises:
            StoreError: the disk is full or refuses.
        """
        table = pa.Table.from_pylist([self.encode(one) for one in measured], schema=self.schema)
        write_table(self._folder, part_name(self.subfolder, self._clock()), table)

    def newest(self) -> tuple[Measured, ...]:
        """Return the newest row of every id, in the order in which the ids were first stored.

        Raises:
            StoreError: a file is damaged or was written by a newer qttseg.
        """
        found = {one.id: one for name in self._folder.files(self.subfolder, ".parquet") for one in self._read(name)}
        return tuple(found.values())

    def _read(self, name: str) -> list[Measured]:
        rows = read_table(self._folder, name, self.schema, mend=self.mend).to_pylist(maps_as_pydicts="strict")
        try:
            return [self.decode(row) for row in rows]
        except (ValueError, ConfigurationError, BenchmarkError) as error:
            raise StoreError(f"{name} below {self.uri} holds no {self.subfolder} ({error}); {self.mend}") from error
