"""`qttseg demo`: the whole road at small size, each step as the command that does it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from qttseg.cli import bench, collect, options, predictors, tune
from qttseg.cli.console import err, out, show_arrow
from qttseg.cli.results import paper_tables, report, show_tables
from qttseg.errors import StoreError

_DATASETS = "procedural4"
_TARGET = "procedural-polyp"
_SMALL = "--images 30 --test-images 20 --epochs 4"


def add_commands(app: typer.Typer) -> None:
    """Add `demo` to the command line."""
    app.command(epilog="Example: qttseg demo --out demo")(demo)


def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of everything the demo makes.")] = Path("demo"),
    runs: Annotated[int, typer.Option(help="Fine-tunings to collect.")] = 20,
    workers: Annotated[int, typer.Option(help="Ray workers; 0 for none.")] = 2,
    budget: Annotated[str, typer.Option(help="Time for tuning.")] = "20s",
) -> None:
    """Collect, train predictors, tune, benchmark and report, on four procedural datasets in a few minutes."""
    from qttseg.benchmark.runner import Benchmark
    from qttseg.benchmark.store import ResultStore
    from qttseg.metadata.datasets import resolve_dataset, resolve_suite
    from qttseg.metadata.queries import summary
    from qttseg.metadata.store import CurveStore
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.training import train_all
    from qttseg.tuning.export import write_result
    from qttseg.tuning.session import tune as run_session

    started = time.monotonic()
    model = _fresh(out_folder / f"{_TARGET}-tuned")
    curves, results = CurveStore(out_folder / "curves"), ResultStore(out_folder / "results")
    registry = Registry(f"sqlite:///{(out_folder / 'mlflow.db').absolute()}")
    protocol = options.protocol_of(images=30, test_images=20, epochs=4)
    places = {"store": out_folder / "curves", "results": out_folder / "results", "registry": registry.uri}

    _step(f"collect --datasets {_DATASETS} --runs {runs} --workers {workers} --store {places['store']} {_SMALL}")
    datasets = resolve_suite(_DATASETS)
    collect.run_collection(curves, datasets, protocol, runs=runs, workers=workers)
    _step(f"meta summary --store {places['store']}")
    show_arrow(summary(curves))
    _step(f"train --all-leave-out --store {places['store']} --registry {places['registry']}")
    predictors.keep(train_all(curves), registry.register)

    _step(f"tune {_TARGET} --budget {budget} --out {model} --registry {places['registry']} --images 30 --epochs 4")
    target = resolve_dataset(_TARGET)
    found = registry.load_for(target.name, target.fingerprint)
    with err.status("starting") as status:
        result = run_session(
            target,
            budget=options.seconds_of(budget),
            protocol=protocol,
            predictors=found,
            on_event=lambda event: status.update(tune.said(event)),
        )
    write_result(model, result, target)
    tune.report(result, model)

    _step(
        f"bench --datasets {_DATASETS} --methods box-filling,zero-shot,random,qtt-seg --budgets 8 --seeds 1 "
        f"--results {places['results']} --registry {places['registry']} {_SMALL}"
    )
    benchmark = Benchmark(
        methods=("box-filling", "zero-shot", "random", "qtt-seg"),
        datasets=datasets,
        budgets=(8.0,),
        seeds=(0,),
        protocol=protocol,
    )
    bench.run(benchmark, results, registry)
    _step(f"tables paper --results {places['results']}")
    show_tables(paper_tables(results.results()))
    _step(f"report --results {places['results']} --out {out_folder / 'report.html'}")
    report(results=results.uri, out_file=out_folder / "report.html")

    out.print(Rule())
    out.print(f"The whole road took {time.monotonic() - started:.0f} s. Everything lies in {out_folder}/:")
    for name, what in _CONTENTS.items():
        out.print(f"  {name:24} {what}", highlight=False)
    out.print("\nNext: tune your own folder of images/ and masks/ (class-id PNGs):\n")
    out.print(f"  qttseg datasets verify my-data\n  qttseg tune my-data --budget 60s --registry {places['registry']}")


_CONTENTS = {
    "curves/": "learning curves (Parquet); look in with `qttseg meta query`",
    "mlflow.db": "registered predictors; look in with `qttseg predictors list`",
    f"{_TARGET}-tuned/": "the tuned model: adapter, decoder, curves, previews, MODEL_CARD.md",
    "results/": "benchmark results (Parquet) and pictures; print them with `qttseg tables`",
    "report.html": "the results as a page: open it in a browser",
}


def _step(command: str) -> None:
    out.print(Rule())
    out.print(f"$ qttseg {command}\n", style="bold cyan", markup=False, highlight=False, soft_wrap=True)


def _fresh(folder: Path) -> Path:
    """Return `folder`, from which a model of an earlier demo is removed."""
    import shutil

    if folder.exists():
        if not (folder / "model.json").is_file():
            raise StoreError(f"{folder} exists and is no tuned model; choose another --out")
        shutil.rmtree(folder)
    return folder
