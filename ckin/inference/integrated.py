"""Patients given the population, by importance sampling: η drawn, weighed, integrated.

The normal approximation of a patient's η given the population (`laplace.conditional`)
is drawn from, a little wider, and every draw is weighed by the exact density over that
of the draw. Weights average to the patient's likelihood with η integrated out,

    p(y_i | u) = ∫ p(y_i | u, η) p(η) dη ,

whatever the approximation missed, and resampled by them the draws are the patient's
own. Whoever asks about a patient asks here: leaving patients out (`ckin.check.scores`),
a new patient with few samples (`ckin.forecast`), a day-8 dose (`ckin.schedule`).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, Float, Int
from ckin.inference.density import Density, Hyper
from ckin.inference.individual import (
    Quadratics,
    best_candidates,
    log_posteriors,
    patient_maps,
)
from ckin.inference.laplace import conditional, quadratics_about, solve_upper
from ckin.population.hyper import patient_phi


# Wider than the normal approximation, so that its tails do not run short.
WIDER = 1.3
# Expansions: each as wide as the patients' conditionals of the one before.
ROUNDS = 2


class Weighted(NamedTuple):
    """Draws of η, and what they are worth.

    Attributes:
        eta: (draws of the population, draws of each, patients, varying).
        log_weight: log of p(y, η | u) / q(η), (draws, draws of each, patients); -inf
            where a patient could not be solved.
    """

    eta: Float[Array, "draws each patients varying"]
    log_weight: Float[Array, "draws each patients"]

    @property
    def log_marginal(self) -> Float[Array, "draws patients"]:
        """Log likelihood of each patient, η integrated out."""
        total = jax.scipy.special.logsumexp(self.log_weight, axis=1)
        return total - np.log(self.log_weight.shape[1])

    @property
    def ess(self) -> Float[Array, "draws patients"]:
        """How many independent draws of η those of each population draw are worth."""
        share = jax.nn.softmax(self.log_weight, axis=1)
        return 1.0 / jnp.sum(share**2, axis=1)


def found_modes(density: Density, hyper: Hyper, key: Array) -> Array:
    """Mode of η of every patient, from nothing: (patients, varying)."""
    return patient_maps(density, hyper, best_candidates(density, hyper, key)).eta


def expanded_about(
    density: Density, hyper: Hyper, eta: Float[Array, "patients varying"]
) -> Quadratics:
    """Quadratics of patients, moved to where their conditionals lie.

    Args:
        density: of the patients.
        hyper: population parameters.
        eta: where to start, best their modes.
    """
    population = density.population
    given = quads = None
    for _ in range(ROUNDS):
        phi = patient_phi(population, hyper.centre, hyper.spread, eta)
        quads = quadratics_about(density, hyper, phi, eta, given)
        given = conditional(hyper, quads, population.vary_index)
        eta = given.mean.T
    assert quads is not None  # there is a round
    return quads


@eqx.filter_jit
def weighted_draws(
    density: Density, hypers: Hyper, quads: Quadratics, key: Array, each: int
) -> Weighted:
    """Draws of every patient's η under each draw of the population.

    Args:
        density: of the patients.
        hypers: draws of the population parameters, a leading axis.
        quads: of the patients, anywhere near (`expanded_about`).
        key: of the random numbers.
        each: draws of η for each of the population.
    """
    index = density.population.vary_index
    n, size = density.eta_shape

    def under(draw):
        hyper, key = draw
        given = conditional(hyper, quads, index)
        log_det = jnp.sum(jnp.log(jnp.einsum("iin->in", given.factor)), axis=0)
        z = WIDER * jax.random.normal(key, (each, size, n))

        def one(z):
            # Precision L Lᵀ: L⁻ᵀ z has its covariance.
            eta = (given.mean + solve_upper(given.factor, z)).T
            drawn = log_det - 0.5 * jnp.sum((z / WIDER) ** 2, axis=0)
            drawn = drawn - size * np.log(WIDER)
            weight = log_posteriors(density, hyper, eta) - drawn
            return eta, jnp.where(jnp.isnan(weight), -jnp.inf, weight)

        return jax.vmap(one)(z)

    draws = hypers.sigma.shape[0]
    return Weighted(*lax.map(under, (hypers, jax.random.split(key, draws))))


def systematic(
    offset: float, weight: Float[np.ndarray, " draws"], n: int
) -> Int[np.ndarray, " n"]:
    """Places of `n` draws in proportion to their weights (systematic resampling).

    Args:
        offset: uniform between 0 and 1.
        weight: not negative, of any sum.
        n: draws to take.
    """
    ends = np.cumsum(weight)
    at = (np.arange(n) + offset) / n
    rows = np.searchsorted(ends / ends[-1], at, side="right")
    return np.minimum(rows, weight.size - 1)
