"""Covariates that change over the days of a patient, and parameters with them."""

import dataclasses
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from toys import QPCR, Hunt, Line, dataset, made, patient, sample

from ckin.cohort import simulate
from ckin.dataset import Change
from ckin.errors import InputError
from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.population import CovariateEffect, effect, log_readings, pack, population
from ckin.population.pieces import pieces_of
from ckin.protocol import Dose
from ckin.solve import Solver


DOSES = (Dose(0.0, "CART", cells=3.0), Dose(0.0, "FTC", cells=20.0),
         Dose(12.0, "FTC", cells=80.0, cycle=2),
         Dose(13.0, "CART", cells=2.0, cycle=2))  # fmt: skip
TIMES = (1.0, 4.0, 9.0, 12.0, 14.0, 18.0, 24.0)
# Before anything is given, between samples, at a sample, at a dose, after all.
COURSES = (
    (0.5, ((-3.0, 0.0), (2.5, 1.0), (9.0, 0.0), (12.0, 2.0))),
    (1.0, ((6.0, 0.0), (40.0, 1.0))),
    (2.0, ()),
)
BETA = 0.4


def rows():
    return [sample(t, 50.0, cycle=1 + (t > 12.0)) for t in TIMES]


def people(courses=COURSES):
    made_of = []
    for number, (first, further) in enumerate(courses):
        one = patient(f"C{number}", rows(), doses=DOSES, STEROID=first)
        days = (-5.0, *(t for t, _ in further))
        changes = tuple(
            Change(t, x, before, row=4 + n)
            for n, ((t, x), before) in enumerate(zip(further, days, strict=False))
        )
        own = {"STEROID": changes} if changes else {}
        made_of.append(dataclasses.replace(one, changes=own))
    return dataset(made_of)


COHORT = people()


def moved(cohort=COHORT, text="growth~exp(STEROID@0)", **more):
    return population(
        made(Hunt), QPCR, vary=("growth", "prey_0"),
        covariates=[effect(text, cohort.patients)], **more,
    )  # fmt: skip


def phi_of(whole, data, beta=BETA):
    """Typical patients with their covariates."""
    density = make_density(whole, data)
    told = density.constrain(density.start)
    u = density.unconstrain(told | {whole.covariates[0].name: jnp.asarray(beta)})
    return density.hyper(u).centre


def steroid(course, time_d):
    first, further = course
    return next((x for t, x in reversed(further) if t <= time_d), first)


def by_hand(course) -> np.ndarray:
    """Log readings by scipy, started again at every dose and every change."""

    def slopes(t, y, growth):
        hunter, prey = y
        met = prey / (10.0 + prey)
        return [(growth * met - 0.2) * hunter, -0.02 * hunter * prey]

    given = {0.0: (3.0, 20.0), 12.0: (0.0, 80.0), 13.0: (2.0, 0.0)}
    changes = {t for t, _ in course[1] if 0.0 < t < TIMES[-1]}
    y, now, out = np.array([1e-3, 100.0]), 0.0, []
    for stop in sorted({*given, *changes, *TIMES}):
        if stop > now:
            growth = np.exp(BETA * steroid(course, now))
            y = solve_ivp(
                slopes, (now, stop), y, args=(growth,), rtol=1e-10, atol=1e-12
            ).y[:, -1]
        now = stop
        out += [np.log(10.0 * y[0])] if stop in TIMES else []
        y = y + np.array(given.get(stop, (0.0, 0.0)))
    return np.array(out)


@pytest.fixture(scope="module")
def varied():
    whole = moved()
    return whole, pack(COHORT, whole)


def test_a_parameter_changes_where_its_covariate_does(varied):
    whole, data = varied
    phi = phi_of(whole, data)
    adaptive = Solver(method=dfx.Tsit5(), adjoint=dfx.DirectAdjoint())
    on_grid, solved = jax.jit(lambda phi: log_readings(whole, phi, data))(phi)
    exact, too = jax.jit(lambda phi: log_readings(whole, phi, data, adaptive))(phi)
    assert bool(jnp.all(solved & too))
    # The usual pace errs by 1e-3 where the hunters crash their prey.
    np.testing.assert_allclose(on_grid, exact, atol=5e-3)
    for row, course in enumerate(COURSES):
        np.testing.assert_allclose(exact[row], by_hand(course), atol=1e-5)


