"""New patients in the cohort's own designs: what checks by simulation compare with.

A replicate of a cohort has its doses, covariates, sampling times and limits, and other
patients: η is drawn anew, and every reading by the law of its assay.
"""

import dataclasses
from collections import Counter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, ArrayLike, Bool, Float, Int
from ckin.assay import Counts, Partitions
from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.density import Density
from ckin.population import by_sample, completed, draws_together, log_readings
from ckin.population.model import of_its_assay


@dataclasses.dataclass(frozen=True)
class Observed:
    """What was read, as arrays (patients, samples) with padding at the end of rows.

    Attributes:
        ids: of the patients.
        assays: names, in the order that `which` counts.
        time_d: days from the first infusion.
        log_value: natural log of the reading; of the limit where `below`.
        below: below its detection limit.
        present: False where the entry is padding.
        which: assay of each sample.
        log_limit: natural log of each sample's limit; -inf where there is none.
        natural: the assay's error is one of the reading and not of its logarithm.
        notes: what was assumed of limits, a sentence each.
    """

    ids: tuple[str, ...]
    assays: tuple[str, ...]
    time_d: Float[np.ndarray, "patients samples"]
    log_value: Float[np.ndarray, "patients samples"]
    below: Bool[np.ndarray, "patients samples"]
    present: Bool[np.ndarray, "patients samples"]
    which: Int[np.ndarray, "patients samples"]
    log_limit: Float[np.ndarray, "patients samples"]
    natural: Bool[np.ndarray, " assays"]
    notes: tuple[str, ...] = ()


def observed(density: Density, dataset: Dataset) -> Observed:
    """The readings of a fit with the limit of every sample, quantified ones too.

    A quantified sample whose limit the data do not tell has that of most samples of its
    assay, or its own reading if that is lower; where something is counted, one count.

    Args:
        density: what was fitted.
        dataset: the same patients, in the fit's order.

    Raises:
        InputError: wells were fitted; a well has no limit of its own to simulate.
    """
    data, assays = density.data, density.population.assays
    if data.standards is not None:
        raise InputError(
            "checks by simulation take readings, not the wells of plates: fit the file "
            "that `ckin ct` writes"
        )
    names = [assay.name for assay in assays]
    told = np.full(data.time_d.shape, np.nan)
    for row, patient in enumerate(dataset.patients):
        own = [s.limit for s in patient.samples if s.assay in names]
        told[row, : len(own)] = [np.nan if x is None else x for x in own]
    which, present = np.asarray(data.which), np.asarray(data.present)
    log_value, below = np.asarray(data.log_value), np.asarray(data.below)
    limit, notes = np.log(np.maximum(told, 1e-300)), []
    for place, assay in enumerate(assays):
        unknown = present & (which == place) & ~np.isfinite(told)
        known = told[present & (which == place) & np.isfinite(told)]
        if not unknown.any():
            continue
        if isinstance(assay.error, Counts | Partitions):
            limit[unknown] = -np.log(np.asarray(data.sampled.examined))[unknown]
        elif known.size:
            usual = Counter(known.tolist()).most_common(1)[0][0]
            limit[unknown] = np.minimum(np.log(usual), log_value[unknown])
            notes.append(
                f"{assay.name}: {int(unknown.sum())} quantified samples have no limit "
                f"in the data; taken as {usual:g}, the most common one"
            )
    return Observed(
        ids=data.ids,
        assays=tuple(names),
        time_d=np.asarray(data.time_d),
        log_value=log_value,
        below=below & present,
        present=present,
        which=which,
        log_limit=np.where(np.isfinite(limit), limit, -np.inf),
        natural=np.array([assay.error.takes_zero for assay in assays]),
        notes=tuple(notes),
    )


def replicate(
    density: Density, u: Float[ArrayLike, "draws hyper"], key: Array
) -> Float[np.ndarray, "draws patients samples"]:
    """One replicate of the cohort for each draw of the population parameters.

    Returns:
        Natural log of readings with error, before any limit; NaN where a new patient
        could not be solved.
    """
    u = jnp.asarray(u)
    return np.asarray(_replicate(density, u, jax.random.split(key, len(u))))


@eqx.filter_jit
def _replicate(density: Density, u: Array, keys: Array) -> Array:
    def one(draw):
        u, key = draw
        key_eta, key_error = jax.random.split(key)
        eta = jax.random.normal(key_eta, density.eta_shape)
        return _with_error(density, u, eta, key_error)

    return lax.map(one, (u, keys))


def _with_error(density: Density, u: Array, eta: Array, key: Array) -> Array:
    population, sigma = density.population, density.hyper(u).sigma
    phi = density.patient_phi(u, eta)
    prediction, solved = log_readings(population, phi, density.data, density.solver)
    data = completed(population, density.data, phi, sigma)
    spread = jnp.broadcast_to(by_sample(sigma, data.which), prediction.shape)
    each = [
        assay.draw(own, prediction, spread, data.sampled)
        for own, assay in zip(
            jax.random.split(key, len(population.assays)),
            population.assays,
            strict=True,
        )
    ]
    return jnp.where(solved[:, None], of_its_assay(each, data.which), jnp.nan)


@eqx.filter_jit
def _predicted(density: Density, u: Array, eta: Array, keys: Array):
    def one(draw):
        u, eta, key = draw
        phi = density.patient_phi(u, eta)
        data, population = density.data, density.population
        reading, solved = log_readings(population, phi, data, density.solver)
        reading = jnp.where(solved[:, None], reading, jnp.nan)
        return reading, _with_error(density, u, eta, key)

    side_by_side = draws_together(len(u), density.data.n_patients)
    return lax.map(one, (u, eta, keys), batch_size=side_by_side)


def predicted_samples(
    density: Density,
    u: Float[ArrayLike, "draws hyper"],
    eta: Float[ArrayLike, "draws patients varying"],
    key: Array,
) -> tuple[
    Float[np.ndarray, "draws patients samples"],
    Float[np.ndarray, "draws patients samples"],
]:
    """Of the same patients every sample again: natural log without and with error."""
    u, eta = jnp.asarray(u), jnp.asarray(eta)
    keys = jax.random.split(key, len(u))
    clean, noisy = _predicted(density, u, eta, keys)
    return np.asarray(clean), np.asarray(noisy)


def typical_prediction(
    density: Density, u: Float[ArrayLike, " hyper"]
) -> Float[np.ndarray, "patients samples"]:
    """Natural log of what a patient without variation of its own reads (PRED)."""
    eta = jnp.zeros(density.eta_shape)
    return np.asarray(
        _predicted(
            density,
            jnp.asarray(u)[None],
            eta[None],
            jax.random.split(jax.random.key(0), 1),
        )[0][0]
    )
