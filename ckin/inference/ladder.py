"""How good is the Laplace approximation? Its draws weighed against the posterior.

The whitened coordinates of the start are one normal approximation of the whole
posterior, population and patients. Draws of it with weights p / q, smoothed, are draws
of the posterior where the Pareto k-hat of the weights is low (PSIS, Vehtari et al.
2024, JMLR 25:72). That costs one look at the likelihood of each draw, against tens of
gradients for a draw of NUTS, so `auto` looks there first.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry
from ckin.inference.integrated import systematic
from ckin.inference.predict import sample_log_likelihoods
from ckin.inference.referee import weigh


# Under it the weights have a variance, and what they are used for an error that the
# number of draws tells. Up to 0.7 means still hold (Vehtari et al. 2024): enough for a
# look, not for a default that nobody looks at.
RELIABLE_KHAT = 0.5
USABLE_KHAT = 0.7
LEAST_ESS = 400.0

# Draws looked at side by side.
LANES = 20


class Approximation(NamedTuple):
    """Draws of the Laplace approximation, and what they are worth.

    Attributes:
        u: (draws, hyper).
        eta: (draws, patients, varying).
        weights: smoothed, sum 1, (draws,).
        khat: Pareto k-hat of the weights.
        ess: how many draws of the posterior they are worth.
    """

    u: np.ndarray
    eta: np.ndarray
    weights: np.ndarray
    khat: float
    ess: float

    @property
    def serves(self) -> bool:
        """Whether the weighted draws stand for the posterior."""
        return self.khat < RELIABLE_KHAT and self.ess > LEAST_ESS

    def told(self) -> dict[str, float | None]:
        """For the manifest."""
        khat = float(self.khat) if np.isfinite(self.khat) else None
        return {"khat": khat, "ess": float(self.ess)}


@eqx.filter_jit
def _natural(density: Density, geometry: Geometry, positions: Array):
    """u, η, log determinant and log prior of positions (draws, dimensions)."""

    def one(position):
        u, eta, log_det = geometry.to_natural(density, position)
        return u, eta, log_det, density.log_prior(u) - 0.5 * jnp.sum(eta**2)

    return jax.vmap(one)(positions)


@eqx.filter_jit
def _log_densities(density: Density, geometry: Geometry, positions: Array):
    """Log density of positions (draws, dimensions), some at a time."""
    one = lambda position: geometry.log_density(density, position)
    return jax.lax.map(one, positions, batch_size=LANES)


def weighed(density: Density, geometry: Geometry, positions: Array) -> Approximation:
    """Weigh draws of the approximation.

    Args:
        density: the posterior.
        geometry: of the start.
        positions: standard normal, (draws, dimensions).
    """
    u, eta, log_det, prior = _natural(density, geometry, positions)
    if density.data.standards is None:
        # Compiled for what comes after a fit, too.
        likelihood, solved = sample_log_likelihoods(density, u, eta)
        total = jnp.where(density.data.present, likelihood, 0.0).sum((1, 2))
        value = jnp.where(solved.all(axis=1), total + prior + log_det, -jnp.inf)
    else:
        value = _log_densities(density, geometry, positions)
    ratio = np.asarray(value + 0.5 * jnp.sum(positions**2, axis=1))
    # Where it cannot be solved the posterior is 0, and so is the weight.
    weights, khat = weigh(np.where(np.isfinite(ratio), ratio, np.nan))
    square = float(np.sum(weights**2))
    ess = 1.0 / square if square > 0 else 0.0
    return Approximation(np.asarray(u), np.asarray(eta), weights, khat, ess)


def resampled(found: Approximation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many draws of (u, η), each as often as its weight says.

    Systematic resampling, in random order.

    Args:
        found: from `weighed`.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    rows = systematic(rng.uniform(), found.weights, len(found.weights))
    rows = rng.permutation(rows)
    return found.u[rows], found.eta[rows]


def why(found: Approximation) -> str:
    """Which rung `auto` takes, in a sentence."""
    told = f"k-hat of the Laplace approximation is {found.khat:.2f}"
    if found.serves:
        return (
            f"{told} (limit {RELIABLE_KHAT:g}) and its draws are worth {found.ess:.0f} "
            f"of the posterior (limit {LEAST_ESS:.0f}): weighted, they are the result"
        )
    if found.khat < RELIABLE_KHAT:
        return (
            f"{told}, but its draws are worth only {found.ess:.0f} of the posterior "
            f"(limit {LEAST_ESS:.0f}): sampled by NUTS"
        )
    return f"{told} (limit {RELIABLE_KHAT:g}): sampled by NUTS"
