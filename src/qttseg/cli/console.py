"""How the command line talks: results to stdout, progress and complaints to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.progress import Progress

_PIPED_WIDTH = 200


def _console(stream: TextIO, *, stderr: bool) -> Console:
    """Return a console as wide as the terminal; what goes to a file or pipe is not folded to 80 columns."""
    return Console(stderr=stderr, width=None if stream.isatty() else _PIPED_WIDTH)


out = _console(sys.stdout, stderr=False)
err = _console(sys.stderr, stderr=True)


def complain(error: Exception) -> None:
    """Print what went wrong and what to do about it."""
    err.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)


def show_rows(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table; numbers to the right, None as a dash."""
    from rich import box
    from rich.table import Table

    cells = [[_text(value) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left")
    for index, header in enumerate(headers):
        numeric = all(row[index].replace(".", "").replace("-", "").replace("–", "").isdigit() for row in cells)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    out.print(table)


def show_arrow(table: pa.Table) -> None:
    """Print an Arrow table."""
    show_rows(table.column_names, (row.values() for row in table.to_pylist()))


def show_pairs(pairs: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        out.print(f"[bold]{escape(name):{width}}[/]  {escape(_text(value))}", highlight=False, soft_wrap=True)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return str(value)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress on stderr: what, how much, how fast, how long still."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
        console=err,
        transient=True,
    ) as bar:
        yield bar
