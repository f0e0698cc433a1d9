"""The last samples of every patient hidden from a fit, and foreseen by it.

A fit that pools patients is set beside its two extremes on the same readings: everyone
is the same patient (naive pooling), and nobody says anything of another (a fit of each
alone, by the same priors).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Bool, Float
from ckin.check.replicates import Observed, predicted_samples
from ckin.check.scores import Foreseen, Score, foreseen_by_patient
from ckin.dataset import Dataset, Patient
from ckin.dataset.records import counted
from ckin.inference.by_patient import log_mean
from ckin.inference.density import Density
from ckin.inference.predict import sample_log_likelihoods
from ckin.model import log_normal, logit_normal, normal
from ckin.population import Population


# Draws of a prior by which its middle and SD are found.
PRIOR_DRAWS = 4000
# SD of what is held where it is, in SDs between patients; of ω, of its logarithm.
HELD = 0.01


def hidden_of(n: int, share: float) -> int:
    """How many of n samples are hidden: the share rounded, and one is always seen."""
    return min(round(share * n), max(n - 1, 0))


def without_last(dataset: Dataset, share: float, assays: tuple[str, ...]) -> Dataset:
    """The same patients without the last of their samples.

    Args:
        dataset: the patients.
        share: of each patient's samples of `assays`, rounded, to leave out.
        assays: names; samples of others stay.
    """
    kept = tuple(_without_last(patient, share, assays) for patient in dataset.patients)
    gone = sum(
        len(whole.samples) - len(own.samples)
        for whole, own in zip(dataset.patients, kept, strict=True)
    )
    note = f"{counted(gone, 'sample')} hidden: the last {share:.0%} of each patient's"
    return dataclasses.replace(dataset, patients=kept, notes=(*dataset.notes, note))


def _without_last(patient: Patient, share: float, assays: tuple[str, ...]) -> Patient:
    fitted = [i for i, sample in enumerate(patient.samples) if sample.assay in assays]
    n_seen = len(fitted) - hidden_of(len(fitted), share)
    gone = set(fitted[n_seen:])
    samples = tuple(s for i, s in enumerate(patient.samples) if i not in gone)
    return dataclasses.replace(patient, samples=samples)


def hidden_samples(
    seen: Observed, share: float
) -> Bool[np.ndarray, "patients samples"]:
    """Which samples of a whole cohort `without_last` leaves out."""
    hidden = np.zeros(seen.present.shape, dtype=bool)
    for row, own in enumerate(seen.present):
        columns = np.flatnonzero(own)
        hidden[row, columns[columns.size - hidden_of(columns.size, share) :]] = True
    return hidden


def pooled(population: Population) -> Population:
    """Everyone is the same patient, covariates apart: naive pooling."""
    return dataclasses.replace(
        population,
        vary=(),
        omega=(),
        omega_sd_log=(),
        blocks=(),
        eta="normal",
        iov=(),
        iov_omega=(),
        occasions=1,
    )


def alone(population: Population) -> Population:
    """Nobody says anything of another: each patient by the priors alone.

    Typical values are held at their prior medians, and patients differ around them by
    all that the priors say of a patient: by the doubt about the typical value and by ω.
    The error SD is of all, which is what patients may still say of each other.
    """
    spread = dict(zip(population.vary, population.omega, strict=True))
    priors = {name: info.prior for name, info in population.info.items()}
    values = jnp.stack(
        [
            prior.sample(jax.random.key(0), (PRIOR_DRAWS,))
            for prior in priors.values()
            if prior is not None  # `population` refuses such a parameter
        ],
        axis=1,
    )
    low, high = np.quantile(population.to_phi(values), (0.16, 0.84), axis=0)
    between = [spread.get(name, 0.0) for name in population.estimate]
    omega = np.hypot(0.5 * (high - low), between).tolist()
    middle = np.median(values, axis=0).tolist()
    held = {
        name: {"log": log_normal, "logit": logit_normal}.get(info.scale, normal)(
            median, HELD * own
        )
        for (name, info), median, own in zip(
            population.info.items(), middle, omega, strict=True
        )
    }
    return dataclasses.replace(
        pooled(population),
        vary=population.estimate,
        omega=tuple(omega),
        omega_sd_log=(HELD,) * len(omega),
        covariates=(),
        screen=False,
        priors=held,
    )


def hidden_foreseen(
    density: Density,
    seen: Observed,
    hidden: Bool[np.ndarray, "patients samples"],
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
    key: Array,
) -> Foreseen:
    """What a fit that has not seen them foresees of hidden samples.

    Args:
        density: of the whole cohort, the hidden samples too.
        seen: its readings.
        hidden: which were hidden.
        u: draws of the fit without them.
        eta: of its patients.
        key: of the random numbers.

    Returns:
        As of `future_left_out`; no weights are needed, so their k-hat is -inf.
    """
    draws = jnp.asarray(u), jnp.asarray(eta)
    likely = np.asarray(sample_log_likelihoods(density, *draws)[0])
    _, noisy = predicted_samples(density, *draws, key)
    equal = np.full(len(u), 1.0 / len(u))
    together = np.where(hidden, likely, 0.0).sum(axis=2)

    def score(row: int) -> Score:
        return Score(equal, *log_mean(together[:, row], equal), -np.inf)

    early = seen.present & ~hidden
    return foreseen_by_patient(seen, early, hidden, noisy, score)
