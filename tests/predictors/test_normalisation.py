from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qttseg.predictors.caution import Caution, Misses
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
    warp, scale = Warp.of(SHARES), Scale(base=0.4, width=0.4)
    mean, std = raw_moments(np.array([-5.0, 0.0, 5.0]), np.array([3.0, 1e-9, 3.0]), warp, scale, seen=np.zeros(3))
    assert ((mean >= 0) & (mean <= 1)).all()
    assert mean[1] == pytest.approx(scale.raw(warp.to_shares(np.array([0.0])))[0])
    assert std[1] < 1e-4 < std[0]


def test_what_is_not_known_of_the_scale_widens_only_what_lies_beyond_the_last_score():
    warp, scale = Warp.of(SHARES), Scale(base=0.2, width=0.4, unsure=(0.01, 0.0, 0.04))
    share = warp.to_shares(np.array([0.5]))
    at = scale.raw(share)
    for seen, wanted in ((np.nan, np.hypot(0.1, 0.2 * share[0])), (0.2, 0.2 * share[0]), (at[0], 0.0)):
        _, std = raw_moments(np.array([0.5]), np.array([1e-9]), warp, scale, seen=np.array([seen]))
        assert std[0] == pytest.approx(wanted, abs=1e-5)


def test_datasets_on_which_good_runs_hardly_differ_use_the_whole_scale():
    finals = np.concatenate([np.linspace(0.2, 0.89, 10), np.linspace(0.89, 0.91, 30)])
    shares = Scale.of(finals).shares(finals)
    assert shares[-1] - shares[20] > 1


def test_without_sightings_the_scale_is_that_of_the_training_datasets():
    prior = ScalePrior.of([Scale(base=0.5, width=0.1), Scale(base=0.7, width=0.2)])
    nothing = np.empty(0)
    found = prior.locate(nothing, nothing, nothing, Warp.of(SHARES))
    assert (found.base, found.width) == (pytest.approx(0.6), pytest.approx(0.15))


@pytest.mark.parametrize(("base", "width"), [(0.3, 0.1), (0.8, 0.02)])
def test_sightings_of_promising_candidates_alone_still_find_the_scale(base, width):
    prior, warp = ScalePrior(base=0.6, width=0.1, unsure=(0.04, 0.0, 0.01)), Warp.of(SHARES)
    normal = np.linspace(0.5, 1.5, 12)  # better than average, all of them
    found = prior.locate(base + width * warp.to_shares(normal), normal, np.full(12, 0.1), warp)
    assert found.base + found.width == pytest.approx(base + width, abs=0.03)


def test_caution_makes_left_out_datasets_fit():
    """Two kinds of misses: three times as wide as predicted, and all of them too low by two deviations."""
    errors = np.random.default_rng(0).normal(size=400)
    one = np.ones(400)
    caution = Caution.of(
        {
            0: [Misses(errors=0.1 * errors, deviations=0.1 * one)],
            3: [Misses(errors=3 * errors + 2, deviations=one)] * 3,
        }
    )
    for seen, factor, lift in ((0, 1.0, 0.0), (3, 3.0, 2.0), (9, 3.0, 2.0)):
        mean, std = caution.applied(np.array([0.2, 0.3]), np.full(2, 0.1), np.array([0, seen]))
        assert std[1] == pytest.approx(0.1 * factor, rel=0.1)
        assert mean == pytest.approx(np.array([0.2, 0.3]) + 0.1 * lift, abs=0.02)


def test_caution_lifts_a_dataset_as_one_and_keeps_scores_possible():
    caution = Caution(seen=(0, 1), factors=(1.0, 2.0), lifts=(0.0, 1.0))
    mean, _ = caution.applied(np.array([0.5, 0.9, 0.6]), np.array([0.5, 0.3, 0.1]), np.array([0, 1, 1]))
    assert mean == pytest.approx([0.6, 1.0, 0.7])  # by what is left below 1, not by 0.2
    assert mean.argsort().tolist() == [0, 2, 1]


@pytest.mark.parametrize("caution", [Caution.of({}), Caution(seen=(0, 1), factors=(1.0, 1.0))], ids=["none", "older"])
def test_without_lessons_predictions_stay_as_they_are(caution):
    mean, std = caution.applied(np.array([0.5, 0.6]), np.ones(2), np.array([1, 2]))
    assert (mean.tolist(), std.tolist()) == ([0.5, 0.6], [1.0, 1.0])
