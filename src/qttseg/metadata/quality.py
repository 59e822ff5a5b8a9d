"""What a dataset is like: class shares, sizes, components, empty and tiny masks, and images that look the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import numpy as np

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset
from qttseg.metadata.facts import Facts, Size
from qttseg.metadata.looks import looks_of, near_pairs
from qttseg.metadata.protocol import PAPER
from qttseg.metadata.splits import draw_split

TINY_SHARE = 0.0005
"""Share of the image below which a mask is tiny: at SAM's 1,024 pixels an area 23 pixels wide and high."""

MOST_TWINS = 100
"""Pairs of similar images that are named; all are counted."""

_COMPONENT_BINS = ((0, "none"), (1, "1"), (2, "2"), (3, "3"), (4, "4 to 7"), (8, "8 to 15"), (16, "16 or more"))
_SHARE_BINS = (
    (0.0, "empty"),
    (1e-9, "tiny"),
    (TINY_SHARE, "up to 0.5 %"),
    (0.005, "up to 2 %"),
    (0.02, "up to 5 %"),
    (0.05, "up to 20 %"),
    (0.2, "up to 50 %"),
    (0.5, "above 50 %"),
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row of a chart: how many of all."""

    label: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassQuality:
    """How much there is of a class.

    Attributes:
        name: What it is called.
        images: Number of images that hold it.
        share: Share of all pixels that count, in [0, 1].
        components: Mean number of connected areas in the images that hold it; None for the background and without any.
    """

    name: str
    images: int
    share: float
    components: float | None


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """Two images that look the same.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        bits: In how many of 256 bits their looks differ.
        sides: Where both land in the paper's split with seed 0, as in `train` and `test`; `unused` where not drawn.
        same_group: Whether they are of one patient, video or the like, which splits keep together.
    """

    first: str
    second: str
    bits: int
    sides: tuple[str, str]
    same_group: bool

    @property
    def across(self) -> bool:
        """Whether one of them tells about the other in a benchmark: both are used, on different sides."""
        return self.sides[0] != self.sides[1] and "unused" not in self.sides


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What a dataset is like.

    Attributes:
        images: Number of images.
        classes: The background first.
        sizes: (height, width) with the number of images of that size, the most frequent first.
        components: Images by their number of connected areas, of all classes together.
        shares: Images by the share of their pixels that is foreground.
        empty: Names of the images without any foreground.
        tiny: Names of the images with a foreground below `TINY_SHARE`, with the share.
        near: The worst pairs of images that look the same: across sides of the split first, then the most alike.
        near_counts: Number of all such pairs by their sides, as in `train / test`.
    """

    images: int
    classes: tuple[ClassQuality, ...]
    sizes: tuple[tuple[Size, int], ...]
    components: tuple[Bar, ...]
    shares: tuple[Bar, ...]
    empty: tuple[str, ...]
    tiny: tuple[tuple[str, float], ...]
    near: tuple[NearPair, ...]
    near_counts: Mapping[str, int]

    def frequent_sizes(self, most: int = 8) -> tuple[Bar, ...]:
        """Return how many images have each of the most frequent sizes, and how many have others."""
        rows = [(f"{width} × {height}", count) for (height, width), count in self.sizes[:most]]
        others = [count for _, count in self.sizes[most:]]
        if others:
            rows.append((f"{len(others)} other sizes", sum(others)))
        return tuple(Bar(label=label, count=count, share=count / self.images) for label, count in rows)


def quality_of(dataset: Dataset) -> Quality:
    """Return what a dataset is like; all its images are read, or remembered from an earlier time.

    Raises:
        DatasetError: an item cannot be read.
    """
    return assess(dict(zip(dataset.names, dataset.facts, strict=True)), dataset.classes, dataset)


def assess(facts: Mapping[str, Facts], classes: Sequence[str], dataset: Dataset | None = None) -> Quality:
    """Return what these items are like.

    Args:
        facts: What is known about each item, by its name.
        classes: Class names, the background first.
        dataset: What they are the items of, for splits and groups; None where it is not fit for use.
    """
    shares = {name: _foreground_share(found) for name, found in facts.items()}
    near, counts = _near(facts, dataset)
    return Quality(
        images=len(facts),
        classes=tuple(_classes(list(facts.values()), classes)),
        sizes=tuple(Counter(found.image_size for found in facts.values() if found.image_size).most_common()),
        components=_bars([_areas(found) for found in facts.values()], _COMPONENT_BINS),
        shares=_bars(list(shares.values()), _SHARE_BINS),
        empty=tuple(name for name, share in shares.items() if share == 0),
        tiny=tuple((name, share) for name, share in shares.items() if 0 < share < TINY_SHARE),
        near=near,
        near_counts=counts,
    )


def _foreground_share(facts: Facts) -> float:
    counted = sum(count for value, count in facts.pixels.items() if value != IGNORE)
    return facts.foreground / max(counted, 1)


def _areas(facts: Facts) -> int:
    return sum(count for value, count in facts.components.items() if value != IGNORE)


def _bars(values: Sequence[float], bins: Sequence[tuple[float, str]]) -> tuple[Bar, ...]:
    """Return how many values lie in each bin, from its lower bound up to the next one's."""
    bounds = np.array([bound for bound, _ in bins])
    places = np.searchsorted(bounds, np.array(values, np.float64), side="right") - 1
    counts = np.bincount(places, minlength=len(bins)).tolist()
    return tuple(
        Bar(label=label, count=count, share=count / max(len(values), 1))
        for (_, label), count in zip(bins, counts, strict=True)
    )


def _classes(facts: Sequence[Facts], classes: Sequence[str]) -> Iterator[ClassQuality]:
    pixels = [sum(found.pixels.get(label, 0) for found in facts) for label in range(len(classes))]
    for label, name in enumerate(classes):
        components = [found.components[label] for found in facts if label in found.components]
        yield ClassQuality(
            name=name,
            images=sum(label in found.pixels for found in facts),
            share=pixels[label] / max(sum(pixels), 1),
            components=fmean(components) if components else None,
        )


def _near(facts: Mapping[str, Facts], dataset: Dataset | None) -> tuple[tuple[NearPair, ...], dict[str, int]]:
    """Return the worst pairs of similar images, and the number of all by their sides."""
    names = list(facts)
    looks = looks_of(b"".join(found.look for found in facts.values()))
    sides, groups = _sides(dataset), _groups(dataset)
    counts: Counter[str] = Counter()
    worst: list[NearPair] = []
    pairs = near_pairs(looks)
    while block := list(islice(pairs, 10 * MOST_TWINS)):  # a few at a time: of a fixed camera every pair is near
        for first, second, bits in block:
            one, other = names[first], names[second]
            places = (sides.get(one, "unused"), sides.get(other, "unused"))
            counts[" / ".join(sorted(places))] += 1
            alike = one in groups and groups[one] == groups.get(other)
            worst.append(NearPair(first=one, second=other, bits=bits, sides=places, same_group=alike))
        worst = sorted(worst, key=lambda pair: (not pair.across, pair.bits, pair.first))[:MOST_TWINS]
    return tuple(worst), dict(sorted(counts.items()))


def _sides(dataset: Dataset | None) -> dict[str, str]:
    """Return where each item lands in the paper's split with seed 0; nothing where there is no such split."""
    if dataset is None:
        return {}
    try:
        split = draw_split(dataset, PAPER, seed=0)
    except DatasetError:
        return {}
    return {dataset.names[index]: side for side, indices in vars(split).items() for index in indices}


def _groups(dataset: Dataset | None) -> dict[str, str]:
    return dict(zip(dataset.names, dataset.groups, strict=True)) if dataset and dataset.groups else {}
