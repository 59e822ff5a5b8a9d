"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import signal
import sys

import typer

from qttseg.cli import (
    backbone,
    bench,
    collect,
    datasets,
    demo,
    meta,
    predict,
    predictors,
    prompt_learning,
    replay,
    results,
    tune,
)
from qttseg.cli.console import complain
from qttseg.errors import QttSegError

app = typer.Typer(
    name="qttseg",
    help="Meta-learned, budgeted fine-tuning of promptable segmentation models (QTT-SEG, arXiv 2508.17283).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (tune, predict, predictors, bench, results, replay, demo):
    module.add_commands(app)
for module in (collect, datasets, meta, backbone, prompt_learning):
    app.add_typer(module.app)
app.add_typer(predictors.app)


def main() -> None:
    """Run the command line; an expected error is one message, not a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except (QttSegError, OSError) as error:  # the latter: a path or disk that refuses, which its text names
        complain(error)
        sys.exit(1)


def _interrupt(*_: object) -> None:
    """Treat a polite kill as Ctrl-C, so that what is finished is stored."""
    raise KeyboardInterrupt