def test_every_change_is_an_event(varied):
    _, data = varied
    for row, course in enumerate(COURSES):
        days = np.asarray(data.events.time_d[row]).tolist()
        assert {t for t, _ in course[1] if t > 0.0} <= set(days)
        # None but those of doses and changes; what is before the first dose is past.
        assert set(days) == {0.0, 12.0, 13.0, *(t for t, _ in course[1] if t > 0.0)}
    np.testing.assert_allclose(data.covariates[:, 0], [0.0, 1.0, 2.0])


def test_a_covariate_that_never_changes_is_an_ordinary_one():
    cohort = people([(0.0, ()), (1.0, ()), (3.0, ())])
    plain = moved(cohort)
    (own,) = plain.covariates
    assert not own.changes
    changing = dataclasses.replace(
        plain, covariates=(dataclasses.replace(own, changes=True),)
    )
    one, other = (make_density(p, pack(cohort, p)) for p in (plain, changing))
    u = one.start + 0.1 * jnp.arange(one.n_hyper)
    eta = 0.3 * jax.random.normal(jax.random.key(0), one.eta_shape)
    assert one.names == other.names
    assert one.eta_shape == other.eta_shape
    (value, slope), (again, too) = (
        jax.jit(jax.value_and_grad(d.log_density, (0, 1)))(u, eta) for d in (one, other)
    )
    assert float(value) == float(again)
    # Sums in another order.
    for a, b in zip(slope, too, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_gradient_of_a_coefficient_knows_of_the_changes(varied):
    whole, data = varied
    density = make_density(whole, data)
    at = density.names.index("beta_growth_STEROID")
    eta = jnp.zeros(density.eta_shape)
    both = jax.jit(jax.value_and_grad(density.log_density))
    u, h = density.start.at[at].set(0.2), 1e-4
    _, slope = both(u, eta)
    above, below = (both(u.at[at].add(s * h), eta)[0] for s in (1.0, -1.0))
    # Second differences of h leave 1e-6 or so.
    expected = (float(above) - float(below)) / (2.0 * h)
    assert float(slope[at]) == pytest.approx(expected, rel=1e-5)
    # Walked in groups, as fits are.
    groups = dataclasses.replace(density, data=dataclasses.replace(data, together=2))
    value, other = jax.jit(jax.value_and_grad(groups.log_density))(u, eta)
    assert float(value) == pytest.approx(float(both(u, eta)[0]), rel=1e-12)
    np.testing.assert_allclose(other, slope, rtol=1e-9)


def growths(whole, data, row, phi):
    """Growth of a patient in each piece, and the day that each begins."""
    known = {name: each[row] for name, each in data.known.items()}
    model: Any = whole.patient_model(phi[row], known)
    occasion = np.asarray(data.events.occasion[row])
    days = np.asarray(data.events.time_d[row])
    return [(d, float(model.at(o).growth)) for d, o in zip(days, occasion, strict=True)]


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("growth~STEROID@0.5", lambda x: (x / 0.5) ** BETA),
        ("growth~exp(STEROID@1)", lambda x: np.exp(BETA * (x - 1.0))),
        ("growth~linear(STEROID@1)", lambda x: 1.0 + BETA * (x - 1.0)),
        ("growth~STEROID=2.0", lambda x: np.exp(BETA * (x == 2.0))),
    ],
)
def test_every_form_changes_as_it_is_written(text, ratio):
    course = (0.5, ((2.5, 1.0), (9.0, 0.25), (12.0, 2.0)))
    cohort = people((course, (1.0, ())))
    whole = moved(cohort, text)
    data = pack(cohort, whole)
    phi = phi_of(whole, data)
    for day, growth in growths(whole, data, 0, phi):
        assert growth == pytest.approx(ratio(steroid(course, day)), rel=1e-12)
    np.testing.assert_allclose(
        whole.from_phi(phi)[:, 0], ratio(np.array([0.5, 1.0])), rtol=1e-12
    )


