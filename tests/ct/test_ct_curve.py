"""The standard curve against scipy and numpy, and its laws."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import DECADES, drawn, layout, plate
from scipy import stats

from ckin.ct import Plate, standard_curve


# Two ways to the same sums of a dozen doubles.
SAME = 1e-9

# Drawing wells is slow.
few = settings(max_examples=20)
seeds = st.integers(0, 10_000)


def points(of: Plate) -> tuple[np.ndarray, np.ndarray]:
    used = [(np.log10(w.copies), w.ct) for w in of.standards if w.ct is not None]
    x, y = zip(*used, strict=True)
    return np.array(x), np.array(y)


@few
@given(seeds)
def test_the_curve_is_scipys_and_numpys(seed):
    (made,) = drawn(seed, layout()).plates
    curve, (x, y) = standard_curve(made), points(made)
    line: Any = stats.linregress(x, y)
    found = (curve.slope, curve.intercept, curve.slope_se, curve.intercept_se)
    expected = (line.slope, line.intercept, line.stderr, line.intercept_stderr)
    np.testing.assert_allclose(found, expected, rtol=SAME)
    assert curve.r2 == pytest.approx(line.rvalue**2, rel=SAME)
    coefficients, covariance = np.polyfit(x, y, 1, cov=True)
    assert curve.covariance == pytest.approx(covariance[0, 1], rel=1e-6)
    residual = y - np.polyval(coefficients, x)
    sd = np.sqrt(residual @ residual / (len(y) - 2))
    assert curve.residual_sd == pytest.approx(sd, rel=SAME)


@given(st.floats(-4.0, -2.8), st.floats(30.0, 42.0))
def test_wells_on_a_line_give_the_line(slope, intercept):
    wells = tuple(
        dataclasses.replace(well, ct=intercept + slope * np.log10(well.copies).item())
        for well in plate(DECADES, 2).standards
    )
    curve = standard_curve(Plate("p", wells, ()))
    assert curve.slope == pytest.approx(slope, rel=SAME)
    assert curve.intercept == pytest.approx(intercept, rel=SAME)
    assert curve.r2 == pytest.approx(1.0)
    assert curve.efficiency == pytest.approx(10 ** (-1 / slope) - 1, rel=1e-6)


@few
@given(seeds, st.floats(10.0, 40.0))
def test_copies_and_ct_undo_one_another(seed, ct):
    curve = standard_curve(drawn(seed, layout()).plates[0])
    assert curve.ct(curve.copies(ct)) == pytest.approx(ct, rel=SAME)


def test_doubling_in_every_cycle_is_an_efficiency_of_1():
    made = drawn(0, layout(levels=(1e4, 1e6, 1e8)), tau=0.0, slope=-1 / np.log10(2.0))
    curve = standard_curve(made.plates[0])
    # 1e4 copies scatter by 1%, 0.01 cycles.
    assert curve.efficiency == pytest.approx(1.0, abs=0.01)
    # By a finite difference of the formula.
    step = 1e-6
    change = 10 ** (-1 / (curve.slope + step)) - 10 ** (-1 / curve.slope)
    assert curve.efficiency_se == pytest.approx(
        change / step * curve.slope_se, rel=1e-4
    )


def test_wells_without_ct_are_counted_and_not_used():
    (made,) = drawn(1, layout()).plates
    silent = (dataclasses.replace(made.standards[0], ct=None), *made.standards[1:])
    curve = standard_curve(dataclasses.replace(made, standards=silent))
    without = standard_curve(dataclasses.replace(made, standards=silent[1:]))
    assert (curve.wells, curve.undetermined) == (17, 1)
    assert curve.slope == without.slope
