"""Which file is the mask of which image: by the names of folders, then by stems, prefixes and suffixes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.formats.items import unique_names, walk
from qttseg.metadata.listing import IMAGE_SUFFIXES

RULES = ("images", "masks")

_MASK_WORDS = re.compile(
    r"masks?|ground[ _-]?truths?|labels?|annotations?|annot|segmentations?|(?<![a-z])(?:gts?|seg|truth)(?![a-z])"
)
_IMAGE_WORDS = re.compile(r"images?|imgs?|originals?|photos?|pictures?|frames|inputs?|raw|(?<![a-z])data(?![a-z])|jpeg")
_MASK_STEM = re.compile(
    r"^(?:mask|gt|label|seg)[ _-]+|[ _-]+(?:mask|segmentation|gt|groundtruth|labels?|seg|annotation)(?:[ _-]\d{1,2})?$",
    re.IGNORECASE,
)
_IMAGE_STEM = re.compile(r"^(?:image|img)[ _-]+|[ _-]+(?:image|img|rgb|orig|original|photo)$", re.IGNORECASE)
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_SIDES = re.compile("left|right")
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Images and their masks.

    Attributes:
        pairs: Name → image and its masks, more than one where they are to be united; ordered by name.
        reason: Which folders were paired and how, for the user.
        left_out: Images and masks without a partner, for the user.
    """

    pairs: Mapping[str, tuple[Path, tuple[Path, ...]]]
    reason: str
    left_out: tuple[str, ...]


def find_pairs(root: Path, rules: Mapping[str, str]) -> Pairing:
    """Return the images and masks below `root`.

    Args:
        root: A folder.
        rules: `images` and `masks` name folders relative to `root`, where their names do not tell; several folders of
            masks, separated by commas, are united.

    Raises:
        DatasetError: no masks are found for any images, there are several choices, or a partner is ambiguous.
    """
    folders = _image_folders(root)
    chosen = [_given(root, rules, folders)] if "images" in rules or "masks" in rules else _choose(root, folders)
    found: list[tuple[Path, tuple[Path, ...]]] = []
    alone: list[Path] = []
    for images, masks in chosen:
        pairs, rest = _match(folders[images], [file for folder in masks for file in folders[folder]])
        found += pairs
        alone += rest
    if not found:
        raise DatasetError(f"{root}: no image has a mask of a fitting name. Found: {tree(root)}. {_ADVICE}")
    names = unique_names(image.relative_to(root).as_posix() for image, _ in found)
    return Pairing(
        pairs=dict(sorted(zip(names, found, strict=True))),
        reason="; ".join(
            f"{_shown(root, images)} with {' and '.join(_shown(root, folder) for folder in masks)}"
            for images, masks in chosen[:3]
        )
        + (f" and {len(chosen) - 3} folders more" if len(chosen) > 3 else "")
        + f", {len(found)} pairs",
        left_out=tuple(f"{file.relative_to(root)} has no partner" for file in alone),
    )


def tree(root: Path) -> str:
    """Return in a line which folders hold how many files of which kinds."""
    if not root.is_dir():
        return f"the file {root.name}"
    counts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in walk(root):
        counts[_shown(root, file.parent), file.suffix.lower()].append(file.name)
    lines = [f"{folder}: {len(names)} {suffix or 'plain'} ({names[0]})" for (folder, suffix), names in counts.items()]
    return "; ".join(lines[:_SHOWN]) + (f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "") or "nothing"


_ADVICE = "Say which with --rule images=FOLDER --rule masks=FOLDER"


def _shown(root: Path, folder: Path) -> str:
    return f"{folder.relative_to(root)}/"


def _image_folders(root: Path) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in walk(root):
        if file.suffix.lower() in IMAGE_SUFFIXES:
            folders[file.parent].append(file)
    return folders


def _given(root: Path, rules: Mapping[str, str], folders: Mapping[Path, object]) -> tuple[Path, tuple[Path, ...]]:
    images, masks = (
        root / rules.get("images", "images"),
        tuple(root / name.strip() for name in rules.get("masks", "masks").split(",")),
    )
    for folder in (images, *masks):
        if folder not in folders:
            raise DatasetError(f"there are no pictures in {folder}, which a --rule names. Found: {tree(root)}")
    return images, masks


