"""Datasets: named image/mask pairs that are read when asked for, and how a name becomes one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from qttseg.errors import DatasetError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import numpy as np
    from numpy.typing import NDArray

    from qttseg.metadata.facts import Facts
    from qttseg.metadata.sketches import Sketch

Task = Literal["binary", "multiclass"]

IGNORE = 255
"""Mask value of pixels that are neither trained on nor scored."""

ENTRY_POINTS = "qttseg.datasets"
"""Entry-point group under which other packages register a callable that returns a `Dataset`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image with its mask.

    Attributes:
        image: uint8 array `height x width x 3`.
        mask: uint8 array `height x width` of class ids; 0 is background, 255 is to be ignored.
        name: The item's stem.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    name: str


class Source(Protocol):
    """Where a dataset's items come from."""

    def load(self, index: int) -> Sample:
        """Read or draw the item at `index`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Identity:
    """By what a dataset is known again, without its images.

    Attributes:
        name: What tables call it.
        fingerprint: Hash of its content.
        sketch: What its images look like; None where nobody knows.
    """

    name: str
    fingerprint: str
    sketch: Sketch | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Named image/mask pairs, read lazily.

    Attributes:
        name: What tables call it.
        task: Whether there is one foreground class or several.
        classes: Class names; the index is the class id, 0 is the background.
        names: Item names, unique, in the order of the indices.
        groups: For each item what it must not be parted from (patient, video); None where unknown.
        source: Reads items.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    source: Source

    def __post_init__(self) -> None:
        """Reject what could not be split or scored.

        Raises:
            DatasetError: the classes, names or groups contradict each other.
        """
        if len(self.classes) < 2 or (self.task == "binary" and len(self.classes) != 2):
            raise DatasetError(
                f"dataset {self.name} ({self.task}) has the classes {list(self.classes)}; "
                "name the background and, for a binary task, exactly one foreground class"
            )
        if len(set(self.names)) != len(self.names):
            raise DatasetError(f"dataset {self.name} has two items of one name; names must be unique")
        if self.groups is not None and len(self.groups) != len(self.names):
            raise DatasetError(f"dataset {self.name} has {len(self.names)} items but {len(self.groups)} groups")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"dataset {self.name} has {len(self)} items; there is no item {index}")
        return self.source.load(index % len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def facts(self) -> tuple[Facts, ...]:
        """What is known about each item, in order; all are read, or remembered from an earlier time.

        Raises:
            DatasetError: an item cannot be read.
        """
        from qttseg.metadata.examination import facts_of_source

        return facts_of_source(self.source, len(self))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the content, whatever the order and the names of the items."""
        from qttseg.metadata.facts import fingerprint_of

        return fingerprint_of(self.facts)

    @cached_property
    def identity(self) -> Identity:
        """By what the dataset is known again under another name, in another format or size."""
        from qttseg.metadata.sketches import Sketch

        sketch = Sketch.of(self.facts, fingerprint=self.fingerprint)
        return Identity(name=self.name, fingerprint=self.fingerprint, sketch=sketch)

    @classmethod
    def from_folders(cls, path: str | Path, *, images: str | None = None, masks: str | None = None) -> Dataset:
        """Return the dataset in `path/images` and `path/masks`, described by `path/dataset.json` where there is one.

        Images without a mask, and the reverse, are left out and named in the log; `qttseg.metadata.verification`
        lists them. Without a description the classes are those that occur in the masks, which are all read.

        Args:
            path: A folder.
            images: The folder of images below `path`, where it is called otherwise. With this or `masks`, files are
                paired as `qttseg datasets add` does: by stems, prefixes and suffixes.
            masks: The folder of masks, or several by commas, which are united.

        Raises:
            DatasetError: there are no pairs, two files share a stem, or the description is wrong.
        """
        from qttseg.metadata.folders import open_folders

        rules = {rule: folder for rule, folder in (("images", images), ("masks", masks)) if folder is not None}
        if rules:
            from qttseg.metadata.adding import open_dataset

            return open_dataset(path, format="folders", rules=rules)
        folder = open_folders(Path(path))
        return cls(
            name=folder.description.name,
            task=folder.description.task,
            classes=folder.description.classes,
            names=tuple(folder.source.pairs),
            groups=folder.groups,
            source=folder.source,
        )

    @classmethod
    def from_coco(cls, path: str | Path, *, images: str | Path | None = None, name: str | None = None) -> Dataset:
        """Return the dataset of a COCO file, or of all COCO files in a folder; masks are painted when asked for.

        Args:
            path: The JSON file, or a folder.
            images: The folder that file names are relative to, where it is not found beside the JSON file.
            name: What tables call it; the file's stem by default.

        Raises:
            DatasetError: the JSON is malformed, no image is found, or no annotation has an outline.
        """
        from qttseg.metadata.adding import open_dataset

        rules = {} if images is None else {"images": str(Path(images).absolute())}
        return open_dataset(path, format="coco", name=name, rules=rules)

    @classmethod
    def from_hf(
        cls,
        path: str | Path,
        *,
        image: str | None = None,
        mask: str | None = None,
        split: str | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Return a Hugging Face dataset: a Parquet file, a folder, or a name of the hub; rows are read when asked for.

        Args:
            path: A file, a folder, or `owner/name`.
            image: The column of images; found by its name by default.
            mask: The column of masks, which hold class ids; found by its name by default.
            split: One split; all by default.
            name: What tables call it; the path's stem by default.

        Raises:
            DatasetError: it cannot be loaded, or holds no such columns.
        """
        from qttseg.metadata.adding import open_dataset

        rules = {"image": image, "mask": mask, "split": split}
        known = {rule: value for rule, value in rules.items() if value is not None}
        return open_dataset(path, format="hf", name=name, rules=known)


def resolve_dataset(name_or_path: str) -> Dataset:
    """Return the dataset of a name, as in `procedural-polyp`, or of a folder.

    Names come first, in this order: procedural datasets, plug-ins, the user's library (`metadata.library`).

    Raises:
        DatasetError: there is no such name or folder; the message lists near names.
    """
    from qttseg.metadata.library import library_folder
    from qttseg.metadata.procedural.suite import NAMES, procedural_dataset

    if name_or_path in NAMES:
        return procedural_dataset(name_or_path)
    registered = _registered()
    if name_or_path in registered:
        return _load(registered[name_or_path])
    folder = library_folder(name_or_path) or Path(name_or_path)
    if folder.is_dir():
        return Dataset.from_folders(folder)
    from qttseg.metadata.recipes.catalogue import NAMES as KNOWN

    if name_or_path in KNOWN:
        raise DatasetError(
            f"{name_or_path} is not here yet; get it with `qttseg datasets fetch {name_or_path}` "
            f"(`qttseg datasets info {name_or_path}` tells where it is from)"
        )
    raise unknown_dataset(name_or_path, KNOWN)


def dataset_folder(name_or_path: str) -> Path:
    """Return the folder of a dataset of the user's library, or a folder given by its path.

    Raises:
        DatasetError: there is none, or the dataset is not kept in a folder.
    """
    from qttseg.metadata.library import library_folder

    folder = library_folder(name_or_path) or Path(name_or_path)
    if folder.exists():
        return folder
    if is_dataset(name_or_path):
        raise DatasetError(f"{name_or_path} has no files; `qttseg datasets stats {name_or_path}` describes it")
    raise unknown_dataset(name_or_path)


def fixed_names() -> frozenset[str]:
    """Return the names of datasets and suites that no dataset of the library can have."""
    from qttseg.metadata.procedural.suite import NAMES, SUITES

    return frozenset(("paper13", *SUITES, *NAMES, *_registered()))


def is_dataset(name: str) -> bool:
    """Return whether `resolve_dataset` knows `name` as a name: a procedural dataset, a plug-in, or one of the library."""
    from qttseg.metadata.library import library_folder
    from qttseg.metadata.procedural.suite import NAMES

    return name in NAMES or name in _registered() or library_folder(name) is not None


def unknown_dataset(name: str, others: Sequence[str] = ()) -> DatasetError:
    """Return the error that says that `name` is no dataset, and which names are near it.

    Args:
        name: What was asked for.
        others: Names that would have been right beside those of datasets.
    """
    from difflib import get_close_matches

    from qttseg.metadata.library import library
    from qttseg.metadata.procedural.suite import NAMES

    known = [*others, *NAMES, *_registered(), *library()]
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known
    return DatasetError(f"there is no dataset and no folder {name!r}; near names are {', '.join(near)}")


def _registered() -> dict[str, EntryPoint]:
    return entry_points_of(ENTRY_POINTS, tuple(sys.path))


@lru_cache(maxsize=8)
def entry_points_of(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001
    """Return the entry points of a group by their names; looked up once for each `sys.path`, as that takes a while."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=group)}


def _load(entry: EntryPoint) -> Dataset:
    try:
        dataset = entry.load()()
    except (ImportError, AttributeError) as error:
        raise DatasetError(f"the plug-in {entry.value} of dataset {entry.name} cannot be loaded: {error}") from error
    if not isinstance(dataset, Dataset):
        raise DatasetError(
            f"the plug-in {entry.value} of dataset {entry.name} must return a Dataset, not {type(dataset)}"
        )
    return dataset
