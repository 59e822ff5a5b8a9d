"""Which image file goes with which masks, by the recipe's templates: missing partners are listed, never shifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qttseg.metadata.recipes.recipe import Variant
from qttseg.metadata.recipes.templates import Template

Files = Mapping[str, Path]
"""Path as the source knows it, with `/` → where the file lies."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One image and its masks.

    Attributes:
        image: Path in the source.
        masks: One path for each template of the masks, or for each part that is there, in the order of painting.
        places: What stands in the places of the image's template, and its `path`.
        parts: The part of each mask; none where masks are whole.
    """

    image: str
    masks: tuple[str, ...]
    places: Mapping[str, str]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What the templates found.

    Attributes:
        pairs: By the name an item will have, in order.
        images_alone: Images without (all) their masks.
        masks_alone: Masks without an image.
        doubled: Files whose key another file of the same template has, or whose item would share another's name.
        strange: Masks of parts that the recipe does not know.
    """

    pairs: Mapping[str, Pair]
    images_alone: tuple[str, ...]
    masks_alone: tuple[str, ...]
    doubled: tuple[str, ...]
    strange: tuple[str, ...] = ()


def pair_files(files: Files, variant: Variant) -> Pairing:
    """Pair the files by the templates of `variant`: equal in all places that the templates share.

    An image needs a mask of every template; where each part has a file of its own, one part will do.
    """
    templates = [Template(text) for text in (variant.images, *variant.masks)]
    shared = [place for place in templates[0].places if all(place in other.places for other in templates[1:])]
    doubled: list[str] = []
    images = _by_key(files, templates[0], shared, doubled)
    parts = tuple(variant.mask.parts)
    if parts:
        of_parts = _by_key(files, templates[1], [*shared, "part"], doubled)
        masks = [{key[:-1]: path for key, path in of_parts.items() if key[-1] == part} for part in parts]
    else:
        masks = [_by_key(files, template, shared, doubled) for template in templates[1:]]
    enough = any if parts else all
    pairs: dict[str, Pair] = {}
    for key, path in images.items():
        if enough(key in own for own in masks):
            name = "_".join(text.strip("/").replace("/", "-") for text in key if text)
            if name in pairs:
                doubled.append(path)
                continue
            places = {**(templates[0].match(path) or {}), "path": path}
            pairs[name] = Pair(
                image=path,
                masks=tuple(own[key] for own in masks if key in own),
                places=places,
                parts=tuple(part for part, own in zip(parts, masks, strict=False) if key in own),
            )
    return Pairing(
        pairs=dict(sorted(pairs.items())),
        images_alone=tuple(path for key, path in images.items() if not enough(key in own for own in masks)),
        masks_alone=tuple(path for own in masks for key, path in own.items() if key not in images),
        doubled=tuple(doubled),
        strange=tuple(path for key, path in of_parts.items() if key[-1] not in parts) if parts else (),
    )


def _by_key(files: Files, template: Template, shared: Sequence[str], doubled: list[str]) -> dict[tuple[str, ...], str]:
    """Return key → path; the second file of a key goes to `doubled`."""
    found: dict[tuple[str, ...], str] = {}
    for path in sorted(files):
        places = template.match(path)
        if places is None:
            continue
        key = tuple(places[place] for place in shared)
        if key in found:
            doubled.append(path)
        else:
            found[key] = path
    return found


def tree(files: Files, *, most: int = 40) -> str:
    """Return the folders with their numbers of files and two names each, for one who has to write templates."""
    folders: dict[str, list[str]] = {}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    lines = [f"  {folder or '.'}/: {len(names)} files, as {', '.join(names[:2])}" for folder, names in folders.items()]
    return "\n".join(lines[:most] + ([f"  … and {len(lines) - most} more folders"] if len(lines) > most else []))
