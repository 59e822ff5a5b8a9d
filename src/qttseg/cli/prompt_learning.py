"""`qttseg prompt-learning`: the studies of methods that learn what a prompt means."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out
from qttseg.cli.results import Datasets, FigureFormat, Methods, found_trials
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from qttseg.benchmark.prompt_learning.rows import Row

app = typer.Typer(
    name="prompt-learning",
    help="Study methods that learn what a prompt means (arXiv 2403.09199).",
    no_args_is_help=True,
)


class Study(StrEnum):
    """What is compared."""

    COMPARE = "compare"
    SENSITIVITY = "sensitivity"
    AMOUNTS = "amounts"
    TRANSFER = "transfer"


@app.command(epilog="Example: qttseg prompt-learning run compare --datasets prompt-learning --prompts point,box")
def run(
    study: Annotated[Study, typer.Argument(help="What is compared: methods, prompts, amounts of data, siblings.")],
    datasets: options.Datasets = "prompt-learning",
    methods: Annotated[str, typer.Option(help="Methods, by commas.")] = "sam,oracle,sam-f,lora,plm,plm+pmm,plm-dense",
    prompts: Annotated[str, typer.Option(help="point, box or both, by commas.")] = "point",
    images: Annotated[int, typer.Option(help="Training images.", min=1)] = 80,
    test_images: Annotated[int, typer.Option(help="Most test images.", min=1)] = 100,
    epochs: Annotated[int, typer.Option(help="Epochs of each training.", min=1)] = 20,
    seeds: Annotated[int, typer.Option(help="Number of seeds: 0, 1, ...", min=1)] = 1,
    draws: Annotated[int, typer.Option(help="Draws of the test prompts (sensitivity).", min=2)] = 5,
    backbone: options.Backbone = "sam-nano",
    device: options.Device = "cpu",
    results: options.Results = options.RESULTS,
) -> None:
    """Train and ask what a study needs; a second call does only what is missing."""
    from qttseg.benchmark.prompt_learning.plans import planned
    from qttseg.benchmark.prompt_learning.store import TrialStore
    from qttseg.benchmark.prompt_learning.trials import Laboratory
    from qttseg.metadata.protocol import Protocol
    from qttseg.metadata.suites import resolve_suite
    from qttseg.pipelines.loading import load_backbone

    plan = planned(
        study.value,
        resolve_suite(datasets),
        methods=options.listed(methods),
        prompts=options.listed(prompts),
        images=images,
        seeds=seeds,
        draws=draws,
    )
    laboratory = Laboratory(
        backbone=load_backbone(backbone, device=device),
        protocol=Protocol(images=round(images / 0.8), test_images=test_images, epochs=epochs),
    )

    def tell(row: Row, done: int, total: int) -> None:
        score = f"{row.miou:.3f}" if row.miou is not None else row.reason
        err.print(f"{done}/{total} {row.method} on {row.task}, {row.prompt}: {score}", markup=False, highlight=False)

    made, skipped = laboratory.run(plan, TrialStore(results), on_progress=tell)
    out.print(f"{made} trials made, {skipped} were there → {results}; qttseg tables prompt-learning shows them")


@app.command(epilog="Example: qttseg prompt-learning figures --results results --out figures")
def figures(
    results: options.Results = options.RESULTS,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    methods: Methods = None,
    datasets: Datasets = None,
    format_: Annotated[FigureFormat, typer.Option("--format", help="How to write them.")] = FigureFormat.PNG,
) -> None:
    """Draw the studies that there are trials for: where prompts lie, amounts of data, transfer, point matching.

    Captions are in captions.md beside them.
    """
    from qttseg.benchmark.prompt_learning.figures import write_studies

    written = write_studies(found_trials(results, methods, datasets), out_folder, format_=format_.value)
    if not written:
        raise BenchmarkError(
            f"the trials in {results} vary neither prompts, amounts of data, datasets nor point matching; make some that do"
        )
    for file in (*written, out_folder / "captions.md"):
        out.print(str(file), markup=False, highlight=False, soft_wrap=True)