def _choose(root: Path, folders: Mapping[Path, Sequence[Path]]) -> list[tuple[Path, tuple[Path, ...]]]:
    """Return folders of images, each with its folders of masks."""
    partners: dict[Path, list[Path]] = defaultdict(list)
    for masks in folders:
        images = _images_of(root, masks, folders)
        if images is not None:
            partners[images].append(masks)
    if not partners:
        within: list[tuple[Path, tuple[Path, ...]]] = [
            (folder, (folder,)) for folder, files in folders.items() if _match(files, files)[0]
        ]
        if not within:
            raise DatasetError(f"{root}: no folder of masks was recognised. Found: {tree(root)}. {_ADVICE}")
        return within
    for images, several in partners.items():
        if len({_SIDES.sub("", _relative(root, folder)) for folder in several}) > 1:
            choices = ", ".join(_shown(root, folder) for folder in several)
            raise DatasetError(f"{root}: {_shown(root, images)} could have its masks in {choices}. {_ADVICE}")
    if len({_before_role(root, images) for images in partners}) > 1:
        choices = ", ".join(_shown(root, images) for images in partners)
        raise DatasetError(f"{root}: several datasets are here, with images in {choices}; add one of these folders")
    return [(images, tuple(masks)) for images, masks in partners.items()]


def _images_of(root: Path, masks: Path, folders: Iterable[Path]) -> Path | None:
    """Return the folder of images whose path differs from that of `masks` in words for masks only."""
    parts = masks.relative_to(root).parts
    alike, named, other_ones = [], [], []
    for folder in folders:
        other = folder.relative_to(root).parts
        differing = [(mine, its) for mine, its in zip(parts, other, strict=False) if mine != its]
        if len(other) != len(parts) or not differing:
            continue
        if all(_is_mask(mine) and not _is_mask(its) for mine, its in differing):
            if all(_bare(mine) == _bare(its) for mine, its in differing):
                alike.append(folder)
            elif any(_IMAGE_WORDS.search(its.lower()) for _, its in differing):
                named.append(folder)
            else:
                other_ones.append(folder)
    for candidates in (alike, named, other_ones):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            choices = ", ".join(_shown(root, folder) for folder in candidates)
            raise DatasetError(f"{root}: {_shown(root, masks)} could hold the masks of {choices}. {_ADVICE}")
    return None


def _is_mask(name: str) -> bool:
    return _MASK_WORDS.search(name.lower()) is not None


def _bare(name: str) -> str:
    """Return what a folder's name says beside images, masks and sides."""
    words = _SIDES.sub("", _MASK_WORDS.sub("", _IMAGE_WORDS.sub("", name.lower())))
    return re.sub("[^a-z0-9]", "", words)


def _relative(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix().lower()


def _before_role(root: Path, images: Path) -> tuple[str, ...]:
    """Return the folders above the one whose name says that it holds images, splits left out."""
    before: list[str] = []
    for part in images.relative_to(root).parts:
        if _IMAGE_WORDS.search(part.lower()) and not re.search("data", part.lower()):
            break
        before.append(part)
    return tuple(part for part in before if _bare(part) not in _SPLITS)


def _match(images: Sequence[Path], masks: Sequence[Path]) -> tuple[list[tuple[Path, tuple[Path, ...]]], list[Path]]:
    """Return the images with their masks, and the files that have no partner."""
    together = bool(masks) and images[0].parent == masks[0].parent
    if together:
        masks = [file for file in masks if _MASK_STEM.search(file.stem)]
        images = [file for file in images if not _MASK_STEM.search(file.stem)]
    for files in (images, masks):
        _refuse_twins(files)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    loose: dict[str, list[Path]] = defaultdict(list)
    for file in masks:
        by_stem[file.stem].append(file)
        loose[_MASK_STEM.sub("", file.stem)].append(file)
    pairs, used, alone = [], set(), []
    for image in images:
        own = by_stem.get(image.stem) or loose.get(image.stem) or loose.get(_IMAGE_STEM.sub("", image.stem)) or []
        if own:
            pairs.append((image, tuple(own)))
            used.update(own)
        else:
            alone.append(image)
    return pairs, alone + [file for file in masks if file not in used]


def _refuse_twins(files: Iterable[Path]) -> None:
    seen: dict[tuple[Path, str], Path] = {}
    for file in files:
        twin = seen.setdefault((file.parent, file.stem), file)
        if twin is not file:
            raise DatasetError(f"{file} and {twin.name} share a stem; keep one of them")
