from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qttseg.predictors.normalisation import Scale, ScalePrior, Warp, raw_moments

SHARES = np.concatenate([np.zeros(10), np.linspace(0.2, 1.1, 90)])


@given(st.lists(st.floats(-2, 3), min_size=2, max_size=30))
def test_a_warp_keeps_the_order_and_can_be_turned_around(values):
    warp, values = Warp.of(SHARES), np.sort(values)
    normal = warp.to_normal(values)
    assert (np.diff(normal) >= 0).all()
    np.testing.assert_allclose(warp.to_shares(normal), values, atol=1e-6)


def test_a_warp_makes_its_own_values_standard_normal():
    normal = Warp.of(np.linspace(0.2, 1.1, 200)).to_normal(np.linspace(0.2, 1.1, 200))
    assert normal.mean() == pytest.approx(0, abs=0.05)
    assert normal.std() == pytest.approx(1, abs=0.05)


def test_raw_moments_stay_scores_and_know_certainty():
    warp, scale = Warp.of(SHARES), Scale(top=0.8)
    mean, std = raw_moments(np.array([-5.0, 0.0, 5.0]), np.array([3.0, 1e-9, 3.0]), warp, scale, seen=np.zeros(3))
    assert ((mean >= 0) & (mean <= 1)).all()
    assert mean[1] == pytest.approx(scale.raw(warp.to_shares(np.array([0.0])))[0])
    assert std[1] < 1e-4 < std[0]


def test_what_is_not_known_of_the_scale_widens_only_what_lies_beyond_the_last_score():
    warp, scale = Warp.of(SHARES), Scale(top=0.8, std=0.1)
    at = scale.raw(warp.to_shares(np.array([0.5])))
    for seen, wanted in ((0.0, 0.1 * at[0] / 0.8), (at[0], 0.0)):
        _, std = raw_moments(np.array([0.5]), np.array([1e-9]), warp, scale, seen=np.array([seen]))
        assert std[0] == pytest.approx(wanted, abs=1e-5)


def test_without_sightings_the_scale_is_the_training_mean():
    prior = ScalePrior.of([Scale(top=0.6), Scale(top=0.8)])
    nothing = np.empty(0)
    assert prior.locate(nothing, nothing, nothing, Warp.of(SHARES)).top == pytest.approx(0.7)


@pytest.mark.parametrize("top", [0.3, 0.9])
def test_sightings_of_promising_candidates_alone_still_find_the_scale(top):
    prior, warp = ScalePrior(mean=0.6, spread=0.2), Warp.of(SHARES)
    normal = np.linspace(0.5, 1.5, 12)  # better than average, all of them
    found = prior.locate(top * warp.to_shares(normal), normal, np.full(12, 0.1), warp)
    assert found.top == pytest.approx(top, abs=0.06)
