"""Laws of the solver, on a patient whose trajectory is known on paper."""

from collections import Counter
from typing import ClassVar, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from toys import TOY, made

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state
from ckin.protocol import Dose, InputWindow, event_table, pad_events
from ckin.solve import (
    PACE_SOLVER,
    RK4,
    Pace,
    Solver,
    make_grid,
    merged_pace,
    pad_grid,
    solve,
    step_times,
)
from ckin.solve.grid import usual_pace


class Cells(NamedTuple):
    effector: Scalar = state("cells", "in blood", scale=1e6)
    feeder: Scalar = state("cells", "given besides", scale=1e6)


class LogCells(NamedTuple):
    effector: Scalar = state("cells", "in blood", log=True)
    feeder: Scalar = state("cells", "given besides", log=True)


class Decay(AbstractModel):
    """Each state decays; the input multiplies the decay of the effectors."""

    rate: Scalar = parameter(
        0.2, unit="1/day", doc="decay", source=TOY, prior=log_normal(0.2, 0.5)
    )
    level: Scalar = parameter(
        1e7, unit="cells", doc="before anything", source=TOY, prior=log_normal(1e7, 1.0)
    )
    boost: Scalar = parameter(2.0, unit="1", doc="of the input", source=TOY)

    State: ClassVar = Cells
    units: ClassVar = {"cells_in_blood": "cells"}
    receives: ClassVar = {"CART": "effector", "FTC": "feeder"}
    inputs: ClassVar = {"tki": 0.0}
    reference: ClassVar = TOY

    def initial(self):
        return self.State(self.level, 0.5 * self.level)

    def vector_field(self, t, y, inputs):
        rate = self.rate * (1.0 + self.boost * inputs["tki"])
        return type(y)(-rate * y.effector, -0.5 * self.rate * y.feeder)

    def quantities(self, y):
        return {"cells_in_blood": y.effector + y.feeder}


class LogDecay(Decay):
    """The same, solved on log scale."""

    State: ClassVar = LogCells


class Stiff(Decay):
    """Fast oscillation in time: a solver of few steps cannot follow at high rates."""

    def vector_field(self, t, y, inputs):
        wave = jnp.cos(200.0 * self.rate * t)
        return type(y)(self.rate * 100.0 * wave * y.effector, 0.0 * y.feeder)


WINDOW = InputWindow("tki", 1.0, 3.0, 5.0)
DOSES = (
    Dose(1.0, "CART", cells=3e7),
    Dose(1.0, "FTC", cells=2e7),
    Dose(7.0, "CART", cells=1e7),
    Dose(7.0, "CART", cells=2e7),
)
TIMES = np.array([-1.0, 0.5, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 12.0])
AFTER = np.array([False] * 3 + [True] + [False] * 6 + [True, False])
EVENTS = pad_events(
    event_table(DOSES, weight_kg=60.0, windows=[WINDOW], inputs=Decay.inputs), 7
)
TIGHT = Solver(rtol=1e-10, atol=1e-10)
# The solver's 1e-10 a step, some tens of steps.
SAME = 1e-8

TRACES: Counter = Counter()


@eqx.filter_jit
def run(model, events, time_d, after, solver=TIGHT):
    TRACES[type(model).__name__] += 1
    return solve(model, events, time_d, after=after, solver=solver)


def on_paper(rate=0.2, level=1e7, boost=2.0):
    """Effectors and feeders at TIMES; nothing moves before the first event (day 1)."""

    def effector_age(t):
        return (t - 1.0) + boost * (np.clip(t, 3.0, 5.0) - 3.0)

    seen = TIMES > 1.0
    given1 = seen | ((TIMES == 1.0) & AFTER)
    given7 = (TIMES > 7.0) | ((TIMES == 7.0) & AFTER)
    t = np.maximum(TIMES, 1.0)
    effector = (level + 3e7 * given1) * np.exp(-rate * effector_age(t))
    effector += 3e7 * given7 * np.exp(-rate * (t - 7.0))
    feeder = (0.5 * level + 2e7 * given1) * np.exp(-0.5 * rate * (t - 1.0))
    return effector, feeder


def close(found, expected, rtol=SAME):
    np.testing.assert_allclose(found.effector, expected[0], rtol=rtol)
    np.testing.assert_allclose(found.feeder, expected[1], rtol=rtol)


@pytest.mark.parametrize("cls", [Decay, LogDecay])
def test_doses_and_windows_give_the_trajectory_on_paper(cls):
    path = run(made(cls), EVENTS, TIMES, AFTER)
    assert path.ok
    close(path.states, on_paper())


