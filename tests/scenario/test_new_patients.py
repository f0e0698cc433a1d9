"""New patients, and new cycles of fitted ones, are as the draws of the fit say."""

import dataclasses
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from numpyro.distributions import LKJCholesky
from questions import ARMS, LINEAR, ONE, OUTCOMES, TWO, scenario
from scipy import stats
from toys import QPCR, Hunt, Share, dataset, made, patient, sample

from ckin.assay import qpcr
from ckin.cohort import normals
from ckin.errors import InputError
from ckin.library import load_model
from ckin.population import Population, pack, population
from ckin.protocol import Dose
from ckin.reopen import Reopened, correlations
from ckin.scenario import Arm, PeopleSpec, compare, run
from ckin.scenario import people as people_of_a_scenario
from ckin.scenario.people import FOR_PATIENT, find_people


DRAWS, FITTED = 3, 5
THREE = TWO.repeated(cycles=3)
END = tuple(outcome for outcome in OUTCOMES if outcome.name == "end")
LOADED = load_model(LINEAR)
CYCLES = (Dose(0.0, "CART", cells=1e8), Dose(40.0, "CART", cells=1e8, cycle=2))


def opened(whole: Population, doses=CYCLES[:1], **more) -> Reopened:
    """A fit as `reopen` gives it: draws about other typical patients."""
    rng = np.random.default_rng(7)
    typical = np.asarray(whole.typical_phi())
    typical = typical + 0.1 * rng.standard_normal((DRAWS, len(typical)))
    omega = np.array(whole.omega) * np.exp(
        0.1 * rng.standard_normal((DRAWS, len(whole.vary)))
    )
    # The last patient has a first cycle only.
    people = [patient(f"F{n}", [sample(7.0, 50.0)], doses=doses) for n in range(FITTED)]
    people[-1] = dataclasses.replace(people[-1], doses=doses[:1])
    data = dataset(people)
    phi = 0.2 * rng.standard_normal((DRAWS, FITTED, whole.n_phi))
    phi[..., : typical.shape[1]] += typical[:, None]
    return Reopened(
        dataset=data,
        population=whole,
        data=pack(data, whole),
        phi=phi,
        typical=typical,
        omega=omega,
        sigma=np.full(DRAWS, 0.4),
        manifest={"model": "toy", "synthetic_data": True, "converged": True},
        **more,
    )


@pytest.fixture
def people(monkeypatch):
    """People of a scenario on a fit that is opened already."""

    def found(fit: Reopened, arms=ARMS[:1], uncertainty=None, **spec):
        monkeypatch.setattr(people_of_a_scenario, "reopen", lambda *_: fit)
        spec = PeopleSpec(source="fit", fit=Path("fit"), draws=DRAWS, **spec)
        changes = {} if uncertainty is None else {"uncertainty": uncertainty}
        return find_people(
            scenario(arms, model=None, people=spec, outcomes=END, **changes)
        )

    return found


def correlated() -> Reopened:
    block = ("growth", "prey_0")
    whole = population(made(Hunt), QPCR, vary=block, correlate=[block])
    mixing = LKJCholesky(2, 1.0).sample(jax.random.key(2), (DRAWS,))
    return opened(whole, mixing=np.asarray(mixing))


def test_the_covariance_of_new_patients_is_that_of_their_draw(people):
    fit, n = correlated(), 4000
    assert fit.mixing is not None
    found = people(fit, patients=n)
    for draw in range(DRAWS):
        factor = fit.omega[draw][:, None] * fit.mixing[draw]
        exact = factor @ factor.T
        own = found.phi[draw][:, list(fit.population.vary_index)]
        # Four standard errors of a covariance of normal numbers.
        sd = np.sqrt(np.diag(exact))
        error = 4 * np.sqrt((np.outer(sd, sd) ** 2 + exact**2) / n)
        assert np.all(np.abs(np.cov(own.T) - exact) < error)
        middle = fit.typical[draw][list(fit.population.vary_index)]
        assert np.all(np.abs(own.mean(axis=0) - middle) < 4 * sd / np.sqrt(n))


def test_medians_of_draws_are_correlated_as_they_are_on_the_average(people):
    fit, n = correlated(), 4000
    assert fit.mixing is not None
    found = people(fit, patients=n, uncertainty=("between-patient",))
    assert found.shape == (1, n)
    exact = np.mean([(m @ m.T)[0, 1] for m in fit.mixing])
    told = np.corrcoef(found.phi[0][:, list(fit.population.vary_index)].T)[0, 1]
    assert abs(told - exact) < 4 * (1 - exact**2) / np.sqrt(n)


def test_heavy_tailed_patients_have_the_tails_of_a_t(people):
    whole = population(LOADED, qpcr(), eta="student_t")
    fit = opened(whole)
    found = people(fit, patients=5000)
    t = (found.phi[..., 0] - fit.typical[:, None, 0]) / fit.omega
    for own in t:
        assert stats.kstest(own, stats.t(4).cdf).pvalue > 1e-3
    # 1% lie beyond 4.6 scales; of normal ones 4 in a million.
    assert 0.006 < np.mean(np.abs(t[0]) > stats.t(4).ppf(0.995)) < 0.014


