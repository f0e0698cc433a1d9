"""Kimmel 2021 against BioModels, and what it says of lymphodepletion."""

import jax.numpy as jnp
import numpy as np
import pytest
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model
from ckin.protocol import Dose, event_table
from ckin.solve import Solver, solve


MODEL = load_model("competition_kimmel2021")
DEPLETED = MODEL.with_values(normal_0=6.0)
DAYS = np.linspace(0.0, 120.0, 241)
# 0.36 cells/µL, the start of the source.
DOSE = 1.8e8
# A millilitre of tumour.
CELLS_PER_ML = 1e9


def cart_after(dose_d: tuple[float, ...], depletion_d: tuple[float, ...], time_d):
    """CAR-T and normal T cells of the defaults, arrays of shape (times,)."""
    events = event_table(
        [Dose(day, "CART", cells=DOSE) for day in dose_d],
        weight_kg=60.0,
        lymphodepletion_d=depletion_d,
        inputs=MODEL.inputs,
    )
    path = solve(MODEL, events, time_d, solver=Solver(rtol=1e-9, atol=1e-9))
    assert path.ok
    return np.asarray(path.states.cart), np.asarray(path.states.normal)


def test_the_course_is_that_of_biomodels():
    found = states_of(DEPLETED.with_values(tumour_growth=0.01), DAYS, DOSE)
    expected = by_roadrunner("BIOMD0000001041", DAYS)
    for ours, theirs in {"normal": "N", "cart": "C"}.items():
        # Both solvers at 1e-10 a step: they agree to 7e-9.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-7, err_msg=ours
        )
    # CVODE is off by 6e-5 where the tumour is down to 1e-4 cells; one cell is nothing.
    np.testing.assert_allclose(
        found["tumour"], CELLS_PER_ML * expected["B"], rtol=1e-5, atol=1.0
    )


def test_car_t_grow_only_while_all_t_cells_are_fewer_than_their_capacity():
    for normal, sign in ((0.99 * 139.0 - 1.0, 1), (1.01 * 139.0 - 1.0, -1)):
        y = MODEL.State(jnp.asarray(normal), jnp.ones(()), jnp.asarray(1e9))
        assert np.sign(slopes_of(MODEL, y)["cart"]) == sign


def test_an_infusion_expands_after_lymphodepletion_and_not_without():
    depleted, full = states_of(DEPLETED, DAYS, DOSE), states_of(MODEL, DAYS, DOSE)
    assert np.max(depleted["cart"]) > 30.0 * depleted["cart"][0]
    assert np.argmax(full["cart"]) == 0
    assert full["cart"][-1] < 0.1 * full["cart"][0]


def test_lymphodepletion_three_days_before_gives_the_course_of_the_source():
    day = np.array([-1e-6, 1.0, 4.0, 7.0, 14.0, 28.0, 90.0])
    cart, normal = cart_after((0.0,), (-3.0,), day)
    # 500 (6/500)^exp(-0.17 × 3) is not 6: what is left on day -3 grows to it.
    assert normal[0] == pytest.approx(6.0, rel=1e-4)
    source = states_of(DEPLETED, np.append(0.0, day[1:]), DOSE)
    # CAR-T do not slow normal T cells before they are infused.
    np.testing.assert_allclose(cart[1:], source["cart"][1:], rtol=1e-4)


def test_a_second_infusion_expands_after_a_second_lymphodepletion_only():
    day = np.linspace(60.01, 120.0, 601)
    alone, _ = cart_after((0.0, 60.0), (-3.0,), day)
    depleted, _ = cart_after((0.0, 60.0), (-3.0, 57.0), day)
    assert np.all(np.diff(alone) < 0.0)
    assert np.max(depleted) > 10.0 * np.max(alone)


def test_lymphodepletion_takes_car_t_in_proportion_and_adds_nobody():
    y = MODEL.State(jnp.asarray(400.0), jnp.asarray(40.0), jnp.asarray(1e9))
    left = MODEL.lymphodeplete(y)
    # 500 (6/500)^exp(0.51).
    assert float(left.normal) == pytest.approx(0.3164, rel=1e-3)
    assert float(left.cart / left.normal) == pytest.approx(0.1)
    assert float(left.tumour) == 1e9
    few = y._replace(normal=jnp.asarray(0.1))
    assert float(MODEL.lymphodeplete(few).normal) == pytest.approx(0.1)


def test_car_t_double_in_ten_hours_at_infusion():
    y = MODEL.State(jnp.asarray(6.0), jnp.asarray(0.36), jnp.asarray(1e9))
    # r_C = 0.0251 + 0.525 × 493.64² / (0.423 × 6.36² + 493.64²) = 0.55006,
    # times ln(139/6.36) = 3.0845: 1.6967 a day.
    rate = slopes_of(MODEL, y)["cart"] / 0.36
    assert np.log(2.0) / rate * 24.0 == pytest.approx(9.805, rel=1e-3)


def test_car_t_peak_within_two_weeks_and_are_as_at_infusion_on_day_90():
    # Both are said of the median patient in the paper's text.
    path = states_of(DEPLETED, DAYS, DOSE)
    assert 3.0 < DAYS[np.argmax(path["cart"])] < 14.0
    assert path["cart"][DAYS == 90.0][0] == pytest.approx(0.36, rel=0.15)


def test_normal_t_cells_recover_to_their_capacity_and_car_t_die_out():
    path = states_of(DEPLETED, DAYS, DOSE)
    assert path["normal"][-1] == pytest.approx(500.0, rel=0.01)
    # At full recovery CAR-T fall by ρ_C ln(K_N/K_C) = 0.0321 a day.
    y = MODEL.State(jnp.asarray(500.0), jnp.asarray(1e-9), jnp.asarray(1e9))
    rate = slopes_of(MODEL, y)["cart"] / 1e-9
    assert rate == pytest.approx(-0.0251 * np.log(500.0 / 139.0), rel=1e-6)


def test_the_growth_rate_in_an_empty_host_is_the_sum_of_both():
    assert float(MODEL.derived()["depleted_rate"]) == pytest.approx(0.5501)
    y = MODEL.State(jnp.asarray(1e-3), jnp.asarray(1e-9), jnp.asarray(1e9))
    rate = slopes_of(MODEL, y)["cart"] / 1e-9 / np.log(139.0 / 1e-3)
    assert rate == pytest.approx(0.5501, rel=1e-5)


def test_a_dose_becomes_the_concentration_of_the_source():
    path = states_of(DEPLETED, np.array([0.0]), DOSE)
    assert path["cart"][0] == pytest.approx(0.36)


def test_the_tumour_turns_where_killing_equals_its_growth():
    # γ_B C/(k_B + C) = r_B at C = 0.1 × 4.05 / (1.15 - 0.1).
    turning = 0.1 * 4.05 / 1.05
    for share, sign in ((0.99, 1), (1.01, -1)):
        y = MODEL.State(
            jnp.asarray(500.0), jnp.asarray(share * turning), jnp.asarray(1e9)
        )
        assert np.sign(slopes_of(MODEL, y)["tumour"]) == sign
