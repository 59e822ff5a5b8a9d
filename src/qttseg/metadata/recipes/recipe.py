"""What a recipe says, validated where it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Task
from qttseg.metadata.recipes.templates import Template

Client = Literal["kaggle", "huggingface", "web"]
MaskKind = Literal["threshold", "nonblack", "values", "palette", "geojson", "parts", "unknown"]
Trust = Literal["high", "medium", "low"]
DifferenceKind = Literal[
    "counts", "unpaired", "doubled", "sizes", "mismatch", "unreadable", "values", "classes", "groups", "duplicates"
]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the files can be got.

    Attributes:
        client: What fetches them: kagglehub, huggingface_hub, or a plain download.
        id: `owner/name` at Kaggle or Hugging Face; the page to open for plain addresses.
        version: Version or revision to fetch; empty where none is known, and the newest is taken.
        files: Hugging Face: which files; plain addresses: the addresses themselves.
        sha256: Of each plain address, where published.
    """

    client: Client
    id: str
    version: str = ""
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject a source that cannot be fetched.

        Raises:
            DatasetError: the client is unknown, an address is missing, or the checksums do not go with them.
        """
        _one_of("client", self.client, Client)
        if self.client == "web" and not self.files:
            raise DatasetError(f"the source {self.id} names no address; list them as files")
        if self.sha256 and len(self.sha256) != len(self.files):
            raise DatasetError(f"the source {self.id} has {len(self.files)} files but {len(self.sha256)} checksums")

    @property
    def page(self) -> str:
        """The page to open in a browser."""
        places = {"kaggle": "https://www.kaggle.com/datasets/", "huggingface": "https://huggingface.co/datasets/"}
        return places.get(self.client, "") + self.id

    @property
    def files_wanted(self) -> str:
        """What to get there, in words."""
        if self.files:
            return " and ".join(file.rsplit("/", 1)[-1] for file in self.files)
        return "the archive" + (f" (version {self.version})" if self.version else "")


@dataclass(frozen=True, kw_only=True)
class MaskCode:
    """How mask files say which class a pixel has.

    Attributes:
        kind: `threshold`: above `above` in equal channels; `nonblack`: any colour but black; `values`: one number a
            pixel, looked up; `palette`: a colour a pixel, looked up; `geojson`: polygons of the one class;
            `parts`: a file for each part that an image shows, named by the place `part`, black but for the part;
            `unknown`: the conversion stops and shows what the masks hold.
        above: For `threshold`: the largest background value.
        values: For `values`: mask value → class id.
        colours: For `palette`: red, green, blue, class id.
        parts: For `parts`: name → class id, in the order in which they are painted, later ones over earlier ones.
        scaled: Whether a mask of the image's shape but another size is brought to the image's size, by nearest
            neighbour.
        distance: For `palette`: furthest Euclidean distance in RGB at which a colour still counts as its nearest.
        ignore: For `values`: mask values that mean "neither trained on nor scored".
        stray: Largest share of all pixels, in [0, 1], that may have a value outside the code. They are thresholded
            (`threshold`) or ignored (`values`, `palette`).
        encoding: For `geojson`: of the text.
        holes: For `geojson`: whether inner rings are cut out.
    """

    kind: MaskKind
    above: int = 127
    values: Mapping[int, int] = field(default_factory=dict)
    colours: tuple[tuple[int, int, int, int], ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    scaled: bool = False
    distance: float = 0.0
    ignore: tuple[int, ...] = ()
    stray: float = 0.0
    encoding: str = "utf-8"
    holes: bool = True

    def __post_init__(self) -> None:
        """Reject a code that could not be read.

        Raises:
            DatasetError: the kind is unknown or lacks its table.
        """
        _one_of("mask kind", self.kind, MaskKind)
        tables = {
            "values": ("values", self.values),
            "palette": ("colours", self.colours),
            "parts": ("parts", self.parts),
        }
        name, table = tables.get(self.kind, ("", True))
        if not table:
            raise DatasetError(f"a mask of kind {self.kind} needs the table {name}")

    def classes(self) -> set[int]:
        """The class ids that the code can give, 255 aside; empty where not yet known."""
        if self.kind == "values":
            return set(self.values.values()) - {IGNORE}
        if self.kind == "palette":
            return {colour[3] for colour in self.colours} - {IGNORE}
        if self.kind == "parts":
            return {0, *self.parts.values()} - {IGNORE}
        return set() if self.kind == "unknown" else {0, 1}


@dataclass(frozen=True, kw_only=True)
class Groups:
    """What must not be parted by a split: a patient, a video.

    Attributes:
        by: Template over the places of `images`, as in `{video}`.
        meaning: What a group is, for the report.
        pattern: Expression whose first group, found in `by`, is the key; an item without one is its own group.
        lower: Whether case is dropped.
        starts: `by` is a number; groups begin at these.
        block: `by` is a number; groups are blocks of so many.
        table: `[file, key column, group column]`: a CSV file that says it; `starts` are for where it is missing.
        count: How many groups there should be (any of these); empty where unknown.
    """

    by: str
    meaning: str
    pattern: str = ""
    lower: bool = False
    starts: tuple[int, ...] = ()
    block: int = 0
    table: tuple[str, ...] = ()
    count: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to make a dataset of a source's files.

    Attributes:
        about: What is in it.
        classes: Class names, the background first.
        sources: Where the files can be got, the most practical first.
        images: Template of the image files; empty where the layout is unknown.
        masks: Templates of the mask files; several are united. Places they share with `images` pair them.
        rows: `[files template, image column, mask column]` of Parquet files that hold the pictures.
        mask: How masks are coded.
        groups: What must not be parted; None where nothing is known.
        pairs: How many pairs there should be (any of these); empty where unknown.
        alone: How many images have no mask in the source.
        sizes: Heights and widths that images may have; empty where unknown or varied.
        accept: Differences that are known and no reason to stop.
    """

    about: str
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    images: str = ""
    masks: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    mask: MaskCode
    groups: Groups | None = None
    pairs: tuple[int, ...] = ()
    alone: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    accept: tuple[DifferenceKind, ...] = ()

    def __post_init__(self) -> None:
        """Reject a variant that contradicts itself.

        Raises:
            DatasetError: images and masks share no place, parts have none, the mask code names a class that is not there, or a
                difference is unknown.
        """
        if bool(self.images) != bool(self.masks):
            raise DatasetError("images and masks go together; give both templates or none")
        if self.images:
            shared = set(Template(self.images).places)
            for template in self.masks:
                shared &= set(Template(template).places)
            if not shared:
                raise DatasetError(
                    f"the templates {self.images!r} and {list(self.masks)} share no place that could pair them"
                )
        if self.mask.kind == "parts" and not (len(self.masks) == 1 and "part" in Template(self.masks[0]).places):
            raise DatasetError("masks of kind parts need one template with the place {part}")
        unknown = sorted(self.mask.classes() - set(range(len(self.classes))))
        if unknown:
            raise DatasetError(
                f"the mask code gives the class ids {unknown}, but there are {len(self.classes)} classes"
            )
        for kind in self.accept:
            _one_of("accepted difference", kind, DifferenceKind)

    @property
    def task(self) -> Task:
        """Whether there is one foreground class or several."""
        return "binary" if len(self.classes) == 2 else "multiclass"

    def needs(self, path: str) -> bool:
        """Return whether a file of the source, named with `/`, is an image, a mask, rows of them, or tells groups."""
        tells_groups = self.groups is not None and path.rsplit("/", 1)[-1] in self.groups.table[:1]
        return tells_groups or any(template.match(path) for template in self._templates)

    @cached_property
    def _templates(self) -> tuple[Template, ...]:
        return tuple(Template(text) for text in (self.images, *self.masks, *self.rows[:1]) if text)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that is known of a public dataset.

    Attributes:
        name: What the paper calls it, and what it is added as.
        title: What its authors call it.
        citation: Whom to cite.
        licence: As stated by its authors or page.
        home: Its own page.
        trust: How sure the recipe is.
        unsure: What is not known and has to be looked at on the real files.
        notes: What to know when using it.
        variants: By name; the first is the default.
    """

    name: str
    title: str
    citation: str
    licence: str
    home: str
    trust: Trust
    unsure: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    variants: Mapping[str, Variant]

    def __post_init__(self) -> None:
        """Reject a recipe without variants.

        Raises:
            DatasetError: there is none, or the trust is unknown.
        """
        _one_of("trust", self.trust, Trust)
        if not self.variants:
            raise DatasetError("a recipe needs at least one variant")

    @property
    def default(self) -> str:
        """The name of the variant that is taken where none is asked for."""
        return next(iter(self.variants))

    @property
    def main(self) -> Variant:
        """The default variant."""
        return self.variants[self.default]


def _one_of(noun: str, value: str, choices: object) -> None:
    known = get_args(choices)
    if value not in known:
        raise DatasetError(f"unknown {noun} {value!r}; known are {', '.join(known)}")
