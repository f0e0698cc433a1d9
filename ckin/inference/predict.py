"""Posterior curves: each patient's, and the population's."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, ArrayLike, Float
from ckin.assay import Sampled
from ckin.inference.density import Density
from ckin.population import (
    Packed,
    Population,
    additive_parts,
    by_sample,
    completed,
    log_readings,
    reading_log_likelihoods,
)
from ckin.solve import Solver, make_grids, paces_of


# Draws behind a band: its 5% and 95% edges are then good to a few percent of its width.
BAND_DRAWS = 100
BAND_PROBABILITIES = (0.05, 0.5, 0.95)


@eqx.filter_jit
def _log_readings(
    population: Population, data: Packed, phi: Array, solver: Solver | None
):
    """Log readings of every patient at `data`'s times, one draw after another."""

    def one_draw(phi):
        log_reading, solved = log_readings(population, phi, data, solver)
        return jnp.where(solved[:, None], log_reading, jnp.nan)

    return lax.map(one_draw, phi)


def _read_at(
    population: Population,
    data: Packed,
    time_d: Float[Array, "patients times"],
    assay: int = 0,
) -> Packed:
    """The same patients read by one assay at other times, whatever was read of them.

    Steps are as long as those of the grid that they were fitted on.
    """
    before = jnp.zeros(time_d.shape, bool)
    paces = paces_of(data.grid) if population.on_grid else None
    grid = make_grids(population.model, data.events, time_d, before, paces)
    which = jnp.full(time_d.shape, assay)
    return eqx.tree_at(
        lambda d: (d.time_d, d.after, d.grid, d.which),
        data,
        (time_d, before, grid, which),
    )


def _usual(data: Packed, assay: int) -> Sampled:
    """What a further sample of an assay would be: the median of those there are.

    It has no wells yet.
    """
    mine = np.asarray(data.present) & (np.asarray(data.which) == assay)
    middle = lambda each: jnp.median(jnp.asarray(each)[mine])
    return Sampled(middle(data.sampled.examined), middle(data.sampled.partitions))


def readings(
    population: Population,
    data: Packed,
    phi: ArrayLike,
    time_d: Float[np.ndarray, "patients times"],
    assay: int = 0,
) -> Float[np.ndarray, "draws patients times"]:
    """Error-free readings of the patients of a data set, at times of their own.

    Args:
        population: what was fitted.
        data: its patients; what was read of them is not looked at.
        phi: draws of their parameters, (draws, patients, estimated).
        time_d: days, not decreasing; a reading at the time of an event precedes it.
        assay: which of the population's assays reads.

    Returns:
        Readings in the unit of the assay; NaN where a patient could not be solved.
    """
    there = _read_at(population, data, jnp.asarray(time_d), assay)
    return np.exp(_log_readings(population, there, jnp.asarray(phi), None))


def _log_curves(
    density: Density, u: ArrayLike, eta: ArrayLike, time_d: np.ndarray, assay: int
):
    """Log readings at common times: the patients of the fit, sampled at those."""
    data, population = density.data, density.population
    times = jnp.broadcast_to(jnp.asarray(time_d), (data.n_patients, len(time_d)))
    phi = jax.vmap(density.patient_phi)(jnp.asarray(u), jnp.asarray(eta))
    there = _read_at(population, data, times, assay)
    return _log_readings(population, there, phi, density.solver)


def individual_curves(
    density: Density,
    u: ArrayLike,
    eta: ArrayLike,
    time_d: Float[np.ndarray, " times"],
    assay: int = 0,
) -> Float[np.ndarray, "patients times probabilities"]:
    """Error-free readings of each patient: quantiles over draws, on the assay's scale.

    Args:
        density: the posterior.
        u: population draws, (draws, hyper).
        eta: (draws, patients, varying).
        time_d: days, not decreasing.
        assay: which of the population's assays reads.
    """
    curves = _log_curves(density, u, eta, time_d, assay)
    return _quantiles(np.asarray(curves), axis=0)


def population_curve(
    density: Density,
    u: ArrayLike,
    key: Array,
    time_d: Float[np.ndarray, " times"],
    assay: int = 0,
) -> Float[np.ndarray, "times probabilities"]:
    """Readings of new patients with error: quantiles over draws and patients.

    New patients take the doses and covariates of the patients in the data, and a
    random variation of their own: what a further patient's sample may read.
    """
    u = jnp.asarray(u)
    eta_key, noise_key = jax.random.split(key)
    eta = jax.random.normal(eta_key, (u.shape[0], *density.eta_shape))
    curves = _log_curves(density, u, eta, time_d, assay)
    population = density.population
    sigma = jax.vmap(lambda u: density.hyper(u).sigma)(u)[:, None, None]
    usual = eqx.tree_at(
        lambda s: s.additive,
        _usual(density.data, assay),
        additive_parts(population, sigma)[..., assay],
        is_leaf=lambda x: x is None,
    )
    noisy = population.assays[assay].draw(noise_key, curves, sigma[..., assay], usual)
    return _quantiles(np.asarray(noisy).reshape(-1, len(time_d)), axis=0)


def _quantiles(log_curves: np.ndarray, axis: int) -> np.ndarray:
    """Quantiles over `axis`, moved last; unsolved draws (NaN) are left out."""
    quantiles = np.nanquantile(log_curves, BAND_PROBABILITIES, axis=axis)
    return np.exp(np.moveaxis(quantiles, 0, -1))


@eqx.filter_jit
def sample_log_likelihoods(
    density: Density, u: Array, eta: Array
) -> tuple[Float[Array, "draws patients samples"], Array]:
    """Log likelihood of every sample (0 where padded), and who was solved."""

    def one_draw(draw):
        u, eta = draw
        hyper, phi = density.hyper(u), density.patient_phi(u, eta)
        data = completed(density.population, density.data, phi, hyper.sigma)
        prediction, solved = log_readings(density.population, phi, data, density.solver)
        sigma = by_sample(hyper.sigma, data.which)
        each = reading_log_likelihoods(density.population, prediction, data, sigma)
        each = jnp.where(solved[:, None] | ~data.present, each, -jnp.inf)
        return each, solved

    return lax.map(one_draw, (u, eta))
