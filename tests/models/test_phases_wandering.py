"""A level that wanders: what the walk adds to the phases, and where."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.phases_smooth import (  # pyright: ignore[reportMissingImports]
    PhasesSmooth,
)
from ckin.models.phases_wandering import (  # pyright: ignore[reportMissingImports]
    KNOTS_D,
    STRETCHES_D,
    PhasesWandering,
)

from ckin.assay import qpcr
from ckin.population import population
from ckin.protocol import event_table
from ckin.solve import Solver, solve


MODEL = PhasesWandering()
STEPS = (0.7, -1.1, 0.4, -0.3, 1.9)
NAMES = tuple(f"walk_{end:g}" for _, end in STRETCHES_D)
WALKED = MODEL.with_values(**dict(zip(NAMES, STEPS, strict=True)))


def beside_the_phases(model, time_d) -> np.ndarray:
    """What the logarithm of what persists has gained on the smooth phases."""
    at = jnp.asarray(time_d, float)
    ours, theirs = (m.closed_form(at).persisting for m in (model, PhasesSmooth()))
    return np.log(ours) - np.log(theirs)


def test_without_a_walk_it_is_the_smooth_phases():
    assert np.all(beside_the_phases(MODEL, np.linspace(0.0, 3000.0, 301)) == 0.0)


def test_the_walk_ends_each_stretch_one_step_further_and_stays_after_the_last():
    # 1e-12: rounding of a logarithm of 24,000 copies.
    np.testing.assert_allclose(
        beside_the_phases(WALKED, KNOTS_D), [0.0, *np.cumsum(STEPS)], atol=1e-12
    )
    early, late = np.linspace(0.0, 28.0, 29), np.linspace(1460.0, 5000.0, 20)
    np.testing.assert_allclose(beside_the_phases(WALKED, early), 0.0, atol=1e-12)
    np.testing.assert_allclose(beside_the_phases(WALKED, late), sum(STEPS), atol=1e-11)


@pytest.mark.parametrize(("start", "end"), STRETCHES_D)
def test_a_stretch_is_a_line_in_the_logarithm_of_time(start, end):
    share = np.linspace(0.0, 1.0, 9)
    day = start * (end / start) ** share
    found = beside_the_phases(WALKED, day)
    np.testing.assert_allclose(
        found, found[0] + share * (found[-1] - found[0]), atol=1e-12
    )


def test_the_closed_form_solves_the_equations():
    # Off the ends of stretches too, where the slope jumps and the solver has to stop.
    time_d = np.unique([*np.linspace(0.0, 2000.0, 401), *KNOTS_D])
    events = event_table([], weight_kg=60.0)
    solver = Solver(method=dfx.Tsit5(), rtol=1e-10, atol=1e-10)
    path = solve(WALKED, events, time_d, solver=solver)
    assert path.ok
    # Tolerance 1e-10 of the logarithm a step, over some hundred steps.
    for found, expected in zip(
        path.states, WALKED.closed_form(jnp.asarray(time_d)), strict=True
    ):
        # Less than exp(-300) is carried by no state.
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-120)


def test_the_slope_is_the_derivative_of_the_level():
    day = jnp.asarray([1.0, 27.0, 29.0, 60.0, 100.0, 200.0, 500.0, 1000.0, 2000.0])
    slope = jax.vmap(jax.grad(lambda t: WALKED.wandered(t)[0]))(day)
    np.testing.assert_allclose(WALKED.wandered(day)[1], slope, rtol=1e-12)


def test_what_contracts_walks_as_what_persists_does():
    # Their ratio is that of the phases.
    day = jnp.linspace(0.0, 300.0, 61)
    ours, theirs = (m.closed_form(day) for m in (WALKED, PhasesSmooth()))
    np.testing.assert_allclose(
        ours.contracting / ours.persisting,
        theirs.contracting / theirs.persisting,
        rtol=1e-11,
    )


def test_every_step_differs_between_patients():
    whole = population(MODEL, qpcr())
    assert set(NAMES) <= set(whole.vary)
    assert all(whole.info[name].scale == "identity" for name in NAMES)
