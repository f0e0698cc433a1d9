"""Laws of curve metrics: closed forms, scale, shifts, and simple rules at the edges."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckin.library import load_model
from ckin.metrics import (
    BLQ_RULES,
    PARAMETERS,
    auc,
    course_metrics,
    curve,
    re_expansion,
    reading_days,
)
from ckin.metrics.area import with_blq
from ckin.metrics.course import persistence


# Sums of a hundred terms in float64, of numbers of one sign: a few hundred ulps.
EXACT = 1e-11

LEVELS = {code for code, p in PARAMETERS.items() if p.unit.startswith("level")}

rates = st.floats(0.003, 1.0)
levels = st.floats(1e-3, 1e6)


def made(time_d, level, below=None, **kwargs):
    time_d, level = np.asarray(time_d, float), np.asarray(level, float)
    below = np.zeros(time_d.size, bool) if below is None else np.asarray(below, bool)
    return curve(time_d, level, below, **kwargs)


def levels_of(model, time_d: np.ndarray) -> np.ndarray:
    states = model.closed_form(jnp.asarray(time_d))
    return np.asarray(states.effector + states.memory)


@st.composite
def curves(draw):
    """Samples on whole quarter days after the infusion, some below their limit."""
    n = draw(st.integers(1, 12))
    quarters = draw(st.lists(st.integers(1, 800), min_size=n, max_size=n, unique=True))
    level = draw(hnp.arrays(float, n, elements=levels))
    below = draw(hnp.arrays(bool, n))
    return np.sort(quarters) / 4.0, level, below


@given(rates, levels, st.lists(st.integers(1, 120), min_size=2, unique=True))
def test_area_under_an_exponential_that_falls_is_its_integral(rate, height, days):
    time_d = np.sort(np.array(days, float))
    level = height * np.exp(-rate * time_d)
    exact = height / rate * (math.exp(-rate * time_d[0]) - math.exp(-rate * time_d[-1]))
    # exp amplifies the rounding of its argument (up to 120): 120 ulps more.
    got = auc(time_d, level, time_d[0], time_d[-1])
    assert got == pytest.approx(exact, rel=1e-10, abs=1e-300)


@given(curves(), st.floats(0, 1), st.floats(0, 1))
def test_areas_of_adjoining_windows_add_up(samples, one, other):
    time_d, level, _ = samples
    low, high = sorted((one, other))
    first, span = time_d[0], time_d[-1] - time_d[0]
    cuts = [first, first + low * span, min(first + high * span, time_d[-1]), time_d[-1]]
    parts = [auc(time_d, level, a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    whole = auc(time_d, level, first, time_d[-1])
    # A level read off within a segment rounds its share of it: 1e-9 of the largest.
    assert sum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-9 * level.max())


@given(curves(), st.floats(1e-3, 1e3), st.sampled_from(sorted(BLQ_RULES)))
def test_levels_in_another_unit_change_levels_and_areas_alone(samples, k, blq):
    time_d, level, below = samples
    one = course_metrics(made(time_d, level, below), blq)
    other = course_metrics(made(time_d, k * level, below), blq)
    for code, metric in one.items():
        factor = k if code in LEVELS else 1.0
        if code in ("R2ADJ",) or other[code].reason != metric.reason:
            # A line that is flat to rounding may tip either way.
            continue
        assert (metric.value is None) == (other[code].value is None)
        if metric.value is not None:
            # Half-lives divide by slopes; a slope near 0 keeps fewer digits.
            assert other[code].value == pytest.approx(factor * metric.value, rel=1e-5)


@given(curves(), st.integers(0, 40))
def test_a_course_that_starts_later_has_the_same_slopes_and_levels(samples, days):
    """All but what is counted from the infusion: that moves by as many days."""
    time_d, level, below = samples
    one = course_metrics(made(time_d, level, below))
    other = course_metrics(made(time_d + days, level, below))
    for code in ("CMAX", "CLST", "DBLT", "INIHL", "LAMZHL", "LAMZNPT"):
        # Times are quarters of days, so their differences do not even round.
        assert one[code] == other[code]
    for code in ("TMAX", "TLST", "LAMZLL", "LAMZUL", "TLAG"):
        if one[code].value is not None:
            assert other[code].value == one[code].value + days
    low, high = one["PERSIST"].low, one["PERSIST"].high
    if low is not None and high is not None:
        assert other["PERSIST"].low == low + days
        assert other["PERSIST"].high == high + days


@given(curves(), st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(samples, random):
    time_d, level, below = samples
    order = list(range(time_d.size))
    random.shuffle(order)
    shuffled = made(time_d[order], level[order], below[order])
    assert course_metrics(shuffled) == course_metrics(made(time_d, level, below))


@given(curves(), st.sampled_from(sorted(BLQ_RULES)))
def test_every_metric_has_a_value_or_a_reason(samples, blq):
    metrics = course_metrics(made(*samples), blq)
    assert list(metrics) == [code for code in PARAMETERS if code != "RCMAX"]
    for metric in metrics.values():
        assert (metric.value is None) == bool(metric.reason)
        assert metric.value is None or math.isfinite(metric.value)


@given(rates, levels)
def test_half_lives_of_an_exponential_are_exact(rate, height):
    time_d = np.array([1.0, 2.0, 4.0, 8.0, 14.0, 21.0, 28.0])
    metrics = course_metrics(made(time_d, height * np.exp(-rate * time_d)))
    for code in ("INIHL", "LAMZHL"):
        assert metrics[code].value == pytest.approx(math.log(2) / rate, rel=1e-9)
    # All samples after the peak, which is the first; within 14 d of it: to day 14.
    assert metrics["LAMZNPT"].value == 6
    assert (metrics["LAMZLL"].value, metrics["LAMZUL"].value) == (2.0, 28.0)
    assert (metrics["INILL"].value, metrics["INIUL"].value) == (1.0, 14.0)


@given(st.floats(0.1, 1.0), levels)
def test_doubling_time_of_an_exponential_is_exact(rate, height):
    time_d = np.array([0.5, 3.0, 5.0, 7.0, 11.0, 14.0])
    level = height * np.exp(np.array([0.0, *(rate * (time_d[1:5] - 3.0)), 0.0]))
    level[0] = 2.0 * height  # the peak on day 11 is 2.2 times as high or more
    metrics = course_metrics(made(time_d, level))
    assert metrics["DBLT"].value == pytest.approx(math.log(2) / rate, rel=1e-9)
    # Cells leave the blood first: expansion begins at the lowest level.
    assert metrics["DBLLL"].value == metrics["TLAG"].value == 3.0
    assert metrics["TLAG"].high == 5.0


@given(st.floats(0.3, 3.0), st.floats(0.08, 0.5), st.floats(5.0, 16.0))
def test_a_trajectory_has_the_metrics_of_its_closed_form(growth, alpha, tmax):
    """Phases of Stein 2019, with its peak among the readings, and no memory cells."""
    model = load_model("phases_stein2019").with_values(
        fold_expansion=math.expm1(growth * tmax),
        tmax=tmax,
        cmax=1e4,
        alpha=alpha,
        memory_fraction=1e-12,
    )
    time_d = np.unique(np.append(reading_days(120.0), tmax))
    start = 1e4 * math.exp(-growth * tmax)
    metrics = course_metrics(made(time_d, levels_of(model, time_d), start=start))
    # The model itself has the peak's level to 1e-12 (its memory cells).
    assert metrics["CMAX"].value == pytest.approx(1e4, rel=1e-9)
    assert metrics["TMAX"].value == pytest.approx(tmax, abs=1e-12)
    assert metrics["DBLT"].value == pytest.approx(math.log(2) / growth, rel=1e-6)
    # Memory of 1e-12 of the peak is 1e-6 of the cells at most when 14 d are fitted.
    assert metrics["INIHL"].value == pytest.approx(math.log(2) / alpha, rel=1e-6)
    rise = 1e4 / growth * -math.expm1(-growth * tmax)
    fall = 1e4 / alpha * -math.expm1(-alpha * (28.0 - tmax))
    # A rising exponential by straight lines of h = 0.05 d: (growth h)²/12 = 2e-3.
    assert metrics["AUC028"].value == pytest.approx(rise + fall, rel=2.5e-3)


def test_a_trajectory_with_memory_has_the_half_lives_of_stein_2019():
    model = load_model("phases_stein2019")
    time_d = reading_days(1000.0)
    metrics = course_metrics(made(time_d, levels_of(model, time_d)))
    # Memory (0.8% of the peak, 7% of all cells 14 d after it) slows the fall a little.
    assert metrics["INIHL"].value == pytest.approx(math.log(2) / 0.16, rel=0.05)
    # The tail of best fit lets in contraction as far as R2 falls by 1e-4.
    assert metrics["LAMZHL"].value == pytest.approx(math.log(2) / 0.0032, rel=0.02)
    # Readings 0.05 d apart miss a cusp by 1% at most.
    assert metrics["CMAX"].value == pytest.approx(24_000.0, rel=0.01)
    # PKNCA gives 172,000 for this curve (nlmixr2lib, vignette of Stein 2019).
    assert metrics["AUC028"].value == pytest.approx(172_000.0, rel=0.005)


DAYS, LIMIT = [1.0, 7.0, 14.0, 28.0, 60.0, 90.0], 25.0


@pytest.mark.parametrize(
    ("above", "low", "high"),
    [
        ([0, 1, 1, 1, 0, 0], 28.0, 60.0),
        ([0, 1, 1, 0, 1, 0], 60.0, math.inf),
        ([0, 1, 1, 1, 1, 1], 90.0, math.inf),
        ([1, 0, 0, 0, 0, 0], 1.0, 7.0),
        ([0, 1, 0, 0, 1, 1], 90.0, math.inf),
    ],
)
def test_persistence_lies_between_the_last_seen_and_the_first_of_two_unseen(
    above, low, high
):
    below = np.logical_not(above)
    found = persistence(made(DAYS, np.where(below, LIMIT, 100.0), below))
    assert (found.low, found.high) == (low, high)
    assert found.value is None
    assert found.reason


def test_all_below_the_limit_has_a_highest_level_below_it():
    metrics = course_metrics(made(DAYS, [LIMIT] * 6, [True] * 6))
    cmax = metrics["CMAX"]
    assert (cmax.low, cmax.high, cmax.value) == (0.0, LIMIT, None)
    assert metrics["AUC028"].reason == "all samples below the limit"
    assert metrics["PERSIST"].reason == "never above the limit"


def test_one_sample_is_its_own_peak_and_has_no_slopes():
    metrics = course_metrics(made([14.0], [100.0]))
    assert metrics["CMAX"].value == metrics["CLST"].value == 100.0
    assert metrics["CMAX"].note == "the only quantifiable sample"
    assert metrics["LAMZHL"].reason == (
        "fewer than 3 quantifiable samples after the peak"
    )
    assert (
        metrics["DBLT"].reason
        == metrics["TLAG"].reason
        == ("no sample before the peak")
    )
    assert metrics["AUC028"].reason == "sampling ends before day 28"


def test_a_flat_course_has_no_half_life_and_no_doubling_time():
    metrics = course_metrics(made(DAYS, [100.0] * 6))
    assert metrics["TMAX"].value == 1.0
    assert metrics["LAMZHL"].reason == "level does not fall at the end"
    assert metrics["INIHL"].value is None
    # Linear up from nothing to the first sample, then level.
    assert metrics["AUC028"].value == pytest.approx(100 * (0.5 + 27), rel=EXACT)


def test_a_peak_at_either_end_says_so():
    rising = course_metrics(made(DAYS, [1, 2, 3, 4, 5, 6]))
    falling = course_metrics(made(DAYS, [6, 5, 4, 3, 2, 1]))
    assert "may come later" in rising["CMAX"].note
    assert rising["LAMZHL"].value is None
    assert "may have come earlier" in falling["CMAX"].note
    assert falling["DBLT"].value is None


def test_cells_that_rise_from_below_the_limit_double_at_least_as_fast_as_from_it():
    metrics = course_metrics(
        made([7.0, 9.0, 14.0], [25.0, 400.0, 100.0], [True, False, False])
    )
    assert metrics["DBLT"].value is None
    # 25 to 400 in 2 d are 4 doublings.
    assert metrics["DBLT"].high == pytest.approx(0.5)


def test_repeats_are_their_geometric_mean_and_one_above_the_limit_is_above():
    both = made([7.0, 7.0, 14.0, 14.0], [100, 400, 25, 60], [0, 0, 1, 0])
    np.testing.assert_allclose(both.level, [200.0, 60.0], rtol=EXACT)
    assert both.above.all()
    below = made([7.0, 7.0], [25, 50], [1, 1])
    assert below.below.all()
    assert below.level[0] == 50.0


def test_each_blq_rule_does_what_its_name_says():
    """0 100 . . 40 . . (a point: below 20), every third day."""
    time_d = np.arange(1.0, 8.0) * 3.0
    below = np.array([1, 0, 1, 1, 0, 1, 1], bool)
    one = made(time_d, np.where(below, 20.0, [0, 100, 0, 0, 40, 0, 0]), below)
    expected = {
        "pknca": ([0, 3, 6, 15, 18, 21], [0, 0, 100, 40, 0, 0]),
        "M1": ([0, 3, 6, 15], [0, 0, 100, 40]),
        "M5": ([0, 3, 6, 9, 12, 15, 18, 21], [0, 0, 100, 10, 10, 40, 10, 10]),
        "M6": ([0, 3, 6, 9, 15, 18], [0, 0, 100, 10, 40, 10]),
        "M7": ([0, 3, 6, 9, 12, 15, 18, 21], [0, 0, 100, 0, 0, 40, 0, 0]),
    }
    assert set(expected) == set(BLQ_RULES)
    for name, (days, level) in expected.items():
        got = with_blq(one, BLQ_RULES[name])
        np.testing.assert_array_equal(got, [days, level], err_msg=name)


def test_a_visit_a_little_early_is_the_visit_and_an_earlier_end_is_not():
    held = course_metrics(made([7.0, 14.0, 26.0], [100, 100, 50]))["AUC028"]
    short = course_metrics(made([7.0, 14.0, 21.0], [100, 100, 50]))["AUC028"]
    seen = auc(np.array([0.0, 7, 14, 26]), np.array([0.0, 100, 100, 50]), 0.0, 26.0)
    assert held.value == pytest.approx(seen + 2 * 50, rel=EXACT)
    assert held.note == "level of day 26 held to day 28"
    assert short.value is None


def test_an_infusion_on_top_of_cells_needs_their_level():
    known = course_metrics(made(DAYS, [100.0] * 6, start=100.0))
    unknown = course_metrics(made(DAYS, [100.0] * 6, start=None))
    assert known["AUC084"].value == pytest.approx(8400.0, rel=EXACT)
    assert "before the infusion" in unknown["AUC084"].reason
    assert unknown["CMAX"].value == 100.0


def test_re_expansion_is_the_ratio_to_cycle_1_or_its_bound():
    first = course_metrics(made(DAYS, [10, 200, 50, 40, 30, 30]))
    second = course_metrics(made(DAYS, [10, 100, 50, 40, 30, 30]))
    none = course_metrics(made(DAYS, [LIMIT] * 6, [True] * 6))
    assert re_expansion({1: first, 2: second})[2].value == 0.5
    assert re_expansion({1: first, 2: none})[2].high == LIMIT / 200
    assert re_expansion({1: none, 2: second})[2].low == 100 / LIMIT
    assert re_expansion({2: second})[2].reason == "cycle 1: no cycle 1"


def test_a_sample_before_the_infusion_is_refused():
    with pytest.raises(ValueError, match="before the infusion"):
        made([-1.0, 3.0], [1.0, 2.0])
