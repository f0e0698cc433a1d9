"""Free and bound CAR-T with IL-6: the transcription, rest, and when IL-6 peaks."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from transcribed import by_roadrunner, slopes_of, states_of

from ckin.assay import il6
from ckin.library import load_model


MODEL = load_model("il6_free_bound")
DAYS = np.linspace(0.0, 60.0, 241)
DOSE = 3e8
NAMES = {
    "free": "F",
    "bound": "B",
    "tumour": "T",
    "ifn": "I",
    "il6": "L",
    "macrophages": "Mp",
}
# Macrophages that do make more IL-6 the more they are.
RESPONSIVE = 1.0


@functools.cache
def course(cart: float = DOSE, **changed: float) -> dict[str, np.ndarray]:
    return states_of(MODEL.with_values(**changed), DAYS, cart)


@pytest.mark.parametrize("half", [3.6e-5, RESPONSIVE], ids=["source", "responsive"])
def test_the_course_is_that_of_the_transcription(half: float):
    found = course(macrophage_half=half)
    expected = by_roadrunner("FREE_BOUND", DAYS, eta=half)
    for ours, theirs in NAMES.items():
        # CVODE accumulates some 1e-7; cells below one are its error.
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-5, atol=1e-3, err_msg=ours
        )


@pytest.mark.parametrize("half", [3.6e-5, RESPONSIVE])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_rest_stays_rest_without_car_t(half: float, share: float):
    path = course(0.0, macrophage_half=half, macrophage_share=share)
    # The solver holds IL-6 to 1e-10 of 1,000 pg/mL, 1e-7 of rest.
    np.testing.assert_allclose(path["il6"], 1.1, rtol=2e-6)
    np.testing.assert_allclose(path["ifn"], 10.2, rtol=1e-8)
    np.testing.assert_allclose(path["macrophages"], 5e9, rtol=2e-6)
    # The tumour is not at rest: Gompertz, in closed form.
    logarithm = np.log(5e10 / 1e12) * np.exp(-DAYS / 45.0)
    np.testing.assert_allclose(path["tumour"], 1e12 * np.exp(logarithm), rtol=1e-6)


def test_il_6_peaks_within_days_of_the_infusion_and_then_falls():
    path = course()
    peak = DAYS[np.argmax(path["il6"])]
    assert 1.0 <= peak <= 5.0
    assert 500.0 < np.max(path["il6"]) < 5000.0
    assert path["il6"][-1] < 0.3 * np.max(path["il6"])


def test_il_6_follows_contact_at_once_and_ifn_more_slowly():
    path = course()
    met = path["bound"] * path["tumour"]
    assert DAYS[np.argmax(path["ifn"])] > DAYS[np.argmax(path["il6"])]
    # Clearance takes 1.4 hours: after the rise IL-6 is what contact makes of it.
    falling = DAYS > 5.0
    made = 2e-15 * met[falling] / 16.6 + 1.1
    np.testing.assert_allclose(path["il6"][falling], made, rtol=0.02)


def test_a_larger_tumour_makes_more_il_6():
    peaks = [np.max(course(tumour_0=size)["il6"]) for size in (5e9, 5e10, 5e11)]
    assert peaks[0] < peaks[1] < peaks[2]


def test_macrophages_without_il_6_are_lost_and_grow_no_faster_than_saturation():
    y = MODEL.initial()
    loss = float(MODEL.derived()["macrophage_loss"])
    assert loss == pytest.approx(1.7 * 1.1 / 1.111)
    none = slopes_of(MODEL, y._replace(il6=jnp.zeros(())))
    much = slopes_of(MODEL, y._replace(il6=jnp.asarray(1e9)))
    assert none["macrophages"] == pytest.approx(-loss * 5e9)
    assert much["macrophages"] == pytest.approx((1.7 - loss) * 5e9)


def test_macrophages_move_il_6_only_where_they_do_not_make_all_they_can():
    y = MODEL.initial()._replace(macrophages=jnp.asarray(1e10))
    at_source = slopes_of(MODEL, y)["il6"]
    responsive = slopes_of(MODEL.with_values(macrophage_half=RESPONSIVE), y)["il6"]
    cleared = 16.6 * 1.1
    assert abs(at_source) < 1e-4 * cleared
    # Half of IL-6 at rest is theirs, and twice as many make 4/3 of it.
    assert responsive == pytest.approx(cleared * 0.5 * (4.0 / 3.0 - 1.0))


def test_binding_and_release_move_cells_and_make_none():
    y = MODEL.initial()._replace(free=jnp.asarray(2e8), bound=jnp.asarray(3e8))
    still = MODEL.with_values(cart_lifetime=1e30, killing=1e-30)
    slopes = slopes_of(still, y)
    assert slopes["free"] == pytest.approx(-slopes["bound"], rel=1e-9)
    assert slopes["free"] != 0.0
    # Each tumour cell holds one: where all are taken nobody binds.
    full = y._replace(tumour=y.bound)
    assert slopes_of(still, full)["bound"] == pytest.approx(-0.3 * 3e8)


def test_the_il_6_assay_reads_the_state():
    y = MODEL.initial()
    assert float(il6().predict(MODEL, y)) == pytest.approx(np.log(1.1))
