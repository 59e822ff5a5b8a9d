"""Outlines and classes are scored as one computes by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.pipelines.boundaries import boundary_f1, class_scores

Plane = NDArray[np.bool_]


def square(left: int = 40, top: int = 40, side: int = 20, size: int = 100) -> Plane:
    plane = np.zeros((size, size), bool)
    plane[top : top + side, left : left + side] = True
    return plane


def test_equal_masks_score_one_and_far_ones_nothing() -> None:
    assert boundary_f1(square(), square()) == 1
    assert boundary_f1(square(5, 5), square(70, 70)) == 0


@pytest.mark.parametrize(
    ("shift", "score"),
    [
        (1, 1.0),  # 0.75 % of the diagonal of 100 × 100 pixels are 1.06
        (2, 40 / 76),  # of each horizontal edge 19 of 20 pixels are near, of the other 36 pixels 2
    ],
)
def test_a_shift_costs_what_is_beyond_the_tolerance(shift: int, score: float) -> None:
    assert boundary_f1(square(40 + shift), square()) == pytest.approx(score)
    assert boundary_f1(square(40 + shift), square(), tolerance=0.05) == 1


def test_precision_and_recall_are_balanced() -> None:
    both = square(10, 10) | square(70, 70)
    assert boundary_f1(square(10, 10), both) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert boundary_f1(both, square(10, 10)) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_what_has_no_outline_is_right_or_wrong() -> None:
    nothing, everything = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    assert boundary_f1(nothing, nothing) == 1
    assert boundary_f1(everything, everything) == 1
    assert boundary_f1(nothing, everything) == 0
    assert boundary_f1(nothing, square(2, 2, 3, 9)) == 0
    assert boundary_f1(square(2, 2, 3, 9), nothing) == 0


def test_the_frame_is_no_outline() -> None:
    left = np.zeros((50, 100), bool)
    left[:, :30] = True
    wider = np.zeros((50, 100), bool)
    wider[:, :40] = True
    assert boundary_f1(left, left) == 1
    assert boundary_f1(wider, left) == 0  # though three sides of both lie on the frame
    corner = square(0, 0)
    assert boundary_f1(corner, corner) == 1


def test_a_single_pixel_is_its_own_outline() -> None:
    dot = square(50, 50, 1)
    assert boundary_f1(dot, dot) == 1
    assert boundary_f1(square(53, 50, 1), dot) == 0


def test_what_nobody_knows_has_no_edge() -> None:
    valid = np.ones((100, 100), bool)
    valid[:, 50:] = False
    half, whole = square(30, 40), square(30, 40) | square(50, 40)
    assert boundary_f1(half, whole) < 1
    assert boundary_f1(half, whole, valid=valid) == 1  # where they differ is unknown


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_lie_in_range_and_swap_with_precision_and_recall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 12, 17)) < rng.random()
    score = boundary_f1(one, other)
    assert 0 <= score <= 1
    assert score == pytest.approx(boundary_f1(other, one))


def test_classes_are_averaged_over_the_images_that_show_them() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:10], truth[20:30] = 1, 2
    half = truth.copy()
    half[:5] = 0
    other = np.where(truth == 1, truth, 0).astype(np.uint8)
    skin, hair = class_scores([half, other], [truth, other], classes=("background", "skin", "hair", "nose"))
    assert (skin.name, skin.images, hair.name, hair.images) == ("skin", 2, "hair", 1)
    assert skin.iou == pytest.approx((0.5 + 1) / 2)
    assert hair.iou == hair.boundary_f1 == 1
    assert skin.boundary_f1 == pytest.approx((2 * 0.5 / 1.5 + 1) / 2)  # one of two predicted edges is there


def test_ignored_pixels_and_missed_classes() -> None:
    truth = np.full((20, 20), 255, np.uint8)
    truth[:10] = 1
    (score,) = class_scores([np.ones((20, 20), np.uint8)], [truth], classes=("background", "thing"))
    assert score.iou == score.boundary_f1 == 1
    (missed,) = class_scores([np.zeros((20, 20), np.uint8)], [truth], classes=("background", "thing"))
    assert missed.iou == missed.boundary_f1 == 0
    assert class_scores([], [], classes=("background", "thing")) == ()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(DatasetError, match="held against"):
        boundary_f1(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
    with pytest.raises(DatasetError, match="held against"):
        class_scores([np.zeros((2, 3), np.uint8)], [np.zeros((3, 2), np.uint8)], classes=("background", "thing"))
