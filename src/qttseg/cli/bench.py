"""`qttseg bench`: compare methods under equal budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, progress_bar
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from qttseg.benchmark.results import Result
    from qttseg.benchmark.runner import Benchmark, BenchmarkReport
    from qttseg.benchmark.store import ResultStore
    from qttseg.predictors.registry import Registry


def add_commands(app: typer.Typer) -> None:
    """Add `bench` to the command line."""
    app.command(epilog="Example: qttseg bench --methods zero-shot,qtt-seg,random --budgets 60,120 --seeds 5")(bench)


def bench(
    methods: Annotated[str, typer.Option(help="Methods, by commas.")] = "box-filling,zero-shot,random,qtt-seg",
    datasets: Annotated[str, typer.Option(help="Suite, folders:PATH, names or paths, by commas.")] = "procedural13",
    budgets: Annotated[str, typer.Option(help="Time budgets, by commas.")] = "60,120,180",
    seeds: Annotated[int, typer.Option(help="Number of seeds: 0, 1, ...")] = 5,
    results: options.Results = options.RESULTS,
    registry: options.Registry = None,
    backbone: options.Backbone = "sam-nano",
    device: options.Device = "cpu",
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    resume: Annotated[bool, typer.Option(help="Do only what is missing; --no-resume wants a new store.")] = True,
    retry_failed: Annotated[bool, typer.Option(help="Do failed jobs again.")] = False,
) -> None:
    """Run methods × datasets × budgets × seeds; a second call does only what is missing."""
    from qttseg.benchmark.runner import Benchmark
    from qttseg.benchmark.store import ResultStore
    from qttseg.metadata.datasets import resolve_suite
    from qttseg.predictors.registry import Registry

    store = ResultStore(results)
    if not resume and store.results():
        raise BenchmarkError(f"{results} already holds results; name another --results, or leave out --no-resume")
    benchmark = Benchmark(
        methods=options.listed(methods),
        datasets=resolve_suite(datasets),
        budgets=tuple(options.seconds_of(budget) for budget in options.listed(budgets)),
        seeds=tuple(range(seeds)),
        protocol=options.protocol_of(images=images, test_images=test_images, epochs=epochs, prompt=prompt),
        backbone=backbone,
    )
    report = run(benchmark, store, Registry(registry), device=device, retry_failed=retry_failed)
    for failure in report.failed:
        err.print(f"[red]failed[/] {failure.method} on {failure.dataset}: {failure.reason}", highlight=False)
    done = len(report.results)
    out.print(f"{done} results ({len(report.failed)} failed), {report.skipped} were there before → {results}")
    out.print(f"next: qttseg tables summary --results {results}, or qttseg report --results {results}")


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
