"""`qttseg replay`: compare optimisers on stored learning curves with a simulated clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out, progress_bar, show_rows

if TYPE_CHECKING:
    from qttseg.benchmark.quicktunetool.bridge import QuickTuneTool
    from qttseg.benchmark.replay import Replayed
    from qttseg.benchmark.stored_datasets import StoredDataset
    from qttseg.metadata.store import CurveStore


def add_commands(app: typer.Typer) -> None:
    """Add `replay` to the command line."""
    app.command(epilog="Example: qttseg replay --store curves --budgets 60,120,180 --seeds 20")(replay)


def replay(
    store: options.Store = options.STORE,
    optimisers: Annotated[
        str,
        typer.Option(help="Optimisers, by commas: random, greedy, asha, hyperband, quick-tune, qttseg, quicktunetool."),
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

    Predictors are trained anew for each dataset, without it. quicktunetool runs in an environment of its own, which
    `qttseg bench setup quicktunetool` makes.
    """
    from qttseg.benchmark.regret import summarise_regret
    from qttseg.metadata.shipped import store_of

    replays, tools = _replayed(store_of(store), options.listed(optimisers), options.listed(budgets), seeds)
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
    if tools:
        _tell_pace(tools)
    if figure is not None:
        from qttseg.benchmark.regret_figure import draw_regret

        draw_regret(replays, figure)
        out.print(f"regret over time → {figure}")


def _tell_pace(tools: list[QuickTuneTool]) -> None:
    """Say what quicktunetool took, since the simulated clock charges all optimisers alike."""
    from qttseg.benchmark.replay import DECISION_SECONDS

    fits = [tool.fit_seconds for tool in tools]
    decisions = [seconds for tool in tools for seconds in tool.decision_seconds]
    out.print(
        f"quicktunetool took {mean(fits):.1f} s to fit, for each dataset, and {1000 * mean(decisions):.0f} ms to decide, "
        f"{len(decisions)} times; the clock charges {1000 * DECISION_SECONDS:.0f} ms a decision, as to all"
    )


def _replayed(
    store: CurveStore, optimisers: tuple[str, ...], budgets: tuple[str, ...], seeds: int
) -> tuple[list[Replayed], list[QuickTuneTool]]:
    """Return the replays and, for each dataset, the quicktunetool that took part."""
    from qttseg.benchmark.foreign.environment import QUICKTUNETOOL
    from qttseg.benchmark.quicktunetool.bridge import quicktunetool
    from qttseg.benchmark.replay import FOREIGN, replay_all
    from qttseg.benchmark.stored_datasets import stored_datasets
    from qttseg.metadata.queries import training_set
    from qttseg.predictors.training import Trained, train

    if FOREIGN in optimisers:
        QUICKTUNETOOL.check()
    datasets = stored_datasets(store)
    tools: list[QuickTuneTool] = []
    with progress_bar() as bar:
        total = len(datasets) * len(optimisers) * len(budgets) * seeds
        task = bar.add_task("replaying", total=total, rate="")

        def predictors(dataset: StoredDataset) -> Trained:
            bar.update(task, rate=f"training without {dataset.name}")
            trained = train(store, leave_out=dataset.fingerprint, evaluate=False)
            bar.update(task, rate=dataset.name)
            return trained

        @contextmanager
        def foreign(dataset: StoredDataset) -> Iterator[QuickTuneTool]:
            bar.update(task, rate=f"fitting quicktunetool without {dataset.name}")
            with quicktunetool(training_set(store, leave_out=dataset.fingerprint), epochs=dataset.epochs) as tool:
                bar.update(task, rate=dataset.name)
                tools.append(tool)
                yield tool

        replays = []
        for one in replay_all(datasets, optimisers, budgets, seeds, predictors=predictors, foreign=foreign):
            replays.append(one)
            bar.advance(task)
    return replays, tools
