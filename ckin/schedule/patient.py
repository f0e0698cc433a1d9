"""One patient with early samples: who it may be, to decide what comes next.

Population parameters are held (those of a fit, or the medians of the prior). The
patient's own are drawn from the normal approximation of its posterior
(`ckin.inference.laplace.conditional`) and weighted by the posterior itself, so that
what is drawn anew from them follows the posterior as far as the approximation reaches
it; how many draws they are worth is told (`ess`).
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, Float
from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.density import Density, Hyper, make_density
from ckin.inference.individual import (
    SHARED_WIDTH,
    best_candidates,
    patient_log_likelihoods,
    patient_maps,
    quadratics,
)
from ckin.inference.laplace import conditional
from ckin.model import AbstractModel
from ckin.population import Population, pack
from ckin.population.model import patient_phi
from ckin.schedule.people import people_of


# Normal draws that are weighted; a few times what is asked for.
CANDIDATES_PER_DRAW = 8
# Wider than the normal approximation, so that its tails do not run short.
WIDER = 1.3
# Expansions: each as wide as the patient's conditional of the one before.
ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class PatientDraws:
    """Who a patient may be, given its samples.

    Attributes:
        people: models, a leading axis of draws.
        phi: their transformed parameters, (draws, estimated).
        mode: those of the most probable one.
        ess: how many independent draws the weighted ones are worth.
    """

    people: AbstractModel
    phi: Float[Array, "draws estimated"]
    mode: Float[Array, " estimated"]
    ess: float


def patient_draws(
    key: Array,
    population: Population,
    dataset: Dataset,
    n: int,
    *,
    hyper: Hyper | None = None,
) -> PatientDraws:
    """Draws of one patient's posterior, population parameters held.

    Args:
        key: of the random numbers.
        population: what varies between patients.
        dataset: of one patient; its samples so far (`Dataset.between_days`).
        n: draws.
        hyper: population parameters; those of the prior's medians when `None`.

    Raises:
        InputError: not one patient, or one who cannot be solved.
    """
    if len(dataset.patients) != 1:
        raise InputError(
            f"{dataset.path} has {len(dataset.patients)} patients, not one"
        )
    density = make_density(population, pack(dataset, population))
    hyper = density.hyper(density.start) if hyper is None else hyper
    key_start, key_draw, key_pick = jax.random.split(key, 3)
    maps = patient_maps(density, hyper, best_candidates(density, hyper, key_start))
    mean, factor = _conditional(density, hyper, maps.eta)
    z = WIDER * jax.random.normal(
        key_draw, (CANDIDATES_PER_DRAW * n, len(population.vary))
    )
    # Precision L Lᵀ: L⁻ᵀ z has its covariance.
    eta = mean + jax.scipy.linalg.solve_triangular(factor.T, z.T, lower=False).T
    log_weight = _log_posterior(density, hyper, eta) + 0.5 * jnp.sum(
        (z / WIDER) ** 2, axis=1
    )
    if not bool(jnp.any(jnp.isfinite(log_weight))):
        raise InputError(f"{dataset.path}: the patient could not be solved by any draw")
    weight = jax.nn.softmax(log_weight)
    picked = _systematic(key_pick, np.asarray(weight), n)
    phi = _phi(population, hyper, eta[picked])
    return PatientDraws(
        people_of(population, phi, {k: v[0] for k, v in density.data.known.items()}),
        phi,
        _phi(population, hyper, maps.eta)[0],
        float(1.0 / jnp.sum(weight**2)),
    )


def _phi(population: Population, hyper: Hyper, eta: Array) -> Array:
    centre = jnp.broadcast_to(hyper.centre[:1], (len(eta), hyper.centre.shape[1]))
    return patient_phi(population, centre, hyper.omega, eta)


def _conditional(density: Density, hyper: Hyper, eta: Array) -> tuple[Array, Array]:
    """Mean of η and the lower factor of its precision, expanded about where it lies."""
    population = density.population
    index = np.array(population.vary_index, dtype=int)
    log_sigma = jnp.log(hyper.sigma)[None]
    inner = 0.5 * np.eye(index.size)
    given = None
    for _ in range(ROUNDS):
        widths = SHARED_WIDTH * np.eye(hyper.centre.shape[1])
        widths[index[:, None], index] = np.asarray(hyper.omega)[:, None] * inner
        phi = _phi(population, hyper, eta)
        quads = quadratics(density, phi, log_sigma, jnp.asarray(widths)[None])
        given = conditional(hyper, quads, population.vary_index)
        inner = np.linalg.inv(np.asarray(given.factor[..., 0])).T
    assert given is not None  # there is a round
    return given.mean[:, 0], given.factor[..., 0]


@eqx.filter_jit
def _log_posterior(density: Density, hyper: Hyper, eta: Array) -> Array:
    """Of each draw of the one patient, up to a constant; -inf if it is not solved."""

    def one(own: Array) -> Array:
        phi = _phi(density.population, hyper, own[None])
        fit = patient_log_likelihoods(density, phi, hyper.sigma)[0]
        return fit - 0.5 * jnp.sum(own**2)

    return lax.map(one, eta, batch_size=64)


def _systematic(key: Array, weight: np.ndarray, n: int) -> np.ndarray:
    """Places of `n` draws in proportion to their weights (systematic resampling)."""
    at = (float(jax.random.uniform(key)) + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), at), weight.size - 1)
