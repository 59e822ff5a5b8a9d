"""What a user says about the real files where the recipe does not know, or is wrong: `--rule key=value`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from qttseg.errors import DatasetError
from qttseg.metadata.recipes.recipe import Groups, MaskCode, Recipe, Variant

_COMMA = re.compile(r",(?![^{]*\})")
"""A comma outside of braces, where it could be part of an expression."""

RULES: Mapping[str, str] = {
    "variant": "which variant of the recipe, as in variant=original",
    "accept": "differences to go on with, as in accept=counts,groups",
    "images": "template of the image files, as in images=train/images/{n}.png",
    "masks": "template of the mask files; several by commas are united",
    "classes": "class names, the background first, as in classes=background,heart",
    "mask": "how masks are coded: threshold, nonblack, or values (of the class ids themselves)",
    "above": "for mask=threshold, the largest background value, as in above=0",
    "values": "for mask=values, mask value:class id, as in values=0:0,255:1",
    "group": "what must not be parted, over the places of images, as in group={run}",
}


def apply_rules(recipe: Recipe, rules: Mapping[str, str]) -> Variant:
    """Return the variant of `recipe` with what the rules say in its place.

    Raises:
        DatasetError: a rule is unknown or malformed, or contradicts the others.
    """
    unknown = [key for key in rules if key not in RULES]
    if unknown:
        known = "\n".join(f"  {key}: {meaning}" for key, meaning in RULES.items())
        raise DatasetError(f"{unknown[0]!r} is no rule of {recipe.name}; write --rule KEY=VALUE with one of\n{known}")
    name = rules.get("variant", recipe.default)
    if name not in recipe.variants:
        raise DatasetError(f"{recipe.name} has no variant {name!r}; it has {', '.join(recipe.variants)}")
    variant = recipe.variants[name]
    changes: dict[str, Any] = {}
    for key, change in _CHANGES.items():
        if key in rules:
            changes |= change({**vars(variant), **changes}, rules[key])
    return replace(variant, **changes)


def _mask_of(fields: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a code of this kind; `values` without a table are the class ids themselves."""
    values = {label: label for label in range(len(fields["classes"]))} if kind == "values" else {}
    return {"mask": MaskCode(kind=kind, values=values, stray=fields["mask"].stray)}  # type: ignore[arg-type]


def _values_of(fields: Mapping[str, Any], text: str) -> dict[str, Any]:
    try:
        values = {int(raw): int(label) for raw, label in (part.split(":") for part in text.split(","))}
    except ValueError as error:
        raise DatasetError(f"values={text} is malformed; write mask value:class id, as in values=0:0,255:1") from error
    return {"mask": MaskCode(kind="values", values=values, stray=fields["mask"].stray)}


def _above_of(fields: Mapping[str, Any], text: str) -> dict[str, Any]:
    if not text.isdecimal() or int(text) > 254:
        raise DatasetError(f"above={text} must be a number from 0 to 254")
    return {"mask": replace(fields["mask"], kind="threshold", above=int(text))}


# In the order in which they are applied: a mask code may need to know the classes.
_CHANGES: Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "accept": lambda fields, text: {"accept": (*fields["accept"], *text.split(","))},
    "images": lambda _, text: {"images": text, "rows": ()},
    "masks": lambda _, text: {"masks": tuple(_COMMA.split(text))},
    "classes": lambda _, text: {"classes": tuple(text.split(","))},
    "mask": _mask_of,
    "above": _above_of,
    "values": _values_of,
    "group": lambda _, text: {"groups": Groups(by=text, meaning="group, by rule")},
}
