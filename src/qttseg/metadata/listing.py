"""Which files of a dataset folder belong together; made for a hundred thousand of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.examination import Progress, examine_all, unheard
from qttseg.metadata.facts import Facts, facts_of_files

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})

Files = tuple[Path, Path]
"""An image and its mask."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs(Mapping[str, Files]):
    """The pairs of a folder by their stems, in the order of these; paths are made when asked for, as there may be many.

    Attributes:
        root: The dataset folder.
        images: Stem → name of the image.
        masks: Stem → name of the mask, for the same stems.
    """

    root: Path
    images: Mapping[str, str]
    masks: Mapping[str, str]

    def __getitem__(self, stem: str) -> Files:
        return self.root / "images" / self.images[stem], self.root / "masks" / self.masks[stem]

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def stamps(self) -> list[str]:
        """Return for each pair a text that changes whenever a file may have changed; empty where one cannot be looked at."""
        images, masks = f"{self.root}/images", f"{self.root}/masks"
        return [_stamp(f"{images}/{image}", f"{masks}/{self.masks[stem]}") for stem, image in self.images.items()]

    def facts(self, on_progress: Progress = unheard) -> list[Facts]:
        """Return the facts about each pair; those of files that have not changed since are remembered."""
        stems = list(self)
        return examine_all(
            lambda index: facts_of_files(*self[stems[index]]),
            self.stamps(),
            shelf=str(self.root.resolve()),
            on_progress=on_progress,
        )


def _stamp(*files: str) -> str:
    try:
        stats = [os.stat(file) for file in files]  # noqa: PTH116 (a hundred thousand paths take seconds to make)
    except (OSError, ValueError):
        return ""
    return " ".join([repr(files), *(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}" for stat in stats)])


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a dataset folder, paired by stem.

    Attributes:
        pairs: Stem → (image, mask).
        images_alone: Images without a mask.
        masks_alone: Masks without an image.
        doubled: Files that share folder and stem with another one.
        foreign: Files that are neither images nor hidden.
    """

    pairs: Pairs
    images_alone: tuple[Path, ...]
    masks_alone: tuple[Path, ...]
    doubled: tuple[Path, ...]
    foreign: tuple[Path, ...]


def list_files(root: Path) -> Listing:
    """Return the files below `root/images` and `root/masks`, paired by stem.

    Raises:
        DatasetError: a folder is missing.
    """
    for folder in (root, root / "images", root / "masks"):
        if not folder.is_dir():
            raise DatasetError(
                f"{folder} is not a folder; a dataset has images/<stem>.jpg and masks/<stem>.png "
                "(`qttseg datasets add NAME PATH` reads other layouts)"
            )
    images, masks = _by_stem(root / "images", IMAGE_SUFFIXES), _by_stem(root / "masks", MASK_SUFFIXES)
    stems = sorted(stem for stem in images.first if stem in masks.first)
    return Listing(
        pairs=Pairs(
            root=root,
            images={stem: images.first[stem] for stem in stems},
            masks={stem: masks.first[stem] for stem in stems},
        ),
        images_alone=images.without(masks),
        masks_alone=masks.without(images),
        doubled=images.doubled + masks.doubled,
        foreign=images.foreign + masks.foreign,
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One folder: the first file of each stem, all files of those that have several, and files of other kinds."""

    folder: Path
    first: Mapping[str, str]
    doubled: tuple[Path, ...]
    foreign: tuple[Path, ...]

    def without(self, other: _Part) -> tuple[Path, ...]:
        """Return the files whose stems `other` lacks."""
        return tuple(self.folder / self.first[stem] for stem in sorted(self.first.keys() - other.first.keys()))


def _by_stem(folder: Path, suffixes: frozenset[str]) -> _Part:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name for entry in entries if entry.is_file(follow_symlinks=False) or not _is_folder(entry)
            )
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed: {error.strerror}; mend its permissions") from error
    first: dict[str, str] = {}  # one object more for each of 100,000 files takes longer than all else
    again: dict[str, list[str]] = {}
    foreign = []
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if name.startswith(".") or name == "Thumbs.db":
            continue
        if (dot + ending).lower() not in suffixes:
            foreign.append(folder / name)
        elif first.setdefault(stem, name) is not name:
            again.setdefault(stem, [first[stem]]).append(name)
    doubled = tuple(folder / name for twins in again.values() for name in twins)
    return _Part(folder=folder, first=first, doubled=doubled, foreign=tuple(foreign))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # as of a link to itself, which is no image either and will be named
        return False
