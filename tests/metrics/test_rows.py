"""Metrics of many curves at once are those of each."""

import numpy as np
import pytest

from ckin.metrics import course_metrics, curve
from ckin.metrics.rows import areas, days_above, last_above, level_on, peaks


@pytest.fixture(scope="module")
def curves() -> tuple[np.ndarray, np.ndarray]:
    """Rising and falling levels, some of them flat, 200 curves on 60 days."""
    rng = np.random.default_rng(7)
    time_d = np.concatenate([[0.0], np.sort(rng.uniform(0.5, 120.0, 59))])
    steps = rng.normal(0.0, 0.7, (200, 60)) * (rng.uniform(size=(200, 60)) < 0.8)
    return time_d, np.exp(3.0 + np.cumsum(steps, axis=1))


def test_the_same_numbers_as_one_curve_at_a_time(curves):
    time_d, level = curves
    top, when = peaks(time_d, level)
    area = areas(time_d, level, 28.0)
    for row, own in enumerate(level):
        one = curve(time_d[1:], own[1:], np.zeros(59, bool), start=float(own[0]))
        found = course_metrics(one)
        assert found["CMAX"].value == top[row]
        assert found["TMAX"].value == when[row]
        # The same sums in another order.
        assert found["AUC028"].value == pytest.approx(area[row], rel=1e-12)


def test_the_last_level_above_is_before_it_falls_below_for_good(curves):
    time_d, level = curves
    limit = 20.0
    last = last_above(time_d, level, limit)
    for row, own in enumerate(level):
        below = own[1:] < limit
        read = np.where(below, limit, own[1:])
        found = course_metrics(curve(time_d[1:], read, below, start=float(own[0])))
        if found["TLST"].value is None:
            assert last[row] <= time_d[1]
            continue
        after = time_d[time_d > found["TLST"].value]
        assert found["TLST"].value <= last[row] <= min([*after, time_d[-1]])


def test_days_above_are_those_of_a_fine_reading(curves):
    time_d, level = curves
    limit, days = 20.0, np.linspace(0.0, time_d[-1], 200_001)
    fine = np.mean(level_on(time_d, level[:20], days) >= limit, axis=1) * days[-1]
    # Each crossing is missed by a step of the reading at most.
    found = days_above(time_d, level[:20], limit)
    np.testing.assert_allclose(found, fine, atol=60 * days[1])


def test_levels_between_lie_on_the_lines_of_the_areas(curves):
    time_d, level = curves
    days = np.linspace(0.0, 100.0, 5001)
    on = level_on(time_d, level[:20], days)
    np.testing.assert_allclose(level_on(time_d, level, time_d), level, rtol=1e-12)
    # Areas over finer points of the same lines: the trapezoid's own error.
    np.testing.assert_allclose(
        areas(days, on, 100.0), areas(time_d, level[:20], 100.0), rtol=2e-4
    )


def test_levels_of_nothing_have_no_logarithm():
    time_d, level = np.array([0.0, 1.0, 2.0]), np.array([[0.0, 4.0, 0.0]])
    assert areas(time_d, level, 2.0).tolist() == [4.0]
    assert days_above(time_d, level, 2.0).tolist() == [1.0]
    assert last_above(time_d, level, 2.0).tolist() == [1.5]
    assert last_above(time_d, level, 9.0).tolist() == [0.0]
