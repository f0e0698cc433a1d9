"""The grid of a fit: laid for the parameters that it will meet.

Twice: for draws of a wide prior of the patients, on which the starts are found, and
then for draws of the Laplace approximation, on which the sampler moves.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array, Float
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry, naturals
from ckin.inference.laplace import WIDE_OMEGA
from ckin.population import GridReport, refined
from ckin.population.model import patient_phi


# Draws that a grid is laid for: the posterior in a few, its tails by the safety that
# the error estimate of the worst reading has for all the others.
GRID_DRAWS = 8


def prior_phi(density: Density, key: Array) -> Float[Array, "draws patients estimated"]:
    """Patients around the prior medians, as different as the starts take them to be."""
    hyper = density.hyper(density.start)
    omega = jnp.maximum(hyper.omega, WIDE_OMEGA)
    eta = jax.random.normal(key, (GRID_DRAWS, *density.eta_shape))
    return jax.vmap(
        lambda eta: patient_phi(density.population, hyper.centre, omega, eta)
    )(eta.at[0].set(0.0))


def laplace_phi(
    density: Density, geometry: Geometry, key: Array
) -> Float[Array, "draws patients estimated"]:
    """Patients as the Laplace approximation has them."""
    n_eta = density.eta_shape[0] * density.eta_shape[1]
    positions = jax.random.normal(key, (1, GRID_DRAWS, density.n_hyper + n_eta))
    u, eta = naturals(density, geometry, positions)
    return jax.vmap(density.patient_phi)(u[0], eta[0])


def on_grid(
    density: Density, phi: Array, error: float
) -> tuple[Density, GridReport | None]:
    """The density on a grid for these patients; None where no grid is solved on.

    Args:
        density: the posterior.
        phi: (draws, patients, estimated).
        error: target of a reading, log10.
    """
    if not density.population.on_grid or density.solver.method is not None:
        return density, None
    data, told = refined(density.population, density.data, phi, target=error)
    return eqx.tree_at(lambda d: d.data, density, data), told
