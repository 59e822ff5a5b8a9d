"""`qttseg prompt-learning`: the studies of methods that learn what a prompt means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out
from qttseg.cli.results import Datasets, FigureFormat, Methods, found_trials
from qttseg.errors import BenchmarkError

app = typer.Typer(
    name="prompt-learning",
    help="Study methods that learn what a prompt means (arXiv 2403.09199).",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Keep the group a group while it has one command."""


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