def test_a_sample_before_the_first_event_sees_the_initial_state():
    states = run(made(Decay), EVENTS, TIMES, AFTER).states
    np.testing.assert_array_equal(states.effector[:2], 1e7)
    np.testing.assert_array_equal(states.feeder[:2], 0.5e7)


def test_a_sample_at_a_dose_is_before_it_unless_it_says_after():
    states = run(made(Decay), EVENTS, TIMES, AFTER).states
    # Days 1 and 7, both products and both bags of one product.
    np.testing.assert_allclose(states.effector[3] - states.effector[2], 3e7, rtol=SAME)
    np.testing.assert_allclose(states.feeder[3] - states.feeder[2], 2e7, rtol=SAME)
    np.testing.assert_allclose(states.effector[10] - states.effector[9], 3e7, rtol=SAME)
    np.testing.assert_allclose(states.feeder[10], states.feeder[9], rtol=SAME)


def test_an_input_acts_in_its_window_and_nowhere_else():
    states = run(made(Decay), EVENTS, TIMES, AFTER).states
    slopes = np.diff(np.log(states.effector))[[4, 5, 6, 7]]  # from day 2 to day 6
    np.testing.assert_allclose(slopes, [-0.2, -0.6, -0.6, -0.2], rtol=1e-7)


def test_a_window_need_not_start_or_end_at_a_sample_or_a_dose():
    window = InputWindow("tki", 0.5, 1.3, 1.9)
    table = event_table(
        DOSES[:1], weight_kg=60.0, windows=[window], inputs=Decay.inputs
    )
    states = run(made(Decay), pad_events(table, 7), TIMES, AFTER).states
    expected = 4e7 * np.exp(-0.2 * (1.0 + 2.0 * 0.5 * 0.6))  # day 2
    assert float(states.effector[4]) == pytest.approx(expected, rel=SAME)


def test_one_compilation_serves_every_value():
    run(made(Decay), EVENTS, TIMES, AFTER)
    before = TRACES["Decay"]
    for rate in (0.1, 0.3, 1.0):
        path = run(made(Decay, rate=rate), EVENTS, TIMES, AFTER)
        close(path.states, on_paper(rate=rate))
    assert TRACES["Decay"] == before


# A solve that fails


SHORT = Solver(max_steps=8)
FEW = np.array([0.5, 1.5, 4.0])
ONCE = event_table(DOSES[:1], weight_kg=60.0, inputs=Decay.inputs)


@eqx.filter_jit
def total(rates):
    """Sum of logs of what was solved, and every patient's path: two, side by side."""

    def one(rate):
        path = solve(made(Stiff).with_values(rate=rate), ONCE, FEW, solver=SHORT)
        return jnp.where(path.ok, jnp.sum(jnp.log(path.states.effector)), 0.0), path

    values, paths = jax.vmap(one)(rates)
    return jnp.sum(values), paths


@pytest.fixture(scope="module")
def failed():
    """A patient too stiff for so few steps beside one at rest, and their gradient."""
    rates = jnp.array([5.0, 1e-7])
    (_, paths), slope = jax.value_and_grad(total, has_aux=True)(rates)
    return paths, slope


def test_a_failed_solve_says_so_and_its_states_are_finite(failed):
    paths, _ = failed
    assert paths.ok.tolist() == [False, True]
    assert np.isfinite(paths.states.effector).all()
    assert np.isfinite(paths.states.feeder).all()


def test_a_failed_solve_has_a_gradient_of_zero(failed):
    assert failed[1][0] == 0.0


def test_a_failed_solve_does_not_reach_the_patient_beside_it(failed):
    paths, slope = failed
    # Nearly at rest: exp(100 rate (t - 1)) after the dose of day 1.
    expected = [1e7, 4e7 * np.exp(1e-5 * 0.5), 4e7 * np.exp(1e-5 * 3.0)]
    np.testing.assert_allclose(paths.states.effector[1], expected, rtol=SAME)
    # Its derivative, summed over the samples of days 1.5 and 4.
    assert slope[1] == pytest.approx(100.0 * (0.5 + 3.0), rel=1e-4)


def test_a_vector_field_that_is_nan_is_a_failed_solve():
    path = solve(
        made(Decay, rate=np.nan), ONCE, FEW, solver=Solver(rtol=1e-6, max_steps=64)
    )
    assert not path.ok
    assert np.isfinite(path.states.effector).all()


# The fixed grid


@eqx.filter_jit
def on_grid(model, grid):
    return solve(model, EVENTS, TIMES, after=AFTER, grid=grid)


GRID = make_grid(EVENTS, TIMES, AFTER)


