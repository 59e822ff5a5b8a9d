from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from qttseg.errors import ConfigurationError
from qttseg.tuning.acquisition import best_scores_at, expected_improvement, improvement_per_second

scores = st.floats(0, 1)
deviations = st.floats(0, 1)


@pytest.mark.parametrize(("mean", "std", "best"), [(0.5, 0.1, 0.6), (0.7, 0.2, 0.6), (0.4, 0.05, 0.4)])
def test_is_the_integral_over_the_improvements(mean: float, std: float, best: float):
    integral, _ = quad(lambda y: (y - best) * norm.pdf(y, mean, std), best, mean + 12 * std)
    assert expected_improvement(mean, std, best) == pytest.approx(integral, abs=1e-10)


def test_a_certain_prediction_improves_by_exactly_its_lead():
    np.testing.assert_array_equal(
        expected_improvement([0.75, 0.5, 0.25], [0.0, 0.0, 0.0], 0.5), np.array([0.25, 0.0, 0.0])
    )


@given(mean=scores, std=deviations, best=scores)
def test_lies_between_the_sure_lead_and_the_lead_plus_the_uncertainty(mean: float, std: float, best: float):
    value = float(expected_improvement(mean, std, best))
    lead = max(mean - best, 0.0)
    assert lead <= value <= lead + std / np.sqrt(2 * np.pi) + 1e-12


@given(mean=scores, best=scores, less=deviations, more=deviations)
def test_uncertainty_never_lowers_it(mean: float, best: float, less: float, more: float):
    lower, higher = expected_improvement([mean, mean], sorted([less, more]), best)
    assert lower <= higher + 1e-12


@pytest.mark.parametrize(("mean", "std"), [(np.nan, 0.1), (np.inf, 0.1), (0.5, np.nan), (0.5, -0.1)])
def test_a_broken_prediction_is_an_error(mean: float, std: float):
    with pytest.raises(ConfigurationError):
        expected_improvement([mean], [std], 0.5)


def test_candidates_compete_with_others_after_the_same_epochs():
    curves = [(0.2, 0.5, 0.4), (0.3,), ()]
    np.testing.assert_array_equal(best_scores_at(curves, [1, 2, 3]), [0.3, 0.5, 0.4])


def test_beyond_the_longest_curve_the_best_score_so_far_counts():
    np.testing.assert_array_equal(best_scores_at([(0.2, 0.5, 0.4), (0.3,)], [4, 9]), [0.5, 0.5])


def test_before_anything_is_seen_the_threshold_is_the_lowest_score():
    np.testing.assert_array_equal(best_scores_at([(), ()], [1, 10]), [0.0, 0.0])


def test_half_the_cost_is_worth_twice_as_much():
    cheap, dear = improvement_per_second([0.6, 0.6], [0.1, 0.1], [0.5, 0.5], [1.0, 2.0])
    assert cheap == pytest.approx(2 * dear)


@pytest.mark.parametrize("seconds", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_cost_is_an_error(seconds: float):
    with pytest.raises(ConfigurationError, match="seconds"):
        improvement_per_second([0.5], [0.1], [0.4], [seconds])
