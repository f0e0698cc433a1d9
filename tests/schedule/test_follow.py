"""Numbers of a course, and their derivatives by the time and the size of a dose."""

import functools

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import DECAY, Decay, LateDecay
from toys import Hunt, made

from ckin.protocol import Dose, event_table
from ckin.schedule.follow import Area, DaysAbove, Last, SmoothMax, follow, from_day
from ckin.solve import Solver, solve, with_doses


# The error of the solves that are compared is smaller than what is asked for.
TIGHT = Solver(rtol=1e-11, atol=1e-11, adjoint=dfx.ForwardMode())
END_D = 20.0
FTC = 1


FIRST = event_table([Dose(0.0, "CART", cells=1e3)], weight_kg=60.0)


def given_at(day, cells, base=FIRST):
    """The base and one FTC of so many cells on a day, which may be traced."""
    column = jnp.zeros((1, 2)).at[0, FTC].set(cells)
    return with_doses(base, jnp.reshape(day, (1,)), column)


ON_PAPER = {"area": Area("fed"), "last": Last("fed")}
MEASURES = {
    "area": Area("copies_per_ug"),
    "days above": DaysAbove("copies_per_ug", 1e4),
    "maximum": SmoothMax("copies_per_ug", 1e4),
    "last": Last("copies_per_ug"),
}
ADAPTIVE = pytest.param(TIGHT, id="adaptive")
STRETCHED = pytest.param(None, id="stretched")
SLOW = pytest.param(TIGHT, id="adaptive", marks=pytest.mark.slow)


@functools.cache
def compiled(cls, solver):
    """Every measure and its derivatives by (day, cells), in one program."""
    measures = ON_PAPER if cls is Decay else MEASURES

    def values(x):
        events = given_at(x[0], x[1])
        found, ok = follow(made(cls), events, END_D, measures, solver=solver)
        found = jnp.stack(list(found.values()))
        return found, (found, ok)

    both = jax.jit(jax.jacfwd(values, has_aux=True))

    def run(day, cells):
        slopes, (found, ok) = both(jnp.array([day, cells]))
        assert bool(ok)
        rows = zip(measures, np.asarray(found), np.asarray(slopes), strict=True)
        return {name: (float(value), slope) for name, value, slope in rows}

    return run


@pytest.mark.parametrize("solver", [STRETCHED, ADAPTIVE])
@pytest.mark.parametrize("day", [3.3, 7.0, 19.0])
def test_derivatives_by_day_and_size_are_those_on_paper(solver, day):
    """Area = d (1 - e^(-k(T-τ))) / k, last = d e^(-k(T-τ)), for d cells on day τ."""
    found = compiled(Decay, solver)(day, 50.0)
    left = np.exp(-DECAY * (END_D - day))
    # RK4 with steps of about 0.1 d errs by (k h)^4 / 120 a step, which is 1e-8.
    area, by_area = found["area"]
    assert area == pytest.approx(50.0 * (1 - left) / DECAY, rel=1e-6)
    np.testing.assert_allclose(by_area, [-50.0 * left, (1 - left) / DECAY], rtol=1e-5)
    last, by_last = found["last"]
    assert last == pytest.approx(50.0 * left, rel=1e-6)
    np.testing.assert_allclose(by_last, [DECAY * 50.0 * left, left], rtol=1e-5)


@pytest.mark.parametrize("solver", [STRETCHED, SLOW])
@pytest.mark.parametrize("day", [2.5, 9.0])
def test_derivatives_of_a_bent_model_are_finite_differences(solver, day):
    run = compiled(Hunt, solver)
    found = run(day, 200.0)
    for column, step in enumerate((1e-4, 1e-2)):
        moved = np.array([day, 200.0]), np.array([day, 200.0])
        moved[0][column] += step
        moved[1][column] -= step
        ahead, behind = (run(*x) for x in moved)
        for name, (_, slope) in found.items():
            across = (ahead[name][0] - behind[name][0]) / (2 * step)
            # Second order in the step, and the noise of the solve over the step.
            assert slope[column] == pytest.approx(across, rel=2e-5), name


def test_the_stretched_grid_agrees_with_the_adaptive_solver():
    fine = jax.jit(
        lambda x: follow(
            made(Hunt), given_at(x[0], x[1]), END_D, MEASURES, solver=TIGHT
        )
    )
    for x in ((2.5, 200.0), (12.0, 50.0)):
        adaptive, ok = fine(jnp.array(x))
        assert bool(ok)
        for name, (value, _) in compiled(Hunt, None)(*x).items():
            # The soft edge of the days is the roughest: 2e-4.
            assert value == pytest.approx(float(adaptive[name]), rel=5e-4), name