@pytest.mark.parametrize("cls", [Decay, LogDecay])
def test_the_grid_gives_the_trajectory_on_paper(cls):
    path = on_grid(made(cls), GRID)
    assert path.ok
    # RK4 at steps of 0.2 day and a rate of 0.6: (0.12)^5 / 120 a step.
    close(path.states, on_paper(), rtol=1e-5)


def test_no_step_of_the_grid_passes_an_event_or_a_sample():
    start, length = np.asarray(GRID.start_d), np.asarray(GRID.length_d)
    end = start + length
    for stop in {*EVENTS.time_d.tolist(), *TIMES[TIMES > 1.0].tolist()}:
        assert not ((start < stop - 1e-12) & (end > stop + 1e-12)).any(), stop
    assert GRID.cells.sum() == EVENTS.cells.sum()
    assert (np.diff(start) >= 0).all()


def test_padding_of_a_grid_changes_nothing():
    longer = pad_grid(GRID, GRID.start_d.size + 9)
    one, other = (solve(made(Decay), EVENTS, TIMES, grid=g) for g in (GRID, longer))
    np.testing.assert_array_equal(one.states.effector, other.states.effector)


def test_a_grid_that_blows_up_is_a_failed_solve_with_finite_states():
    # RK4 multiplies by (0.2 rate)^4 / 24 a step: beyond all doubles in few steps.
    path = on_grid(made(Decay, rate=1e8), GRID)
    assert not path.ok
    assert np.isfinite(path.states.effector).all()


# RK4 as a diffrax solver


def forced(t, y, args):
    """Two coupled states, one of them driven from outside."""
    a, b = y
    return -args * a + jnp.sin(b), a * b - 0.3 * b + jnp.cos(t)


def rk4_end(n_steps):
    solution = dfx.diffeqsolve(
        dfx.ODETerm(forced), RK4(), 0.0, 2.0, 2.0 / n_steps,
        (jnp.array(1.0), jnp.array(0.5)), args=3.0,
    )  # fmt: skip
    return np.array([leaf[-1] for leaf in jax.tree.leaves(solution.ys)])


@pytest.mark.parametrize("unrolled", [0, 6])
def test_rk4_in_diffeqsolve_has_order_four(unrolled, monkeypatch):
    monkeypatch.setattr("ckin.solve.rk4.UNROLLED_STATES", unrolled)
    exact = solve_ivp(
        lambda t, y: np.array(forced(t, y, 3.0)), (0.0, 2.0), [1.0, 0.5],
        method="DOP853", rtol=1e-12, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    errors = [np.abs(rk4_end(n) - exact).max() for n in (20, 40, 80)]
    # Halving the step divides the error by 16, up to the next order's share of it.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.15)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4.0, abs=0.1)


# The pace of a grid


def test_the_usual_pace_has_the_steps_it_names():
    pace = usual_pace(np.array([0.0, 7.0]))
    longest = np.diff(pace.between(1.0, 6.0)).max(), np.diff(pace.between(21.0, 90.0))
    assert longest[0] <= 0.2 + 1e-12
    assert 0.45 < longest[1].max() <= 0.5 + 1e-12


def test_nodes_between_stops_are_equally_far_apart_in_steps():
    pace = Pace(np.array([0.0, 2.0, 5.0]), np.array([4.0, 1.0, 0.25]))
    nodes = pace.between(1.0, 9.0)
    assert nodes[0] == 1.0
    assert nodes[-1] == 9.0
    # 4 + 3 + 1 steps' worth.
    assert nodes.size == 9
    np.testing.assert_allclose(np.diff(pace.steps_before(nodes)), 1.0)


def test_the_steps_of_an_adaptive_solve_end_at_every_event():
    ends, ok = step_times(made(Decay), EVENTS, 12.0, PACE_SOLVER)
    ends = np.asarray(ends)
    assert ok
    for time in (3.0, 5.0, 7.0, 12.0):
        assert np.isclose(ends, time).any(), time
    assert ends[np.isfinite(ends)].max() == pytest.approx(12.0)


def test_a_merged_pace_is_that_of_the_solve_with_most_steps():
    few, many = np.array([4.0, 8.0, np.inf]), np.array([1.0, 2.0, 8.0, np.inf])
    pace = merged_pace([few, many], np.array([0.0]))
    # Two steps of RK4 in each of theirs.
    assert pace.between(0.0, 2.0).size == 1 + 4
    assert pace.between(4.0, 8.0).size == 1 + 2
    none = merged_pace([np.array([np.inf])], np.array([0.0]))
    np.testing.assert_array_equal(none.per_day, usual_pace(np.array([0.0])).per_day)
