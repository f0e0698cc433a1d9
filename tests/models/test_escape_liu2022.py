"""Liu 2022: both example sets by libroadrunner, escape, and thresholds by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.escape_liu2022 import SETTINGS  # pyright: ignore[reportMissingImports]
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.library import load_model


MODEL = load_model("escape_liu2022")
RESPONSE = SETTINGS["response"]
DAYS = np.linspace(0.0, 180.0, 91)
NAMES = {"blasts": "B", "activated": "A", "infused": "N", "escaped": "E"}
OF_RESPONSE = {
    "blast_growth": "rB",
    "killing": "kB",
    "killing_half": "KB",
    "division": "rA",
    "division_half": "KA",
    "activation": "act",
    "activation_half": "KN",
    "activated_loss": "lA",
    "infused_loss": "lN",
    "capacity": "M",
    "blasts_0": "B",
    "escaped_0": "E",
}


@pytest.mark.parametrize("response", [False, True], ids=["relapse", "response"])
def test_the_course_is_that_of_the_transcription(response: bool):
    values = RESPONSE if response else {}
    given = 16.46 if response else 0.3
    theirs = {OF_RESPONSE[name]: values[name] for name in values if name != "per_cell"}
    found = states_of(MODEL.with_values(**values), DAYS, 3e8)
    expected = by_roadrunner("LIU2022", DAYS, N=given, **theirs)
    for ours, name in NAMES.items():
        # CVODE holds 1e-12 by µL and blasts fall to 1e-7 before they return.
        np.testing.assert_allclose(
            found[ours], expected[name], rtol=1e-5, atol=1e-5, err_msg=ours
        )


@pytest.mark.parametrize(("values", "infused"), [({}, 0.3), (RESPONSE, 16.46)])
def test_the_same_dose_reaches_the_start_of_each_published_set(values, infused):
    start = states_of(MODEL.with_values(**values), np.array([0.0]), 3e8)
    assert start["infused"][0] == pytest.approx(infused)
    assert start["activated"][0] == 0.0


def test_activated_car_t_double_in_half_a_day_among_the_first_blasts():
    # 1.7 × 17212.23/(17212.23 + 827.08) - 0.04 = 1.5821 a day.
    y = MODEL.initial()._replace(activated=jnp.ones(()))
    assert np.log(2.0) / slopes_of(MODEL, y)["activated"] == pytest.approx(
        0.4381, rel=1e-3
    )


def test_each_kind_of_blast_stops_growing_at_the_capacity_of_its_own():
    y = MODEL.initial()._replace(
        blasts=jnp.asarray(19988.53), escaped=jnp.asarray(19988.53)
    )
    slopes = slopes_of(MODEL, y)
    assert slopes["blasts"] == pytest.approx(0.0, abs=1e-9)
    assert slopes["escaped"] == pytest.approx(0.0, abs=1e-9)


def test_qpcr_reads_one_copy_for_each_activated_cell_among_4000():
    y = MODEL.initial()._replace(activated=jnp.asarray(4.0), infused=jnp.asarray(9.0))
    # 151,500 nucleated cells in a µg, one in a thousand activated CAR-T.
    assert float(MODEL.quantities(y)["copies_per_ug"]) == pytest.approx(151.5, rel=0.01)


def test_cd19_negative_blasts_take_over_where_they_were_there():
    path = states_of(MODEL, np.array([0.0, 28.0, 300.0]), 3e8)
    assert path["blasts"][1] < 1e-3 * path["blasts"][0]
    assert path["escaped"][-1] > 10.0 * path["escaped"][0]
    none = states_of(MODEL.with_values(escaped_0=0.0), np.array([0.0, 300.0]), 3e8)
    assert none["escaped"][-1] == 0.0


def test_blasts_turn_where_activated_car_t_hold_them():
    # r_B (B + K_B)/k_B for few blasts: 0.086 × 795/8.6 = 7.95 by µL.
    for share, sign in ((0.98, 1), (1.02, -1)):
        y = MODEL.initial()._replace(
            blasts=jnp.asarray(1.0), activated=jnp.asarray(share * 7.95)
        )
        assert np.sign(slopes_of(MODEL, y)["blasts"]) == sign


def test_activated_car_t_grow_while_blasts_are_above_their_threshold():
    # r_A B/(B + K_A) = l_A at B = l_A K_A/(r_A - l_A).
    turning = 0.04 * 827.08 / (1.7 - 0.04)
    for share, sign in ((0.99, -1), (1.01, 1)):
        y = MODEL.initial()._replace(
            blasts=jnp.asarray(share * turning), activated=jnp.ones(())
        )
        assert np.sign(slopes_of(MODEL, y)["activated"]) == sign


def test_an_infused_cell_is_activated_or_lost_and_never_both():
    y = MODEL.initial()._replace(infused=jnp.asarray(0.3))
    slopes = slopes_of(MODEL, y)
    assert slopes["infused"] + slopes["activated"] == pytest.approx(-0.073 * 0.3)


def test_loss_of_cd19_feeds_the_escaped():
    model = MODEL.with_values(escape_rate=1e-4, escaped_0=0.0)
    slopes = slopes_of(model, model.initial())
    assert slopes["escaped"] == pytest.approx(1e-4 * 17212.23)
