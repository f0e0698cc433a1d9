"""The dual-target model against BioModels and its own thresholds."""

import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.dual_target_leontriana2021 import SETTINGS  # pyright: ignore[reportMissingImports]
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("dual_target_leontriana2021")
DAYS = np.linspace(0.0, 100.0, 51)


def agree(found, expected, names):
    for ours, theirs in names.items():
        # CVODE accumulates some 1e-7 over courses of ten decades; one cell is nothing.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-5, atol=1.0, err_msg=ours
        )


def test_the_course_with_two_targets_is_that_of_biomodels():
    found = states_of(MODEL, DAYS, 2e8)
    expected = by_roadrunner("BIOMD0000001014", DAYS)
    names = {"cart": "C", "tumour": "T", "cart_blood": "Cb", "b_cells": "B"}
    agree(found, expected, names)


def test_the_course_with_one_target_is_that_of_biomodels():
    found = states_of(MODEL.with_values(**SETTINGS["tumour_only"]), DAYS)
    agree(found, by_roadrunner("BIOMD0000001013", DAYS), {"cart": "C", "tumour": "T"})
    assert np.max(found["cart_blood"]) == np.max(found["b_cells"]) == 0.0


def test_car_t_in_blood_grow_above_the_threshold_of_b_cells():
    # 0.9 B/(1e10 + B) = 1/7 + 0.2, solved by hand.
    loss = 1.0 / 7.0 + 0.2
    threshold = 1e10 * loss / (0.9 - loss)
    assert threshold == pytest.approx(6.2e9, rel=0.01)
    for b_cells, sign in ((0.99 * threshold, -1), (1.01 * threshold, 1)):
        y = MODEL.initial()._replace(
            cart_blood=jnp.asarray(1e8), b_cells=jnp.asarray(b_cells)
        )
        assert np.sign(slopes_of(MODEL, y)["cart_blood"]) == sign


def test_the_tumour_turns_where_car_t_control_it():
    controlling = float(MODEL.derived()["cart_controlling"])
    assert controlling == pytest.approx(8e7)
    for share, sign in ((0.99, 1), (1.01, -1)):
        y = MODEL.initial()._replace(cart=jnp.asarray(share * controlling))
        assert np.sign(slopes_of(MODEL, y)["tumour"]) == sign


def test_car_t_in_blood_double_in_two_days_among_the_first_b_cells():
    # 0.9 × 2.5/3.5 - 1/7 - 0.2 = 0.3 a day.
    y = MODEL.initial()._replace(cart_blood=jnp.asarray(2e8))
    assert slopes_of(MODEL, y)["cart_blood"] == pytest.approx(0.3 * 2e8, rel=1e-12)


def test_one_target_has_a_stalemate_of_tumour_and_car_t():
    model = MODEL.with_values(**SETTINGS["tumour_only"])
    # C = 8e7 holds the tumour; the tumour that holds C solves, with h = α_1/(g_C + C),
    # h T² + (1/τ + h g_T - ρ_C) T + g_T/τ = 0.
    cart, h = 8e7, 0.04 / 2.08e9
    small, large = np.sort(np.roots([h, 1.0 / 7.0 + h * 1e10 - 0.9, 1e10 / 7.0]))
    # (0.56484 ∓ √0.20915) / 2h
    assert small == pytest.approx(2.795e9, rel=1e-3)
    assert large == pytest.approx(2.658e10, rel=1e-3)
    for tumour in (small, large):
        y = model.initial()._replace(cart=jnp.asarray(cart), tumour=jnp.asarray(tumour))
        slopes = slopes_of(model, y)
        # Rounding, against the fluxes of C/τ and of ρ_T T that cancel.
        assert abs(slopes["cart"]) < 1e-10 * cart / 7.0
        assert abs(slopes["tumour"]) < 1e-10 * 0.02 * tumour
    between = model.initial()._replace(
        cart=jnp.asarray(cart), tumour=jnp.asarray((small + large) / 2.0)
    )
    assert slopes_of(model, between)["cart"] > 0.0


def test_qpcr_reads_one_copy_for_each_car_t_cell_in_blood():
    y = MODEL.initial()._replace(cart=jnp.asarray(1e9), cart_blood=jnp.asarray(1.68e7))
    # 4.2 L with 4,000/µL are 1.68e10 cells: one in a thousand of 151,500 in a µg, and
    # the default is rounded by a tenth.
    assert float(MODEL.quantities(y)["copies_per_ug"]) == pytest.approx(151.5, rel=0.12)


def test_b_cells_feed_car_t_that_reach_the_tumour():
    fed = states_of(MODEL, DAYS, 2e8)
    alone = states_of(MODEL.with_values(b_cells_0=0.0), DAYS, 2e8)
    assert np.max(fed["cart_blood"]) > 3.0 * 2e8
    assert np.max(alone["cart_blood"]) == pytest.approx(2e8)
    assert np.min(fed["tumour"]) < np.min(alone["tumour"])
