"""`qttseg collect`: fine-tune many configurations on many datasets and store their learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, progress_bar, show_pairs, show_rows

if TYPE_CHECKING:
    from qttseg.metadata.protocol import Protocol
    from qttseg.metadata.runs import Run
    from qttseg.metadata.store import CurveStore
    from qttseg.pipelines.execution import Execution
    from qttseg.platform.collection import CollectionReport

_PACK_ON_GPU = 16
_STUCK_AFTER = 3.0
"""Times the limit of a pack's runs, preparing included, after which its worker is taken for stuck."""


app = typer.Typer(name="collect")

Runs = Annotated[int, typer.Option(help="(configuration, dataset) pairs in all, those already stored included.")]
Workers = Annotated[int, typer.Option(help="Ray workers; 0 trains in this process, without Ray.")]
Gpus = Annotated[float, typer.Option(help="GPUs of each Ray worker; a fraction shares one.")]
Alike = Annotated[
    int,
    typer.Option(
        help="Configurations drawn in a row for a dataset that fit in one pack (same modules, loss and shapes); on GPUs "
        "give as many as --pack where a space has many adapters."
    ),
]
Space = Annotated[str, typer.Option(help="Search space: paper, extended, or one of your own.")]
Pack = Annotated[
    int | None, typer.Option(help="Most runs trained at once on a device; by default 16 on GPUs and 1 on CPUs.")
]


@app.callback(invoke_without_command=True, epilog="Example: qttseg collect --runs 200 --workers 2")
def collect(
    context: typer.Context,
    runs: Runs = 200,
    datasets: options.Datasets = "procedural13",
    available: options.Available = False,
    store: options.Store = options.STORE,
    workers: Workers = 0,
    cpus: Annotated[float, typer.Option(help="CPUs of each Ray worker.")] = 1.0,
    gpus: Gpus = 0.0,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, as `auto`; a local one by default.")] = None,
    pack: Pack = None,
    alike: Alike = 1,
    limit: Annotated[
        str | None, typer.Option(help="Most time of one run's training, as 10m; a longer one is recorded as timed out.")
    ] = None,
    space: Space = "paper",
    backbone: options.Backbone = "sam-nano",
    micro_batch: options.MicroBatch = None,
    checkpointing: options.Checkpointing = False,
    compiled: options.Compiled = False,
    embeddings: options.Embeddings = None,
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    split: options.Split = None,
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option(help="Do only what the store lacks; --no-resume wants a new store.")] = True,
    retry_failed: Annotated[bool, typer.Option(help="Do stored failures again.")] = False,
) -> None:
    """Collect learning curves; a second call does only what is missing, however the first one ended."""
    from qttseg.errors import CollectionError
    from qttseg.metadata.shipped import writable_store

    if context.invoked_subcommand is not None:
        return
    curves = writable_store(store)
    if not resume and not curves.is_empty:
        raise CollectionError(f"{store} already holds curves; name another --store, or leave out --no-resume")
    try:
        report = run_collection(
            curves,
            options.suite_of(datasets, available=available),
            options.protocol_of(images=images, test_images=test_images, epochs=epochs, prompt=prompt, split=split),
            runs=runs,
            space=space,
            backbone=backbone,
            seed=seed,
            workers=workers,
            cpus=cpus,
            gpus=gpus,
            address=address,
            pack=pack,
            alike=alike,
            limit=None if limit is None else options.seconds_of(limit),
            retry_failed=retry_failed,
            execution=options.execution_of(micro_batch=micro_batch, checkpointing=checkpointing, compiled=compiled),
            embeddings=embeddings,
        )
    except KeyboardInterrupt:
        err.print(f"stopped; finished runs are in {store}, and the same command does the rest")
        raise typer.Exit(130) from None
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes.items()) or "nothing to do"
    out.print(
        f"{report.done} runs in {report.seconds:.0f} s ({outcomes}), {report.skipped} were there before → {store}"
    )


@app.command(epilog="Example: qttseg collect status --store curves")
def status(store: options.Store = options.STORE) -> None:
    """Show how far the store's collection is, running or not: outcomes, reasons, rate, time left, cost by dataset."""
    from qttseg.metadata.shipped import store_of
    from qttseg.platform.status import status as status_of

    seen = status_of(store_of(store))
    show_pairs(
        {
            "runs planned": seen.total,
            "done": seen.done,
            "missing": seen.missing,
            **{f"  {outcome}": count for outcome, count in seen.outcomes.items()},
            "runs per hour": None if seen.runs_per_hour is None else f"{seen.runs_per_hour:.0f}",
            "time left": None if seen.seconds_left is None else f"{seen.seconds_left / 60:.0f} min",
        }
    )
    for reason, count in seen.reasons.items():
        out.print(f"{count} × {reason}", markup=False)
    show_rows(
        ("dataset", "runs", "done", "worker hours"),
        [(name, own.total, own.done, own.seconds / 3600) for name, own in seen.datasets.items()],
    )


