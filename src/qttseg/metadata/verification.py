"""Verification of a dataset folder: every bad file is named before any training starts (after nnU-Net's contract)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Sample
from qttseg.metadata.fingerprints import digest
from qttseg.metadata.folders import (
    Description,
    Listing,
    class_ids,
    describe,
    describe_mismatch,
    in_threads,
    list_files,
    read_description,
    read_groups,
    unknown_ids,
)
from qttseg.metadata.images import read_image, read_mask
from qttseg.metadata.splits import FEWEST_GROUPS, FEWEST_IMAGES


class Severity(StrEnum):
    """Whether a problem keeps the dataset from being used."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """What can be wrong with a dataset folder."""

    LAYOUT = "layout"
    DESCRIPTION = "description"
    TOO_FEW = "too few"
    DOUBLED = "two files with one stem"
    UNREADABLE = "unreadable"
    SIZE = "size mismatch"
    CLASS = "unknown class id"
    EMPTY = "empty mask"
    IMAGE_ALONE = "image without mask"
    MASK_ALONE = "mask without image"
    FOREIGN = "not an image"
    DUPLICATE = "duplicate"
    UNSEEN = "class never seen"
    FEW_GROUPS = "too few groups"

    @property
    def severity(self) -> Severity:
        """Errors stop a run; warnings leave the file out or do no harm."""
        harmless = (
            Kind.EMPTY,
            Kind.IMAGE_ALONE,
            Kind.MASK_ALONE,
            Kind.FOREIGN,
            Kind.DUPLICATE,
            Kind.UNSEEN,
            Kind.FEW_GROUPS,
        )
        return Severity.WARNING if self in harmless else Severity.ERROR


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: The file or folder, relative to the dataset's where it lies in it.
        kind: What is wrong.
        detail: What was found and what to do about it.
    """

    file: str
    kind: Kind
    detail: str

    @property
    def severity(self) -> Severity:
        """Whether the problem keeps the dataset from being used."""
        return self.kind.severity


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """What is in a dataset folder and what is wrong with it.

    Attributes:
        path: The folder.
        description: Name, task and classes; None where they cannot be told.
        pairs: Images that have a mask.
        sound: Pairs without any error.
        groups: Number of groups; None where unknown.
        class_images: For each class the number of sound pairs that hold it.
        class_shares: For each class its share of the pixels of all sound pairs, in [0, 1].
        problems: Errors first, then by kind and file.
    """

    path: Path
    description: Description | None
    pairs: int = 0
    sound: int = 0
    groups: int | None = None
    class_images: tuple[int, ...] = ()
    class_shares: tuple[float, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the dataset from being used."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do no harm or only leave a file out."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.WARNING)

    @property
    def usable(self) -> bool:
        """Whether there is no error."""
        return not self.errors


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """What was found in one pair: its problems or, where it is sound, its digest and its pixels of each mask value."""

    problems: tuple[Problem, ...] = ()
    digest: str = ""
    pixels: NDArray[np.int64] | None = None


def verify(path: str | Path) -> VerificationReport:
    """Read every file of the dataset folder at `path` and return what is wrong; never raises for its content."""
    root = Path(path)
    try:
        listing = list_files(root)
    except DatasetError as error:
        return VerificationReport(
            path=root, description=None, problems=(Problem(file=str(root), kind=Kind.LAYOUT, detail=str(error)),)
        )
    problems = _listed(root, listing)
    description, groups = _described(root, listing, problems)
    pairs = in_threads(lambda stem: _examine(root, listing.pairs[stem], description), listing.pairs)
    problems += [problem for pair in pairs for problem in pair.problems]
    problems += _duplicates(listing, pairs)
    pixels = [pair.pixels for pair in pairs if pair.pixels is not None]
    images, shares = _shares(pixels, description)
    if description:
        problems += [
            Problem(
                file="masks", kind=Kind.UNSEEN, detail=f"class {label} ({description.classes[label]}) is in no mask"
            )
            for label in range(1, len(images))
            if not images[label]
        ]
    return VerificationReport(
        path=root,
        description=description,
        pairs=len(pairs),
        sound=len(pixels),
        groups=groups,
        class_images=images,
        class_shares=shares,
        problems=tuple(
            sorted(problems, key=lambda problem: (problem.severity, list(Kind).index(problem.kind), problem.file))
        ),
    )


