"""`qttseg datasets info | fetch`, and how the known datasets are added from files got by hand."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli.console import err, out, progress_bar, show_pairs, show_rows
from qttseg.cli.options import rules_of
from qttseg.errors import DatasetError

if TYPE_CHECKING:
    from rich.progress import Progress

    from qttseg.metadata.recipes.fetching import Fetched
    from qttseg.metadata.recipes.recipe import Recipe, Variant

Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", help="KEY=VALUE, what the recipe does not know, as in accept=counts; `datasets info` lists all."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add `info` and `fetch` to `qttseg datasets`."""
    app.command(epilog="Example: qttseg datasets info polyp")(info)
    app.command(epilog="Example: qttseg datasets fetch polyp --accept-licence")(fetch)


def info(
    name: Annotated[
        str | None,
        typer.Argument(help="Known dataset, one of the library, or a folder; all known ones where left out."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As in docs/datasets.md.")] = False,
) -> None:
    """Tell where a dataset is from, its licence, its layout, and what is uncertain."""
    from qttseg.metadata.datasets import is_dataset
    from qttseg.metadata.recipes.catalogue import NAMES, recipe_of
    from qttseg.metadata.recipes.describing import facts, facts_of_dataset, to_markdown
    from qttseg.metadata.recipes.rules import RULES

    if name is not None and (name not in NAMES or (is_dataset(name) and not markdown)):
        show_pairs(dict(facts_of_dataset(name)))
        if name not in NAMES:
            return
        out.print()
    recipes = [recipe_of(known) for known in ([name] if name else NAMES)]
    if markdown:
        out.print(to_markdown(recipes), markup=False, highlight=False, soft_wrap=True)
        return
    for recipe in recipes:
        rows = list(facts(recipe))
        width = max(len(what) for what, _ in rows)
        for what, text in rows:
            out.print(f"{what:{width}}  {text}", markup=False, highlight=False, soft_wrap=True)
        out.print()
    show_rows(("--rule", "meaning"), RULES.items())


def fetch(
    name: Annotated[str, typer.Argument(help="Known dataset, as polyp; `datasets info` lists them.")],
    rules: Rules = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Acknowledge the licence without being asked.")
    ] = False,
) -> None:
    """Get a known dataset from its source, convert it, check it, and add it to the library."""
    from qttseg.metadata.library import free_name
    from qttseg.metadata.recipes.catalogue import recipe_of
    from qttseg.metadata.recipes.rules import apply_rules

    recipe, known = recipe_of(name), rules_of(rules or [])
    variant = apply_rules(recipe, known)
    free_name(name)
    _acknowledge(recipe, accepted=accept_licence)
    fetched = _fetched(recipe, variant, known)
    add_known(recipe, fetched.paths, rules=known, origin=fetched.origin)
    out.print(f"what was fetched stays in {', '.join(map(str, fetched.paths))}; it may be deleted", highlight=False)


def add_known(recipe: Recipe, paths: Sequence[Path], *, rules: Mapping[str, str], origin: str) -> None:
    """Convert the files of a known dataset with a progress bar and say what was added."""
    from qttseg.metadata.recipes.conversion import add_by_recipe

    with progress_bar() as bar:
        task = bar.add_task(f"converting {recipe.name}", total=None, rate="")
        added = add_by_recipe(
            recipe,
            paths,
            rules=rules,
            origin=origin,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for difference in added.accepted:
        err.print(f"[yellow]accepted[/] {difference}", highlight=False, soft_wrap=True)
    show_pairs({"dataset": recipe.name, "pairs": added.pairs, "groups": added.groups, "licence": recipe.licence})
    out.print(f"next: qttseg tune {recipe.name} --budget 60s", highlight=False)


def _acknowledge(recipe: Recipe, *, accepted: bool) -> None:
    """Ask once for the licence to be acknowledged.

    Raises:
        DatasetError: nobody can be asked, or the answer is no.
    """
    from qttseg.metadata.recipes.catalogue import accept_licence, licence_accepted

    if not accepted:
        if licence_accepted(recipe):
            return
        terms = f"{recipe.title} ({recipe.home})\nLicence: {recipe.licence}\nCite: {recipe.citation}"
        if not sys.stdin.isatty():
            raise DatasetError(f"{terms}\nRead the licence, and run this again with --accept-licence")
        err.print(terms, markup=False, highlight=False, soft_wrap=True)
        if not typer.confirm("Do you accept these terms?", err=True):
            raise DatasetError(f"{recipe.name} was not fetched, as its licence was not accepted")
    accept_licence(recipe)


def _fetched(recipe: Recipe, variant: Variant, rules: Mapping[str, str]) -> Fetched:
    """Fetch with a progress bar for plain addresses; the other clients show their own."""
    from qttseg.metadata.recipes.fetching import fetch as fetch_files

    with progress_bar() as bar:
        return fetch_files(
            recipe, variant, rules=rules, on_progress=lambda name, done, size: _show(bar, name, done, size)
        )


def _show(bar: Progress, name: str, done: int, size: int) -> None:
    """Show the bytes of the file that is being fetched, one line a file."""
    task = next((task.id for task in bar.tasks if task.description == name), None)
    if task is None:
        task = bar.add_task(name, total=None, rate="bytes")
    bar.update(task, completed=done, total=size or None)
