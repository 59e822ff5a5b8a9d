"""Where the real files differ from a recipe, and the report that says so."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qttseg.metadata.datasets import IGNORE
from qttseg.metadata.recipes.items import Item
from qttseg.metadata.recipes.pairing import Pairing
from qttseg.metadata.recipes.recipe import DifferenceKind, Recipe, Variant

_NAMED = 5

Kind = DifferenceKind | Literal["code"]
"""`code` cannot be accepted: without a mask code that gives a foreground there is nothing to train on."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which the files are not as the recipe says.

    Attributes:
        kind: By which `--rule accept=KIND` goes on.
        detail: What was found, and what happens to it when it is accepted.
    """

    kind: Kind
    detail: str


def differences_of(
    variant: Variant, pairing: Pairing, items: Mapping[str, Item], groups: Mapping[str, str | None] | None
) -> tuple[Difference, ...]:
    """Return all differences between what was found and what `variant` expects.

    Args:
        variant: The expectation.
        pairing: The files.
        items: What each pair held, by name.
        groups: The group of each item by its name; None where the variant has no rule.
    """
    found = (
        *_of_files(variant, pairing),
        *_of_pictures(variant, items),
        *_of_masks(variant, items),
        *_of_groups(variant, items, groups),
    )
    return tuple(Difference(kind=kind, detail=detail) for kind, detail in found)


Found = Iterator[tuple[Kind, str]]


def _of_files(variant: Variant, pairing: Pairing) -> Found:
    count = len(pairing.pairs)
    if variant.pairs and count not in variant.pairs:
        yield "counts", f"{count} pairs, {_either(variant.pairs)} expected"
    if len(pairing.images_alone) != variant.alone and pairing.images_alone:
        expected = f", {variant.alone} expected" if variant.alone else ""
        yield "unpaired", f"{_some(pairing.images_alone, 'images')} without a mask{expected}; left out"
    if pairing.masks_alone:
        yield "unpaired", f"{_some(pairing.masks_alone, 'masks')} without an image; left out"
    if pairing.strange:
        yield "unpaired", f"{_some(pairing.strange, 'masks')} of parts that the recipe does not know; left out"
    if pairing.doubled:
        yield "doubled", f"{_some(pairing.doubled, 'files')} with the key of another file; the first of each is taken"


def _of_pictures(variant: Variant, items: Mapping[str, Item]) -> Found:
    broken = [item.fault for item in items.values() if item.kind == "unreadable"]
    if broken:
        yield "unreadable", f"{_some(broken, 'pairs')} unreadable; left out"
    misfits = [item.fault for item in items.values() if item.kind == "mismatch"]
    if misfits:
        yield "mismatch", f"{_some(misfits, 'masks')} of another size than the image; left out"
    sizes = Counter(item.size for item in items.values() if item.size is not None)
    strange = {size: count for size, count in sizes.items() if variant.sizes and size not in variant.sizes}
    if strange:
        named = ", ".join(f"{height} x {width} ({count})" for (height, width), count in list(strange.items())[:_NAMED])
        expected = " or ".join(f"{height} x {width}" for height, width in variant.sizes)
        yield "sizes", f"images of {named}; {expected} (height x width) expected"


def _of_masks(variant: Variant, items: Mapping[str, Item]) -> Found:
    sound = [item for item in items.values() if item.sound]
    pixels, strays = Counter[int](), Counter[str]()
    for item in sound:
        pixels.update(item.pixels)
        strays.update(item.strays)
    named = ", ".join(f"{value} ({count} px)" for value, count in strays.most_common(_NAMED))
    if variant.mask.kind == "unknown":
        yield "code", f"the masks hold {named}; say how to read them with --rule mask=threshold, nonblack or values"
        return
    share = sum(strays.values()) / max(sum(pixels.values()), 1)
    if share > variant.mask.stray:
        fate = "thresholded" if variant.mask.kind == "threshold" else "ignored (255)"
        yield "values", f"{share:.2%} of all mask pixels are outside the code ({variant.mask.kind}): {named}; {fate}"
    if not set(pixels) - {0, IGNORE}:
        yield "code", "no mask holds a foreground pixel; another code may read them, as --rule above=0"
        return
    unseen = [variant.classes[label] for label in sorted(variant.mask.classes() - {0}) if not pixels[label]]
    if unseen:
        yield "classes", f"no pixel of {', '.join(unseen)} in any mask"


def _of_groups(variant: Variant, items: Mapping[str, Item], groups: Mapping[str, str | None] | None) -> Found:
    if groups is None or variant.groups is None:
        return
    keys = [groups[name] for name in items]
    without = [name for name, key in groups.items() if key is None]
    distinct = len({key for key in keys if key is not None})
    if without and not variant.groups.pattern:
        yield "groups", f"{_some(without, 'items')} without a {variant.groups.meaning}; each becomes its own group"
    if variant.groups.count and distinct not in variant.groups.count:
        yield "groups", f"{distinct} groups ({variant.groups.meaning}), {_either(variant.groups.count)} expected"
    elif len(items) > 1 and not variant.groups.count and (distinct + len(without) in (1, len(items))):
        found = "all images are in one group" if distinct + len(without) == 1 else "every image is its own group"
        yield "groups", f"{found} ({variant.groups.meaning}); the rule {variant.groups.by!r} may be wrong"
    twins: dict[str, list[str]] = defaultdict(list)
    for name, item in items.items():
        if item.sound:
            twins[item.digest].append(name)
    parted = [" = ".join(names) for names in twins.values() if len({groups[name] or name for name in names}) > 1]
    if parted:
        yield "duplicates", f"{_some(parted, 'images')} of equal pixels in different groups; kept"


def report(recipe: Recipe, variant: Variant, differences: Sequence[Difference]) -> str:
    """Return what a user reads who is to decide whether the files are right."""
    lines = [f"{recipe.name}: the files differ from the recipe; nothing was added."]
    lines += [f"  {difference.kind}: {difference.detail}" for difference in differences]
    lines += [f"  not known: {text}" for text in recipe.unsure]
    kinds = {str(difference.kind) for difference in differences} - {"code"}
    if kinds:
        accepted = ",".join(sorted(kinds.union(variant.accept)))
        lines.append(f"If the files are right, give the same command with --rule accept={accepted}.")
    lines.append(f"{recipe.home} describes the files; `qttseg datasets info {recipe.name}` lists the rules.")
    return "\n".join(lines)


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def _some(names: Sequence[str], noun: str) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {noun} ({', '.join(names[:_NAMED])}{rest})"
