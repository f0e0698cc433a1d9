"""Correlated and heavy-tailed patients fitted: against scipy, which integrates anew."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats
from toys import QPCR, Line, dataset, made, patient, sample

from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.inference.geometry import first_geometry
from ckin.inference.laplace import fit_laplace
from ckin.inference.marginal import by_quadrature, find_modes, smooth
from ckin.inference.profile import profile
from ckin.population import effect, pack, population


def cohort(n: int, correlation: float, *, far: float | None = None, seed: int = 4):
    """Patients of `Line` whose level and slope are correlated; one may be far out."""
    rng = np.random.default_rng(seed)
    cov = np.array([[0.64, correlation * 0.08], [correlation * 0.08, 0.01]])
    people = []
    for row in range(n):
        a, b = rng.multivariate_normal([6.0, -0.1], cov)
        if far is not None and row == 0:
            a = far
        t = np.linspace(1.0, 20.0, (4, 6, 9)[row % 3])
        y = a + b * t + 0.3 * rng.normal(size=t.size)
        rows = [
            sample(*pair) for pair in zip(t.tolist(), np.exp(y).tolist(), strict=True)
        ]
        people.append(patient(f"C{row}", rows))
    return dataset(people)


COHORT = cohort(14, -0.7)


def minus_log_likelihood(theta: np.ndarray) -> float:
    """Of COHORT: a, b, log ω_a, log ω_b, atanh ρ, log σ."""
    a, b, wa, wb, rho, sigma = theta
    wa, wb, rho, sigma = np.exp(wa), np.exp(wb), np.tanh(rho), np.exp(sigma)
    spread = np.array([[wa**2, rho * wa * wb], [rho * wa * wb, wb**2]])
    total = 0.0
    for person in COHORT.patients:
        t = np.array([s.time_d for s in person.samples])
        y = np.log([s.value for s in person.samples])
        x = np.stack([np.ones_like(t), t], axis=1)
        cov = x @ spread @ x.T + sigma**2 * np.eye(t.size)
        total -= stats.multivariate_normal.logpdf(y, x @ [a, b], cov)
    return total


@pytest.mark.slow
def test_correlated_patients_by_maximum_likelihood_are_those_of_scipy():
    whole = population(made(Line), QPCR, correlate=[("a", "b")])
    found = fit(COHORT, whole, method="ml", chains=1, draws=50)
    assert found.verdict.converged, found.verdict.reasons
    start = np.array([6.0, -0.1, -0.3, -2.3, -0.5, -1.0])
    best = optimize.minimize(
        minus_log_likelihood, start, method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 8000, "maxfev": 8000},
    )  # fmt: skip
    likelihood = found.manifest["likelihood"]["log_likelihood"]
    assert likelihood == pytest.approx(-best.fun, abs=2e-5)
    table: Any = found.summary.set_index("parameter")
    names = ["a", "b", "omega_a", "omega_b", "corr_a_b", "sigma_qpcr"]
    a, b, wa, wb, rho, sigma = best.x
    expected = [a, b, np.exp(wa), np.exp(wb), np.tanh(rho), np.exp(sigma)]
    # The search stops 1e-5 nats below the peak: √(2e-5) = 0.4% of a standard error.
    gap = np.abs(table["estimate"][names].to_numpy() - expected)
    assert (gap < 0.005 * table["se"][names].to_numpy()).all()
    steps = 1e-3 * np.eye(6)
    f = minus_log_likelihood
    curvature = [
        [(f(best.x + i + j) - f(best.x + i - j) - f(best.x - i + j)
          + f(best.x - i - j)) / 4e-6 for j in steps] for i in steps
    ]  # fmt: skip
    se = np.sqrt(np.diag(np.linalg.inv(curvature)))[4] * (1.0 - expected[4] ** 2)
    assert table["se"]["corr_a_b"] == pytest.approx(se, rel=2e-3)
    # The truth is in the interval: -0.7 of 14 patients.
    assert abs(expected[4] + 0.7) < 3.0 * se
    assert table["unit"]["corr_a_b"] == "1"
    assert found.manifest["correlated"] == [["a", "b"]]

    # The profile of the correlation ends where scipy's has fallen by χ²/2.
    assert found.maximum is not None
    walked = profile(found.density, found.maximum, "corr_a_b")
    assert walked.estimate == pytest.approx(expected[4], abs=1e-3)
    for limit in (walked.lower, walked.upper):
        assert -1.0 < limit.value < 1.0
        z = float(np.arctanh(limit.value))
        held = optimize.minimize(
            lambda x, z=z: f(np.insert(x, 4, z)),
            np.delete(best.x, 4), method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-8, "maxiter": 8000, "maxfev": 8000},
        )  # fmt: skip
        # Limits are found to some 1e-3 nats.
        assert held.fun - best.fun == pytest.approx(0.5 * 3.841459, abs=5e-3)
    assert walked.lower.value < expected[4] < walked.upper.value


def heavy_line(data):
    whole = population(made(Line), QPCR, vary=("a",), eta="student_t")
    return make_density(whole, pack(data, whole))


FAR = cohort(5, 0.0, far=13.0)


@pytest.fixture(scope="module")
def heavy():
    density = heavy_line(FAR)
    return density, fit_laplace(density, jax.random.key(0))


def test_heavy_tailed_patients_are_integrated_as_scipy_does(heavy):
    density, laplace = heavy
    u = laplace.u
    values = {name: float(value) for name, value in density.constrain(u).items()}
    modes = find_modes(smooth(density), u, laplace.maps.eta)
    found = by_quadrature(smooth(density), u, modes)
    assert found is not None
    for person, value in zip(FAR.patients, found, strict=True):
        t = np.array([s.time_d for s in person.samples])
        y = np.log([s.value for s in person.samples])

        def joint(gone, t=t, y=y):
            line = values["a"] + values["omega_a"] * gone + values["b"] * t
            fits = stats.norm.pdf(y, line, values["sigma_qpcr"]).prod()
            return fits * stats.t.pdf(gone, 4)

        middle = ((y - values["b"] * t).mean() - values["a"]) / values["omega_a"]
        exact, _ = integrate.quad(joint, middle - 3.0, middle + 3.0, epsabs=0.0)
        # Gauss-Hermite of 15 nodes, of a t times a likelihood of 4 to 9 readings.
        assert float(value) == pytest.approx(np.log(exact), abs=1e-3)


@pytest.mark.slow
def test_the_geometry_of_heavy_tails_and_correlations_is_a_change_of_variables():
    whole = population(made(Line), QPCR, correlate=[("a", "b")], eta="student_t")
    density = make_density(whole, pack(cohort(3, -0.7), whole))
    laplace = fit_laplace(density, jax.random.key(1))
    geometry = first_geometry(laplace)

    @eqx.filter_jit
    def mapped(position):
        def flat(position):
            u, eta, _ = geometry.to_natural(density, position)
            return jnp.concatenate([u, eta.ravel()])

        u, eta, log_det = geometry.to_natural(density, position)
        by_autodiff = jnp.linalg.slogdet(jax.jacfwd(flat)(position))[1]
        return log_det, by_autodiff, geometry.log_density(density, position)

    size = density.n_hyper + int(np.prod(density.eta_shape))
    constant = float(jnp.linalg.slogdet(geometry.factor)[1])
    values = []
    for key in range(4):
        position = jax.random.normal(jax.random.key(key), (size,))
        log_det, by_autodiff, value = mapped(position)
        assert float(log_det) + constant == pytest.approx(float(by_autodiff), abs=1e-8)
        values.append(float(value + 0.5 * jnp.sum(position**2)))
    # Nearly standard normal, which is what a sampler is given it for.
    assert np.ptp(values) < 6.0


def test_one_patient_far_out_does_not_widen_omega_for_all(heavy):
    density, laplace = heavy
    whole = population(made(Line), QPCR, vary=("a",))
    normal = make_density(whole, pack(FAR, whole))
    by_normal = fit_laplace(normal, jax.random.key(0))
    scale = float(density.constrain(laplace.u)["omega_a"])
    sd = float(normal.constrain(by_normal.u)["omega_a"])
    assert laplace.converged
    assert by_normal.converged
    assert scale < 0.7 * sd
    # That patient is drawn less to the others, and still not past its own readings.
    by_t, by_n = (
        float(d.patient_phi(x.u, x.maps.eta)[0, 0])
        for d, x in ((density, laplace), (normal, by_normal))
    )
    assert by_n < by_t < 13.5


@pytest.mark.slow
def test_a_horseshoe_finds_the_one_covariate_that_acts():
    """Of six covariates one moves the level, by 1.2 between-patient SDs per SD."""
    rng = np.random.default_rng(8)
    made_of = []
    for row in range(30):
        x = rng.normal(size=6)
        a = 6.0 + 0.5 * rng.normal() + 0.6 * x[2]
        t = np.linspace(1.0, 20.0, 4)
        y = a - 0.1 * t + 0.3 * rng.normal(size=t.size)
        pairs = zip(t.tolist(), np.exp(y).tolist(), strict=True)
        rows = [sample(time_d, value) for time_d, value in pairs]
        known: Any = {f"X{i}": float(x[i]) for i in range(6)}
        made_of.append(patient(f"S{row}", rows, **known))
    data = dataset(made_of)
    effects = [effect(f"a~exp(X{i}@0)", data.patients) for i in range(6)]
    whole = population(made(Line), QPCR, vary=("a",), covariates=effects, screen=True)
    found = fit(data, whole, method="nuts", chains=2, warmup=300, draws=400, seed=2)
    table: Any = found.summary.set_index("parameter")
    kept = [float(table["q50"][f"kept_a_X{i}"]) for i in range(6)]
    beta = [float(table["q50"][f"beta_a_X{i}"]) for i in range(6)]
    assert int(np.argmax(kept)) == 2
    assert kept[2] > 0.8
    # By its data alone: SD 0.6/√30 = 0.1.
    assert beta[2] == pytest.approx(0.6, abs=0.3)
    others = [i for i in range(6) if i != 2]
    assert max(abs(beta[i]) for i in others) < 0.15
    assert max(kept[i] for i in others) < 0.6
    # Funnels of a horseshoe cost divergences, and the population is sampled for all.
    assert table["r_hat"].max() < 1.05
