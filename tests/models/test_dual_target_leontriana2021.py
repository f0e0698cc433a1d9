"""The dual-target model against BioModels and its own thresholds."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("dual_target_leontriana2021")
SETTINGS = importlib.import_module("ckin.models.dual_target_leontriana2021").SETTINGS
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


def test_b_cells_feed_car_t_that_reach_the_tumour():
    fed = states_of(MODEL, DAYS, 2e8)
    alone = states_of(MODEL.with_values(b_cells_0=0.0), DAYS, 2e8)
    assert np.max(fed["cart_blood"]) > 3.0 * 2e8
    assert np.max(alone["cart_blood"]) == pytest.approx(2e8)
    assert np.min(fed["tumour"]) < np.min(alone["tumour"])