def test_patients_of_a_plain_fit_are_what_they_were(people):
    whole = population(LOADED, qpcr())
    fit = opened(whole)
    found = people(fit, patients=9)
    key = jax.random.fold_in(jax.random.key(3), FOR_PATIENT)
    its = jax.random.fold_in(key, zlib.crc32(b"loss"))
    eta = np.asarray(normals(its, jnp.arange(9), ()))[:, None]
    expected = np.repeat(fit.typical[:, None], 9, axis=1)
    expected[..., list(whole.vary_index)] += fit.omega[:, None] * eta
    np.testing.assert_array_equal(found.phi, expected)
    assert found.notes == ()


BETWEEN = np.array([[0.3], [0.5], [0.4]])


def between() -> Reopened:
    whole = population(LOADED, qpcr(), iov=("loss",), occasions=2)
    return opened(whole, CYCLES, omega_iov=BETWEEN)


def test_cycles_of_new_patients_differ_by_their_own_spread(people):
    n = 4000
    found = people(between(), (Arm("three", THREE),), patients=n)
    cycles = found.phi[..., 1:]
    assert cycles.shape == (DRAWS, n, 3)
    error = 4 * np.sqrt(2.0 / n)
    np.testing.assert_allclose(
        cycles.var(axis=1), np.repeat(BETWEEN**2, 3, axis=1), rtol=error
    )
    # Nothing of one cycle is in another, or in the patient's own.
    apart = np.corrcoef(found.phi[0].T) - np.eye(4)
    assert np.abs(apart).max() < 4 / np.sqrt(n)
    assert "every cycle of a virtual patient is drawn anew" in found.notes[0]


def test_more_cycles_change_no_cycle_before(people):
    fit = between()
    two = people(fit, (Arm("two", TWO),), patients=6)
    three = people(fit, (Arm("two", TWO), Arm("three", THREE)), patients=6)
    np.testing.assert_array_equal(two.phi, three.phi[..., :3])
    some = people(fit, (Arm("three", THREE),), patients=3)
    np.testing.assert_array_equal(some.phi, three.phi[:, :3])


def test_new_cycles_of_fitted_patients_are_drawn_about_them(people):
    fit = between()
    found = people(fit, (Arm("three", THREE),), patients="fitted")
    np.testing.assert_array_equal(found.phi[..., :3], fit.phi)
    eta = found.phi[..., 3] / BETWEEN
    # Another one in every draw and patient.
    assert np.unique(eta).size == eta.size
    assert 0.5 < eta.std() < 2.0
    (note,) = found.notes
    assert "not every patient had cycle 2, 3 in the fit" in note
    assert "drawn anew about the patient's own" in note
    alone = people(fit, (Arm("three", THREE),), patient="F1")
    np.testing.assert_array_equal(alone.phi[:, 0], found.phi[:, 1])
    one = people(fit, ARMS[:1], patients="fitted")
    np.testing.assert_array_equal(one.phi, fit.phi[..., :2])
    assert one.notes == ()
    typical = people(
        fit, (Arm("three", THREE),), uncertainty=("residual",), patients="fitted"
    )
    np.testing.assert_array_equal(typical.phi[..., 3], 0.0)
    assert "has not had, loss: the patient's own" in typical.notes[0]


def test_each_cycle_is_followed_with_its_own_parameters(people):
    """Cells that die at one rate in each cycle, and the level known on paper."""
    fit = between()
    arms = (Arm("one", ONE), Arm("three", THREE))
    own = people(fit, arms, patients=4)
    asked = scenario(arms, model=None, outcomes=END, follow_d=160.0)
    asked = dataclasses.replace(
        asked, people=PeopleSpec(source="fit", fit=Path("fit"), draws=DRAWS, patients=4)
    )
    result = compare(asked)
    loss = np.exp(own.phi[..., :1] + own.phi[..., 1:])
    starts = np.array(THREE.cycle_starts_d)
    assert starts[0] < 0 < starts[1] < THREE.day1_d[1]
    ends = np.append(starts[1:], asked.follow_d)
    decay = 0.0
    for day1 in THREE.day1_d:
        lasts = np.maximum(ends - np.maximum(starts, day1), 0.0)
        decay = decay + np.exp(-np.sum(loss * lasts, axis=-1))
    level = 1e-6 * 60.0 * 5e6 * decay
    # RK4 at the usual steps errs by less.
    np.testing.assert_allclose(result.outcomes.of("three", "end"), level, rtol=1e-4)
    once = 1e-6 * 60.0 * 5e6 * np.exp(-loss[..., 0] * asked.follow_d)
    np.testing.assert_allclose(result.outcomes.of("one", "end"), once, rtol=1e-4)
    short = people(fit, arms[:1], patients=4)
    with pytest.raises(InputError, match="an arm has 3 cycles"):
        run(asked, people=short)


def test_correlations_of_a_posterior_are_read_as_they_are_told():
    block = ("level", "slope")
    whole = population(made(Share), QPCR, correlate=[block])
    rho = np.array([[0.5, -0.9], [0.0, 0.3]])
    told = xr.Dataset({"corr_level_slope": (("chain", "draw"), rho)})
    factors = correlations(told, whole)
    assert factors is not None
    matrix = factors @ np.swapaxes(factors, -1, -2)
    at = [whole.vary.index(name) for name in block]
    np.testing.assert_allclose(matrix[:, at[0], at[1]], rho.ravel(), atol=1e-12)
    np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), 1.0, rtol=1e-12)
    other = whole.vary.index("share")
    assert not np.any(np.delete(matrix[:, other], other, axis=1))
    assert correlations(told, population(made(Hunt), QPCR)) is None
