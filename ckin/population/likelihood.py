"""The log likelihood of each patient: the one that every engine takes."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array, Float
from ckin.population.groups import in_groups
from ckin.population.model import (
    by_sample,
    completed,
    log_readings,
    reading_log_likelihoods,
    walked_back,
)
from ckin.population.pack import Packed
from ckin.population.specification import Population
from ckin.solve import Solver


def patient_log_likelihoods(
    population: Population,
    data: Packed,
    phi: Float[Array, "patients phi"],
    sigma: Float[Array, "*#patients errors"],
    solver: Solver | None = None,
) -> Float[Array, " patients"]:
    """Log likelihood of each patient; -inf with zero gradient if it is not solved.

    Args:
        population: what is estimated, and the assays.
        data: the cohort.
        phi: of every patient.
        sigma: as `Hyper.sigma`, for all or of each patient.
        solver: how to integrate.
    """
    solver = Solver() if solver is None else solver
    grouped = 0 < data.together < data.n_patients
    apart = not population.on_grid or walked_back(population, solver)
    if not (grouped and apart) or data.standards is not None:
        return _each(population, data, phi, sigma, solver)
    sigma = jnp.broadcast_to(sigma, (data.n_patients, sigma.shape[-1]))
    return _by_groups((phi, sigma), (population, data, solver))


def _each(population, data, phi, sigma, solver):
    data = completed(population, data, phi, sigma)
    prediction, solved = log_readings(population, phi, data, solver)
    each = reading_log_likelihoods(
        population, prediction, data, by_sample(sigma, data.which)
    )
    total = jnp.sum(each, axis=1)
    return jnp.where(solved, total, -jnp.inf)


# Patients do not depend on each other, so the slopes of all are had from one pull, and
# in the same visit to a group as its value: a walk is pulled back while it is at hand,
# and nothing of it is kept but the slopes.
@eqx.filter_custom_vjp
def _by_groups(varying, whole):
    return _visited(varying, whole, lambda each, varying: each(varying))


@_by_groups.def_fwd
def _(perturbed, varying, whole):
    del perturbed

    def with_slopes(each, varying):
        value, pull = jax.vjp(each, varying)
        (slopes,) = pull(jnp.ones_like(value))
        return value, slopes

    return _visited(varying, whole, with_slopes)


@_by_groups.def_bwd
def _(slopes, bar, perturbed, varying, whole):
    del perturbed, varying, whole
    return jax.tree.map(lambda slope: bar[:, None] * slope, slopes)


def _visited(varying, whole, visit):
    """`visit` a group after another, with its likelihood and what varies of it."""
    population, data, solver = whole

    def group(rows, until):
        varying, data = rows
        grid = dataclasses.replace(data.grid, until=until)
        data = dataclasses.replace(data, grid=grid, together=0)
        return visit(
            lambda own: _each(population, data, own[0], own[1], solver), varying
        )

    return in_groups(group, data.together, data.grid.read_at, (varying, data))
