"""Tables in a folder: Parquet files with checksums and a schema version, that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from qttseg.errors import StoreError
from qttseg.metadata.files import Folder
from qttseg.metadata.schema import check_schema


def part_name(subfolder: str, nanoseconds: int) -> str:
    """Return a new file name below `subfolder`; names sort by time (nanoseconds since 1970)."""
    return f"{subfolder}/part-{nanoseconds:020d}-{secrets.token_hex(4)}.parquet"


def write_table(folder: Folder, name: str, table: pa.Table) -> None:
    """Write `table` as `name` below `folder`.

    Raises:
        StoreError: the disk is full or refuses.
    """
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    folder.write(name, buffer.getvalue())


def read_table(
    folder: Folder, name: str, schema: pa.Schema, columns: Sequence[str] | None = None, *, mend: str
) -> pa.Table:
    """Return these columns of a file that `write_table` wrote; all of them by default.

    Args:
        folder: Where it lies.
        name: Its name below `folder`.
        schema: What it must be.
        columns: Which columns.
        mend: What to do when it is damaged; ends the message of the error.

    Raises:
        FileNotFoundError: it has gone, as when another process merged it away.
        StoreError: it is damaged, or was written by a newer qttseg.
    """
    where = f"{name} below {folder.uri}"
    try:
        with folder.open(name) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            check_schema(parquet.schema_arrow, schema, where=where)
            return parquet.read(None if columns is None else list(columns))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{where} is damaged ({error}); {mend}") from error