def _listed(root: Path, listing: Listing) -> list[Problem]:
    """Return what is wrong with the names of the files."""
    found = [
        Problem(file=_relative(file, root), kind=kind, detail=detail)
        for kind, files, detail in (
            (Kind.DOUBLED, listing.doubled, "another file has this stem; keep one of them"),
            (Kind.IMAGE_ALONE, listing.images_alone, "left out; add masks/<same stem>.png"),
            (Kind.MASK_ALONE, listing.masks_alone, "left out; add the image of this stem"),
            (
                Kind.FOREIGN,
                listing.foreign,
                "passed over; images are jpg, png, bmp, tif or webp and masks png, bmp or tif",
            ),
        )
        for file in files
    ]
    if len(listing.pairs) < FEWEST_IMAGES:
        detail = f"{len(listing.pairs)} images have a mask of the same stem; at least {FEWEST_IMAGES} are needed"
        found.append(Problem(file=str(root), kind=Kind.TOO_FEW, detail=detail))
    return found


def _described(root: Path, listing: Listing, problems: list[Problem]) -> tuple[Description | None, int | None]:
    """Return the description and the number of groups; adds what is wrong with them to `problems`."""

    def read_ids() -> Sequence[NDArray[np.uint8]]:
        masks = [mask for _, mask in listing.pairs.values()]
        return [ids for ids in in_threads(_readable_ids, masks) if ids is not None]

    description, groups = None, None
    try:
        values = read_description(root)
        description = describe(root, values, read_ids)
        keys = read_groups(root, values, tuple(listing.pairs))
        groups = len(set(keys)) if keys is not None else None
    except DatasetError as error:
        problems.append(Problem(file="dataset.json", kind=Kind.DESCRIPTION, detail=str(error)))
    if groups is not None and groups < FEWEST_GROUPS:
        detail = f"{groups} groups cannot be kept on three sides of a split; images will be drawn one by one"
        problems.append(Problem(file="dataset.json", kind=Kind.FEW_GROUPS, detail=detail))
    return description, groups


def _readable_ids(file: Path) -> NDArray[np.uint8] | None:
    try:
        return np.unique(read_mask(file))
    except DatasetError:
        return None


def _examine(root: Path, files: tuple[Path, Path], description: Description | None) -> _Pair:
    image_file, mask_file = files
    problems: list[Problem] = []
    image = _read(root, image_file, read_image, problems)
    mask = _read(root, mask_file, read_mask, problems)
    if image is None or mask is None:
        return _Pair(problems=tuple(problems))
    name = _relative(mask_file, root)
    if image.shape[:2] != mask.shape:
        problems.append(Problem(file=name, kind=Kind.SIZE, detail=f"{describe_mismatch(image, mask)}; export it anew"))
    if description:
        mask = class_ids(mask, description.task)
        unknown = unknown_ids(mask, len(description.classes))
        if unknown:
            detail = f"class ids {unknown} are not among the {len(description.classes)} classes"
            problems.append(Problem(file=name, kind=Kind.CLASS, detail=f"{detail}; mend the mask or dataset.json"))
    if problems:
        return _Pair(problems=tuple(problems))
    if description and not ((mask != 0) & (mask != IGNORE)).any():
        problems.append(
            Problem(file=name, kind=Kind.EMPTY, detail="no foreground pixel; the image trains and scores nothing")
        )
    return _Pair(
        problems=tuple(problems),
        digest=digest(Sample(image=image, mask=mask, name=name)),
        pixels=np.bincount(mask.ravel(), minlength=256),
    )


def _read(
    root: Path, file: Path, read: Callable[[Path], NDArray[np.uint8]], problems: list[Problem]
) -> NDArray[np.uint8] | None:
    try:
        return read(file)
    except DatasetError as error:
        problems.append(Problem(file=_relative(file, root), kind=Kind.UNREADABLE, detail=str(error)))
        return None


def _duplicates(listing: Listing, pairs: Sequence[_Pair]) -> list[Problem]:
    """Return the pairs whose pixels occurred before: they can land on both sides of a split."""
    stems: dict[str, list[str]] = defaultdict(list)
    for stem, pair in zip(listing.pairs, pairs, strict=True):
        if pair.digest:
            stems[pair.digest].append(stem)
    return [
        Problem(
            file=f"images/{listing.pairs[twin][0].name}",
            kind=Kind.DUPLICATE,
            detail=f"same pixels as {first}; remove one",
        )
        for first, *twins in stems.values()
        for twin in twins
    ]


def _shares(
    pixels: Sequence[NDArray[np.int64]], description: Description | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return for each class the number of images that hold it and its share of all pixels that count."""
    if description is None or not pixels:
        return (), ()
    counts = np.stack(pixels)[:, : len(description.classes)]
    shares = counts.sum(axis=0) / max(counts.sum(), 1)
    return tuple(int(images) for images in (counts > 0).sum(axis=0)), tuple(float(share) for share in shares)


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root))
