"""The best schedule: where paper knows it, and beside every point of a lattice."""

import itertools
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import Decay
from scipy.integrate import solve_ivp
from toys import QPCR, Hunt, made

from ckin.errors import InputError
from ckin.population import population
from ckin.protocol import Dose, Protocol
from ckin.schedule import (
    Area,
    Budget,
    Cap,
    Goal,
    Infusions,
    Last,
    Space,
    cells_budget,
    lattice,
    optimise,
    people_of,
    prior_people,
    question,
    values,
    worth,
    worth_and_slope,
)


WEIGHT = 50.0
END_D = 20.0
CART = Protocol("course", (Dose(0.0, "CART", cells_per_kg=1e6),))
KEY = jax.random.key(0)


def alike(model, n=1):
    """The same patient several times."""
    return jax.tree.map(lambda v: jnp.broadcast_to(v, (n,)), model)


def both(found):
    return jnp.log(found["given"]) + jnp.log(found["fed"])


AREAS = {"given": Area("given"), "fed": Area("fed")}


@pytest.fixture(scope="module")
def split():
    """CAR-T and FTC from one budget, FTC on any of 14 days."""
    space = Space(
        CART,
        (
            Infusions("CART", 1, least=1e5, most=2e7),
            Infusions("FTC", 1, to_day=14, most=2e7),
        ),
        Budget(1e9, {"CART": 2.0, "FTC": 4.0}),
        WEIGHT,
    )
    asked = question(space, Goal(both, AREAS, END_D), alike(made(Decay)), steps=40)
    return asked, optimise(asked, KEY, starts=3, steps=60)


def test_a_split_under_one_budget_is_half_and_half(split):
    """log + log of what is proportional to the doses: half the budget goes to each."""
    _, best = split
    # Doses are prescribed in steps of 5e4 cells/kg.
    assert best.cells_per_kg == pytest.approx([5e6, 2.5e6], abs=1e5)


def test_cells_that_only_die_are_given_as_early_as_they_may_be(split):
    _, best = split
    assert best.days == (1, 1)
    ftc = [dose for dose in best.plan.doses if dose.product == "FTC"]
    assert ftc[0].time_d == pytest.approx(2 / 24)


def test_what_is_proposed_is_feasible_and_loses_little_by_rounding(split):
    asked, best = split
    assert asked.space.faults(best.plan) == ()
    assert abs(best.lost) < 0.02
    assert best.unsolved == 0


def test_the_gradient_is_that_on_paper(split):
    """By the logit of FTC's size, at half the most, with money to spare."""
    asked, _ = split
    rich = replace(asked, space=replace(asked.space, budget=None))
    value, slope = jax.jit(lambda z: worth_and_slope(rich, z))(
        jnp.zeros(rich.space.size)
    )
    # d log(a + (b - a) sigmoid(0)) / dz = (b - a) / 4 / size; log area is log size.
    exact = [(2e7 - 1e5) / 4 / (1e5 + (2e7 - 1e5) / 2), 0.5]
    np.testing.assert_allclose(slope[jnp.array([0, 3])], exact, rtol=1e-6)
    assert np.isfinite(float(value))


@pytest.fixture(scope="module")
def hunt():
    """Two FTC of a bent model, whose best day is neither the first nor the last."""
    space = Space(
        Protocol("course", (Dose(0.0, "CART", cells=1e3),)),
        (Infusions("FTC", 1, n=2, to_day=15, apart_d=2, most=10.0),),
        cells_budget("FTC", 12.0 * WEIGHT),
        WEIGHT,
        step=0.5,
    )
    growths = jnp.array([0.6, 0.8, 1.1])
    people = replace(alike(made(Hunt), 3), growth=growths)
    goal = Goal(
        lambda found: jnp.log(found["last"]),
        {"last": Last("copies_per_ug")},
        END_D,
    )
    asked = question(space, goal, people, steps=60)
    return asked, optimise(asked, KEY, starts=4, steps=40)


def test_gradients_beat_every_point_of_a_lattice_in_fewer_solves(hunt):
    asked, best = hunt
    days, cells = lattice(asked.space, (0.0, 2.0, 4.0, 6.0, 8.0, 10.0))
    tried = values(asked, days, cells)
    # To a tenth of a percent of the level that is maximised.
    assert best.utility >= float(np.max(tried)) - 1e-3
    assert best.solves < asked.n * len(days)
    assert asked.space.faults(best.plan) == ()


def test_no_point_of_a_lattice_breaks_a_rule(hunt):
    asked, _ = hunt
    days, cells = lattice(asked.space, (0.0, 4.0, 8.0))
    for day, own in zip(days[::7], cells[::7], strict=True):
        assert asked.space.faults(asked.space.protocol(day, own, "x")) == ()


def test_the_gradient_is_a_finite_difference(hunt):
    asked, _ = hunt
    z = jnp.array([0.3, -0.2, 0.4, -0.5, 0.1])
    worths = jax.jit(lambda z: worth_and_slope(asked, z))
    _, slope = worths(z)
    step = 1e-4
    for axis in range(z.size):
        ahead = jnp.zeros(z.size).at[axis].set(step)
        across = (worths(z + ahead)[0] - worths(z - ahead)[0]) / (2 * step)
        # Second order in the step.
        assert float(slope[axis]) == pytest.approx(float(across), rel=1e-5, abs=1e-8)


CAPPED = 3e6


def capped(level=CAPPED * WEIGHT, share=0.0, least=0.0):
    space = Space(
        CART,
        (Infusions("FTC", 1, to_day=14, least=least, most=1e7),),
        None,
        WEIGHT,
    )
    cap = Cap("fed", level, share)
    utility = lambda found: jnp.log(found["fed"])
    goal = Goal(utility, {"fed": Area("fed")}, END_D, (cap,))
    return question(space, goal, alike(made(Decay), 2), steps=40)


