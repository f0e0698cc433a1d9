"""León-Triana 2021 against BioModels and what the paper says of the equations."""

import jax.numpy as jnp
import numpy as np
import pytest
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("ball_leontriana2021")
# The course of BioModels: 1e7 CAR-T on day 0. Leukaemia falls by 40 decades until CAR-T
# are gone, and no assay follows it below one cell; states are compared above that.
DAYS = np.linspace(0.0, 300.0, 61)
CART_0 = 1e7
NAMES = {"cart": "C", "leukaemia": "L", "b_cells": "B"}


@pytest.mark.parametrize(
    ("marrow", "file"),
    [("reduced", "BIOMD0000001011"), ("curated", "BIOMD0000001012")],
)
def test_the_course_is_that_of_biomodels(marrow: str, file: str):
    found = states_of(MODEL.with_values(marrow=marrow), DAYS, CART_0)
    expected = by_roadrunner(file, DAYS)
    for ours, theirs in NAMES.items():
        # CVODE accumulates some 1e-7 over a course that spans ten decades.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-5, atol=1.0, err_msg=ours
        )


def test_the_paper_s_threshold_of_antigen_is_where_cart_turn():
    threshold = float(MODEL.derived()["antigen_threshold"])
    # 1 / (0.25 × 4.5e-11 × 14)
    assert threshold == pytest.approx(6.349e9, rel=1e-3)
    for antigen, sign in ((0.99 * threshold, -1), (1.01 * threshold, 1)):
        y = MODEL.State(jnp.asarray(1e8), jnp.asarray(antigen), jnp.zeros(()))
        assert np.sign(slopes_of(MODEL, y)["cart"]) == sign


def test_cart_peak_between_two_and_four_weeks_and_then_fall_with_their_lifetime():
    path = states_of(MODEL, np.linspace(0.0, 150.0, 301), CART_0)
    day = np.linspace(0.0, 150.0, 301)
    peak = day[np.argmax(path["cart"])]
    assert 10.0 < peak < 30.0
    late = (day > 80.0) & (path["leukaemia"] + path["b_cells"] < 1e6)
    rate = np.diff(np.log(path["cart"][late])) / np.diff(day[late])
    np.testing.assert_allclose(rate, -1.0 / 14.0, rtol=1e-3)


def test_progenitors_with_the_factor_c_cannot_make_cart_from_nothing():
    y = MODEL.initial()
    slope = {
        marrow: slopes_of(MODEL.with_values(marrow=marrow), y)["cart"]
        for marrow in ("progenitors", "curated")
    }
    assert slope["progenitors"] == 0.0
    # β ρ_C I0: the curators' file makes CAR-T where there are none.
    assert slope["curated"] == pytest.approx(0.1 * 0.25 * 4.5e-11 * 1e7)


def test_a_second_dose_expands_only_while_antigen_is_above_the_threshold():
    early = MODEL.initial()._replace(cart=jnp.asarray(1e8))
    assert slopes_of(MODEL, early)["cart"] > 0.0
    aplasia = early._replace(leukaemia=jnp.ones(()), b_cells=jnp.asarray(1e6))
    assert slopes_of(MODEL, aplasia)["cart"] < 0.0
