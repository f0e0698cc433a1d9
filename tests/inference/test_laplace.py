"""Laws of the quadratics and of the population by Laplace, where both are exact."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from toys import HEAVY, Line, line_cohort, made

from ckin.inference.density import Hyper, make_density
from ckin.inference.individual import (
    Quadratics,
    patient_log_likelihoods,
    quadratics,
)
from ckin.inference.laplace import (
    _lower,
    _population_mode,
    cholesky,
    conditional,
    fit_laplace,
    log_marginal,
    solve_lower,
    solve_upper,
)
from ckin.population import pack, population
from ckin.population.hyper import patient_phi


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
        misfit=jnp.asarray(rng.uniform(1.0, 9.0, (n, 2))),
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
        # What data say of φ fades with σ, and so do their misses; a quadratic else.
        share = np.exp(-np.array(fading) * d_sigma)
        missed = quads.misfit[i] @ (share - 1.0 + np.array(fading) * d_sigma)
        h = np.tensordot(share, hessian[i], 1)
        g = share @ np.asarray(quads.gradient[i])
        select = np.eye(p)[:, index] * omega

        of_sigma = quads.gradient_sigma[i] @ d_sigma - 2.5 * np.sum(d_sigma**2) - missed

        def log_likelihood(eta, i=i, h=h, g=g, select=select, of_sigma=of_sigma):
            delta = np.asarray(hyper.centre[i] - quads.phi[i]) + select @ eta
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


@pytest.mark.parametrize("log_sigma", [-1.5, -0.5, 1.0])
def test_the_marginal_of_linear_readings_is_exact_at_any_sigma(
    line, laplace, log_sigma
):
    away = laplace.u + jnp.array([0.5, 0.02, -0.3, 0.4, log_sigma])
    told = [log_marginal(line, laplace.quadratics, u) for u in (away, laplace.u)]
    exact = [-exact_loss(np.asarray(u), line) for u in (away, laplace.u)]
    # How the pull fades with σ is itself a difference, good to 1e-5 or so.
    assert float(told[0] - told[1]) == pytest.approx(exact[0] - exact[1], rel=1e-4)


def quadrature_loss(density):
    """Minus the log posterior of the population, patients summed over a grid of η."""
    one = np.linspace(-5.0, 5.0, 101)
    eta = jnp.stack([each.ravel() for each in np.meshgrid(one, one)], axis=1)

    @jax.jit
    def loss(u):
        hyper = density.hyper(u)

        def log_joint(eta):
            eta = jnp.tile(eta, (density.data.n_patients, 1))
            phi = patient_phi(density.population, hyper.centre, hyper.spread, eta)
            likelihood = patient_log_likelihoods(density, phi, hyper.sigma)
            return likelihood - 0.5 * jnp.sum(eta**2, axis=1)

        each = jax.scipy.special.logsumexp(jax.vmap(log_joint)(eta), axis=0)
        return -jnp.sum(each) - density.log_prior(u)

    return loss


@pytest.mark.slow
def test_outliers_neither_hide_nor_widen_the_mode_of_heavy_tailed_errors():
    """Readings 8 SDs off, and limits far under what the other readings predict.

    Taken for a quadratic, such readings reward σ = 0: what following them gains would
    grow faster than what missing them costs.
    """
    pop = population(made(Line), HEAVY)
    cohort = pack(line_cohort(8, (8, 6)), pop)
    rows = jnp.arange(8)
    value = cohort.log_value.at[:, 2].add(jnp.where(rows % 2 == 0, 3.2, -3.2))
    value = value.at[:4, 4].add(-4.0)
    below = cohort.below.at[:4, 4].set(True)
    cohort = dataclasses.replace(cohort, log_value=value, below=below)
    density = make_density(pop, cohort)
    found = fit_laplace(density, jax.random.key(0))
    assert found.converged
    loss = quadrature_loss(density)
    mode = optimize.minimize(jax.value_and_grad(loss), np.asarray(found.u), jac=True).x
    exact = np.sqrt(np.diag(np.linalg.inv(jax.hessian(loss)(jnp.asarray(mode)))))
    # Measured: 0.25 SD off, and up to 30% too narrow (σ), for a tail is no parabola.
    assert np.abs((found.u - mode) / exact).max() < 0.4
    spread = np.sqrt(np.diag(np.asarray(found.factor @ found.factor.T)))
    np.testing.assert_allclose(spread, exact, rtol=0.4)


def test_the_population_mode_is_the_exact_one_where_readings_are_linear(line, laplace):
    assert laplace.converged
    start = np.asarray(laplace.u) + 0.3
    mode = optimize.minimize(exact_loss, start, args=(line,), tol=1e-6).x
    spread = np.sqrt(np.diag(np.asarray(laplace.factor @ laplace.factor.T)))
    # A patient's quadratic is exact here; how its pull fades with σ is a difference.
    np.testing.assert_allclose((laplace.u - mode) / spread, 0.0, atol=1e-3)
    steps = 0.02 * spread

    def loss(*moves):
        return exact_loss(mode + steps * np.sum(moves, axis=0), line)

    curvature = [
        [(loss(i, j) - loss(i, -j) - loss(-i, j) + loss(-i, -j)) / 4 for j in np.eye(5)]
        for i in np.eye(5)
    ]
    exact = np.sqrt(np.diag(np.linalg.inv(curvature))) * steps
    # Differences over 0.02 SD: their own error is 1e-4 and rounding 1e-6.
    np.testing.assert_allclose(spread, exact, rtol=1e-2)


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


def test_a_marginal_that_is_nowhere_finite_has_no_mode(line, laplace):
    """Its slope is 0 there, which must not be taken for a mode."""
    broken = eqx.tree_at(
        lambda q: q.stiffness,
        laplace.quadratics,
        jnp.full_like(laplace.quadratics.stiffness, jnp.nan),
    )
    _, factor, reached = _population_mode(line, broken, laplace.u, laplace.factor)
    assert not reached
    assert np.isfinite(factor).all()


@pytest.mark.parametrize("more", [0, 1])
def test_blocks_of_patients_add_up(line, laplace, monkeypatch, more):
    def value_and_slope():
        def marginal(u):
            return log_marginal(line, laplace.quadratics, u)

        return jax.jit(jax.value_and_grad(marginal))(laplace.u + 0.1)

    at_once = value_and_slope()
    # Two blocks and nobody left, or one and patients that fill none.
    size = line.data.n_patients // 2 + more
    assert (line.data.n_patients % size == 0) == (more == 0)
    monkeypatch.setattr("ckin.inference.laplace.BLOCK", size)
    for found, expected in zip(value_and_slope(), at_once, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_a_factor_is_cholesky_of_its_directions(scale):
    rng = np.random.default_rng(0)
    direction, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    half = direction * np.array([1.0, 1.0, 0.1, 1.0, scale])
    found = _lower(half)
    np.testing.assert_allclose(found @ found.T, half @ half.T, rtol=1e-9 * scale)
    assert (np.diag(found) > 0).all()
    np.testing.assert_array_equal(found, np.tril(found))
