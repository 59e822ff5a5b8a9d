"""Datasets whose test images cannot be read, so that no method can select on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from qttseg.errors import LeakageError
from qttseg.metadata.datasets import Dataset, Sample, Source


@dataclass(frozen=True, kw_only=True)
class SealedSource:
    """A source that refuses some of its items.

    Attributes:
        source: Reads the others.
        sealed: Indices it refuses.
        dataset: Name for the message.
    """

    source: Source
    sealed: frozenset[int]
    dataset: str

    def load(self, index: int) -> Sample:
        """Read the item at `index`.

        Raises:
            LeakageError: the item is sealed.
        """
        if index in self.sealed:
            raise LeakageError(
                f"image {index} of {self.dataset} is a test image, which only the scorer may read; "
                "a method must keep to split.train and split.validation"
            )
        return self.source.load(index)


def seal(dataset: Dataset, indices: Collection[int]) -> Dataset:
    """Return `dataset` without access to the items at `indices`; everything else about it is the same."""
    source = SealedSource(source=dataset.source, sealed=frozenset(indices), dataset=dataset.name)
    sealed = replace(dataset, source=source)
    # The cached property, filled in advance: to find the facts would read the sealed items.
    vars(sealed)["facts"] = dataset.facts
    return sealed
