"""Coordinates in which the posterior is nearly a standard normal.

A sampler moves in a vector whose first part, w, stands for the population parameters
and whose rest, z, for the patients:

    u = centre + factor w ,      η_i = mean_i(u) + L_i(u)⁻ᵀ (shift_i + scale_i z_i)

with mean_i and L_i the patient's normal conditional given the population (`laplace`),
and shift_i, scale_i what warm-up finds that conditional to be off by (at first 0, 1).
A rich patient is thereby centred on its own data and whitened by them, a poor one is
non-centred (η = z), and everyone between is in between, for every ω the sampler
visits. It is a change of variables, exact through its log determinant: a bad quadratic
costs time and never accuracy.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.inference.density import Density
from ckin.inference.individual import Quadratics
from ckin.inference.laplace import PopulationLaplace, conditional, solve_upper


class Geometry(eqx.Module):
    """The change of variables; see the module's docstring.

    Attributes:
        centre: u at w = 0.
        factor: lower-triangular, (hyper, hyper).
        quadratics: patients' quadratics.
        shift: (patients, varying).
        scale: lower-triangular, (patients, varying, varying).
    """

    centre: Float[Array, " hyper"]
    factor: Float[Array, "hyper hyper"]
    quadratics: Quadratics
    shift: Float[Array, "patients varying"]
    scale: Float[Array, "patients varying varying"]

    def to_natural(self, density: Density, position: Array):
        """(u, η, log determinant of the change) of a sampler's position."""
        n_hyper = self.centre.shape[0]
        u = self.centre + self.factor @ position[:n_hyper]
        z = position[n_hyper:].reshape(density.eta_shape)
        hyper = density.hyper(u)
        given = conditional(hyper, self.quadratics, density.population.vary_index)
        z = self.shift + jnp.einsum("nij,nj->ni", self.scale, z)
        eta = (given.mean + solve_upper(given.factor, z.T)).T
        log_det = jnp.sum(jnp.log(jnp.einsum("nii->ni", self.scale)))
        log_det = log_det - jnp.sum(jnp.log(jnp.einsum("iin->in", given.factor)))
        return u, eta, log_det

    def log_density(self, density: Density, position: Array) -> Array:
        """Log posterior density of a position."""
        u, eta, log_det = self.to_natural(density, position)
        value = density.log_density(u, eta) + log_det
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def fitted_to(self, positions: np.ndarray, latest: Array, weight: float):
        """The geometry in which earlier positions have mean 0 and covariance 1.

        Args:
            positions: (draws, dimensions), of this geometry.
            latest: (chains, dimensions), moved along: same u and η, new coordinates.
            weight: weight of the draws against mean 0 and covariance 1.

        Returns:
            The new geometry and `latest` in its coordinates.
        """
        n_hyper = self.centre.shape[0]
        n_patients, size = self.shift.shape
        w, z = positions[:, :n_hyper], positions[:, n_hyper:]
        # Not -1: where nobody varies there is nothing to tell the length from.
        z = z.reshape(len(z), n_patients, size)
        w_mean, w_root = _standard(w[:, None], weight)
        z_mean, z_root = _standard(z, weight)
        geometry = Geometry(
            self.centre + self.factor @ w_mean[0],
            self.factor @ w_root[0],
            self.quadratics,
            self.shift + jnp.einsum("nij,nj->ni", self.scale, z_mean),
            self.scale @ z_root,
        )
        last_w = jnp.linalg.solve(w_root[0], (latest[:, :n_hyper] - w_mean[0]).T).T
        here = len(latest)
        last_z = latest[:, n_hyper:].reshape(here, n_patients, size) - z_mean
        last_z = jnp.linalg.solve(z_root, jnp.moveaxis(last_z, 0, 2))
        last_z = jnp.moveaxis(last_z, 2, 0).reshape(here, n_patients * size)
        return geometry, jnp.concatenate([last_w, last_z], axis=1)


def first_geometry(laplace: PopulationLaplace) -> Geometry:
    """Geometry of the Laplace approximation, before any draw is known."""
    n_patients, size = laplace.maps.eta.shape
    return Geometry(
        laplace.u,
        laplace.factor,
        laplace.quadratics,
        jnp.zeros((n_patients, size)),
        jnp.tile(jnp.eye(size), (n_patients, 1, 1)),
    )


@eqx.filter_jit
def naturals(density: Density, geometry: Geometry, positions: Array):
    """(u, η) of positions (chains, draws, dimensions)."""
    one = lambda position: geometry.to_natural(density, position)[:2]
    return jax.vmap(jax.vmap(one))(positions)


def _standard(draws: np.ndarray, weight: float) -> tuple[Array, Array]:
    """Shrunken mean and Cholesky factor of each block; draws (draws, blocks, size)."""
    mean = draws.mean(axis=0)
    gap = draws - mean
    covariance = np.einsum("dbi,dbj->bij", gap, gap) / max(len(draws) - 1, 1)
    covariance = weight * covariance + (1.0 - weight) * np.eye(draws.shape[-1])
    return jnp.asarray(weight * mean), jnp.asarray(np.linalg.cholesky(covariance))
