"""`qttseg collect`: fine-tune many configurations on many datasets and store their learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, progress_bar, show_pairs

if TYPE_CHECKING:
    from qttseg.metadata.protocol import Protocol
    from qttseg.metadata.store import CurveStore
    from qttseg.pipelines.execution import Execution
    from qttseg.platform.collection import CollectionReport, Status


def add_commands(app: typer.Typer) -> None:
    """Add `collect` to the command line."""
    app.command(epilog="Example: qttseg collect --runs 200 --datasets procedural13 --workers 2")(collect)


def collect(
    runs: Annotated[
        int, typer.Option(help="(configuration, dataset) pairs in all, those already stored included.")
    ] = 200,
    datasets: Annotated[str, typer.Option(help="Suite, folders:PATH, names or paths, by commas.")] = "procedural13",
    store: options.Store = options.STORE,
    workers: Annotated[int, typer.Option(help="Ray workers; 0 trains in this process, without Ray.")] = 0,
    cpus: Annotated[float, typer.Option(help="CPUs of each Ray worker.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs of each Ray worker; a fraction shares one.")] = 0.0,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, as `auto`; a local one by default.")] = None,
    space: Annotated[str, typer.Option(help="Search space.")] = "paper",
    backbone: options.Backbone = "sam-nano",
    micro_batch: options.MicroBatch = None,
    checkpointing: options.Checkpointing = False,
    compiled: options.Compiled = False,
    embeddings: options.Embeddings = None,
    images: options.Images = None,
    test_images: options.TestImages = None,
    epochs: options.Epochs = None,
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option(help="Do only what the store lacks; --no-resume wants a new store.")] = True,
    retry_failed: Annotated[bool, typer.Option(help="Do stored failures again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how far the store's collection is, and stop.")] = False,
) -> None:
    """Collect learning curves; a second call does only what is missing, however the first one ended."""
    from qttseg.errors import CollectionError
    from qttseg.metadata.datasets import resolve_suite
    from qttseg.metadata.store import CurveStore
    from qttseg.platform import collection

    curves = CurveStore(store)
    if status:
        _show_status(collection.status(curves))
        return
    if not resume and not curves.is_empty:
        raise CollectionError(f"{store} already holds curves; name another --store, or leave out --no-resume")
    try:
        report = run_collection(
            curves,
            resolve_suite(datasets),
            options.protocol_of(images=images, test_images=test_images, epochs=epochs),
            runs=runs,
            space=space,
            backbone=backbone,
            seed=seed,
            workers=workers,
            cpus=cpus,
            gpus=gpus,
            address=address,
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
    retry_failed: bool = False,
    execution: Execution | None = None,
    embeddings: Path | None = None,
) -> CollectionReport:
    """Plan and do a collection with a progress bar."""
    from qttseg.pipelines.spaces import search_space
    from qttseg.platform.collection import Progress, collect
    from qttseg.platform.executors import Executor, InProcessExecutor
    from qttseg.platform.planning import plan_collection
    from qttseg.platform.work import FineTuningWork

    with err.status("looking at the datasets"):
        plan = plan_collection(
            [str(Path(name).absolute()) if Path(name).is_dir() else name for name in datasets],
            search_space(space),
            protocol,
            store,
            backbone=backbone,
            runs=runs,
            seed=seed,
        )
    work = partial(FineTuningWork, execution=execution, embeddings=embeddings)
    executor: Executor = InProcessExecutor()
    if workers:
        from qttseg.platform.ray_executor import RayExecutor

        executor = RayExecutor(workers=workers, cpus=cpus, gpus=gpus, address=address)
    with progress_bar() as bar:
        task = bar.add_task("fine-tuning", total=None, rate="")

        def show(progress: Progress) -> None:
            elapsed = bar.tasks[task].elapsed or 1.0
            rate = f"{progress.done / elapsed * 3600:.0f} runs/h"
            bar.update(task, completed=progress.done, total=progress.total, rate=rate)

        return collect(plan, store, executor, work, retry_failed=retry_failed, on_progress=show)


def _show_status(status: Status) -> None:
    minutes = None if status.seconds_left is None else f"{status.seconds_left / 60:.0f} min"
    show_pairs(
        {
            "runs planned": status.total,
            "done": status.done,
            "missing": status.missing,
            **{f"  {outcome}": count for outcome, count in status.outcomes.items()},
            "runs per hour": None if status.runs_per_hour is None else f"{status.runs_per_hour:.0f}",
            "time left": minutes,
        }
    )
    for reason, count in status.reasons.items():
        out.print(f"{count} × {reason}", markup=False)
