from __future__ import annotations

import numpy as np
import pytest

from qttseg.benchmark.autogluon.pictures import Window, paint, windows
from qttseg.errors import BenchmarkError


def test_without_boxes_the_whole_image_is_seen_and_absent_classes_are_dropped():
    (whole,) = windows((4, 6), {1: (0.0, 0.0, 2.0, 2.0), 3: (1.0, 1.0, 5.0, 3.0)}, crop=False)
    assert whole == Window(rows=slice(0, 4), columns=slice(0, 6), classes=(1, 3))
    found = np.array([[0, 1, 2, 3, 1, 2]] * 4, np.uint8)
    assert paint((4, 6), [(whole, found)]).tolist() == [[0, 1, 0, 3, 1, 0]] * 4


def test_a_box_shows_its_own_class_and_small_boxes_lie_on_top():
    parts = windows((10, 10), {1: (2.4, 2.6, 4.2, 4.9), 2: (0.0, 0.0, 10.0, 10.0)}, crop=True)
    assert [part.classes for part in parts] == [(2,), (1,)]
    assert parts[1] == Window(rows=slice(2, 5), columns=slice(2, 5), classes=(1,))
    everything = [
        (part, np.full((10, 10) if part.classes == (2,) else (3, 3), part.classes[0], np.uint8)) for part in parts
    ]
    labels = paint((10, 10), everything)
    assert (labels == 1).sum() == 9
    assert (labels == 2).sum() == 91


def test_a_box_without_an_extent_still_has_a_pixel():
    (part,) = windows((5, 5), {1: (5.0, 2.0, 5.0, 2.0)}, crop=True)
    assert np.zeros((5, 5))[part.rows, part.columns].shape == (1, 1)


def test_points_cut_nothing_out():
    assert len(windows((5, 5), {1: ((2.5, 2.5),)}, crop=False)) == 1
    with pytest.raises(BenchmarkError, match="these prompts are points"):
        windows((5, 5), {1: ((2.5, 2.5),)}, crop=True)


def test_an_image_without_prompts_is_background():
    assert windows((3, 3), {}, crop=True) == []
    assert not paint((3, 3), []).any()
