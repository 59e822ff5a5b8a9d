"""`qttseg bench`: compare methods under equal budgets."""

from __future__ import annotations

from enum import StrEnum
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


class Foreign(StrEnum):
    """A competitor that lives in an environment of its own."""

    AUTOGLUON = "autogluon"
    QUICKTUNETOOL = "quicktunetool"


bench_app = typer.Typer(name="bench")


def add_commands(app: typer.Typer) -> None:
    """Add `bench` to the command line."""
    app.add_typer(bench_app)


@bench_app.callback(
    invoke_without_command=True,
    epilog="Example: qttseg bench --methods zero-shot,qtt-seg,random --budgets 60,120 --seeds 5",
)
def bench(
    context: typer.Context,
    methods: Annotated[str, typer.Option(help="Methods, by commas.")] = "box-filling,zero-shot,random,qtt-seg",
    datasets: options.Datasets = "procedural13",
    available: options.Available = False,
    protocol: Annotated[
        str,
        typer.Option(help="paper (100 images; 60, 120, 180 s; 5 seeds) or quick; what follows changes parts of it."),
    ] = "paper",
    budgets: Annotated[str | None, typer.Option(help="Time budgets, by commas.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds: 0, 1, ...")] = None,
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    split: options.Split = None,
    results: options.Results = options.RESULTS,
    registry: options.Registry = None,
    backbone: options.Backbone = "sam-nano",
    device: options.Device = "cpu",
    workers: Annotated[
        int,
        typer.Option(help="Jobs at once, each in a fresh process on its own cores (Ray); 0 for one after the other."),
    ] = 0,
    cpus: Annotated[int, typer.Option(help="CPU cores of each worker.")] = 1,
    resume: Annotated[bool, typer.Option(help="Do only what is missing; --no-resume wants a new store.")] = True,
    retry_failed: Annotated[bool, typer.Option(help="Do failed jobs again.")] = False,
) -> None:
    """Run methods × datasets × budgets × seeds; a second call does only what is missing."""
    if context.invoked_subcommand is not None:
        return
    from qttseg.benchmark.presets import preset
    from qttseg.benchmark.runner import Benchmark
    from qttseg.benchmark.store import ResultStore
    from qttseg.predictors.registry import Registry

    store = ResultStore(results)
    if not resume and store.results():
        raise BenchmarkError(f"{results} already holds results; name another --results, or leave out --no-resume")
    chosen = preset(protocol)
    benchmark = Benchmark(
        methods=options.listed(methods),
        datasets=options.suite_of(datasets, available=available),
        budgets=chosen.budgets if budgets is None else tuple(map(options.seconds_of, options.listed(budgets))),
        seeds=tuple(range(chosen.seeds if seeds is None else seeds)),
        protocol=options.protocol_of(
            images=images,
            test_images=test_images,
            epochs=epochs,
            prompt=prompt,
            split=split,
            base=chosen.protocol,
        ),
        backbone=backbone,
    )
    report = run(
        benchmark,
        store,
        Registry(registry),
        device=device,
        workers=workers,
        cpus=cpus,
        retry_failed=retry_failed,
    )
    for failure in report.failed:
        err.print(f"[red]failed[/] {failure.method} on {failure.dataset}: {failure.reason}", highlight=False)
    done = len(report.results)
    out.print(f"{done} results ({len(report.failed)} failed), {report.skipped} were there before → {results}")
    out.print(f"next: qttseg tables summary --results {results}, or qttseg report --results {results}")


@bench_app.command(epilog="Example: qttseg bench setup autogluon")
def setup(what: Annotated[Foreign, typer.Argument(help="Which competitor.")]) -> None:
    """Install a competitor that needs an environment of its own into the cache folder.

    autogluon (2.3 GB) is for qttseg bench --methods autogluon,autogluon-boxes; quicktunetool (1.3 GB) for qttseg replay
    --optimisers quicktunetool.
    """
    from qttseg.benchmark.foreign.environment import AUTOGLUON, QUICKTUNETOOL

    environment = {Foreign.AUTOGLUON: AUTOGLUON, Foreign.QUICKTUNETOOL: QUICKTUNETOOL}[what]
    with err.status("looking") as status:
        environment.set_up(say=status.update)
    out.print(f"{environment.name} is in {environment.folder}")


def run(
    benchmark: Benchmark,
    store: ResultStore,
    registry: Registry,
    *,
    device: str = "cpu",
    workers: int = 0,
    cpus: int = 1,
    retry_failed: bool = False,
) -> BenchmarkReport:
    """Run a benchmark with a progress bar."""
    from qttseg.benchmark.runner import run_benchmark

    with progress_bar() as bar:
        task = bar.add_task("benchmark", total=None, rate="")

        def show(result: Result, done: int, total: int) -> None:
            score = result.status if result.score is None else f"{result.score:.3f}"
            bar.update(task, completed=done, total=total, rate=f"{result.method} on {result.dataset}: {score}")

        return run_benchmark(
            benchmark,
            store,
            registry=registry,
            device=device,
            workers=workers,
            cpus=cpus,
            retry_failed=retry_failed,
            on_progress=show,
        )
