"""`qttseg tune`: the best model for a dataset within a time budget, and files to use it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out
from qttseg.errors import DatasetError, PredictorError
from qttseg.metadata.adapters import adapter_of

if TYPE_CHECKING:
    from qttseg.metadata.configurations import Configuration
    from qttseg.metadata.datasets import Dataset
    from qttseg.predictors.training import Trained
    from qttseg.tuning.events import Event
    from qttseg.tuning.session import TuningResult


def add_commands(app: typer.Typer) -> None:
    """Add `tune` to the command line."""
    app.command(epilog="Example: qttseg tune my-data --budget 60s --out my-model")(tune)


def tune(
    dataset: Annotated[str, typer.Argument(help="Folder with images/ and masks/, or a dataset's name.")],
    budget: Annotated[str, typer.Option(help="Time until the model lies on disk, as 60s or 3m.")] = "60s",
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the result; NAME-tuned by default.")
    ] = None,
    registry: options.Registry = None,
    predictors: Annotated[
        str | None,
        typer.Option(
            help="Version or alias to use, `shipped`, or `none` to search at random; by default what was registered, else the shipped ones."
        ),
    ] = None,
    allow_seen: Annotated[bool, typer.Option(help="Use predictors that were trained on this dataset.")] = False,
    space: Annotated[str, typer.Option(help="Search space: paper, extended, or one of your own.")] = "paper",
    candidates: Annotated[int, typer.Option(help="Configurations to choose from.")] = 128,
    where: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE that all of them have, as adapter=lora+plm in the space extended; repeatable."),
    ] = None,
    backbone: options.Backbone = "sam-nano",
    device: options.Device = "cpu",
    micro_batch: options.MicroBatch = None,
    checkpointing: options.Checkpointing = False,
    compiled: options.Compiled = False,
    embeddings: options.Embeddings = None,
    images: options.Images = None,
    epochs: options.Epochs = None,
    prompt: options.Prompt = None,
    split: options.Split = None,
    seed: options.Seed = 0,
) -> None:
    """Fine-tune a segmentation model on a dataset within a time budget."""
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.pipelines.spaces import search_space
    from qttseg.tuning.export import check_target, write_result
    from qttseg.tuning.session import tune as run_session

    seconds = options.seconds_of(budget)
    protocol = options.protocol_of(images=images, epochs=epochs, prompt=prompt, split=split)
    execution = options.execution_of(micro_batch=micro_batch, checkpointing=checkpointing, compiled=compiled)
    values = options.values_of(where or [])
    called = time.monotonic()
    _verified(dataset)
    spent = time.monotonic() - called
    target = resolve_dataset(dataset)
    folder = out_folder or Path(f"{target.name}-tuned")
    check_target(folder)
    with err.status("starting") as status:
        called = time.monotonic()
        points = search_space(space)
        found = load_predictors(target, registry=registry, name=predictors, space=points.id, allow_seen=allow_seen)
        loading = time.monotonic() - called
        result = run_session(
            target,
            budget=seconds,
            protocol=protocol,
            backbone=backbone,
            device=device,
            space=points,
            predictors=found,
            candidates=candidates,
            where=values,
            seed=seed,
            allow_seen=allow_seen,
            execution=execution,
            embeddings=embeddings,
            spent=spent,
            on_event=lambda event: status.update(said(event)),
        )
        status.update("writing the result")
        write_result(folder, result, target)
    report(result, folder)
    out.print(f"start-up (imports, backbone, predictors) took {result.warm_start_seconds + loading:.1f} s besides")


def _verified(dataset: str) -> None:
    """Stop before tuning on a folder that has errors."""
    if not Path(dataset).is_dir():
        return
    from qttseg.metadata.verification import verify

    with err.status("verifying the dataset"):
        problems = verify(dataset)
    if not problems.usable:
        first = problems.errors[0]
        raise DatasetError(
            f"{dataset} has {len(problems.errors)} errors, the first in {first.file}: {first.kind} ({first.detail}); "
            f"`qttseg datasets verify {dataset}` lists them all"
        )
    for problem in problems.warnings[:3]:
        err.print(f"[yellow]warning[/] {problem.file}: {problem.kind} ({problem.detail})", highlight=False)


def load_predictors(
    target: Dataset, *, registry: str | None, name: str | None, space: str, allow_seen: bool
) -> Trained | None:
    """Return the predictors to search with; None, with a word to the user, where there are none."""
    if name == "none":
        return None
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.shipped import VERSION, predictors_for, shipped_for

    if name == VERSION:
        return shipped_for(target.identity, space=space, allow_seen=allow_seen)
    shelf = Registry(registry)
    if name is not None:
        return shelf.load(name)
    try:
        return predictors_for(target.identity, shelf, space=space, allow_seen=allow_seen)
    except PredictorError as error:
        err.print(f"[yellow]searching at random:[/] {error}", highlight=False, soft_wrap=True)
        return None


def said(event: Event) -> str:
    """Return a line of live progress: time left, the best so far, what is being tried."""
    from qttseg.tuning.events import Finishing, NewIncumbent, Trying

    best = "" if event.best is None else f" · best {event.best:.3f}"
    doing = ""
    if isinstance(event, Trying):
        configuration = event.configuration
        doing = (
            f" · {_trained(configuration)}, lr {configuration['lr']:g}, {configuration['sched']}, epoch {event.epoch}"
        )
    elif isinstance(event, Finishing):
        doing = f" · {_trained(event.configuration)}, {event.steps} last steps"
    elif isinstance(event, NewIncumbent):
        doing = " · new best"
    return f"{max(0.0, event.seconds_left):4.0f} s left{best}{doing}"


def _trained(configuration: Configuration) -> str:
    adapter = adapter_of(configuration)
    rank = f" r={configuration['lora_rank']}" if adapter.lora else ""
    return f"{adapter.name}{rank}"


def report(result: TuningResult, folder: Path) -> None:
    """Print what was found and where it lies."""
    tried = len(result.curves)
    epochs = sum(len(curve.records) for curve in result.curves)
    zero, best = result.zero_shot_score, result.score
    out.print(f"{tried} configurations, {epochs} epochs in {result.seconds:.1f} s of {result.budget:g} s")
    if zero is not None and best is not None:
        out.print(f"validation score {zero:.3f} → [bold green]{best:.3f}[/] (untuned → tuned)", highlight=False)
    for note in result.notes:
        out.print(f"note: {note}", highlight=False)
    out.print(f"model, curves, previews and card → {folder}")
    from qttseg.tuning.card import PROMPT_OPTIONS

    out.print(f"next: qttseg predict {folder} IMAGES {PROMPT_OPTIONS[result.protocol.prompt]}", markup=False)
