"""Log scores: of readings, of patients, and of what comes after a day, left out.

A score of a reading given its patient's others says how well curves are followed. A
score of a patient, η integrated out, says how well the next patient is foreseen, and
one of a patient's later readings given its early ones how good a forecast is. All are
taken from the draws of one fit, by importance weights that take the data left out away
again (Vehtari, Gelman and Gabry 2017, doi:10.1007/s11222-016-9696-4), and each has the
Pareto k-hat of its weights. Patients over 0.7 are left out in earnest
(`ckin.inference.by_patient`).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin._types import Array, ArrayLike, Bool, Float
from ckin.check.replicates import Observed, predicted_samples
from ckin.inference.by_patient import LeftOut, leave_patients_out, log_mean
from ckin.inference.convergence import KHAT_LIMIT
from ckin.inference.density import Density
from ckin.inference.individual import PatientMaps, Quadratics
from ckin.inference.integrated import (
    Weighted,
    expanded_about,
    found_modes,
    weighted_draws,
)
from ckin.inference.laplace import PopulationLaplace
from ckin.inference.predict import sample_log_likelihoods
from ckin.inference.referee import weigh


# Draws of η for each draw of the population.
EACH = 32


@dataclasses.dataclass(frozen=True)
class Scores(LeftOut):
    """Scores with the k-hat of each.

    Attributes:
        khat: Pareto k-hat of the weights by which it was left out; over 0.7 its score
            is not to be trusted, or was made in another way.
        anew: those that were left out in earnest.
    """

    khat: np.ndarray
    anew: np.ndarray

    def table(self, names: tuple[str, ...] = ("ID",)) -> pd.DataFrame:
        """One row each: what was left out, elpd, mc_error, khat, anew."""
        labels = [label.split("\t") for label in self.ids]
        return pd.DataFrame(
            {
                **{n: [own[i] for own in labels] for i, n in enumerate(names)},
                "elpd": self.elpd_i,
                "mc_error": self.mc_error,
                "khat": self.khat,
                "anew": self.anew,
            }
        )


def quadratics_of(
    density: Density,
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
) -> Quadratics:
    """Quadratics of the patients about the mean of their draws."""
    hyper = density.hyper(jnp.asarray(u.mean(axis=0)))
    return expanded_about(density, hyper, jnp.asarray(eta.mean(axis=0)))


def marginals(
    density: Density,
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
    key: Array,
    each: int = EACH,
) -> Weighted:
    """Every patient under every draw of the population, η integrated out.

    Args:
        density: what was fitted, or the same with fewer samples `present`.
        u: draws of the population parameters.
        eta: of the patients: where to look first.
        key: of the random numbers.
        each: draws of η for each of the population.
    """
    quads = quadratics_of(density, u, eta)
    return weighted_draws(density, _hypers(density, u), quads, key, each)


def _hypers(density: Density, u: np.ndarray):
    return jax.vmap(density.hyper)(jnp.asarray(u))


def _left_out(log_likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, its Monte Carlo error and k-hat of each column of (draws, left out)."""
    found = []
    for own in log_likelihood.T:
        weights, khat = weigh(-own)
        found.append((*log_mean(own, weights), khat))
    elpd, error, khat = np.array(found).T.copy()
    return elpd, error, khat


def patients_left_out(
    density: Density,
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
    key: Array,
    each: int = EACH,
) -> Scores:
    """Leave-one-patient-out, η integrated out.

    A patient whose weights have a k-hat over 0.7 is left out in earnest: a chain over
    the population parameters that has not seen it, patients by their quadratics.

    Args:
        density: what was fitted.
        u: draws of its posterior.
        eta: of its patients.
        key: of the random numbers.
        each: draws of η for each of the population.
    """
    key_eta, key_chain = jax.random.split(key)
    quads = quadratics_of(density, u, eta)
    drawn = weighted_draws(density, _hypers(density, u), quads, key_eta, each)
    elpd, error, khat = _left_out(np.asarray(drawn.log_marginal))
    far = ~(khat <= KHAT_LIMIT)
    if far.any():
        covariance = np.atleast_2d(np.cov(u, rowvar=False))
        none = jnp.zeros(density.data.n_patients)
        shape = PopulationLaplace(
            jnp.asarray(u.mean(axis=0)),
            jnp.asarray(np.linalg.cholesky(covariance)),
            quads,
            PatientMaps(jnp.asarray(eta.mean(axis=0)), none, none),
            0,
            True,
        )
        whom = np.flatnonzero(far)
        anew = leave_patients_out(density, shape, key_chain, chosen=whom.tolist())
        elpd[whom], error[whom] = anew.elpd_i, anew.mc_error
    return Scores(density.data.ids, elpd, error, khat, far)


def readings_left_out(
    density: Density,
    seen: Observed,
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
) -> Scores:
    """Leave-one-reading-out: each given the patient's others. Ids are ID, day, assay.

    A reading may hold most of what is known of its patient: many have a k-hat over 0.7.

    Args:
        density: what was fitted.
        seen: its readings.
        u: draws of its posterior.
        eta: of its patients.
    """
    likely, _ = sample_log_likelihoods(density, jnp.asarray(u), jnp.asarray(eta))
    rows, columns = np.nonzero(seen.present)
    labels = tuple(
        f"{seen.ids[i]}\t{seen.time_d[i, j]:g}\t{seen.assays[seen.which[i, j]]}"
        for i, j in zip(rows, columns, strict=True)
    )
    elpd, error, khat = _left_out(np.asarray(likely)[:, rows, columns])
    return Scores(labels, elpd, error, khat, np.zeros(len(labels), bool))


