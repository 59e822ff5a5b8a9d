from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.errors import StoreError
from qttseg.metadata.facts import Facts
from qttseg.metadata.sketches import FEW_LOOKS, MOST_LOOKS, Sketch, twins_among, with_twins

WORLD = np.random.default_rng(7).integers(1, 2**63, (12_000, 4)).astype(np.uint64)


def sketch(start: int, stop: int) -> Sketch:
    """The sketch of a dataset of the images `start` to `stop` of the world."""
    facts = [Facts(look=WORLD[index].tobytes()) for index in range(start, stop)]
    return Sketch.of(facts, fingerprint=f"{start * 31 + stop:016x}")


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 120), st.integers(4, 120), st.integers(0, 120))
def test_the_share_in_common_is_that_of_the_smaller_dataset(first: int, second: int, shift: int) -> None:
    one, other = sketch(0, first), sketch(shift, shift + second)
    common = max(0, min(first, shift + second) - shift)
    expected = common / min(first, second) if common >= 3 else 0
    assert one.share_in_common(other) == pytest.approx(expected)
    assert other.share_in_common(one) == pytest.approx(expected)


@pytest.mark.parametrize(("stored", "target"), [((0, 200), (0, 200)), ((0, 1000), (100, 400)), ((0, 200), (0, 5000))])
def test_a_few_looks_are_enough_to_know_a_twin_of_any_size(stored: tuple[int, int], target: tuple[int, int]) -> None:
    short = sketch(*stored).shortened()
    assert len(short.looks) == 32 * FEW_LOOKS
    assert short.is_twin_of(sketch(*target))
    assert sketch(*target).is_twin_of(short)
    assert not short.is_twin_of(sketch(6000, 6400))


def test_of_many_images_some_are_drawn() -> None:
    large = sketch(0, 10_000)
    assert len(large.looks) == 32 * MOST_LOOKS
    assert large.share_in_common(sketch(0, 300)) == pytest.approx(1, abs=0.2)
    assert large.share_in_common(sketch(9_900, 10_200)) < 0.5


def test_frames_of_one_scene_do_not_make_twins() -> None:
    """One image that is like many of another dataset is one image in common."""
    video = Sketch.of([Facts(look=WORLD[0].tobytes())] * 50, fingerprint="1")
    stills = Sketch.of([Facts(look=WORLD[index].tobytes()) for index in range(50)], fingerprint="2")
    assert not video.is_twin_of(stills)


def test_images_of_one_colour_are_nothing_in_common() -> None:
    flat = Sketch.of([Facts()] * 20, fingerprint="1")
    assert flat.share_in_common(flat) == 0


def test_twins_of_twins_are_found() -> None:
    sketches = {"a": sketch(0, 100), "b": sketch(40, 140), "c": sketch(80, 180), "d": sketch(500, 600)}
    assert set(twins_among(sketches)) == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
    assert with_twins(["a", "unknown"], sketches) == {"a", "b", "c", "unknown"}
    assert with_twins(["d"], sketches) == {"d"}


def test_a_sketch_survives_json_and_a_damaged_one_is_refused() -> None:
    one = sketch(0, 40)
    assert Sketch.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    for wrong in ({}, {"images": "many", "looks": ""}, {"images": 3, "looks": "ab"}, {"images": 0, "looks": "00" * 32}):
        with pytest.raises(StoreError, match="sketch"):
            Sketch.from_dict(wrong)
