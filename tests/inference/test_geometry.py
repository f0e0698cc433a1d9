"""Laws of the change of variables: it is exact, whatever the quadratics are."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ckin.inference.geometry import Geometry, first_geometry


@pytest.fixture(scope="module")
def geometry(laplace) -> Geometry:
    return first_geometry(laplace)


@pytest.fixture(scope="module")
def positions(line) -> jax.Array:
    dimensions = line.n_hyper + int(np.prod(line.eta_shape))
    return jax.random.normal(jax.random.key(5), (3, dimensions))


@eqx.filter_jit
def mapped(density, geometry, positions):
    """(u, η), log determinant, its value by autodiff and log density of positions."""

    def flat(position):
        u, eta, _ = geometry.to_natural(density, position)
        return jnp.concatenate([u, eta.ravel()])

    def one(position):
        u, eta, log_det = geometry.to_natural(density, position)
        by_autodiff = jnp.linalg.slogdet(jax.jacfwd(flat)(position))[1]
        value = geometry.log_density(density, position)
        return u, eta, log_det, by_autodiff, value, density.log_density(u, eta)

    return jax.lax.map(one, positions)


def constant(factor) -> float:
    """Log determinant of the population's part, which samplers need not know."""
    return float(jnp.linalg.slogdet(factor)[1])


def test_the_log_determinant_is_that_of_the_whole_map(line, geometry, positions):
    _, _, log_det, by_autodiff, *_ = mapped(line, geometry, positions)
    np.testing.assert_allclose(
        log_det + constant(geometry.factor), by_autodiff, rtol=1e-10, atol=1e-10
    )


def test_the_density_of_a_position_is_that_of_the_patients_it_stands_for(
    line, geometry, positions
):
    _, _, log_det, _, value, natural = mapped(line, geometry, positions)
    np.testing.assert_allclose(value, natural + log_det, rtol=1e-12)


@pytest.fixture(scope="module")
def window(positions) -> np.ndarray:
    """Draws off centre, and correlated within the population and each patient."""
    size = positions.shape[1]
    rng = np.random.default_rng(2)
    return 0.3 + rng.normal(size=(400, size)) @ (np.eye(size) + 0.3 * np.tri(size)).T


@pytest.mark.parametrize("weight", [0.6, 1.0])
def test_a_new_geometry_moves_positions_and_not_what_they_stand_for(
    line, geometry, positions, window, weight
):
    other, change = geometry.fitted_to(window, weight)
    # Once more, from coordinates that are no longer the first.
    other, again = other.fitted_to(window, weight)
    moved = again.positions(change.positions(np.asarray(positions)))
    u, eta, _, _, value, _ = mapped(line, geometry, positions)
    found_u, found_eta, log_det, by_autodiff, found, _ = mapped(line, other, moved)
    np.testing.assert_allclose(found_u, u, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found_eta, eta, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        log_det + constant(other.factor), by_autodiff, rtol=1e-10, atol=1e-10
    )
    # Positions are moved by a linear map: the same density up to one constant.
    expected = value + change.log_det + again.log_det
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_gradient_moves_along_with_its_position(line, geometry, positions, window):
    other, change = geometry.fitted_to(window, 0.6)
    gradients = jax.jit(
        jax.vmap(jax.grad(lambda where, x: where.log_density(line, x), 1), (None, 0))
    )
    moved = jnp.asarray(change.positions(np.asarray(positions)))
    expected = gradients(other, moved)
    found = change.gradients(np.asarray(gradients(geometry, positions)))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_in_the_geometry_fitted_to_draws_they_are_standard(line, geometry, window):
    _, change = geometry.fitted_to(window, 1.0)
    moved = change.positions(window)
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=1e-10)
    covariance = np.cov(moved.T)
    n = line.n_hyper
    np.testing.assert_allclose(covariance[:n, :n], np.eye(n), atol=1e-10)
    for first in range(n, covariance.shape[0], 2):  # the two parameters of a patient
        block = covariance[first : first + 2, first : first + 2]
        np.testing.assert_allclose(block, np.eye(2), atol=1e-10)


def test_without_information_patients_are_not_centred(line, geometry, positions):
    nothing = jax.tree.map(jnp.zeros_like, geometry.quadratics)
    plain = dataclasses.replace(geometry, quadratics=nothing)
    _, eta, log_det, *_ = mapped(line, plain, positions)
    z = positions[:, line.n_hyper :].reshape(-1, *line.eta_shape)
    np.testing.assert_array_equal(eta, z)
    np.testing.assert_array_equal(log_det, 0.0)


def test_where_readings_are_linear_the_position_is_a_standard_normal_in_z(
    line, geometry, positions
):
    # Given the population, the whitened posterior of the patients is exactly
    # N(0, 1): the log density falls by |z|²/2 from z = 0.
    n_hyper = line.n_hyper
    middle = positions.at[:, n_hyper:].set(0.0)
    *_, value, _ = mapped(line, geometry, positions)
    *_, at_middle, _ = mapped(line, geometry, middle)
    fall = 0.5 * jnp.sum(positions[:, n_hyper:] ** 2, axis=1)
    np.testing.assert_allclose(at_middle - value, fall, rtol=1e-6)
