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

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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

    def fitted_to(
        self, positions: np.ndarray, weight: float
    ) -> tuple["Geometry", "Change"]:
        """The geometry in which earlier positions have mean 0 and covariance 1.

        Args:
            positions: (draws, dimensions), of this geometry.
            weight: weight of the draws against mean 0 and covariance 1.

        Returns:
            The new geometry, and how to get there from this one.
        """
        n_patients, size = self.shift.shape
        shapes = ((1, self.centre.shape[0]), (n_patients, size))
        w, z = _parts(positions, shapes)
        w_mean, w_root = _standard(w, weight)
        z_mean, z_root = _standard(z, weight)
        here = (self.centre, self.factor, self.shift, self.scale)
        centre, factor, shift, scale = map(np.asarray, here)
        geometry = Geometry(
            jnp.asarray(centre + factor @ w_mean[0]),
            jnp.asarray(factor @ w_root[0]),
            self.quadratics,
            jnp.asarray(shift + np.einsum("nij,nj->ni", scale, z_mean)),
            jnp.asarray(scale @ z_root),
        )
        return geometry, Change((w_mean, z_mean), (w_root, z_root))


class Change(NamedTuple):
    """From coordinates x to y, x = mean + root y, block by block.

    Attributes:
        mean: of w (1, hyper), and of z (patients, varying).
        root: lower-triangular, (1, hyper, hyper) and (patients, varying, varying).
    """

    mean: tuple[np.ndarray, np.ndarray]
    root: tuple[np.ndarray, np.ndarray]

    @property
    def log_det(self) -> float:
        """What it adds to the log density (which u's own coordinates do not enter)."""
        return float(np.sum(np.log(np.einsum("nii->ni", self.root[1]))))

    def positions(self, old: np.ndarray) -> np.ndarray:
        """New coordinates of positions (chains, dimensions)."""
        parts = _parts(old, [mean.shape for mean in self.mean])
        gaps = (x - mean for x, mean in zip(parts, self.mean, strict=True))
        return _whole(
            np.linalg.solve(root, gap[..., None])[..., 0]
            for gap, root in zip(gaps, self.root, strict=True)
        )

    def gradients(self, old: np.ndarray) -> np.ndarray:
        """Gradients (chains, dimensions) in the new coordinates."""
        parts = _parts(old, [mean.shape for mean in self.mean])
        return _whole(
            np.einsum("nij,cni->cnj", root, part)
            for part, root in zip(parts, self.root, strict=True)
        )


def _parts(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Blocks of w and of z, (rows, blocks, size), of vectors (rows, dimensions)."""
    w, z = np.split(flat, [shapes[0][1]], axis=1)
    # Not -1: where nobody varies there is nothing to tell the length from.
    return [x.reshape(len(flat), *s) for x, s in zip((w, z), shapes, strict=True)]


def _whole(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


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


def _standard(draws: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrunken mean and Cholesky factor of each block; draws (draws, blocks, size)."""
    mean = draws.mean(axis=0)
    gap = draws - mean
    covariance = np.einsum("dbi,dbj->bij", gap, gap) / max(len(draws) - 1, 1)
    covariance = weight * covariance + (1.0 - weight) * np.eye(draws.shape[-1])
    return weight * mean, np.linalg.cholesky(covariance)
