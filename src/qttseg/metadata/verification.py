"""Verification of a dataset folder: every bad file is named before any training starts (after nnU-Net's contract)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.examination import Progress, unheard
from qttseg.metadata.facts import Facts
from qttseg.metadata.folders import (
    Description,
    describe,
    describe_mismatch,
    read_description,
    read_groups,
)
from qttseg.metadata.listing import Files, Listing, list_files
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
        groups: Number of groups; None where unknown.
        class_images: For each class the number of sound pairs that hold it.
        class_shares: For each class its share of the pixels of all sound pairs, in [0, 1].
        facts: What is known about each pair without any error, by its stem.
        problems: Errors first, then by kind and file.
    """

    path: Path
    description: Description | None
    pairs: int = 0
    groups: int | None = None
    class_images: tuple[int, ...] = ()
    class_shares: tuple[float, ...] = ()
    facts: Mapping[str, Facts] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def sound(self) -> int:
        """Number of pairs without any error."""
        return len(self.facts)

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


def verify(path: str | Path, *, on_progress: Progress = unheard) -> VerificationReport:
    """Examine every file of the dataset folder at `path` and return what is wrong; never raises for its content.

    Files that have not changed since they were examined last are not read again.

    Args:
        path: The folder.
        on_progress: Told of each pair.
    """
    root = Path(path)
    try:
        listing = list_files(root)
    except DatasetError as error:
        return VerificationReport(
            path=root, description=None, problems=(Problem(file=str(root), kind=Kind.LAYOUT, detail=str(error)),)
        )
    problems = _listed(root, listing)
    found = dict(zip(listing.pairs, listing.pairs.facts(on_progress), strict=True))
    description, groups = _described(root, listing, found, problems)
    if description is not None:
        found = {stem: facts.as_task(description.task) for stem, facts in found.items()}
    sound = {}
    for stem, facts in found.items():
        of_pair = list(_of_pair(root, listing.pairs[stem], facts, description))
        problems += of_pair
        if all(problem.severity is Severity.WARNING for problem in of_pair):
            sound[stem] = facts
    problems += _duplicates(listing, sound)
    images, shares = _shares(list(sound.values()), description)
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
        pairs=len(found),
        groups=groups,
        class_images=images,
        class_shares=shares,
        facts=sound,
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


def _described(
    root: Path, listing: Listing, found: Mapping[str, Facts], problems: list[Problem]
) -> tuple[Description | None, int | None]:
    """Return the description and the number of groups; adds what is wrong with them to `problems`."""
    description, groups = None, None
    try:
        values = read_description(root)
        description = describe(root, values, lambda: [facts.pixels for facts in found.values()])
        keys = read_groups(root, values, tuple(listing.pairs))
        groups = len(set(keys)) if keys is not None else None
    except DatasetError as error:
        problems.append(Problem(file="dataset.json", kind=Kind.DESCRIPTION, detail=str(error)))
    if groups is not None and groups < FEWEST_GROUPS:
        detail = f"{groups} groups cannot be kept on three sides of a split; images will be drawn one by one"
        problems.append(Problem(file="dataset.json", kind=Kind.FEW_GROUPS, detail=detail))
    return description, groups


def _of_pair(root: Path, files: Files, facts: Facts, description: Description | None) -> Iterator[Problem]:
    """Yield what is wrong with one pair."""
    image, mask = (_relative(file, root) for file in files)
    for file, problem in ((image, facts.image_problem), (mask, facts.mask_problem)):
        if problem:
            yield Problem(file=file, kind=Kind.UNREADABLE, detail=problem)
    if facts.image_size is None or facts.mask_size is None:
        return
    if facts.image_size != facts.mask_size:
        sizes = describe_mismatch(facts.image_size, facts.mask_size)
        yield Problem(file=mask, kind=Kind.SIZE, detail=f"{sizes}; export it anew")
    if description is None:
        return
    unknown = facts.unknown_ids(len(description.classes))
    if unknown:
        detail = f"class ids {unknown} are not among the {len(description.classes)} classes"
        yield Problem(file=mask, kind=Kind.CLASS, detail=f"{detail}; mend the mask or dataset.json")
    elif not facts.foreground:
        yield Problem(file=mask, kind=Kind.EMPTY, detail="no foreground pixel; the image trains and scores nothing")


def _duplicates(listing: Listing, sound: Mapping[str, Facts]) -> list[Problem]:
    """Return the pairs whose pixels occurred before: they can land on both sides of a split."""
    stems: dict[str, list[str]] = defaultdict(list)
    for stem, facts in sound.items():
        stems[facts.digest].append(stem)
    return [
        Problem(
            file=f"images/{listing.pairs[twin][0].name}",
            kind=Kind.DUPLICATE,
            detail=f"same pixels as {first}; remove one",
        )
        for first, *twins in stems.values()
        for twin in twins
    ]


def _shares(sound: Sequence[Facts], description: Description | None) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return for each class the number of images that hold it and its share of all pixels that count."""
    if description is None or not sound:
        return (), ()
    ids = range(len(description.classes))
    pixels = [sum(facts.pixels.get(label, 0) for facts in sound) for label in ids]
    images = tuple(sum(label in facts.pixels for facts in sound) for label in ids)
    return images, tuple(count / max(sum(pixels), 1) for count in pixels)


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root))
