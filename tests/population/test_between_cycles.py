"""Parameters that differ between the cycles of a patient."""

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
from ckin.errors import InputError
from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.population import log_readings, pack, population
from ckin.protocol import Dose
from ckin.solve import Solver


START_D = 12.0
DOSES = (Dose(0.0, "CART", cells=3.0), Dose(0.0, "FTC", cells=20.0),
         Dose(START_D, "FTC", cells=80.0, cycle=2),
         Dose(START_D + 1.0, "CART", cells=2.0, cycle=2))  # fmt: skip
# One on the day the second cycle begins, before what is given and after it.
TIMES = ((1.0, False), (4.0, False), (9.0, False), (12.0, False), (12.0, True),
         (14.0, False), (18.0, False), (24.0, False))  # fmt: skip


def people(n: int = 2, doses=DOSES):
    rows = [
        sample(time_d, 50.0, after=after, cycle=1 + (time_d > START_D or after))
        for time_d, after in TIMES
    ]
    made_of = [patient(f"B{i}", rows, doses=doses) for i in range(n)]
    # The last one has a first cycle only, and is followed as long.
    one = patient("B-one", rows, doses=doses[:2])
    return dataset([*made_of, one])


COHORT = people()


def between(**more):
    return population(
        made(Hunt), QPCR, vary=("growth", "prey_0"), iov=("growth",), occasions=2,
        **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def varied():
    whole = between()
    return whole, pack(COHORT, whole)


ADAPTIVE = Solver(method=dfx.Tsit5(), adjoint=dfx.DirectAdjoint())
KAPPA = np.array([[0.25, -0.4], [0.0, 0.3], [-0.2, 5.0]])


def phi_of(whole, kappa):
    typical = np.asarray(whole.typical_phi())
    return jnp.asarray(
        np.concatenate([np.tile(typical, (len(kappa), 1)), kappa], axis=1)
    )


def by_hand(growths: np.ndarray, *, second: bool) -> np.ndarray:
    """Log readings of `Hunt` by scipy, started again wherever something is given."""

    def slopes(t, y, growth):
        hunter, prey = y
        met = prey / (10.0 + prey)
        return [(growth * met - 0.2) * hunter, -0.02 * hunter * prey]

    given = {0.0: (3.0, 20.0)}
    if second:
        given |= {START_D: (0.0, 80.0), START_D + 1.0: (2.0, 0.0)}
    y, now, out = np.array([1e-3, 100.0]), 0.0, []
    stops = sorted({*given, *(t for t, _ in TIMES)})
    for stop in stops:
        if stop > now:
            cycle = int(second and now >= START_D)
            y = solve_ivp(
                slopes, (now, stop), y, args=(growths[cycle],), rtol=1e-10, atol=1e-12
            ).y[:, -1]
        now = stop
        before = y
        y = y + np.array(given.get(stop, (0.0, 0.0)))
        for time_d, after in TIMES:
            if time_d == stop:
                out.append(np.log(600.0 * (y if after else before)[0] / 60.0))
    return np.array(out)


def test_each_cycle_is_solved_with_its_own_parameters(varied):
    whole, data = varied
    phi = phi_of(whole, KAPPA)
    on_grid, solved = log_readings(whole, phi, data)
    adaptive, too = log_readings(whole, phi, data, ADAPTIVE)
    assert bool(jnp.all(solved & too))
    # The usual pace errs by 1e-3 where the hunters crash their prey.
    np.testing.assert_allclose(on_grid, adaptive, atol=5e-3)
    growth = 1.0 * np.exp(KAPPA)
    for row, second in enumerate((True, True, False)):
        exact = by_hand(growth[row], second=second)
        np.testing.assert_allclose(adaptive[row], exact, atol=1e-5)


def test_a_cycle_that_a_patient_lacks_says_nothing_of_it(varied):
    whole, data = varied
    other = KAPPA.copy()
    other[2, 1] = -3.0
    one, _ = log_readings(whole, phi_of(whole, KAPPA), data)
    two, _ = log_readings(whole, phi_of(whole, other), data)
    np.testing.assert_array_equal(one, two)


def test_cycles_that_do_not_differ_are_none(varied):
    whole, data = varied
    plain = population(made(Hunt), QPCR, vary=("growth", "prey_0"))
    alike = pack(COHORT, plain)
    phi = phi_of(whole, np.zeros((3, 2)))
    n = len(plain.estimate)
    np.testing.assert_allclose(
        log_readings(whole, phi, data)[0],
        log_readings(plain, phi[:, :n], alike)[0],
        rtol=1e-12,
    )


def test_the_gradient_of_a_walk_goes_to_the_cycle_it_was_in(varied):
    whole, data = varied
    phi = phi_of(whole, KAPPA)

    @jax.jit
    def slope(phi):
        reading = lambda phi: jnp.sum(log_readings(whole, phi, data)[0][0, 5:])
        return jax.value_and_grad(reading)(phi)

    n, h = len(whole.estimate), 1e-5
    _, found = slope(phi)
    for column in (n, n + 1):
        above, below = (slope(phi.at[0, column].add(s * h))[0] for s in (1.0, -1.0))
        # Second differences of h leave 1e-7 or so.
        expected = (float(above) - float(below)) / (2.0 * h)
        assert float(found[0, column]) == pytest.approx(expected, rel=1e-5)
    assert abs(float(found[0, n + 1])) > 0.1
    assert not np.any(np.asarray(found[1:]))


def test_columns_of_eta_and_spreads_have_their_names(varied):
    whole, data = varied
    density = make_density(whole, data)
    assert whole.eta_names == ("growth", "prey_0", "growth@1", "growth@2")
    assert density.eta_shape == (3, 4)
    assert "omega_iov_growth" in density.names
    hyper = density.hyper(density.start)
    between = density.constrain(density.start)["omega_iov_growth"]
    np.testing.assert_allclose(hyper.omega[2:], [between, between])
    # η of a cycle moves that cycle alone.
    eta = jnp.zeros(density.eta_shape).at[0, 3].set(2.0)
    values = whole.on_occasions(density.patient_phi(density.start, eta))
    at = whole.estimate.index("growth")
    np.testing.assert_allclose(
        values[0, :, at], [1.0, np.exp(2.0 * float(between))], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"iov": ("a",), "occasions": 2}, "describes one course"),
        ({"iov": ("c",), "occasions": 2}, "has no parameter 'c'"),
    ],
)
def test_a_model_of_one_course_has_no_cycles_to_differ(asked, words):
    with pytest.raises(InputError, match=words):
        population(made(Line), QPCR, **asked)