def test_measures_are_what_they_are_called():
    found = {n: value for n, (value, _) in compiled(Hunt, None)(2.5, 200.0).items()}
    events = given_at(jnp.asarray(2.5), jnp.asarray(200.0))
    time_d = np.unique(np.append(np.linspace(0.0, END_D, 4001), 2.5))
    path = solve(made(Hunt), events, time_d, after=time_d == 0.0)
    reading = np.asarray(path.states.hunter) * 600.0 / 60.0
    # A trapezoid over 0.005 d.
    assert found["area"] == pytest.approx(np.trapezoid(reading, time_d), rel=1e-4)
    assert found["last"] == pytest.approx(reading[-1], rel=1e-4)
    crude = np.trapezoid((reading > 1e4).astype(float), time_d)
    # The edge is soft over a fifth of a natural logarithm.
    assert found["days above"] == pytest.approx(crude, abs=1.0)
    assert found["maximum"] == pytest.approx(reading.max(), rel=0.3)


def test_an_area_does_not_jump_where_a_dose_passes_a_whole_day():
    run = compiled(Hunt, None)
    before, at, after = (run(7.0 + by, 200.0)["area"][0] for by in (-1e-7, 0.0, 1e-7))
    assert before == pytest.approx(at, rel=1e-6)
    assert after == pytest.approx(at, rel=1e-6)


def test_two_doses_that_pass_each_other_change_nothing():
    @jax.jit
    def area(one, other):
        cells = jnp.zeros((2, 2)).at[:, FTC].set(jnp.array([30.0, 60.0]))
        events = with_doses(FIRST, jnp.array([one, other]), cells)
        return follow(made(Hunt), events, END_D, MEASURES)[0]["area"]

    one, other = area(5.0, 5.0 + 1e-9), area(5.0 + 1e-9, 5.0)
    assert float(one) == pytest.approx(float(other), rel=1e-8)


def test_a_lag_that_is_a_parameter_moves_the_derivative_with_the_dose():
    """A dose on day τ that arrives after the lag is one on day τ + lag."""

    def area(x):
        model = made(LateDecay, lag=x[1])
        found, _ = follow(model, given_at(x[0], 50.0), END_D, {"it": Area("fed")})
        return found["it"]

    slope = jax.jit(jax.jacfwd(area))(jnp.array([4.0, 1.5]))
    exact = -50.0 * np.exp(-DECAY * (END_D - 5.5))
    np.testing.assert_allclose(slope, [exact, exact], rtol=1e-6)


@eqx.filter_jit
def followed(events, until_d, begun):
    return follow(made(Decay), events, jnp.asarray(until_d), ON_PAPER, begun=begun)


@pytest.mark.parametrize("day_d", [4.0, 6.0])
def test_what_comes_first_may_be_solved_once(day_d):
    people = jax.tree.map(lambda v: jnp.broadcast_to(v, (3,)), made(Decay))
    base = event_table(
        [Dose(0.0, "FTC", cells=1e3), Dose(6.0, "FTC", cells=1e2)], weight_kg=60.0
    )
    begun, rest, ok = from_day(people, base, day_d)
    assert bool(jnp.all(ok))
    assert float(rest.time_d[0]) == day_d
    one = jax.tree.map(lambda rows: rows[1], begun)
    later = given_at(jnp.asarray(9.0), jnp.asarray(80.0), rest)
    whole = given_at(jnp.asarray(9.0), jnp.asarray(80.0), base)
    after, _ = followed(later, END_D, one)
    both, _ = followed(whole, END_D, None)
    before, _ = followed(base, day_d, None)
    assert float(after["last"]) == pytest.approx(float(both["last"]), rel=1e-6)
    area = float(both["area"] - before["area"])
    assert float(after["area"]) == pytest.approx(area, rel=1e-6)


MEASURED = {"fed": Area("fed")}


def test_a_dose_after_the_end_is_not_reached():
    late, _ = follow(
        made(Decay), given_at(jnp.asarray(25.0), jnp.asarray(50.0)), END_D, MEASURED
    )
    assert float(late["fed"]) == 0.0


def test_a_course_that_blows_up_says_so():
    found, ok = follow(
        made(Decay, rate=-1e9),
        given_at(jnp.asarray(3.0), jnp.asarray(50.0)),
        END_D,
        MEASURED,
    )
    assert not bool(ok)
    assert np.isfinite(float(found["fed"]))
