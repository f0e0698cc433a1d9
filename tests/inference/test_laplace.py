"""Laws of the quadratics and of the population by Laplace, where both are exact."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from ckin.inference.density import Hyper
from ckin.inference.individual import (
    Quadratics,
    patient_log_likelihoods,
    quadratics,
)
from ckin.inference.laplace import cholesky, conditional, solve_lower, solve_upper


# Small dense systems in double precision, condition numbers of some hundreds.
SAME = 1e-9


def spd(rng, n, d):
    root = rng.normal(size=(n, d, d + 2))
    return root @ np.swapaxes(root, 1, 2)


@pytest.mark.parametrize("d", [0, 1, 2, 5])
def test_small_systems_are_solved_as_numpy_solves_them(d):
    rng = np.random.default_rng(d)
    matrix, right = spd(rng, 4, d), rng.normal(size=(4, d))
    factor = cholesky(jnp.asarray(np.moveaxis(matrix, 0, 2)))
    lower = np.moveaxis(np.asarray(factor), 2, 0)
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), rtol=SAME, atol=SAME)
    found = solve_lower(factor, jnp.asarray(right.T)).T
    np.testing.assert_allclose(
        np.einsum("nij,nj->ni", lower, found), right, rtol=SAME, atol=SAME
    )
    found = solve_upper(factor, jnp.asarray(right.T)).T
    np.testing.assert_allclose(
        np.einsum("nji,nj->ni", lower, found), right, rtol=SAME, atol=SAME
    )


@pytest.mark.parametrize("vary_index", [(0, 1, 2), (2, 0), (1,)])
def test_the_conditional_is_the_normal_of_dense_algebra(vary_index):
    rng = np.random.default_rng(7)
    n, p, index = 3, 3, np.array(vary_index)
    # Two assays: the one is normal, of the other half the scatter is counting.
    hessian, fading = np.stack([spd(rng, n, p), spd(rng, n, p)], axis=1), [2.0, 1.0]
    quads = Quadratics(
        phi=jnp.asarray(rng.normal(size=(n, p))),
        log_sigma=jnp.asarray(rng.normal(size=(n, 2))),
        value=jnp.asarray(rng.normal(size=n)),
        gradient=jnp.asarray(rng.normal(size=(n, 2, p))),
        stiffness=jnp.asarray(hessian),
        fading=jnp.tile(jnp.asarray(fading), (n, 1)),
        gradient_sigma=jnp.asarray(rng.normal(size=(n, 2))),
        stiffness_sigma=jnp.full((n, 2), 5.0),
    )
    sigma = np.array([0.7, 0.3])
    omega = rng.uniform(0.3, 1.2, size=index.size)
    hyper = Hyper(
        jnp.asarray(rng.normal(size=(n, p))), jnp.asarray(omega), jnp.asarray(sigma)
    )
    given = conditional(hyper, quads, vary_index)
    for i in range(n):
        d_sigma = np.log(sigma) - np.asarray(quads.log_sigma[i])
        # What data say of φ fades with σ; of log σ it is a quadratic of its own.
        share = np.exp(-np.array(fading) * d_sigma)
        h = np.tensordot(share, hessian[i], 1)
        g = share @ np.asarray(quads.gradient[i])
        select = np.eye(p)[:, index] * omega

        def log_likelihood(eta, i=i, h=h, g=g, select=select, d_sigma=d_sigma):
            delta = np.asarray(hyper.centre[i] - quads.phi[i]) + select @ eta
            of_sigma = quads.gradient_sigma[i] @ d_sigma - 2.5 * np.sum(d_sigma**2)
            return float(quads.value[i] + of_sigma + g @ delta - delta @ h @ delta / 2)

        precision = select.T @ h @ select + np.eye(index.size)
        shift = np.asarray(hyper.centre[i] - quads.phi[i])
        mean = np.linalg.solve(precision, select.T @ (g - h @ shift))
        np.testing.assert_allclose(given.mean[:, i], mean, rtol=SAME, atol=SAME)
        lower = np.asarray(given.factor[:, :, i])
        np.testing.assert_allclose(lower @ lower.T, precision, rtol=SAME)
        # Bayes' rule at any η, here the mean: marginal = joint / conditional.
        joint = log_likelihood(mean) + stats.norm.logpdf(mean).sum()
        at_mode = np.linalg.slogdet(precision)[1] - index.size * np.log(2 * np.pi)
        marginal = joint - 0.5 * at_mode
        assert float(given.log_marginal[i]) == pytest.approx(marginal, abs=SAME)


@eqx.filter_jit
def slopes(density, at):
    """Gradient and minus the Hessian of every patient's log likelihood, by autodiff."""

    def total(at):
        found = patient_log_likelihoods(density, at[:, :-1], jnp.exp(at[:, -1:]))
        return jnp.sum(found), found

    (_, value), gradient = jax.value_and_grad(total, has_aux=True)(at)
    hessian = jax.hessian(lambda at: total(at)[0])(at)
    return value, gradient, -jnp.einsum("ninj->nij", hessian)


