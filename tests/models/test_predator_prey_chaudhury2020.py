"""Chaudhury 2020 against BioModels and what its equations imply."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.phases_stein2019 import (  # pyright: ignore[reportMissingImports]
    PhasesStein2019,
)
from ckin.models.predator_prey_chaudhury2020 import (  # pyright: ignore[reportMissingImports]
    PredatorPreyChaudhury2020,
)
from transcribed import TIGHT, by_roadrunner, slopes_of

from ckin.protocol import event_table
from ckin.solve import Solver, solve


MODEL = PredatorPreyChaudhury2020()
CYCLING = MODEL.with_values(contact="mass_action")
TMAX = 9.3
DAYS = np.sort(np.append(np.linspace(0.0, 360.0, 181), TMAX))
# Twelve decades below its peak CVODE follows no amount any more.
UNSEEN = 1e-12


@eqx.filter_jit
def solved(model):
    # Compiled once a form: only values differ between tests.
    events = event_table([], weight_kg=60.0)
    return solve(model, events, DAYS, solver=Solver(rtol=TIGHT, atol=TIGHT))


def course(model) -> dict[str, np.ndarray]:
    """States of ckin's model at `DAYS`, by name."""
    path = solved(model)
    assert path.ok
    return {name: np.asarray(value) for name, value in path.states._asdict().items()}


def compare(found, expected, names: dict[str, str], rtol: float):
    for ours, theirs in names.items():
        peak = np.max(expected[theirs])
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=rtol, atol=UNSEEN * peak, err_msg=ours
        )


# The tumours of Figure 3 as the curators ran it.
@pytest.mark.parametrize("tumour_0", [9.0, 90.0, 900.0, 9000.0, 90000.0])
def test_the_saturable_course_is_that_of_biomodels(tumour_0: float):
    found = course(MODEL.with_values(tumour_0=tumour_0))
    expected = by_roadrunner("BIOMD0000001025", DAYS, U=tumour_0)
    names = {"expanding": "E", "persistent": "P", "tumour": "U"}
    # Tolerance 1e-10 a step over a thousand steps.
    compare(found, expected, names, rtol=1e-6)


def test_the_lotka_volterra_course_is_that_of_biomodels():
    found, expected = course(CYCLING), by_roadrunner("BIOMD0000001024", DAYS)
    names = {"expanding": "E", "tumour": "U"}
    # CVODE slips in phase at every turn: 4e-6 in the first cycle, 2e-4 by day 360,
    # where ckin is within 2e-7 of the logarithms solved at 1e-13.
    compare(found, expected, names, rtol=1e-3)
    first = DAYS < 110.0
    found_first = {name: values[first] for name, values in found.items()}
    expected_first = {name: values[first] for name, values in expected.items()}
    compare(found_first, expected_first, names, rtol=1e-5)
    np.testing.assert_array_equal(found["persistent"], 0.0)


@pytest.mark.parametrize("tumour_0", [9.0, 900.0, 90000.0])
def test_the_saturable_peak_is_at_tmax_whatever_the_tumour(tumour_0: float):
    found = course(MODEL.with_values(tumour_0=tumour_0))
    assert DAYS[np.argmax(found["expanding"])] == TMAX


def test_the_default_peak_reads_near_that_of_stein():
    peak = np.max(course(MODEL)["expanding"])
    copies = float(MODEL.copies_per_unit) * peak
    # The source of copies_per_unit says 22,800.
    assert copies == pytest.approx(22_800.0, abs=50.0)


def test_after_tmax_cells_contract_and_persist_at_the_rates_of_stein():
    stein = PhasesStein2019()
    found, after = course(MODEL), DAYS >= TMAX
    day = DAYS[after]
    expanding, persistent = found["expanding"][after], found["persistent"][after]
    early = day < 100.0
    fall = np.diff(np.log(expanding[early])) / np.diff(day[early])
    # kE is Stein's α and leaves out the kEP that convert: exactly this sum.
    np.testing.assert_allclose(fall, -(0.16 + 0.0012), rtol=1e-6)
    assert float(stein.alpha) == pytest.approx(0.16)
    late = day > 150.0
    fade = np.diff(np.log(persistent[late])) / np.diff(day[late])
    # exp(-0.16 × 140) of what expands is still converted.
    np.testing.assert_allclose(fade, -float(stein.beta), rtol=1e-5)
    # kEP/(α-β) of the peak: Stein's F_B, 0.0079, to the digits of kEP.
    back = persistent[late] * np.exp(float(stein.beta) * (day[late] - TMAX))
    share = back / expanding[0]
    np.testing.assert_allclose(share, 0.0012 / (0.1612 - 0.0032), rtol=1e-5)
    assert share[-1] == pytest.approx(float(stein.memory_fraction), rel=0.05)


def test_a_tumour_below_the_critical_size_is_cured_and_else_relapses():
    cured = course(MODEL)["tumour"]
    assert cured[-1] < float(MODEL.tumour_critical)
    # Smaller than the smallest tumour of the course: nothing stops growth.
    relapsing = MODEL.with_values(tumour_critical=1e-6)
    tumour = course(relapsing)["tumour"]
    assert np.min(tumour) > 1e-5
    # Growth slows towards Umax = 1000 with g / ln Umax: exp(-0.029 × 300) is left.
    assert tumour[-1] == pytest.approx(1000.0, rel=0.02)


def test_a_tumour_of_umax_stands_still_without_cart():
    alone = MODEL.State(jnp.asarray(1e-30), jnp.zeros(()), jnp.asarray(1000.0))
    # Rounding of 1 - ln U / ln Umax.
    assert abs(slopes_of(MODEL, alone, 1.0)["tumour"]) < 1e-10
    for size, sign in ((999.0, 1.0), (1001.0, -1.0)):
        y = alone._replace(tumour=jnp.asarray(size))
        assert np.sign(slopes_of(MODEL, y, 1.0)["tumour"]) == sign


def test_predator_and_prey_keep_their_invariant():
    found = course(CYCLING)
    cart, tumour = found["expanding"], found["tumour"]
    parts = (0.0018 * tumour, -0.16 * np.log(tumour), 1.5e-4 * cart)
    invariant = sum(parts) - 0.15 * np.log(cart)
    # Tolerance 1e-10 a step over a thousand steps.
    np.testing.assert_allclose(invariant, invariant[0], rtol=1e-6)
    # It holds although cells cycle by decades.
    assert np.ptp(np.log10(tumour)) > 5.0


def test_predator_and_prey_turn_at_their_thresholds():
    derived = {name: float(value) for name, value in CYCLING.derived().items()}
    assert derived["tumour_threshold"] == pytest.approx(0.16 / 0.0018)
    assert derived["cart_threshold"] == pytest.approx(0.15 / 1.5e-4)
    for share, sign in ((0.99, -1.0), (1.01, 1.0)):
        y = CYCLING.State(
            jnp.asarray(share * derived["cart_threshold"]),
            jnp.zeros(()),
            jnp.asarray(share * derived["tumour_threshold"]),
        )
        slope = slopes_of(CYCLING, y, 1.0)
        assert np.sign(slope["expanding"]) == sign
        assert np.sign(slope["tumour"]) == -sign
