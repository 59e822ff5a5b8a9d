"""`qttseg tables`, `qttseg figures` and `qttseg report`: what came out of a benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qttseg.benchmark.prompt_learning.rows import Row
    from qttseg.benchmark.results import Result
    from qttseg.benchmark.tables import Table


class TableFormat(StrEnum):
    """How tables are printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


class FigureFormat(StrEnum):
    """How figures are written."""

    PNG = "png"
    SVG = "svg"


class OfMethod(Protocol):
    """What a method gave."""

    @property
    def method(self) -> str:
        """The method's name."""
        ...


_MAKING = "docs/prompt-learning.md tells how to make some"

Tested = TypeVar("Tested", bound=OfMethod)

tables = typer.Typer(name="tables", help="Print tables of benchmark results.", no_args_is_help=True)

Methods = Annotated[str | None, typer.Option(help="Only these methods, by commas; all by default.")]
Datasets = Annotated[
    str | None, typer.Option(help="Only these: a suite, folders:PATH, names or paths, by commas; all by default.")
]
Printed = Annotated[TableFormat, typer.Option("--format", help="How to print.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write to this file instead.")]


def add_commands(app: typer.Typer) -> None:
    """Add `tables`, `figures` and `report` to the command line."""
    app.add_typer(tables)
    app.command(epilog="Example: qttseg figures --results results --out figures --format svg")(figures)
    app.command(epilog="Example: qttseg report --results results --out report.html")(report)


@tables.command(epilog="Example: qttseg tables paper --results results --format markdown")
def paper(
    results: options.Results = options.RESULTS,
    methods: Methods = None,
    datasets: Datasets = None,
    format_: Printed = TableFormat.TERMINAL,
    out_file: OutFile = None,
) -> None:
    """The paper's Tables 1 (binary) and 2 (multiclass) from results, the paper's figures beside."""
    from qttseg.benchmark.tables import comparable

    groups = comparable(_found(results, methods, datasets))
    _print((table for group in groups for table in paper_tables(group)), format_, out_file)


@tables.command(epilog="Example: qttseg tables summary --results results")
def summary(
    results: options.Results = options.RESULTS,
    methods: Methods = None,
    datasets: Datasets = None,
    format_: Printed = TableFormat.TERMINAL,
    out_file: OutFile = None,
) -> None:
    """Scores, ranks, gains, failures and overruns of each method, and how surely QTT-SEG is ahead of it."""
    from qttseg.benchmark.statistics import duel_table, duels
    from qttseg.benchmark.summary import summary_table
    from qttseg.benchmark.tables import comparable

    made: list[Table] = []
    for group in comparable(_found(results, methods, datasets)):
        made += [summary_table(group), *([duel_table(group)] if duels(group) else [])]
    _print(made, format_, out_file)


@tables.command("prompt-learning", epilog="Example: qttseg tables prompt-learning --results results")
def prompt_learning(
    results: options.Results = options.RESULTS,
    methods: Methods = None,
    datasets: Datasets = None,
    format_: Printed = TableFormat.TERMINAL,
    out_file: OutFile = None,
) -> None:
    """Methods that learn what a prompt means (arXiv 2403.09199) on each task, that paper's figures beside; then studies."""
    from qttseg.benchmark.prompt_learning.averages import comparable
    from qttseg.benchmark.prompt_learning.study_tables import study_tables
    from qttseg.benchmark.prompt_learning.tables import overview, task_tables

    made: list[Table] = []
    for group in comparable(found_trials(results, methods, datasets)):
        made += [overview(group), *task_tables(group), *study_tables(group)]
    _print(made, format_, out_file)


def figures(
    results: options.Results = options.RESULTS,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    methods: Methods = None,
    datasets: Datasets = None,
    format_: Annotated[FigureFormat, typer.Option("--format", help="How to write them.")] = FigureFormat.PNG,
) -> None:
    """Draw the paper's figures from results: bars over budgets, incumbents over time, mean ranks, examples.

    Captions with the conditions are in captions.md beside them.
    """
    from qttseg.benchmark.figures import write_figures
    from qttseg.benchmark.gallery import Gallery

    found = _found(results, methods, datasets)
    written = write_figures(found, out_folder, gallery=Gallery(uri=results), format_=format_.value)
    for file in (*written, out_folder / "captions.md"):
        out.print(str(file), markup=False, highlight=False, soft_wrap=True)


