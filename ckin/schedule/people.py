"""Patients over whom a schedule's utility is averaged: draws of a prior, or of a fit.

Each is a model of its own; a batch of them is one model whose parameters have a leading
axis. The same draws serve every schedule (common random numbers).
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array, Float
from ckin.population import Population
from ckin.population.hyper import patient_phi
from ckin.solve import Patientlike


def prior_people(key: Array, population: Population, n: int) -> Patientlike:
    """Patients of the prior: a typical value of its prior, and a patient around it.

    Both uncertainties are in every draw: what is not known of the parameters, and how
    patients differ (ω at its prior median).

    Args:
        key: of the draws; a patient depends on it and on their place.
        population: what is uncertain, and what varies.
        n: patients.
    """
    typical = []
    for index, info in enumerate(population.info.values()):
        assert info.prior is not None  # `population` refuses such a parameter
        draw = info.prior.sample(jax.random.fold_in(key, index), (n,))
        typical.append(jnp.asarray(draw))
    centre = population.to_phi(jnp.stack(typical, axis=-1))
    eta = jax.random.normal(
        jax.random.fold_in(key, len(typical)), (n, len(population.vary))
    )
    omega = jnp.array(population.omega, float)
    return people_of(population, patient_phi(population, centre, omega, eta))


def people_of(
    population: Population,
    phi: Float[Array, "people estimated"],
    known: Mapping[str, Array] | None = None,
) -> Patientlike:
    """Patients by their transformed parameters, such as draws of a posterior.

    Args:
        population: what the parameters are.
        phi: of each patient.
        known: parameters that data gave (weight), the same for all.
    """
    one = lambda own: population.patient_model(own, known or {})
    batch = eqx.filter_vmap(one)(phi)
    n = phi.shape[0]
    # What no draw changes has a leading axis too, so that it is one model.
    widen = lambda new, old: (
        jnp.broadcast_to(new, (n, *old.shape)) if eqx.is_array(old) else new
    )
    like = one(phi[0])
    return jax.tree.map(
        lambda new, old: (
            new
            if eqx.is_array(new) and new.shape == (n, *jnp.shape(old))
            else widen(new, old)
        ),
        batch,
        like,
    )
