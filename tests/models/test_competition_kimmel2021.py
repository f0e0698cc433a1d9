"""Kimmel 2021 against BioModels, and what it says of lymphodepletion."""

import jax.numpy as jnp
import numpy as np
import pytest
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("competition_kimmel2021")
DEPLETED = MODEL.with_values(normal_0=6.0)
DAYS = np.linspace(0.0, 120.0, 241)
# 0.36 cells/µL, the start of the source.
DOSE = 1.8e8


def test_the_course_is_that_of_biomodels():
    found, expected = (
        states_of(DEPLETED, DAYS, DOSE),
        by_roadrunner("BIOMD0000001041", DAYS),
    )
    for ours, theirs in {"normal": "N", "cart": "C", "tumour": "B"}.items():
        # CVODE is off by 1.2e-5 where the tumour is down by ten decades.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=5e-5, atol=1e-7, err_msg=ours
        )


def test_car_t_grow_only_while_all_t_cells_are_fewer_than_their_capacity():
    for normal, sign in ((0.99 * 139.0 - 1.0, 1), (1.01 * 139.0 - 1.0, -1)):
        y = MODEL.State(jnp.asarray(normal), jnp.ones(()), jnp.asarray(1e9))
        assert np.sign(slopes_of(MODEL, y)["cart"]) == sign


def test_an_infusion_expands_after_lymphodepletion_and_not_without():
    depleted, full = states_of(DEPLETED, DAYS, DOSE), states_of(MODEL, DAYS, DOSE)
    assert np.max(depleted["cart"]) > 30.0 * depleted["cart"][0]
    assert 3.0 < DAYS[np.argmax(depleted["cart"])] < 21.0
    assert np.argmax(full["cart"]) == 0
    assert full["cart"][-1] < 0.1 * full["cart"][0]


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
