"""CARTmath: the course by libroadrunner, thresholds by hand, memory that comes back."""

import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.memory_barros2021 import SETTINGS  # pyright: ignore[reportMissingImports]
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("memory_barros2021")
DAYS = np.linspace(0.0, 60.0, 61)
RAJI_NAMES = {
    "growth": "phi",
    "loss": "rho",
    "recall": "theta",
    "inhibition": "alpha",
    "to_memory": "eps",
    "memory_loss": "mu",
    "tumour_growth": "r",
    "tumour_inverse_capacity": "b",
    "killing": "gamma_",
}


def test_the_course_of_hdlm_2_is_that_of_the_transcription():
    found, expected = states_of(MODEL, DAYS, 1e6), by_roadrunner("BARROS2021", DAYS)
    for ours, theirs in {"effector": "C", "memory": "M", "tumour": "T"}.items():
        # CVODE holds 1e-10 a step; what is under a cell is its error.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-5, atol=1e-3, err_msg=ours
        )


def test_slopes_of_raji_are_those_of_the_equations():
    raji = SETTINGS["raji"]
    model = MODEL.with_values(**raji)
    c, m, t = 3e6, 5e5, 4e7
    p = {theirs: raji[ours] for ours, theirs in RAJI_NAMES.items()}
    slopes = slopes_of(model, model.State(*map(jnp.asarray, (c, m, t))))
    recalled = p["theta"] * t * m
    assert slopes["effector"] == pytest.approx(
        (p["phi"] - p["rho"]) * c + recalled - p["alpha"] * t * c
    )
    assert slopes["memory"] == pytest.approx(p["eps"] * c - recalled - p["mu"] * m)
    assert slopes["tumour"] == pytest.approx(p["r"] * t - p["gamma_"] * c * t)


def test_the_tumour_grows_alone_until_the_infusion():
    # e^(0.0565 × 42) times 2e6, a hundredth of a percent from its capacity.
    assert float(MODEL.initial().tumour) == pytest.approx(2e6 * 10.73, rel=1e-3)
    assert float(MODEL.with_values(days_before=0.0).initial().tumour) == 2e6


def test_the_tumour_turns_where_effectors_control_it():
    controlling = float(MODEL.derived()["cart_controlling"])
    assert controlling == pytest.approx(1.52e4, rel=1e-2)
    for share, sign in ((0.99, 1), (1.01, -1)):
        y = MODEL.initial()._replace(effector=jnp.asarray(share * controlling))
        assert np.sign(slopes_of(MODEL, y)["tumour"]) == sign


def test_effectors_without_a_tumour_fall_and_leave_memory():
    path = states_of(MODEL.with_values(tumour_given=1e-3), DAYS, 1e6)
    np.testing.assert_allclose(path["effector"], 1e6 * np.exp(-0.085 * DAYS), rtol=1e-6)
    assert path["memory"][-1] > 0.8 * 1e6


def test_memory_that_meets_a_tumour_becomes_effectors_one_for_one():
    y = MODEL.State(jnp.zeros(()), jnp.asarray(1e5), jnp.asarray(1e6))
    slopes = slopes_of(MODEL, y)
    assert slopes["effector"] == pytest.approx(6e-6 * 1e6 * 1e5)
    assert slopes["effector"] + slopes["memory"] == pytest.approx(-5e-3 * 1e5)
