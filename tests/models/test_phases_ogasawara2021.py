"""Ogasawara 2021: the numbers of the abstract are those of the curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.phases_ogasawara2021 import (  # pyright: ignore[reportMissingImports]
    PhasesOgasawara2021,
)
from ckin.models.phases_stein2019 import (  # pyright: ignore[reportMissingImports]
    PhasesStein2019,
)

from ckin.model import parameters


MODEL = PhasesOgasawara2021()
# Of the abstract: lag, doubling time, Tmax, both half-lives, days.
LAG, DOUBLING, TMAX, CONTRACTION, TERMINAL = 3.27, 0.755, 9.29, 5.00, 352.0
# Rounding of a dozen double precision operations.
EXACT = 1e-12


def curve(model, time_d) -> np.ndarray:
    """copies/µg at `time_d` by the closed form."""
    states = model.closed_form(jnp.asarray(time_d, float))
    return np.asarray(jax.vmap(model.quantities)(states)["copies_per_ug"])


def doublings_per_day(time_d, model=MODEL) -> np.ndarray:
    """Slope of log2 of the curve between neighbours of `time_d`."""
    return np.diff(np.log2(curve(model, time_d))) / np.diff(time_d)


def test_the_level_rests_until_the_end_of_the_lag():
    time_d = np.linspace(0.0, LAG, 50)
    np.testing.assert_allclose(curve(MODEL, time_d), curve(MODEL, [0.0])[0], rtol=EXACT)
    # One doubling later it is twice as high: the lag ends there and not later.
    later = curve(MODEL, [LAG + DOUBLING])[0]
    assert later == pytest.approx(2.0 * curve(MODEL, [0.0])[0], rel=EXACT)


def test_the_level_doubles_in_the_doubling_time_between_lag_and_peak():
    slope = doublings_per_day(np.linspace(LAG, TMAX, 50))
    # Differences of logarithms over an eighth of a day.
    np.testing.assert_allclose(slope, 1.0 / DOUBLING, rtol=1e-10)


def test_the_peak_is_at_tmax_and_is_cmax():
    time_d = np.sort(np.append(np.linspace(0.0, 400.0, 4001), TMAX))
    levels = curve(MODEL, time_d)
    assert time_d[np.argmax(levels)] == TMAX
    assert np.max(levels) == pytest.approx(float(MODEL.cmax), rel=EXACT)
    assert float(MODEL.derived()["tmax_d"]) == pytest.approx(TMAX, rel=EXACT)


def test_the_first_decline_has_the_half_life_of_the_abstract():
    # Without persistence, which flattens the decline by F_B.
    model = MODEL.with_values(memory_fraction=1e-12)
    slope = doublings_per_day(np.linspace(TMAX, TMAX + 20.0, 30), model)
    # 1e-12 exp(20 α) is 2e-11 of the level.
    np.testing.assert_allclose(slope, -1.0 / CONTRACTION, rtol=1e-9)


def test_the_last_decline_has_the_half_life_of_the_abstract_and_starts_from_f_b():
    # 40 half-lives of contraction after the peak: 1e-12 / F_B of it is left.
    time_d = np.linspace(TMAX + 200.0, TMAX + 900.0, 30)
    np.testing.assert_allclose(doublings_per_day(time_d), -1.0 / TERMINAL, rtol=1e-8)
    share = curve(MODEL, time_d) / float(MODEL.cmax)
    back = share * 2.0 ** ((time_d - TMAX) / TERMINAL)
    np.testing.assert_allclose(back, float(MODEL.memory_fraction), rtol=1e-8)


@pytest.mark.parametrize(("lag", "growth_days"), [(0.01, 20.0), (15.0, 0.02)])
def test_no_values_put_the_peak_before_the_end_of_the_lag(lag, growth_days):
    infusion, end, peak = MODEL.with_values(
        lag=lag, growth_days=growth_days
    ).switch_times()
    assert infusion < end < peak


def test_without_a_lag_it_is_the_curve_of_stein():
    stein = PhasesStein2019()
    derived = stein.derived()
    model = MODEL.with_values(
        lag=0.0,
        growth_days=stein.tmax,
        doubling_time=derived["doubling_time_d"],
        cmax=stein.cmax,
        contraction_half_life=derived["contraction_half_life_d"],
        memory_fraction=stein.memory_fraction,
        terminal_half_life=derived["terminal_half_life_d"],
    )
    time_d = np.linspace(0.0, 400.0, 1601)
    np.testing.assert_allclose(curve(model, time_d), curve(stein, time_d), rtol=EXACT)


def test_what_the_abstract_does_not_say_is_marked_unverified():
    tags = {name: info.checked for name, info in parameters(MODEL).items()}
    assert {name for name, tag in tags.items() if tag == "U"} == {
        "cmax",
        "memory_fraction",
    }
