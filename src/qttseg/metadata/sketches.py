"""Sketches of datasets, by which twins are known: datasets that hold largely the same images, whatever was done to the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qttseg.errors import StoreError

if TYPE_CHECKING:
    from qttseg.metadata.facts import Facts

TWINS_SHARE = 0.5
"""Share of the smaller dataset's images from which on two datasets are twins."""

MOST_LOOKS = 4096
"""Looks of images in a sketch: 128 KiB. Of larger datasets some are drawn."""

FEW_LOOKS = 32
"""Looks in the sketches that a predictor carries: 1 KiB for each dataset it has seen."""

_FEWEST_MATCHES = 3
_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """The looks of some images of a dataset.

    Attributes:
        images: Images in the dataset.
        looks: The looks of all of them, or of some drawn at random: 32 bytes each (`looks.look`), in random order.
    """

    images: int
    looks: bytes

    def __post_init__(self) -> None:
        """Reject what is no sketch.

        Raises:
            StoreError: the looks are cut short, or more than there are images.
        """
        if len(self.looks) % _BYTES or len(self.looks) > self.images * _BYTES:
            raise StoreError(f"a sketch of {self.images} images has {len(self.looks)} bytes; it was damaged")

    @classmethod
    def of(cls, facts: Sequence[Facts], *, fingerprint: str) -> Self:
        """Return the sketch of the dataset of these facts; the same for the same fingerprint and order."""
        order = np.random.default_rng(int(fingerprint, 16)).permutation(len(facts))[:MOST_LOOKS]
        return cls(images=len(facts), looks=b"".join(facts[index].look for index in order))

    def shortened(self) -> Sketch:
        """Return the sketch with a few dozen looks."""
        return Sketch(images=self.images, looks=self.looks[: FEW_LOOKS * _BYTES])

    def share_in_common(self, other: Sketch) -> float:
        """Return what share of the smaller dataset's images the other one holds too, in [0, 1].

        It is an estimate where a sketch does not have all looks, and 0 where fewer than three images match.
        """
        smaller = min(self.images, other.images)
        return min(1.0, self._in_common(other) / smaller, other._in_common(self) / smaller) if smaller else 0.0

    def is_twin_of(self, other: Sketch) -> bool:
        """Return whether both datasets count as one."""
        return self.share_in_common(other) >= TWINS_SHARE

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {"images": self.images, "looks": self.looks.hex()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Return the sketch that `to_dict` gave.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return cls(images=int(str(values["images"])), looks=bytes.fromhex(str(values["looks"])))
        except (KeyError, ValueError) as error:
            raise StoreError(f"not a sketch of a dataset: {error}") from error

    def _in_common(self, other: Sketch) -> float:
        """Return how many images of this dataset the other one holds too, as far as the looks tell."""
        from qttseg.metadata.looks import found_in, looks_of

        own, others = looks_of(self.looks), looks_of(other.looks)
        matches = int(found_in(own, others).sum())
        if matches < _FEWEST_MATCHES:
            return 0.0
        return matches / len(own) * self.images / (len(others) / other.images)


def twins_among(sketches: Mapping[str, Sketch]) -> list[tuple[str, str]]:
    """Return all pairs of keys, each both ways, whose sketches are those of twins."""
    keys = list(sketches)
    found = [
        (one, other)
        for place, one in enumerate(keys)
        for other in keys[place + 1 :]
        if sketches[one].is_twin_of(sketches[other])
    ]
    return [pair for one, other in found for pair in ((one, other), (other, one))]


def with_twins(keys: Iterable[str], sketches: Mapping[str, Sketch]) -> frozenset[str]:
    """Return `keys` and, step by step, those whose sketches are twins of theirs."""
    found, pairs = frozenset(keys), twins_among(sketches)
    while more := {twin for one, twin in pairs if one in found} - found:
        found |= more
    return found
