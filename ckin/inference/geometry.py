"""Coordinates in which the posterior is nearly a standard normal.

A sampler moves in a vector whose first part, w, stands for the population parameters
and whose rest, z, for the patients:

    u = centre + factor w ,      η_i = mean_i(u) + L_i(u)⁻ᵀ z_i

with mean_i and L_i the patient's normal conditional given the population (`laplace`).
A rich patient is thereby centred on its own data and whitened by them, a poor one is
non-centred (η = z), and everyone between is in between, for every ω the sampler
visits. It is a change of variables, exact through its log determinant: a bad quadratic
costs time and never accuracy.
"""

import equinox as eqx
import jax.numpy as jnp

from ckin._types import Array, Float
from ckin.inference.density import Density
from ckin.inference.individual import Quadratics
from ckin.inference.laplace import conditional, solve_upper


class Geometry(eqx.Module):
    """The change of variables; see the module's docstring.

    Attributes:
        centre: u at w = 0.
        factor: lower-triangular, (hyper, hyper).
        quadratics: patients' quadratics.
    """

    centre: Float[Array, " hyper"]
    factor: Float[Array, "hyper hyper"]
    quadratics: Quadratics

    def to_natural(self, density: Density, position: Array):
        """(u, η, log determinant of the change) of a sampler's position."""
        n_hyper = self.centre.shape[0]
        u = self.centre + self.factor @ position[:n_hyper]
        z = position[n_hyper:].reshape(density.eta_shape)
        hyper = density.hyper(u)
        given = conditional(hyper, self.quadratics, density.population.vary_index)
        eta = (given.mean + solve_upper(given.factor, z.T)).T
        log_det = -jnp.sum(jnp.log(jnp.einsum("iin->in", given.factor)))
        return u, eta, log_det

    def log_density(self, density: Density, position: Array) -> Array:
        """Log posterior density of a position."""
        u, eta, log_det = self.to_natural(density, position)
        value = density.log_density(u, eta) + log_det
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def recentred(self, centre: Array, factor: Array, positions: Array):
        """The geometry with other population coordinates, and positions moved along.

        Args:
            centre: new u at w = 0.
            factor: new factor.
            positions: (chains, dimensions), kept at the same u and z.
        """
        n_hyper = self.centre.shape[0]
        u = self.centre + positions[:, :n_hyper] @ self.factor.T
        w = jnp.linalg.solve(factor, (u - centre).T).T
        moved = jnp.concatenate([w, positions[:, n_hyper:]], axis=1)
        return Geometry(centre, factor, self.quadratics), moved
