"""`qttseg replay`: compare optimisers on stored learning curves with a simulated clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out, progress_bar, show_rows

if TYPE_CHECKING:
    from qttseg.benchmark.replay import Replayed, StoredDataset
    from qttseg.metadata.store import CurveStore


def add_commands(app: typer.Typer) -> None:
    """Add `replay` to the command line."""
    app.command(epilog="Example: qttseg replay --store curves --budgets 60,120,180 --seeds 20")(replay)


def replay(
    store: options.Store = options.STORE,
    optimisers: Annotated[
        str, typer.Option(help="Optimisers, by commas: random, greedy, asha, hyperband, quick-tune, qttseg.")
    ] = "random,greedy,asha,hyperband,quick-tune,qttseg",
    budgets: Annotated[
        str, typer.Option(help="Seconds, or multiples of a median epoch as 30x; by commas.")
    ] = "60,120,180",
    seeds: Annotated[int, typer.Option(help="Draws of candidates on each dataset.")] = 20,
    reference: Annotated[str, typer.Option(help="Optimiser that the others are tested against.")] = "qttseg",
    figure: Annotated[
        Path | None, typer.Option(help="Draw regret over time, with bands, into this PNG, PDF or SVG.")
    ] = None,
) -> None:
    """Replay searches on stored curves: regret at each budget, ranks, and paired tests over datasets.

    Predictors are trained anew for each dataset, without it.
    """
    from qttseg.benchmark.regret import summarise_regret
    from qttseg.metadata.shipped import store_of

    replays = _replayed(store_of(store), options.listed(optimisers), options.listed(budgets), seeds)
    rows = [
        (
            summary.budget,
            summary.optimiser,
            f"{summary.regret:.4f}",
            f"{summary.low:.4f} – {summary.high:.4f}",
            f"{summary.rank:.2f}",
            None if summary.p_value is None else f"{summary.p_value:.2g}",
        )
        for summary in summarise_regret(replays, reference=reference)
    ]
    show_rows(("budget", "optimiser", "regret", "95 % interval", "rank", f"p against {reference}"), rows)
    out.print(f"{len(replays)} replays on {len({one.dataset for one in replays})} datasets")
    if figure is not None:
        from qttseg.benchmark.regret_figure import draw_regret

        draw_regret(replays, figure)
        out.print(f"regret over time → {figure}")


def _replayed(store: CurveStore, optimisers: tuple[str, ...], budgets: tuple[str, ...], seeds: int) -> list[Replayed]:
    from qttseg.benchmark.replay import replay_all, stored_datasets
    from qttseg.predictors.training import Trained, train

    datasets = stored_datasets(store)
    with progress_bar() as bar:
        total = len(datasets) * len(optimisers) * len(budgets) * seeds
        task = bar.add_task("replaying", total=total, rate="")

        def predictors(dataset: StoredDataset) -> Trained:
            bar.update(task, rate=f"training without {dataset.name}")
            trained = train(store, leave_out=dataset.fingerprint, evaluate=False)
            bar.update(task, rate=dataset.name)
            return trained

        replays = []
        for one in replay_all(datasets, optimisers, budgets, seeds, predictors=predictors):
            replays.append(one)
            bar.advance(task)
    return replays
