"""`qttseg train` and `qttseg predictors`: fit predictors to stored curves, register and inspect them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import err, out, show_pairs, show_rows
from qttseg.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from qttseg.metadata.store import CurveStore
    from qttseg.predictors.interface import PerformanceModel
    from qttseg.predictors.training import Trained

app = typer.Typer(name="predictors", help="List, show, judge, promote and register predictors.", no_args_is_help=True)


def add_commands(parent: typer.Typer) -> None:
    """Add `train` to the command line."""
    parent.command(epilog="Example: qttseg train --store curves --all-leave-out")(train)


LeaveOut = Annotated[str | None, typer.Option(help="Dataset (name or fingerprint) to leave out.")]
AllLeaveOut = Annotated[bool, typer.Option(help="Leave out each dataset in turn, and none.")]


def train(
    store: options.Store = options.STORE,
    leave_out: LeaveOut = None,
    all_leave_out: AllLeaveOut = False,
    evaluate: Annotated[bool, typer.Option(help="Judge each one leave-one-dataset-out; takes a fit a dataset.")] = True,
    registry: options.Registry = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Write to this folder, each to one of its own, and register nothing.")
    ] = None,
    seed: options.Seed = 0,
) -> None:
    """Train performance and cost predictors, report how well they rank unseen datasets, and register them."""
    from qttseg.metadata.shipped import store_of
    from qttseg.predictors.performance import PerformancePredictor
    from qttseg.predictors.registry import Registry

    found = _trained(
        store_of(store), PerformancePredictor, leave_out=leave_out, every=all_leave_out, evaluate=evaluate, seed=seed
    )
    if folder is None:
        keep(found, Registry(registry).register)
        return

    def write(trained: Trained) -> str:
        trained.save(folder / trained.name)
        return trained.name

    keep(found, write)


def _trained(
    store: CurveStore,
    kind: type[PerformanceModel],
    *,
    leave_out: str | None,
    every: bool,
    evaluate: bool,
    seed: int,
) -> Iterator[Trained]:
    from qttseg.predictors.training import train as fit
    from qttseg.predictors.training import train_all

    if leave_out and every:
        raise ConfigurationError(
            "--leave-out names one dataset and --all-leave-out means each in turn; give one of them"
        )
    if every:
        yield from train_all(store, seed=seed, evaluate=evaluate, kind=kind)
    else:
        yield fit(store, leave_out=leave_out, seed=seed, evaluate=evaluate, kind=kind)


def keep(found: Iterable[Trained], store: Callable[[Trained], str]) -> None:
    """Keep predictors as they come, by the name that `store` returns, then print a line of figures for each."""
    rows = []
    with err.status("training") as status:
        for trained in found:
            name = store(trained)
            left_out = ", ".join(trained.lineage.left_out) or "nothing"
            status.update(f"{name}, {left_out} left out")
            rows.append((name, left_out, trained.lineage.runs, *_judgement(trained.figures)))
    headers = ("version", "left out", "runs", *_JUDGED)
    show_rows(headers, rows, title="Judged on the datasets left out; MAE and calibration error after one epoch")


_JUDGED = ("Spearman after 0 / 1 / 3", "MAE", "calibration error", "cost Spearman")


def _judgement(figures: Mapping[str, float]) -> tuple[str | float | None, ...]:
    """Return the cells of `_JUDGED`; None where nobody judged."""
    ranks = " / ".join(f"{figures.get(f'spearman_{seen}', float('nan')):.2f}" for seen in (0, 1, 3))
    names = ("mae_1", "calibration_error_1", "cost_spearman")
    return (ranks if figures else None, *map(figures.get, names))


@app.command(epilog="Example: qttseg predictors register my_package.trees:TreePredictor --store curves --all-leave-out")
def register(
    source: Annotated[str, typer.Argument(help="`shipped`, or a class of your own as module:Class.")],
    store: options.Store = options.STORE,
    leave_out: LeaveOut = None,
    all_leave_out: AllLeaveOut = False,
    registry: options.Registry = None,
    seed: options.Seed = 0,
) -> None:
    """Register the shipped predictors, or train, check and register predictors of a class of your own."""
    from qttseg.metadata.shipped import store_of
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.shipped import VERSION, shipped, shipped_names, shipped_spaces

    shelf = Registry(registry)
    if source == VERSION:
        every = (shipped(name, space=space) for space in shipped_spaces() for name in shipped_names(space))
        keep(every, shelf.register)
        return
    from qttseg.metadata.queries import training_set
    from qttseg.predictors.conformance import check
    from qttseg.predictors.interface import predictor_class

    curves, kind = store_of(store), predictor_class(source)
    with err.status("checking"):
        check(kind, training_set(curves, leave_out=leave_out), seed=seed)
    keep(_trained(curves, kind, leave_out=leave_out, every=all_leave_out, evaluate=True, seed=seed), shelf.register)


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


@app.command(epilog="Example: qttseg predictors judge shipped --store curves")
def judge(
    version: Annotated[str, typer.Argument(help="Version or alias, or `shipped`.")] = "shipped",
    store: options.Store = options.STORE,
    registry: options.Registry = None,
) -> None:
    """Say how well predictors rank the runs of a store whose datasets they have never seen."""
    from qttseg.metadata.queries import training_set
    from qttseg.metadata.shipped import store_of
    from qttseg.predictors.evaluation import judge_unseen
    from qttseg.predictors.lineage import Lineage
    from qttseg.predictors.registry import Registry
    from qttseg.predictors.shipped import VERSION, shipped

    training = training_set(store_of(store))
    trained = shipped(space=Lineage.of(training).space) if version == VERSION else Registry(registry).load(version)
    report = judge_unseen(trained.performance, trained.cost, training)
    rows = [(fold.dataset, fold.runs, *_judgement(fold.metrics())) for fold in report.folds]
    rows.append(("all", sum(fold.runs for fold in report.folds), *_judgement(report.means())))
    show_rows(("dataset", "runs", *_JUDGED), rows, title="MAE and calibration error after one epoch")


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
