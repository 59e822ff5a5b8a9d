"""From a source's files to a dataset of the library: convert, compare with the recipe, and stop where they differ."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.folders import in_threads
from qttseg.metadata.formats.writing import FolderWriter
from qttseg.metadata.library import installing
from qttseg.metadata.recipes.differences import differences_of, report
from qttseg.metadata.recipes.grouping import completed, group_keys, joined_by_twins
from qttseg.metadata.recipes.items import Item, convert
from qttseg.metadata.recipes.material import files_of
from qttseg.metadata.recipes.pairing import Files, Pairing, pair_files, tree
from qttseg.metadata.recipes.recipe import Recipe, Variant
from qttseg.metadata.recipes.rules import apply_rules


@dataclass(frozen=True, kw_only=True)
class Added:
    """What was added to the library.

    Attributes:
        pairs: Number of pairs.
        groups: Number of groups; None where none are known.
        accepted: Differences from the recipe that were accepted, in words.
    """

    pairs: int
    groups: int | None
    accepted: tuple[str, ...]


def add_by_recipe(
    recipe: Recipe,
    paths: Sequence[Path],
    *,
    rules: Mapping[str, str] | None = None,
    origin: str = "by hand",
    clock: Callable[[], float] = time.time,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Added:
    """Convert what was got from a recipe's source and add it to the library under the recipe's name.

    Args:
        recipe: Says what the files are.
        paths: Folders and archives that belong together.
        rules: What the user says beyond the recipe; see `metadata.recipes.rules`.
        origin: How the files were got, for `dataset.json`.
        clock: Returns now, in seconds since 1970.
        on_progress: Called with the pairs done and to do.

    Raises:
        DatasetError: the files cannot be read, or differ from the recipe; the message is a report. Nothing is added.
    """
    variant = apply_rules(recipe, rules or {})
    with installing(recipe.name) as folder:
        scratch = folder / ".scratch"
        scratch.mkdir()
        writer = FolderWriter(folder)
        files, variant = files_of(paths, variant, scratch)
        pairing = _paired(recipe, variant, files)
        items = _converted(pairing, files, variant, writer, on_progress)
        keys = None if variant.groups is None else group_keys(variant.groups, pairing.pairs, files)
        differences = differences_of(variant, pairing, items, keys)
        stopping = [difference for difference in differences if difference.kind not in variant.accept]
        if stopping:
            raise DatasetError(report(recipe, variant, stopping))
        sound = {name: item for name, item in items.items() if item.sound}
        groups = _groups(keys, sound)
        accepted = tuple(f"{difference.kind}: {difference.detail}" for difference in differences)
        writer.finish(
            name=recipe.name,
            task=variant.task,
            classes=variant.classes,
            groups=None if groups is None else [groups[name] for name in sound],
            names=list(sound),
            details={
                "title": recipe.title,
                "citation": recipe.citation,
                "licence": recipe.licence,
                "home": recipe.home,
                "source": origin,
                "about": variant.about,
                "rules": dict(rules or {}),
                "differences_accepted": accepted,
                "converted": datetime.fromtimestamp(clock(), UTC).date().isoformat(),
            },
        )
        shutil.rmtree(scratch)
    return Added(pairs=len(sound), groups=None if groups is None else len(set(groups.values())), accepted=accepted)


def _paired(recipe: Recipe, variant: Variant, files: Files) -> Pairing:
    """Pair the files, or stop with their tree and the rule that is needed."""
    if not variant.images:
        reason = "its recipe does not know how the files lie"
    else:
        pairing = pair_files(files, variant)
        if pairing.pairs:
            return pairing
        reason = f"no file matches images={variant.images} with its masks={' and '.join(variant.masks)}"
    needed = "" if variant.mask.kind != "unknown" else " --rule mask=threshold (or nonblack, or values)"
    raise DatasetError(
        f"{recipe.name}: {reason}; nothing was added. What is there:\n{tree(files)}\n"
        "Say which files are images and masks, {n} being what pairs them, as in\n"
        f"  --rule 'images=images/{{n}}.png' --rule 'masks=masks/{{n}}.png'{needed}"
    )


def _converted(
    pairing: Pairing, files: Files, variant: Variant, writer: FolderWriter, on_progress: Callable[[int, int], None]
) -> dict[str, Item]:
    done = count(1)

    def work(name: str) -> Item:
        item = convert(name, pairing.pairs[name], files, variant.mask, writer)
        on_progress(next(done), len(pairing.pairs))
        return item

    return dict(zip(pairing.pairs, in_threads(work, pairing.pairs), strict=True))


def _groups(keys: Mapping[str, str | None] | None, items: Mapping[str, Item]) -> dict[str, str] | None:
    """Return the groups of the items; where none are known, images of equal pixels are kept together."""
    if keys is None:
        return joined_by_twins({name: item.digest for name, item in items.items()})
    return completed({name: keys[name] for name in items})
