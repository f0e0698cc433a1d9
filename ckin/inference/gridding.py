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
from ckin.population import GridReport, Population, refined
from ckin.population.hyper import patient_phi


# Draws of the prior that the first grid has to serve: it is only for the starts.
PRIOR_DRAWS = 8

# Draws of the approximation that the sampler's grid has to serve. With 8 of them one in
# ten draws of three assays (flagship, 6 patients followed for two years) was solved
# wrong by up to 2,000 nats, where cells came back late; with 48 by up to 8e-4.
GRID_DRAWS = 64

# SDs of the draws that the sampler's grid is laid for, in those of the posterior.
WIDER = 1.5

# SDs from the middle, along each parameter of a patient, to which its steps are stable.
# Of 768 trajectories of the flagship (12 patients, two cycles) 15 met an unstable step
# without this, and diverged.
TAILS = 6.0

# Starts are sought on a grid that may err by this many times as much as the sampler's:
# it is laid for the prior, whose stiffest patients are far from any that will be met.
STARTS_SHARE = 10.0


@eqx.filter_jit
def prior_phi(density: Density, key: Array) -> Float[Array, "draws patients estimated"]:
    """Patients around the prior medians, as different as the prior has them."""
    hyper = density.hyper(density.start)
    eta = jax.random.normal(key, (PRIOR_DRAWS, *density.eta_shape))
    return jax.vmap(
        lambda eta: patient_phi(density.population, hyper.centre, hyper.spread, eta)
    )(eta.at[0].set(0.0))


@eqx.filter_jit
def laplace_phi(
    density: Density, geometry: Geometry, key: Array
) -> Float[Array, "draws patients estimated"]:
    """Patients as the Laplace approximation has them, and `WIDER`."""
    n_eta = density.eta_shape[0] * density.eta_shape[1]
    shape = (1, GRID_DRAWS, density.n_hyper + n_eta)
    positions = WIDER * jax.random.normal(key, shape)
    u, eta = naturals(density, geometry, positions)
    return jax.vmap(density.patient_phi)(u[0], eta[0])


@eqx.filter_jit
def tails(
    population: Population, phi: Float[Array, "draws patients estimated"]
) -> Float[Array, "ends patients estimated"]:
    """Each patient's middle, moved `TAILS` either way along one parameter at a time.

    Args:
        population: what is estimated.
        phi: what `laplace_phi` draws. Its own extremes are no guide: where a spread is
            ill known, they are patients that no data would leave there.
    """
    low, middle, high = jnp.quantile(phi, jnp.array([0.16, 0.5, 0.84]), axis=0)
    reach = TAILS * 0.5 * (high - low) / WIDER
    # Curves of plates follow in φ, and move no cell.
    each = jnp.eye(population.n_phi, phi.shape[2])
    along = jnp.concatenate([each, -each])
    return middle + along[:, None, :] * reach


def on_grid(
    density: Density, phi: Array, error: float, wide: Array | None = None
) -> tuple[Density, GridReport | None]:
    """The density on a grid for these patients; None where no grid is solved on.

    Args:
        density: the posterior.
        phi: (draws, patients, estimated).
        error: target of a reading, log10.
        wide: draws from further out, for which steps are stable.
    """
    if not density.population.on_grid or density.solver.method is not None:
        return density, None
    data, told = refined(density.population, density.data, phi, target=error, wide=wide)
    return eqx.tree_at(lambda d: d.data, density, data), told
