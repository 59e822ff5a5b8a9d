"""A recipe in words: for `qttseg datasets info`, and for docs/datasets.md, which a test holds to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from qttseg.metadata.datasets import is_dataset, resolve_dataset, unknown_dataset
from qttseg.metadata.folders import read_description
from qttseg.metadata.library import library_folder
from qttseg.metadata.recipes.catalogue import NAMES
from qttseg.metadata.recipes.fetching import adding_command
from qttseg.metadata.recipes.recipe import Recipe, Source, Variant

_TOLD = frozenset({"name", "task", "classes", "groups", "group_pattern"})
"""What of a `dataset.json` the dataset itself tells."""


def facts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield (what, text) of all that a recipe says, what to do first."""
    yield "title", recipe.title
    yield "get it", f"`qttseg datasets fetch {recipe.name}`"
    seen: list[Source] = []
    for name, variant in recipe.variants.items():
        rules = {} if name == recipe.default else {"variant": name}
        for source in (source for source in variant.sources if source not in seen):
            seen.append(source)
            command = adding_command(recipe.name, source, rules)
            yield "by hand", f"{source.page} → {source.files_wanted}, then `{command}`"
    yield "licence", recipe.licence
    yield "cite", recipe.citation
    yield "home", recipe.home
    for name, other in recipe.variants.items():
        default = " (default)" if name == recipe.default else ""
        yield f"variant {name}{default}", _summary(other)
    yield "how sure", recipe.trust
    for text in recipe.unsure:
        yield "uncertain", text
    for text in recipe.notes:
        yield "know", text


def facts_of_dataset(name_or_path: str) -> Iterator[tuple[str, object]]:
    """Yield (what, value) of a dataset that is here: what it holds, and what was kept of where it came from.

    Raises:
        DatasetError: there is no such dataset, known or here.
    """
    if not is_dataset(name_or_path) and not Path(name_or_path).is_dir():
        raise unknown_dataset(name_or_path, NAMES)
    dataset = resolve_dataset(name_or_path)
    yield "dataset", dataset.name
    yield "task", dataset.task
    yield "classes", ", ".join(dataset.classes[1:])
    yield "images", len(dataset)
    yield "groups", None if dataset.groups is None else len(set(dataset.groups))
    folder = library_folder(name_or_path) or Path(name_or_path)
    if folder.is_dir():
        yield "folder", folder
        kept = read_description(folder)
        yield from ((key, value) for key, value in kept.items() if value and key not in _TOLD)


def to_markdown(recipes: Iterable[Recipe]) -> str:
    """Return the recipes as sections of a Markdown page."""
    return "\n".join(line for recipe in recipes for line in (f"### {recipe.name}", "", *_lines(recipe), ""))


def _lines(recipe: Recipe) -> Iterator[str]:
    for what, text in facts(recipe):
        yield f"- {what}: {text}"


def _summary(variant: Variant) -> str:
    parts = [variant.about, f"{' or '.join(map(str, variant.pairs)) or 'an unknown number of'} pairs", variant.task]
    parts += [", ".join(variant.classes[1:]), f"masks by {variant.mask.kind}"]
    if variant.groups is not None:
        count = f"{' or '.join(map(str, variant.groups.count))} " if variant.groups.count else ""
        parts.append(f"kept together by {variant.groups.meaning}" + (f" ({count.strip()})" if count else ""))
    return "; ".join(parts)