@dataclasses.dataclass(frozen=True)
class Foreseen:
    """What was foreseen of patients' later readings from their early ones.

    Attributes:
        patients: one row a patient: ID, early and late (readings), elpd of the late
            ones together and its mc_error, inside (late ones in their 90% interval),
            khat.
        readings: one row a late reading: ID, TIME, DVID, observed, below, q05, q50,
            q95 (of a reading with error), inside. One below its limit is inside if
            the lower edge is below it too.
    """

    patients: pd.DataFrame
    readings: pd.DataFrame

    @property
    def coverage(self) -> float:
        """Share of late readings inside their 90% interval."""
        return float(self.readings["inside"].to_numpy().mean())

    @property
    def scores(self) -> Scores:
        """Of the patients who have late readings."""
        own = self.patients
        return Scores(
            tuple(own["ID"]),
            own["elpd"].to_numpy(),
            own["mc_error"].to_numpy(),
            own["khat"].to_numpy(),
            np.zeros(len(own), dtype=bool),
        )


def _seeing(density: Density, which: Bool[np.ndarray, "patients samples"]) -> Density:
    """The density with these samples alone."""
    return eqx.tree_at(lambda d: d.data.present, density, jnp.asarray(which))


def future_left_out(
    density: Density,
    seen: Observed,
    u: Float[np.ndarray, "draws hyper"],
    eta: Float[np.ndarray, "draws patients varying"],
    key: Array,
    *,
    day_d: float,
    until_d: float = np.inf,
    each: int = EACH,
) -> Foreseen:
    """What each patient's early readings and everyone else foresee of the later ones.

    Args:
        density: what was fitted, with all readings.
        seen: its readings.
        u: draws of its posterior.
        eta: of its patients.
        key: of the random numbers.
        day_d: the last day that is known of the patient.
        until_d: the last day to foresee.
        each: draws of η for each of the population.
    """
    keys = jax.random.split(key, 5)
    early = seen.present & (seen.time_d <= day_d)
    upto = seen.present & (seen.time_d <= until_d)
    late = upto & ~early
    few = _seeing(density, early)
    # Where an early patient lies is not where all its data put it.
    key_mode, key_early = jax.random.split(keys[0])
    middle = density.hyper(jnp.asarray(u.mean(axis=0)))
    quads = expanded_about(few, middle, found_modes(few, middle, key_mode))
    given = weighted_draws(few, _hypers(density, u), quads, key_early, each)
    log_early = np.asarray(given.log_marginal)
    log_upto = np.asarray(
        marginals(_seeing(density, upto), u, eta, keys[1], each).log_marginal
    )
    log_all = log_upto
    if (upto != seen.present).any():
        log_all = np.asarray(marginals(density, u, eta, keys[2], each).log_marginal)
    picked = jax.random.categorical(keys[3], given.log_weight, axis=1)
    own_eta = np.take_along_axis(
        np.asarray(given.eta), np.asarray(picked)[:, None, :, None], axis=1
    )[:, 0]
    _, noisy = predicted_samples(density, u, own_eta, keys[4])

    def score(row: int) -> Score:
        weights, khat = weigh(log_early[:, row] - log_all[:, row])
        gain = log_upto[:, row] - log_early[:, row]
        return Score(weights, *log_mean(gain, weights), khat)

    return foreseen_by_patient(seen, early, late, noisy, score)


class Score(NamedTuple):
    """Of a patient's later readings together: weights of draws, elpd, error, k-hat."""

    weights: np.ndarray
    elpd: ArrayLike
    mc_error: ArrayLike
    khat: float


def foreseen_by_patient(
    seen: Observed,
    early: Bool[np.ndarray, "patients samples"],
    late: Bool[np.ndarray, "patients samples"],
    noisy: Float[np.ndarray, "draws patients samples"],
    score: Callable[[int], Score],
) -> Foreseen:
    """What was foreseen, by patient and by reading.

    Args:
        seen: the readings.
        early: which were known of their patient.
        late: which were foreseen.
        noisy: draws of all, natural log.
        score: of a patient who has late readings, by its row.
    """
    patients, readings = [], []
    for row, name in enumerate(seen.ids):
        columns = np.flatnonzero(late[row])
        if not columns.size:
            continue
        own = score(row)
        about = [
            _foreseen(seen, row, column, noisy[:, row, column], own.weights)
            for column in columns.tolist()
        ]
        readings += about
        patients.append(
            {
                "ID": name,
                "early": int(early[row].sum()),
                "late": columns.size,
                "elpd": float(own.elpd),
                "mc_error": float(own.mc_error),
                "inside": sum(reading["inside"] for reading in about),
                "khat": own.khat,
            }
        )
    return Foreseen(pd.DataFrame(patients), pd.DataFrame(readings))


def _foreseen(
    seen: Observed, row: int, column: int, drawn: np.ndarray, weights: np.ndarray
) -> dict:
    """A row about one reading: its interval among weighted draws of it, if inside."""
    known = np.isfinite(drawn) & (weights > 0)
    low, middle, high = np.quantile(
        drawn[known], (0.05, 0.5, 0.95), weights=weights[known], method="inverted_cdf"
    )
    value, below = seen.log_value[row, column], bool(seen.below[row, column])
    return {
        "ID": seen.ids[row],
        "TIME": seen.time_d[row, column],
        "DVID": seen.assays[seen.which[row, column]],
        "observed": np.exp(value),
        "below": below,
        "q05": np.exp(low),
        "q50": np.exp(middle),
        "q95": np.exp(high),
        "inside": bool(low <= value and (below or value <= high)),
    }