def test_cycles_and_covariates_change_side_by_side():
    whole = moved(iov=("growth",), occasions=2)
    data = pack(COHORT, whole)
    np.testing.assert_array_equal(data.n_occasions, 2)
    kappa = np.array([0.3, -0.2])
    at = len(whole.estimate)
    assert whole.eta_names == ("growth", "prey_0", "growth@1", "growth@2")
    assert whole.vary_index == (0, 1, at, at + 1)
    phi = phi_of(whole, data).at[:, at : at + 2].set(kappa)
    for row, course in enumerate(COURSES):
        for day, growth in growths(whole, data, row, phi):
            exact = np.exp(BETA * steroid(course, day) + kappa[int(day >= 12.0)])
            assert growth == pytest.approx(exact, rel=1e-12)


def test_backward_a_value_holds_since_the_row_before():
    (one, *_) = COHORT.patients
    own = CovariateEffect("growth", "STEROID", form="exp", center=0.0, changes=True)
    back = dataclasses.replace(own, carry="backward")
    found = [pieces_of(one, [e], (), 0.0) for e in (own, back)]
    # Rows at -5, -3, 2.5 and 9.
    assert found[0].starts_d.tolist() == [0.0, 2.5, 9.0, 12.0]
    assert found[0].values[:, 0].tolist() == [0.0, 1.0, 0.0, 2.0]
    assert found[1].starts_d.tolist() == [0.0, 2.5, 9.0]
    assert found[1].values[:, 0].tolist() == [1.0, 0.0, 2.0]


LATE = (Change(5.0, 61.0, 1.0, row=7),)


def with_changes(name, changes, cohort=COHORT):
    first, *others = cohort.patients
    first = dataclasses.replace(first, changes={name: changes})
    return dataclasses.replace(cohort, patients=(first, *others))


def test_what_cannot_change_is_refused_with_its_row():
    line = population(
        made(Line), QPCR, covariates=[effect("a~exp(STEROID)", COHORT.patients)]
    )
    with pytest.raises(InputError, match="row 4, column STEROID.*one piece.*midway"):
        pack(COHORT.first_cycles(1), line)
    with pytest.raises(InputError, match="row 7, column WT.*reads it as weight"):
        pack(with_changes("WT", LATE), moved())
    ordinary = population(
        made(Hunt), QPCR,
        covariates=[CovariateEffect("growth", "STEROID", form="exp", center=0.0)],
    )  # fmt: skip
    with pytest.raises(InputError, match="within patient C0.*changes=True"):
        pack(COHORT, ordinary)
    with pytest.raises(InputError, match="carry 'back'.*choose forward or backward"):
        effect("growth~exp(STEROID)", COHORT.patients, "back")
    zero = with_changes("STEROID", (Change(5.0, 0.0, 1.0, row=9),))
    with pytest.raises(InputError, match=r"patient C0, row 9: covariate STEROID is 0"):
        pack(zero, moved(zero, "growth~STEROID@1"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["map", "laplace"])
def test_what_a_change_does_is_found_again(method):
    """Twelve patients who are given a steroid for days of their own; β = -0.4."""
    rng = np.random.default_rng(3)
    starts = rng.uniform(1.0, 9.0, 12)
    courses = [(0.0, ((t, 1.0), (t + 6.0, 0.0))) for t in starts.tolist()]
    plan = people(courses)
    whole = moved(plan, omega={"growth": 0.1, "prey_0": 0.1})
    drawn = simulate(
        jax.random.key(5), whole, plan.patients, sigma=0.1,
        beta={"beta_growth_STEROID": -BETA},
    )  # fmt: skip
    found = fit(drawn.dataset, whole, method=method, chains=2, draws=200, seed=1)
    assert found.verdict.converged, found.verdict.reasons
    table: Any = found.summary.set_index("parameter")
    low, high = (float(table[q]["beta_growth_STEROID"]) for q in ("q05", "q95"))
    # Two 90% half-widths: the data are one draw.
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    assert abs(middle + BETA) < 2.0 * half
    assert half < 0.15
