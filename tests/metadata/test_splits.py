from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.errors import ConfigurationError, DatasetError
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.protocol import PAPER, Protocol
from qttseg.metadata.splits import Split, draw_split


class Blank:
    """Splits never read an item."""

    def load(self, index: int) -> Sample:
        return Sample(image=np.zeros((4, 4, 3), np.uint8), mask=np.zeros((4, 4), np.uint8), name=str(index))


def dataset(count: int, groups: Sequence[int] | None = None) -> Dataset:
    return Dataset(
        name="d",
        task="binary",
        classes=("background", "thing"),
        names=tuple(f"item{index}" for index in range(count)),
        groups=tuple(f"group{group}" for group in groups) if groups is not None else None,
        source=Blank(),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataset, Protocol, int]:
    count = draw(st.integers(4, 300))
    groups = draw(st.none() | st.lists(st.integers(0, 30), min_size=count, max_size=count))
    protocol = Protocol(
        images=draw(st.integers(2, 150)),
        test_images=draw(st.integers(1, 150)),
        validation_share=draw(st.floats(0.05, 0.95)),
        split=draw(st.sampled_from(["grouped", "ungrouped", "paper"])),
    )
    return dataset(count, groups), protocol, draw(st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_splits_are_disjoint_deterministic_and_within_their_sizes(case: tuple[Dataset, Protocol, int]) -> None:
    data, protocol, seed = case
    split = draw_split(data, protocol, seed=seed)
    sides = (split.train, split.validation, split.test)
    drawn = [index for side in sides for index in side]
    assert all(sides)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(len(data)))
    assert len(split.train) + len(split.validation) <= protocol.images
    assert len(split.test) <= protocol.test_images
    assert draw_split(data, protocol, seed=seed) == split
    assert draw_split(data, protocol, seed=seed + 1).test == split.test


@settings(max_examples=60, deadline=None)
@given(cases())
def test_groups_never_straddle(case: tuple[Dataset, Protocol, int]) -> None:
    data, protocol, seed = case
    if data.groups is None or protocol.split != "grouped" or len(set(data.groups)) < 3:
        return
    split = draw_split(data, protocol, seed=seed)
    train, validation, test = ({data.groups[i] for i in side} for side in (split.train, split.validation, split.test))
    assert not train & validation
    assert not (train | validation) & test


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1000, (80, 20, 100)), (200, (80, 20, 100)), (100, (54, 13, 33)), (40, (22, 5, 13)), (4, (2, 1, 1))],
)
def test_sizes_of_the_papers_protocol(count: int, sizes: tuple[int, int, int]) -> None:
    split = draw_split(dataset(count), PAPER, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes


def test_equal_groups_give_about_the_same_sizes() -> None:
    split = draw_split(dataset(200, [index // 10 for index in range(200)]), PAPER, seed=3)
    assert (len(split.train), len(split.validation), len(split.test)) == (80, 20, 100)


def test_two_groups_are_too_few_and_images_are_drawn_one_by_one() -> None:
    halves = dataset(200, [index // 100 for index in range(200)])
    assert draw_split(halves, PAPER, seed=0) == draw_split(dataset(200), PAPER, seed=0)


def test_what_is_drawn_stays_the_same_for_ever() -> None:
    """Stored runs are known by dataset, protocol and seed alone, so a faster way to draw must draw the same images."""
    alone = draw_split(dataset(30), replace(PAPER, images=20), seed=3)
    assert alone == Split(
        train=(2, 3, 4, 5, 6, 8, 9, 11, 14, 15, 16, 19, 23, 24, 25, 26),
        validation=(12, 13, 20, 28),
        test=(0, 1, 7, 10, 17, 18, 21, 22, 27, 29),
    )
    uneven = [index % 7 if index % 3 else index for index in range(40)]
    groups = draw_split(dataset(40, uneven), replace(PAPER, images=20), seed=3)
    assert groups == Split(
        train=(0, 4, 6, 7, 9, 11, 13, 14, 20, 25, 28, 32, 33, 34, 35, 39),
        validation=(12, 15, 21, 27),
        test=(1, 2, 3, 5, 8, 10, 16, 17, 18, 19, 22, 23, 24, 26, 29, 30, 31, 36, 37, 38),
    )
    paper = draw_split(dataset(30, uneven[:30]), replace(PAPER, images=20, split="paper"), seed=3)
    assert paper == Split(
        train=(2, 4, 6, 9, 10, 11, 12, 13, 18, 20, 23, 25, 26, 27, 28, 29),
        validation=(5, 14, 15, 21),
        test=(3, 7, 16, 17, 22, 24),
    )


def test_seeds_draw_different_images() -> None:
    data = dataset(300)
    assert len({draw_split(data, PAPER, seed=seed).train for seed in range(5)}) == 5


def test_the_order_of_the_files_does_not_matter() -> None:
    data = dataset(60)
    turned = replace(data, names=data.names[::-1])

    def named(data: Dataset, split: Split) -> list[set[str]]:
        return [{data.names[index] for index in side} for side in (split.train, split.validation, split.test)]

    assert named(data, draw_split(data, PAPER, seed=1)) == named(turned, draw_split(turned, PAPER, seed=1))


def test_three_images_are_too_few() -> None:
    with pytest.raises(DatasetError, match="at least 4"):
        draw_split(dataset(3), PAPER, seed=0)


def test_the_papers_split_is_what_its_libraries_draw() -> None:
    """The paper's code: scikit-learn's 80/20 by seed 42, 100 rows sampled by pandas, 80/20 again (test rows by seed 0)."""
    pandas = pytest.importorskip("pandas")
    selection = pytest.importorskip("sklearn.model_selection")
    data = replace(dataset(655, [index // 100 for index in range(655)]), names=tuple(f"{n:04d}" for n in range(655)))
    train, test = selection.train_test_split(pandas.DataFrame({"index": range(655)}), test_size=0.2, random_state=42)
    assert len(train) == 524  # as the public meta-dataset says of eyes
    rows = train.sample(n=100, random_state=1729)
    own, validation = selection.train_test_split(rows, test_size=0.2, random_state=0)
    split = draw_split(data, replace(PAPER, split="paper"), seed=1729)
    assert split.train == tuple(sorted(own["index"]))
    assert split.validation == tuple(sorted(validation["index"]))
    assert split.test == tuple(sorted(test.sample(n=100, random_state=0)["index"]))


def test_the_papers_split_sets_aside_as_many_as_the_public_meta_dataset_says() -> None:
    sources = {"polyp": 612, "leaf": 588, "golf": 1123, "fiber": 7902, "building": 137, "terrain": 600}
    published = {"polyp": 489, "leaf": 470, "golf": 898, "fiber": 6321, "building": 109, "terrain": 480}
    whole = replace(PAPER, split="paper", images=10_000)
    for name, count in sources.items():
        split = draw_split(dataset(count), whole, seed=0)
        assert len(split.train) + len(split.validation) == published[name]


def test_a_new_way_to_split_leaves_the_ids_of_stored_runs_alone() -> None:
    assert PAPER.id == "e313f17c"
    assert replace(PAPER, split="ungrouped").id == "aca71620"
    assert len({replace(PAPER, split=rule).id for rule in ("grouped", "ungrouped", "paper")}) == 3
    with pytest.raises(ConfigurationError, match="grouped, ungrouped, paper"):
        replace(PAPER, split="by patient")
