"""Maximum likelihood against scipy, of a model whose marginal is a closed form."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import optimize, stats
from toys import QPCR, Line, dataset, line_cohort, made, patient, sample

from ckin.inference import fit
from ckin.inference.estimates import shrinkage
from ckin.population import population


COHORT = line_cohort(12, [4, 6, 9], sigma=0.3)


def minus_log_likelihood(theta: np.ndarray) -> float:
    """Of COHORT under `Line`: a, b, log ω_a, log ω_b, log σ."""
    a, b, *logs = theta
    wa, wb, sigma = np.exp(logs)
    total = 0.0
    for person in COHORT.patients:
        t = np.array([s.time_d for s in person.samples])
        y = np.log([s.value for s in person.samples])
        cov = wa**2 + wb**2 * np.outer(t, t) + sigma**2 * np.eye(t.size)
        total -= stats.multivariate_normal.logpdf(y, a + b * t, cov)
    return total


@pytest.fixture(scope="module")
def fitted():
    return fit(COHORT, population(made(Line), QPCR), method="ml", chains=2, draws=200)


@pytest.fixture(scope="module")
def known():
    """scipy's estimates and standard errors, on the scale of `theta`."""
    start = np.array([6.0, -0.1, -0.3, -2.3, -1.0])
    found = optimize.minimize(
        minus_log_likelihood, start, method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 5000, "maxfev": 5000},
    )  # fmt: skip
    steps = 1e-3 * np.eye(5)
    f = minus_log_likelihood
    curvature = [
        [
            (f(found.x + i + j) - f(found.x + i - j) - f(found.x - i + j)
             + f(found.x - i - j)) / 4e-6
            for j in steps
        ]
        for i in steps
    ]  # fmt: skip
    return found, np.sqrt(np.diag(np.linalg.inv(curvature)))


def test_estimates_and_likelihood_are_those_of_an_independent_search(fitted, known):
    found, _ = known
    assert fitted.verdict.converged
    table = fitted.summary.set_index("parameter")
    names = ["a", "b", "omega_a", "omega_b", "sigma_qpcr"]
    expected = np.concatenate([found.x[:2], np.exp(found.x[2:])])
    # The search stops 1e-5 nats below the peak: √(2e-5) = 0.4% of a standard error.
    gap = np.abs(table["estimate"][names].to_numpy() - expected)
    assert (gap < 0.005 * table["se"][names].to_numpy()).all()
    told = fitted.manifest["likelihood"]
    assert told["log_likelihood"] == pytest.approx(-found.fun, abs=2e-5)
    assert told["log_likelihood_by_quadrature"] == pytest.approx(-found.fun, abs=2e-5)


def test_standard_errors_are_those_of_the_curvature_there(fitted, known):
    found, se = known
    table = fitted.summary.set_index("parameter")
    expected = np.concatenate([se[:2], se[2:] * np.exp(found.x[2:])])
    names = ["a", "b", "omega_a", "omega_b", "sigma_qpcr"]
    # Second differences of a step 1e-3 against differences of gradients.
    np.testing.assert_allclose(table["se"][names], expected, rtol=1e-3)
    rse = 100.0 * table["se"] / table["estimate"].abs()
    np.testing.assert_allclose(table["rse_pct"][names], rse[names])


def test_criteria_are_what_their_names_say(fitted):
    told = fitted.manifest["likelihood"]
    n = sum(len(person.samples) for person in COHORT.patients)
    assert (told["parameters"], told["readings"]) == (5, n)
    assert told["ofv"] == pytest.approx(-2.0 * told["log_likelihood"])
    assert told["aic"] == pytest.approx(told["ofv"] + 10.0)
    assert told["bic"] == pytest.approx(told["ofv"] + 5.0 * math.log(n))
    without = told["ofv"] - n * math.log(2.0 * math.pi)
    assert told["ofv_without_constants"] == pytest.approx(without)


def test_priors_of_the_population_do_not_count(fitted):
    other = population(
        made(Line), QPCR,
        priors={"a": dist.Normal(4.5, 0.3), "b": dist.Normal(0.2, 0.1)},
        omega={"a": 0.3, "b": 0.4},
    )  # fmt: skip
    again = fit(COHORT, other, method="laplace", chains=1, draws=100)
    ours, theirs = (f.summary.set_index("parameter") for f in (fitted, again))
    names = ["a", "b", "omega_a", "omega_b", "sigma_qpcr"]
    one, other, se = (
        np.array([float(table.loc[name, column]) for name in names])
        for table, column in ((ours, "estimate"), (theirs, "estimate"), (ours, "se"))
    )
    # Each search stops within 0.5% of a standard error of the same peak.
    assert (np.abs(one - other) < 0.01 * se).all()


def test_the_spread_of_draws_is_that_of_the_estimates(fitted):
    table = fitted.summary.set_index("parameter").loc[["a", "b"]]
    # 400 draws: the SD to 1/√800, five times over.
    np.testing.assert_allclose(table["sd"], table["se"], rtol=5 / math.sqrt(800))


def test_shrinkage_is_nothing_where_data_are_rich_and_all_where_there_are_none(fitted):
    density = fitted.density
    u = jnp.asarray(fitted.u[0, 0])
    shape = density.eta_shape
    rng = np.random.default_rng(0)
    eta = rng.normal(size=shape)
    eta = (eta - eta.mean(axis=0)) / eta.std(axis=0, ddof=1)
    found = shrinkage(density, u, eta)
    assert found["omega_a"] == pytest.approx(0.0, abs=1e-9)
    assert shrinkage(density, u, 0.0 * eta)["omega_a"] == pytest.approx(100.0)
    table = fitted.summary.set_index("parameter")["shrinkage_pct"]
    # η̂ of a patient is shrunk by 1 - √(information's share), here 4 to 9 samples.
    assert 0.0 < table["omega_a"] < 40.0
    assert 0.0 < table["sigma_qpcr"] < 40.0


@pytest.mark.slow
def test_an_omega_whose_best_value_is_nothing_is_said_to_be_0():
    """Patients who differ by less than their noise makes them: ω is best at 0."""
    t = np.linspace(1.0, 20.0, 8)
    noise = 0.3 * np.cos(np.arange(8) * 2.4)
    people = []
    for row in range(6):
        values = np.exp(6.0 - 0.1 * t + np.roll(noise, row))
        rows = [sample(x, v) for x, v in zip(t.tolist(), values.tolist(), strict=True)]
        people.append(patient(f"Z{row}", rows))
    whole = population(made(Line), QPCR, estimate=("a", "b"), vary=("a",))
    found = fit(dataset(people), whole, method="ml", chains=1, draws=50)
    assert found.manifest["at_zero"] == ["omega_a"]
    row = found.summary.set_index("parameter").loc["omega_a"]
    assert row["estimate"] == 0.0
    assert np.isnan(row["se"])
    assert found.verdict.converged


@pytest.mark.slow
def test_what_the_data_do_not_determine_is_named_and_not_converged():
    """One sample a patient, all at one time: a and b cannot be told apart."""
    rng = np.random.default_rng(2)
    values = np.exp(5.0 + rng.normal(size=10)).tolist()
    people = [patient(f"U{i}", [sample(10.0, v)]) for i, v in enumerate(values)]
    whole = population(made(Line), QPCR, estimate=("a", "b"), vary=("a",))
    found = fit(dataset(people), whole, method="ml", chains=1, draws=50)
    assert not found.verdict.converged
    assert any("do not determine" in reason for reason in found.verdict.reasons)
