"""Statistics of comparisons against what is known on paper."""

import numpy as np
import pytest
from scipy import stats

from ckin.scenario.statistics import (
    chances_of_being_best,
    partial_value_of_information,
    value_of_information,
)


def test_perfect_information_on_a_normal_gain_is_its_closed_form():
    # Of two arms whose difference is Normal(m, s): s φ(m/s) - |m| Φ(-|m|/s).
    m, s, n = 0.3, 1.0, 400_000
    gain = m + s * np.random.default_rng(1).standard_normal(n)
    expected = np.stack([np.zeros(n), gain])
    exact = s * stats.norm.pdf(m / s) - m * stats.norm.cdf(-m / s)
    # Four standard errors of a mean whose terms have an SD under 1.
    assert value_of_information(expected) == pytest.approx(exact, abs=4 / np.sqrt(n))


def test_a_parameter_that_decides_all_is_worth_all():
    rng = np.random.default_rng(2)
    parameter, noise = rng.standard_normal((2, 5000))
    expected = np.stack([np.zeros(5000), 0.2 + parameter])
    whole = value_of_information(expected)
    assert partial_value_of_information(expected, parameter) == pytest.approx(whole)
    # What decides nothing is worth nothing; a cubic finds a little in 5,000 draws.
    assert partial_value_of_information(expected, noise) < 0.02
    assert np.isnan(partial_value_of_information(expected, np.ones(5000)))


def test_an_arm_that_is_always_best_leaves_nothing_to_know():
    expected = np.random.default_rng(3).standard_normal((3, 100))
    expected[1] = expected.max(axis=0) + 1.0
    assert value_of_information(expected) == 0.0
    assert chances_of_being_best(expected).tolist() == [0.0, 1.0, 0.0]


def test_ties_are_shared_and_unknown_cases_left_out():
    worth = np.array([[1.0, 2.0, np.nan], [1.0, 1.0, 5.0]])
    assert chances_of_being_best(worth).tolist() == [0.75, 0.25]
    assert np.isnan(chances_of_being_best(np.full((2, 3), np.nan))).all()
