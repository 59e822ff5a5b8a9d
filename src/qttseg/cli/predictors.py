"""`qttseg train` and `qttseg predictors`: fit predictors to stored curves, register and inspect them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, show_pairs, show_rows
from qttseg.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qttseg.predictors.registry import Registry
    from qttseg.predictors.training import Trained

app = typer.Typer(name="predictors", help="List, show and promote registered predictors.", no_args_is_help=True)


def add_commands(parent: typer.Typer) -> None:
    """Add `train` to the command line."""
    parent.command(epilog="Example: qttseg train --store curves --all-leave-out")(train)


def train(
    store: options.Store = options.STORE,
    leave_out: Annotated[str | None, typer.Option(help="Dataset (name or fingerprint) to leave out.")] = None,
    all_leave_out: Annotated[bool, typer.Option(help="Leave out each dataset in turn, and none.")] = False,
    evaluate: Annotated[bool, typer.Option(help="Judge each one leave-one-dataset-out; takes a fit a dataset.")] = True,
    registry: options.Registry = None,
    seed: options.Seed = 0,
) -> None:
    """Train performance and cost predictors, report how well they rank unseen datasets, and register them."""
    if leave_out and all_leave_out:
        raise ConfigurationError(
            "--leave-out names one dataset and --all-leave-out means each in turn; give one of them"
        )
    from qttseg.metadata.store import CurveStore
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.training import train as fit
    from qttseg.predictors.training import train_all

    curves = CurveStore(store)
    found: Iterable[Trained] = (
        train_all(curves, seed=seed, evaluate=evaluate)
        if all_leave_out
        else (fit(curves, leave_out=leave_out, seed=seed, evaluate=evaluate),)
    )
    register(found, Registry(registry))


def register(found: Iterable[Trained], registry: Registry) -> None:
    """Register predictors as they come, then print a line of figures for each."""
    rows = []
    with err.status("training") as status:
        for trained in found:
            version = registry.register(trained)
            left_out = ", ".join(trained.lineage.left_out) or "nothing"
            status.update(f"registered version {version}, {left_out} left out")
            means = trained.report.means() if trained.report else {}
            ranks = " / ".join(f"{means.get(f'spearman_{seen}', float('nan')):.2f}" for seen in (0, 1, 3))
            figures = (means.get("mae_1"), means.get("calibration_error_1"), means.get("cost_spearman"))
            rows.append((version, left_out, trained.lineage.runs, ranks if means else None, *figures))
    headers = ("version", "left out", "runs", "Spearman after 0 / 1 / 3", "MAE", "calibration error", "cost Spearman")
    show_rows(headers, rows, title="Judged on the datasets left out; MAE and calibration error after one epoch")
    out.print(f"registered in {registry.uri}", soft_wrap=True)


@app.command("list", epilog="Example: qttseg predictors list")
def list_(registry: options.Registry = None) -> None:
    """List the registered versions."""
    from qttseg.predictors.registry import Registry

    rows = [
        (entry.version, ", ".join(entry.aliases), ", ".join(entry.left_out), entry.runs, ", ".join(entry.datasets))
        for entry in Registry(registry).entries()
    ]
    show_rows(("version", "aliases", "left out", "runs", "trained on"), rows)


@app.command(epilog="Example: qttseg predictors show 3")
def show(
    version: Annotated[str, typer.Argument(help="Version or alias.")],
    registry: options.Registry = None,
) -> None:
    """Show what a version was trained on and how well it ranks."""
    from qttseg.predictors.registry import Registry

    entry = Registry(registry).entry(version)
    lineage = {name: text.replace("\n", ", ") for name, text in entry.tags.items()}
    show_pairs({"version": entry.version, "aliases": ", ".join(entry.aliases), **lineage, **entry.metrics})


@app.command(epilog="Example: qttseg predictors promote 3 champion")
def promote(
    version: Annotated[str, typer.Argument(help="Version or alias.")],
    alias: Annotated[str, typer.Argument(help="Alias to point at it.")],
    registry: options.Registry = None,
) -> None:
    """Let an alias point at a version."""
    from qttseg.predictors.registry import Registry

    entry = Registry(registry).promote(version, alias)
    out.print(f"{alias} → version {entry.version}")