def test_cycles_that_nobody_has_are_refused():
    with pytest.raises(InputError, match="no patient has a second cycle"):
        population(made(Hunt), QPCR, iov=("growth",))
    with pytest.raises(InputError, match="named twice"):
        population(made(Hunt), QPCR, iov=("growth", "growth"), occasions=2)
    third = (*DOSES, Dose(20.0, "CART", cells=1.0, cycle=3))
    with pytest.raises(InputError, match="B0 has 3 cycles.*occasions=3"):
        pack(people(1, third), between())


@pytest.mark.slow
def test_what_cycles_differ_by_is_found_again():
    """Twelve patients, two cycles each: ω between cycles 0.3, between patients 0.1."""
    whole = between(omega={"growth": 0.1, "prey_0": 0.1}, iov_omega={"growth": 0.3})
    plan = people(12).patients[:-1]
    drawn = simulate(jax.random.key(5), whole, plan, sigma=0.1)
    found = fit(
        drawn.dataset,
        dataclasses.replace(whole, iov_omega=(0.2,), omega=(0.2, 0.1)),
        method="map", chains=2, draws=200, seed=1,
    )  # fmt: skip
    assert found.verdict.converged, found.verdict.reasons
    table: Any = found.summary.set_index("parameter")
    low, high = (float(table[q]["omega_iov_growth"]) for q in ("q05", "q95"))
    # 90% interval; 24 cycles tell ω to 15%.
    assert low < 0.3 < high
    assert high / low < 2.5
    assert table["unit"]["omega_iov_growth"] == "SD of log"
    cv = float(np.sqrt(np.expm1(float(table["q50"]["omega_iov_growth"]) ** 2)))
    assert table["q50"]["cv_pct_iov_growth"] == pytest.approx(100.0 * cv, rel=1e-6)
    assert 0.0 < table["shrinkage_pct"]["omega_iov_growth"] < 40.0
    # Each patient's own cycles are found again, about what they were drawn as.
    eta = np.asarray(found.eta).mean(axis=(0, 1))[:, 2:]
    at = len(whole.estimate)
    truth = np.asarray(drawn.phi)[:, at : at + 2]
    assert np.corrcoef(eta.ravel(), truth.ravel())[0, 1] > 0.9
    each = found.individual.set_index(["ID", "parameter"])["map"]
    own = np.array([[each[f"B{i}", f"growth@{c}"] for c in (1, 2)] for i in range(12)])
    exact = np.asarray(whole.on_occasions(jnp.asarray(drawn.phi)))
    exact = exact[:, :, whole.estimate.index("growth")]
    # A growth of 1/day, watched for days with an error of 0.1: to some hundredths.
    np.testing.assert_allclose(own, exact, rtol=0.15)
