"""`qttseg bench` and `qttseg tables`: compare methods under equal budgets, and print what came out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, progress_bar
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from qttseg.benchmark.results import Result
    from qttseg.benchmark.runner import Benchmark, BenchmarkReport
    from qttseg.benchmark.store import ResultStore
    from qttseg.benchmark.tables import Table
    from qttseg.predictors.registry import Registry


class Format(StrEnum):
    """How tables are printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


Results = Annotated[str, typer.Option(help="Result store: a folder or any URI of a file system.")]


def add_commands(app: typer.Typer) -> None:
    """Add `bench` and `tables` to the command line."""
    app.command(epilog="Example: qttseg bench --methods zero-shot,qtt-seg,random --budgets 60,120 --seeds 5")(bench)
    app.command(epilog="Example: qttseg tables --results results --format markdown")(tables)


def bench(
    methods: Annotated[str, typer.Option(help="Methods, by commas.")] = "box-filling,zero-shot,random,qtt-seg",
    datasets: options.Datasets = "procedural13",
    available: options.Available = False,
    budgets: Annotated[str, typer.Option(help="Time budgets, by commas.")] = "60,120,180",
    seeds: Annotated[int, typer.Option(help="Number of seeds: 0, 1, ...")] = 5,
    results: Results = options.RESULTS,
    registry: options.Registry = None,
    backbone: options.Backbone = "sam-nano",
    device: options.Device = "cpu",
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    split: options.Split = None,
    resume: Annotated[bool, typer.Option(help="Do only what is missing; --no-resume wants a new store.")] = True,
    retry_failed: Annotated[bool, typer.Option(help="Do failed jobs again.")] = False,
) -> None:
    """Run methods × datasets × budgets × seeds; a second call does only what is missing."""
    from qttseg.benchmark.runner import Benchmark
    from qttseg.benchmark.store import ResultStore
    from qttseg.predictors.registry import Registry

    store = ResultStore(results)
    if not resume and store.results():
        raise BenchmarkError(f"{results} already holds results; name another --results, or leave out --no-resume")
    benchmark = Benchmark(
        methods=options.listed(methods),
        datasets=options.suite_of(datasets, available=available),
        budgets=tuple(options.seconds_of(budget) for budget in options.listed(budgets)),
        seeds=tuple(range(seeds)),
        protocol=options.protocol_of(images=images, test_images=test_images, epochs=epochs, prompt=prompt, split=split),
        backbone=backbone,
    )
    report = run(benchmark, store, Registry(registry), device=device, retry_failed=retry_failed)
    for failure in report.failed:
        err.print(f"[red]failed[/] {failure.method} on {failure.dataset}: {failure.reason}", highlight=False)
    done = len(report.results)
    out.print(f"{done} results ({len(report.failed)} failed), {report.skipped} were there before → {results}")
    out.print(f"next: qttseg tables --results {results}")


def run(
    benchmark: Benchmark, store: ResultStore, registry: Registry, *, device: str = "cpu", retry_failed: bool = False
) -> BenchmarkReport:
    """Run a benchmark with a progress bar."""
    from qttseg.benchmark.runner import run_benchmark

    with progress_bar() as bar:
        task = bar.add_task("benchmark", total=None, rate="")

        def show(result: Result, done: int, total: int) -> None:
            score = result.status if result.score is None else f"{result.score:.3f}"
            bar.update(task, completed=done, total=total, rate=f"{result.method} on {result.dataset}: {score}")

        return run_benchmark(
            benchmark, store, registry=registry, device=device, retry_failed=retry_failed, on_progress=show
        )


def tables(
    results: Results = options.RESULTS,
    datasets: Annotated[
        str | None, typer.Option(help="Only these: a suite, folders:PATH, names or paths, by commas.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TERMINAL,
    summary: Annotated[bool, typer.Option("--summary", help="One row a method instead of one a dataset.")] = False,
    out_file: Annotated[Path | None, typer.Option("--out", help="Write to this file instead.")] = None,
) -> None:
    """Print the paper's Table 1 (binary) and Table 2 (multiclass) from results, the paper's figures beside."""
    from qttseg.benchmark.store import ResultStore
    from qttseg.benchmark.summary import summary_table
    from qttseg.benchmark.tables import paper_table

    found = ResultStore(results).results()
    if not found:
        raise BenchmarkError(f"no results in {results}; run qttseg bench first")
    if datasets is not None:
        found = _of_suite(found, datasets)
    tasks = {result.task for result in found}
    made = [summary_table(found)] if summary else [paper_table(found, task) for task in sorted(tasks)]
    if format_ is Format.TERMINAL and out_file is None:
        show_tables(made)
        return
    text = "\n\n".join(rendered(table, format_) for table in made) + "\n"
    if out_file is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        out_file.write_text(text, encoding="utf-8")
        out.print(f"tables → {out_file}")


def _of_suite(found: Sequence[Result], text: str) -> list[Result]:
    """Return the results on the datasets of a suite, with a word on those that have none.

    Raises:
        BenchmarkError: no dataset of the suite has a result.
    """
    from qttseg.metadata.suites import open_suite

    names = open_suite(text).names
    lacking = sorted(names - {result.dataset for result in found})
    if len(lacking) == len(names):
        raise BenchmarkError(f"no results on {text}; run qttseg bench --datasets {text} first")
    if lacking:
        err.print(f"[yellow]no results on[/] {', '.join(lacking)}", highlight=False, soft_wrap=True)
    return [result for result in found if result.dataset in names]


def show_tables(made: list[Table]) -> None:
    """Print tables to the terminal."""
    from qttseg.benchmark.rendering import to_rich

    for table in made:
        out.print(to_rich(table))


def rendered(table: Table, format_: Format) -> str:
    """Return a table as text."""
    from qttseg.benchmark.rendering import to_csv, to_latex, to_markdown

    makers = {Format.LATEX: to_latex, Format.CSV: to_csv}
    return makers.get(format_, to_markdown)(table)