def test_a_cap_is_kept_by_the_maximum_itself():
    best = optimise(capped(), KEY, starts=3, steps=40)
    (check,) = best.caps
    assert check.kept
    assert check.share == 0.0
    # The soft cap stops below it, and not at nothing.
    assert 0.3 * CAPPED < best.cells_per_kg[0] <= CAPPED


@pytest.mark.slow
def test_a_cap_that_nothing_keeps_is_said():
    with pytest.raises(InputError, match="keeps the caps .fed above 5e\\+07 in 0% of"):
        optimise(capped(5e7, least=2e6), KEY, starts=2, steps=5)


def test_a_patient_who_cannot_be_solved_is_left_out_of_the_mean():
    space = Space(CART, (Infusions("FTC", 1, to_day=5),), None, WEIGHT)
    goal = Goal(lambda found: jnp.log(found["fed"]), {"fed": Area("fed")}, END_D)
    people = replace(alike(made(Decay), 2), rate=jnp.array([0.3, -1e9]))
    x = space.times(jnp.array([3.0])), jnp.array([2e6])
    mean, ok = worth(question(space, goal, people, steps=20), *x)
    # And what cells cost is taken off, whoever the patient is.
    dear = replace(goal, toll=1e-7)
    alone, _ = worth(question(space, dear, alike(made(Decay)), steps=20), *x)
    assert ok.tolist() == [True, False]
    assert float(mean) == pytest.approx(float(alone) + 0.2)


def test_people_of_the_prior_are_the_same_whatever_else_is_asked():
    whole = population(made(Hunt), QPCR)
    drawn: list[Any] = [prior_people(KEY, whole, 3) for _ in range(2)]
    some, more = drawn
    np.testing.assert_array_equal(some.growth, more.growth)
    assert some.growth.shape == some.death.shape == (3,)
    assert len(set(np.asarray(some.growth).tolist())) == 3
    assert set(np.asarray(some.death).tolist()) == {0.2}


def test_people_are_the_patients_of_their_parameters():
    whole = population(made(Hunt), QPCR)
    phi = jnp.array([[0.1], [0.5]])
    people: Any = people_of(whole, phi)
    for index, row in enumerate(phi):
        one: Any = whole.patient_model(row, {})
        assert float(people.growth[index]) == pytest.approx(float(one.growth))


WRONG = {
    "quantity": ({"measures": {"x": Area("nothing")}}, "no quantity 'nothing'"),
    "end": ({"until_d": 3.0}, "followed until day 3"),
    "cap": ({"caps": (Cap("il6", 1.0),)}, "no quantity 'il6'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_question_that_cannot_be_is_refused(case):
    changed, words = WRONG[case]
    space = Space(CART, (Infusions("FTC", 1, to_day=5),), None, WEIGHT)
    goal = replace(Goal(both, AREAS, END_D), **changed)
    with pytest.raises(InputError, match=words):
        question(space, goal, alike(made(Decay)))


def test_a_lattice_that_nobody_waits_for_is_refused(hunt):
    asked, _ = hunt
    with pytest.raises(InputError, match="fewer levels"):
        lattice(asked.space, np.linspace(0.0, 10.0, 200).tolist())


KAPPA = np.array([[0.3, -0.4], [0.0, 0.2]])


def by_hand(growth, ftc_d):
    """Utility of a patient by scipy: the area from the first decision on is a state."""

    def slopes(t, y, growth):
        hunter, prey, _ = y
        met = prey / (10.0 + prey)
        return [(growth * met - 0.2) * hunter, -0.02 * hunter * prey, 10.0 * hunter]

    given = {0.0: (3.0, 0.0), 8.0: (2.0, 0.0), ftc_d: (0.0, WEIGHT)}
    stops = [*sorted(given), END_D]
    y = np.array([1e-3, 100.0, 0.0])
    for start, stop in itertools.pairwise(stops):
        y = y + np.array([*given[start], 0.0])
        y[2] = 0.0 if start <= 8.0 else y[2]
        own = growth[int(start >= 8.0)]
        y = solve_ivp(slopes, (start, stop), y, args=(own,), rtol=1e-10, atol=1e-12).y[
            :, -1
        ]
    return np.log(10.0 * y[0]) + np.log(y[2])


def cycles_apart(kappa):
    """Two patients of a course of two cycles, FTC of the second one open."""
    plan = Protocol(
        "course",
        (Dose(0.0, "CART", cells=3.0), Dose(8.0, "CART", cells=2.0, cycle=2)),
    )
    space = Space(plan, (Infusions("FTC", 2, to_day=8, most=10.0),), None, WEIGHT)
    whole = population(made(Hunt), QPCR, iov=("growth",), occasions=2)
    phi = np.concatenate([np.zeros((2, 1)), kappa], axis=1)
    goal = Goal(
        lambda found: jnp.log(found["last"]) + jnp.log(found["area"]),
        {"last": Last("copies_per_ug"), "area": Area("copies_per_ug")},
        END_D,
    )
    return space, goal, people_of(whole, jnp.asarray(phi))


def test_a_cycle_of_its_own_parameters_is_followed_with_them():
    space, goal, people = cycles_apart(KAPPA)
    time_d = space.times(jnp.array([3.0]))
    asked = question(space, goal, people, steps=80)
    found, ok = eqx.filter_jit(worth)(asked, time_d, jnp.array([1.0]))
    assert ok.all()
    own = [by_hand(growth, float(time_d[0])) for growth in np.exp(KAPPA)]
    # RK4 of 80 steps a piece; 2e-4 of a level.
    assert float(found) == pytest.approx(np.mean(own), abs=2e-4)
