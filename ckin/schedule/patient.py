"""One patient with early samples: who it may be, to decide what comes next.

Population parameters are held (those of a fit, or the medians of the prior). The
patient's own are drawn from the normal approximation of its posterior and weighted by
the posterior itself (`ckin.inference.integrated`), so that what is drawn anew from them
follows the posterior as far as the approximation reaches it; how many draws they are
worth is told (`ess`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.density import Hyper, make_density
from ckin.inference.integrated import (
    expanded_about,
    found_modes,
    systematic,
    weighted_draws,
)
from ckin.population import Population, pack
from ckin.population.hyper import patient_phi
from ckin.schedule.people import people_of
from ckin.solve import Patientlike


# Normal draws that are weighted; a few times what is asked for.
CANDIDATES_PER_DRAW = 8


@dataclasses.dataclass(frozen=True)
class PatientDraws:
    """Who a patient may be, given its samples.

    Attributes:
        people: models, a leading axis of draws.
        phi: their transformed parameters, (draws, estimated).
        mode: those of the most probable one.
        ess: how many independent draws the weighted ones are worth.
    """

    people: Patientlike
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
    mode = found_modes(density, hyper, key_start)
    quads = expanded_about(density, hyper, mode)
    one = jax.tree.map(lambda x: x[None], hyper)
    drawn = weighted_draws(density, one, quads, key_draw, CANDIDATES_PER_DRAW * n)
    eta, log_weight = drawn.eta[0, :, 0], drawn.log_weight[0, :, 0]
    if not bool(jnp.any(jnp.isfinite(log_weight))):
        raise InputError(f"{dataset.path}: the patient could not be solved by any draw")
    weight = jax.nn.softmax(log_weight)
    offset = float(jax.random.uniform(key_pick))
    picked = systematic(offset, np.asarray(weight), n)
    phi = _phi(population, hyper, eta[picked])
    return PatientDraws(
        people_of(population, phi, {k: v[0] for k, v in density.data.known.items()}),
        phi,
        _phi(population, hyper, mode)[0],
        float(1.0 / jnp.sum(weight**2)),
    )


def _phi(population: Population, hyper: Hyper, eta: Array) -> Array:
    centre = jnp.broadcast_to(hyper.centre[:1], (len(eta), hyper.centre.shape[1]))
    return patient_phi(population, centre, hyper.spread, eta)