def report(
    results: options.Results = options.RESULTS,
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("report.html"),
    methods: Methods = None,
    datasets: Datasets = None,
    examples: Annotated[int, typer.Option(help="Most test images shown of each dataset; each makes it larger.")] = 3,
) -> None:
    """Write one HTML page to explore results in: filters, sortable tables, charts, predicted masks; no network."""
    from qttseg.benchmark.gallery import Gallery
    from qttseg.benchmark.report.page import report_page

    page = report_page(_found(results, methods, datasets), gallery=Gallery(uri=results), examples=examples)
    out_file.write_text(page, encoding="utf-8")
    out.print(f"report ({out_file.stat().st_size / 1e6:.1f} MB) → {out_file}; open it in a browser")


def paper_tables(results: Iterable[Result]) -> list[Table]:
    """Return the paper's tables for the tasks that there are results of."""
    from qttseg.benchmark.tables import paper_table

    chosen = tuple(results)
    return [paper_table(chosen, task) for task in sorted({result.task for result in chosen})]


def show_tables(made: Iterable[Table]) -> None:
    """Print tables to the terminal."""
    from qttseg.benchmark.rendering import to_rich

    for table in made:
        out.print(to_rich(table))


def _found(results: str, methods: str | None, datasets: str | None) -> tuple[Result, ...]:
    from qttseg.benchmark.store import ResultStore

    found = ResultStore(results).results()
    if not found:
        raise BenchmarkError(f"no results in {results}; run qttseg bench first")
    mend = f"run qttseg bench --datasets {datasets} first"
    return _chosen(found, results, methods, datasets, name_of=lambda result: result.dataset, mend=mend)


def found_trials(results: str, methods: str | None, datasets: str | None) -> tuple[Row, ...]:
    """Return the trials of prompt learning in `results`, of these methods and datasets only where some are named.

    Raises:
        BenchmarkError: there are none.
    """
    from qttseg.benchmark.prompt_learning.store import TrialStore

    found = TrialStore(results).newest()
    if not found:
        raise BenchmarkError(f"no trials of prompt learning in {results}; {_MAKING}")
    return _chosen(found, results, methods, datasets, name_of=lambda row: row.task, mend=_MAKING)


def _chosen(
    found: tuple[Tested, ...],
    results: str,
    methods: str | None,
    datasets: str | None,
    *,
    name_of: Callable[[Tested], str],
    mend: str,
) -> tuple[Tested, ...]:
    if datasets is not None:
        found = _of_suite(found, datasets, name_of=name_of, mend=mend)
    if methods is None:
        return found
    wanted, held = options.listed(methods), {result.method for result in found}
    unknown = sorted(set(wanted) - held)
    if unknown:
        raise BenchmarkError(f"no results of {', '.join(unknown)} in {results}; there are {', '.join(sorted(held))}")
    return tuple(result for result in found if result.method in wanted)


def _of_suite(found: Sequence[Tested], text: str, *, name_of: Callable[[Tested], str], mend: str) -> tuple[Tested, ...]:
    """Return the results on the datasets of a suite, with a word on those that have none.

    Raises:
        BenchmarkError: no dataset of the suite has a result.
    """
    from qttseg.metadata.suites import open_suite

    names = open_suite(text).names
    lacking = sorted(names - set(map(name_of, found)))
    if len(lacking) == len(names):
        raise BenchmarkError(f"no results on {text}; {mend}")
    if lacking:
        err.print(f"[yellow]no results on[/] {', '.join(lacking)}", highlight=False, soft_wrap=True)
    return tuple(result for result in found if name_of(result) in names)


def _print(made: Iterable[Table], format_: TableFormat, out_file: Path | None) -> None:
    if format_ is TableFormat.TERMINAL and out_file is None:
        show_tables(made)
        return
    from qttseg.benchmark.rendering import to_csv, to_latex, to_markdown

    render = {TableFormat.LATEX: to_latex, TableFormat.CSV: to_csv}.get(format_, to_markdown)
    text = "\n\n".join(map(render, made)) + "\n"
    if out_file is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        out_file.write_text(text, encoding="utf-8")
        out.print(f"tables → {out_file}")
