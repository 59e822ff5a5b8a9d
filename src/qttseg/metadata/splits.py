"""Splits into training, validation and test images: the test images stay the same over all seeds."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol

FEWEST_IMAGES = 4
FEWEST_GROUPS = 3

_PAPER_SEED = 42
_PAPER_TEST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Split:
    """Indices into a dataset, disjoint, each in rising order."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def draw_split(dataset: Dataset, protocol: Protocol, *, seed: int) -> Split:
    """Return the split of `dataset` for `seed`.

    Sizes: the test split takes what `protocol.images` leaves over, but at least a third of the dataset, and at most
    `protocol.test_images`; 200 images give 100 + 100, 100 give 67 + 33, 40 give 27 + 13. Training and validation draw
    at most `protocol.images` from the rest, by `seed`.

    Groups: where `protocol.split` is `grouped` and the groups are known, whole groups go to one side, so that sizes
    are only approached from below; images of a side beyond its size are left out. With fewer than three groups the
    sides cannot be kept apart, and images are drawn one by one.

    The draw orders items by a hash of their names, so it depends neither on the order of the files nor on a library's
    random numbers. All this is not so where `protocol.split` is `paper`; see `draw_paper_split`.

    Raises:
        DatasetError: there are fewer than four images.
    """
    if len(dataset) < FEWEST_IMAGES:
        raise DatasetError(f"dataset {dataset.name} has {len(dataset)} images; at least {FEWEST_IMAGES} are needed")
    if protocol.split == "paper":
        return draw_paper_split(dataset, protocol, seed=seed)
    groups = _groups(dataset, protocol)
    sizes = Counter(groups)
    test_size = min(protocol.test_images, max(len(dataset) // 3, len(dataset) - protocol.images))
    test_groups = _take(_shuffled(sizes, "test"), sizes, size=test_size, spare=2)
    rest = [group for group in _shuffled(sizes, f"validation {seed}") if group not in test_groups]
    pool = sum(sizes[group] for group in rest)
    validation_groups = _take(rest, sizes, size=max(1, round(protocol.validation_share * pool)), spare=1)
    train_groups = frozenset(rest) - validation_groups

    drawn = min(protocol.images, pool)
    validation_size = min(max(1, round(protocol.validation_share * drawn)), drawn - 1)
    validation = _draw(dataset, groups, validation_groups, validation_size, f"images {seed}")
    return Split(
        train=_draw(dataset, groups, train_groups, drawn - len(validation), f"images {seed}"),
        validation=validation,
        test=_draw(dataset, groups, test_groups, protocol.test_images, "test"),
    )


def draw_paper_split(dataset: Dataset, protocol: Protocol, *, seed: int) -> Split:
    """Return the split that the paper's public code draws, whatever the groups: frames of one video part (section 4).

    A fifth of all images is set aside for testing by seed 42, as scikit-learn's `train_test_split` does. Of the rest
    `protocol.images` are drawn by `seed`, and `protocol.validation_share` of these by seed 0 for validation. The test
    images are drawn by seed 0, so they stay the same. The paper's rows come in the order of a directory listing, which
    is not published; here items are ordered by name. So the procedure is the paper's, the images need not be.

    Raises:
        DatasetError: there are fewer than four images.
    """
    ordered = sorted(range(len(dataset)), key=lambda index: dataset.names[index])
    pool, held_out = _parted(ordered, _PAPER_TEST_SHARE, _PAPER_SEED)
    drawn = _permuted(pool, seed)[: protocol.images]
    train, validation = _parted(drawn, protocol.validation_share, 0)
    test = _permuted(held_out, 0)[: protocol.test_images]
    return Split(train=tuple(sorted(train)), validation=tuple(sorted(validation)), test=tuple(sorted(test)))


def _parted(items: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the items less a `share` of them, rounded up but never all, and that share."""
    shuffled = _permuted(items, seed)
    size = min(ceil(share * len(items)), len(items) - 1)
    return shuffled[size:], shuffled[:size]


def _permuted(items: Sequence[int], seed: int) -> list[int]:
    """Return the items as NumPy's legacy generator shuffles them: scikit-learn and pandas draw by it."""
    from numpy.random import RandomState

    return [items[place] for place in RandomState(seed).permutation(len(items))]


def _groups(dataset: Dataset, protocol: Protocol) -> Sequence[str]:
    """Return the group of each image; each image is its own group where groups do not count."""
    if protocol.split == "grouped" and dataset.groups is not None and len(set(dataset.groups)) >= FEWEST_GROUPS:
        return dataset.groups
    return dataset.names


def _take(order: Sequence[str], sizes: Mapping[str, int], *, size: int, spare: int) -> frozenset[str]:
    """Return the groups of `order` that fit into `size` images one after the other, at least one, leaving `spare`."""
    taken: list[str] = []
    filled = 0
    for group in order:
        if filled == size:
            break
        if filled + sizes[group] <= size and len(taken) < len(order) - spare:
            taken.append(group)
            filled += sizes[group]
    return frozenset(taken or [min(order, key=lambda group: sizes[group])])


def _draw(dataset: Dataset, groups: Sequence[str], side: Container[str], size: int, salt: str) -> tuple[int, ...]:
    indices = {
        name: index for index, (name, group) in enumerate(zip(dataset.names, groups, strict=True)) if group in side
    }
    return tuple(sorted(indices[name] for name in heapq.nsmallest(size, indices, _place(salt))))


def _shuffled(names: Iterable[str], salt: str) -> list[str]:
    return sorted(names, key=_place(salt))


def _place(salt: str) -> Callable[[str], bytes]:
    """Return what tells a name's place among others: a hash, which is the same everywhere."""
    salted = hashlib.sha256(f"{salt}/".encode())

    def place(name: str) -> bytes:
        found = salted.copy()
        found.update(name.encode(errors="surrogateescape"))  # file names need not be valid Unicode
        return found.digest()

    return place