@pytest.mark.parametrize("censored", [False, True])
def test_quadratics_of_linear_readings_are_exact(line, censored):
    rng = np.random.default_rng(1)
    data = line.data
    if censored:
        data = dataclasses.replace(data, below=data.present.at[:, ::2].set(False))
    density = dataclasses.replace(line, data=data)
    at = jnp.asarray([6.0, -0.1, np.log(0.4)] + 0.2 * rng.normal(size=(4, 3)))
    # Steps within the assay's floor: beyond it nothing is linear.
    widths = jnp.asarray([[0.1], [0.01]] * spd(rng, 4, 2))
    found = quadratics(density, at[:, :-1], at[:, -1:], widths)
    value, gradient, hessian = slopes(density, at)
    np.testing.assert_allclose(found.value, value, rtol=SAME)
    told = np.concatenate([found.gradient[:, 0], found.gradient_sigma], axis=1)
    np.testing.assert_allclose(told, gradient, rtol=1e-7, atol=1e-7)
    # φ only: σ has an expected curvature as its least, and no cross terms.
    np.testing.assert_allclose(
        found.stiffness[:, 0], hessian[:, :2, :2], rtol=1e-7, atol=1e-7
    )
    assert (np.linalg.eigvalsh(found.stiffness) > -1e-9).all()
    assert (found.stiffness_sigma >= 0).all()
    if not censored:
        # Second order in the step of log σ.
        np.testing.assert_allclose(found.fading, 2.0, atol=0.01)


def parts(density, row):
    """Design matrix and log readings of one patient of `Line`."""
    present = np.asarray(density.data.present[row])
    time_d = np.asarray(density.data.time_d[row])[present]
    design = np.stack([np.ones_like(time_d), time_d], axis=1)
    return design, np.asarray(density.data.log_value[row])[present]


def exact_loss(u, density):
    """Minus the log posterior of the population, patients integrated out exactly."""
    a, b = u[:2]
    omega, sigma = np.exp(u[2:4]), np.exp(u[4])
    normal = stats.norm.logpdf
    total = normal(a, 6.0, 2.0) + normal(b, 0.0, 0.3) + normal(u[4], np.log(0.5), 0.3)
    total += normal(u[2:4], np.log([0.8, 0.1]), 0.5).sum()
    for row in range(density.data.n_patients):
        design, seen = parts(density, row)
        spread = design * omega
        covariance = spread @ spread.T + sigma**2 * np.eye(seen.size)
        total += stats.multivariate_normal.logpdf(seen, design @ u[:2], covariance)
    return -total


def test_the_population_mode_is_the_exact_one_where_readings_are_linear(line, laplace):
    assert laplace.converged
    found = optimize.minimize(exact_loss, np.asarray(laplace.u), args=(line,))
    spread = np.sqrt(np.diag(np.asarray(laplace.factor @ laplace.factor.T)))
    # The rounds end at a move of 0.1 SD; σ above all must not be too small for the
    # parameters that each patient's own fit uses up.
    np.testing.assert_allclose((laplace.u - found.x) / spread, 0.0, atol=0.2)
    exact = np.sqrt(np.diag(found.hess_inv))
    # BFGS' own inverse Hessian is good to tens of percent.
    np.testing.assert_allclose(spread, exact, rtol=0.4)


@pytest.mark.parametrize("log_sigma", [0.0, 0.5])
def test_the_conditional_is_the_exact_posterior_of_a_patient(line, laplace, log_sigma):
    u = laplace.u.at[4].add(log_sigma)  # at another σ than that of the expansion, too
    hyper = line.hyper(u)
    given = conditional(hyper, laplace.quadratics, line.population.vary_index)
    for row in range(line.data.n_patients):
        design, seen = parts(line, row)
        scaled = design * np.asarray(hyper.omega) / float(hyper.sigma[0])
        rest = (seen - design @ np.asarray(hyper.centre[row])) / float(hyper.sigma[0])
        precision = scaled.T @ scaled + np.eye(2)
        lower = np.asarray(given.factor[:, :, row])
        np.testing.assert_allclose(lower @ lower.T, precision, rtol=1e-7, atol=1e-7)
        mean = np.linalg.solve(precision, scaled.T @ rest)
        np.testing.assert_allclose(given.mean[:, row], mean, rtol=1e-6, atol=1e-6)


def test_the_map_of_each_patient_is_the_mean_of_its_conditional(line, laplace):
    hyper = line.hyper(laplace.u)
    given = conditional(hyper, laplace.quadratics, line.population.vary_index)
    # Adam, whose last steps are 0.002 long.
    np.testing.assert_allclose(laplace.maps.eta, given.mean.T, atol=0.01)
