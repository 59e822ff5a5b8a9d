"""`qttseg meta`: look into a learning-curve store, or fill one from the published meta-dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out, show_arrow
from qttseg.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qttseg.metadata.runs import LearningCurve

app = typer.Typer(name="meta", help="Summarise, query and import learning curves.", no_args_is_help=True)


@app.command(epilog="Example: qttseg meta summary --store curves")
def summary(store: options.Store = options.STORE) -> None:
    """Show runs, outcomes, scores and cost by dataset."""
    from qttseg.metadata.queries import summary as summarise
    from qttseg.metadata.shipped import store_of

    show_arrow(summarise(store_of(store)))


@app.command(epilog="Example: qttseg meta card --store curves")
def card(store: options.Store = options.STORE) -> None:
    """Print a data card in Markdown: what the runs were made with, how they ended and scored, which parameters mattered."""
    from qttseg.metadata.card import data_card
    from qttseg.metadata.shipped import store_of

    out.print(data_card(store_of(store)), markup=False, highlight=False, soft_wrap=True, end="")


@app.command(
    epilog="Example: qttseg meta query \"SELECT configuration->>'lora' AS lora, avg(score) FROM runs GROUP BY 1\""
)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the views runs, epochs and datasets.")],
    store: options.Store = options.STORE,
) -> None:
    """Ask the store anything in SQL; nothing can be changed."""
    from qttseg.metadata.queries import query as ask
    from qttseg.metadata.shipped import store_of

    show_arrow(ask(store_of(store), sql))


@app.command("import", epilog="Example: qttseg meta import shipped --store curves")
def import_(
    source: Annotated[
        str,
        typer.Argument(help="CSV in the layout of the paper's public meta-dataset, or another store, as `shipped`."),
    ],
    store: options.Store = options.STORE,
    extended: Annotated[
        bool,
        typer.Option(
            "--as-extended", help="Write runs of the paper's space, or of extended-v3, as those of `extended` now."
        ),
    ] = False,
) -> None:
    """Add the published meta-dataset's learning curves, or those of another store, to a store."""
    from qttseg.metadata.published import read_published
    from qttseg.metadata.shipped import store_of, writable_store
    from qttseg.pipelines.spaces import as_extended_run

    curves = writable_store(store)
    change: Callable[[LearningCurve], LearningCurve] = as_extended_run if extended else lambda curve: curve
    if source.endswith(".csv"):
        published = read_published(Path(source))
        for dataset in published.datasets:
            curves.add_dataset(dataset.name, dataset.fingerprint, dataset.meta_features)
        curves.append([change(curve) for curve in published.curves])
        runs = len(published.curves)
    else:
        runs = curves.take_in(store_of(source), change=change)
    if not runs:
        raise StoreError(f"there are no runs in {source}; name a folder with learning curves, or a CSV file")
    out.print(f"{runs} runs → {store}")
