"""The recipes of the package by name, and what of them the user has agreed to."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.hashing import content_id
from qttseg.metadata.library import data_home
from qttseg.metadata.recipes.reading import read_recipe
from qttseg.metadata.recipes.recipe import Recipe

PAPER13 = (
    "polyp", "lesion", "leaf", "covid", "eyes", "fiber", "cardiac", "chest",
    "US", "human_parsing", "golf", "terrain", "cholec",
)  # fmt: skip
"""The paper's datasets, in its order: eight binary, five multiclass (QTT-SEG, appendix B)."""

NAMES = (*PAPER13, "building", "celebamask_hq")


@cache
def recipe_of(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        DatasetError: there is none; the message lists near names.
    """
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=3, cutoff=0.4) or NAMES
        raise DatasetError(f"there is no recipe {name!r}; near names are {', '.join(near)}")
    return read_recipe(Path(__file__).with_name(f"{name}.toml"))


def licence_accepted(recipe: Recipe) -> bool:
    """Return whether the user has acknowledged the licence as the recipe states it now."""
    return _note(recipe).is_file()


def accept_licence(recipe: Recipe) -> None:
    """Remember that the user has acknowledged the recipe's licence.

    Raises:
        DatasetError: the library cannot be written.
    """
    note = _note(recipe)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{recipe.title}: {recipe.licence}\n", encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{note} cannot be written: {error}; mend its permissions or set $QTTSEG_DATA") from error


def _note(recipe: Recipe) -> Path:
    """Return the note's place; another licence text has another, so that a changed one is asked for anew."""
    return data_home() / ".licences" / f"{recipe.name}-{content_id({'licence': recipe.licence}, length=8)}"