@app.command(epilog="Example: qttseg collect plan --runs 2000 --workers 8 --gpus 1")
def plan(
    runs: Runs = 200,
    datasets: options.Datasets = "procedural13",
    available: options.Available = False,
    store: options.Store = options.STORE,
    workers: Workers = 1,
    gpus: Gpus = 0.0,
    space: Space = "paper",
    alike: Alike = 1,
    backbone: options.Backbone = "sam-nano",
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    split: options.Split = None,
    seed: options.Seed = 0,
) -> None:
    """Show what a collection would do and cost, without doing it.

    Seconds of a run are what such runs cost so far in the store; where it holds none, two epochs are tried on this
    machine, which says nothing of another.
    """
    from qttseg.metadata.shipped import store_of
    from qttseg.platform.costs import RunCosts
    from qttseg.platform.work import FineTuningWork

    curves = store_of(store)
    protocol = options.protocol_of(images=images, test_images=test_images, epochs=epochs, prompt=prompt, split=split)
    members = options.suite_of(datasets, available=available)
    with err.status("looking at the datasets"):
        planned = _plan(members, protocol, runs=runs, space=space, backbone=backbone, alike=alike, seed=seed)
    costs, source = RunCosts.of_store(curves, planned), f"as in {store} so far"
    if any(costs.seconds(run) is None for run in planned):
        with err.status("trying two epochs"):
            costs, source = RunCosts.tried(planned, FineTuningWork), "as tried on this machine"
    stored = curves.run_ids()
    rows = []
    for name in dict.fromkeys(run.dataset for run in planned):
        mine = [run for run in planned if run.dataset == name]
        missing = [run for run in mine if run.id not in stored]
        rows.append((name, len(mine), len(missing), sum(map(costs.weight, missing)) / 3600))
    show_rows(("dataset", "runs", "missing", "worker hours"), rows)
    hours = sum(row[3] for row in rows)
    pairs = {
        "runs": len(planned),
        "missing": sum(row[2] for row in rows),
        "worker hours": f"{hours:.2f} ({source}, one run at a time)",
        "wall time": f"{hours / max(1, workers):.2f} h on {max(1, workers)} workers",
    }
    show_pairs(pairs | ({"GPU hours": f"{hours * gpus:.2f}"} if gpus else {}))


def run_collection(
    store: CurveStore,
    datasets: Sequence[str],
    protocol: Protocol,
    *,
    runs: int,
    space: str = "paper",
    backbone: str = "sam-nano",
    seed: int = 0,
    workers: int = 0,
    cpus: float = 1.0,
    gpus: float = 0.0,
    address: str | None = None,
    pack: int | None = None,
    alike: int = 1,
    limit: float | None = None,
    retry_failed: bool = False,
    execution: Execution | None = None,
    embeddings: Path | None = None,
) -> CollectionReport:
    """Plan and do a collection with a progress bar."""
    from qttseg.platform.collection import Progress, collect
    from qttseg.platform.executors import Executor, InProcessExecutor
    from qttseg.platform.planning import describe_datasets
    from qttseg.platform.work import FineTuningWork

    with err.status("looking at the datasets"):
        planned = _plan(datasets, protocol, runs=runs, space=space, backbone=backbone, alike=alike, seed=seed)
        describe_datasets(planned, store)
    work = partial(FineTuningWork, limit=limit, execution=execution, embeddings=embeddings)
    most = pack or (_PACK_ON_GPU if gpus else 1)
    executor: Executor = InProcessExecutor(pack=most)
    if workers:
        from qttseg.platform.ray_executor import RayExecutor

        executor = RayExecutor(
            workers=workers,
            cpus=cpus,
            gpus=gpus,
            address=address,
            pack=most,
            limit=None if limit is None else _STUCK_AFTER * limit * most,
        )
    with progress_bar() as bar:
        task = bar.add_task("fine-tuning", total=None, rate="")

        def show(progress: Progress) -> None:
            elapsed = bar.tasks[task].elapsed or 1.0
            rate = f"{progress.done / elapsed * 3600:.0f} runs/h"
            bar.update(task, completed=progress.done, total=progress.total, rate=rate)

        return collect(planned, store, executor, work, retry_failed=retry_failed, on_progress=show)


def _plan(
    datasets: Sequence[str],
    protocol: Protocol,
    *,
    runs: int,
    space: str,
    backbone: str,
    alike: int,
    seed: int,
) -> tuple[Run, ...]:
    from qttseg.pipelines.spaces import search_space
    from qttseg.platform.planning import plan_collection

    return plan_collection(
        datasets,
        search_space(space),
        protocol,
        backbone=backbone,
        runs=runs,
        alike=alike,
        seed=seed,
    )
