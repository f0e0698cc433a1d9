"""Normalised prediction distribution errors, with readings below a limit.

Each patient's readings are ranked among those of replicates of the same patient
(`ckin.check.replicates`). Decorrelated by the mean and covariance of the replicates,
they are uniform if model and population are right, and standard normal through Φ⁻¹
(Brendel et al. 2006, doi:10.1007/s11095-006-9067-5; Comets et al. 2008,
doi:10.1016/j.cmpb.2007.12.002).

A reading below its limit is only known to lie there. It is put at a random place of
the predictive distribution under its limit (Nguyen, Comets and Mentré 2012,
doi:10.1007/s10928-012-9264-2), and so is every replicate that falls below the same
limit: the observed cohort is then one among its replicates, and its ranks are uniform
whatever share is below.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from ckin._types import Float
from ckin.check.replicates import Observed


# Replicates of a patient that are needed for each of its readings, so that their
# covariance can be inverted.
LEAST_PER_READING = 5


@dataclasses.dataclass(frozen=True)
class Errors:
    """Prediction errors of every reading, (patients, samples); NaN where padded.

    Attributes:
        npd: Φ⁻¹ of the rank of each reading by itself: for figures over time.
        npde: the same of decorrelated readings, standard normal and independent.
        ewres: decorrelated readings themselves: population residuals, on the scale of
            the assay's error (logarithm or reading).
    """

    npd: Float[np.ndarray, "patients samples"]
    npde: Float[np.ndarray, "patients samples"]
    ewres: Float[np.ndarray, "patients samples"]


def prediction_errors(
    seen: Observed,
    replicates: Float[np.ndarray, "draws patients samples"],
    seed: int = 0,
) -> Errors:
    """Prediction errors of a cohort.

    Args:
        seen: what was read.
        replicates: natural log of readings of replicates, before any limit.
        seed: of random places below a limit, and among ties.

    Raises:
        ValueError: too few replicates of a patient could be solved.
    """
    rng = np.random.default_rng(seed)
    found = Errors(*(np.full(seen.time_d.shape, np.nan) for _ in range(3)))
    for row, name in enumerate(seen.ids):
        own = np.flatnonzero(seen.present[row])
        simulated = replicates[:, row, own]
        simulated = simulated[np.isfinite(simulated).all(axis=1)]
        if len(simulated) < LEAST_PER_READING * own.size:
            raise ValueError(
                f"patient {name}: {len(simulated)} replicates for {own.size} readings; "
                f"{LEAST_PER_READING * own.size} are needed"
            )
        values, simulated = _placed(
            seen.log_value[row, own],
            seen.below[row, own],
            seen.log_limit[row, own],
            simulated,
            rng,
        )
        natural = seen.natural[seen.which[row, own]]
        values = np.where(natural, np.exp(values), values)
        simulated = np.where(natural, np.exp(simulated), simulated)
        found.npd[row, own] = _normal_rank(values, simulated, rng)
        whole, each = _decorrelated(values, simulated)
        found.ewres[row, own] = whole
        found.npde[row, own] = _normal_rank(whole, each, rng)
    return found


def _placed(
    values: np.ndarray,
    below: np.ndarray,
    limit: np.ndarray,
    simulated: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Readings and replicates with what is below a limit at random places there."""
    values, simulated = values.copy(), simulated.copy()
    for column in range(values.size):
        under = simulated[:, column] < limit[column]
        there = simulated[under, column]
        if not there.size:
            # No replicate comes so low: the lowest place there is.
            there = simulated[[simulated[:, column].argmin()], column]
        simulated[under, column] = rng.choice(there, size=int(under.sum()))
        if below[column]:
            values[column] = rng.choice(there)
    return values, simulated


def _normal_rank(
    values: np.ndarray, simulated: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Φ⁻¹ of a random place in the rank of each value among its replicates."""
    less = (simulated < values).sum(axis=0)
    equal = (simulated == values).sum(axis=0)
    place = less + rng.uniform(size=values.size) * (equal + 1)
    return stats.norm.ppf(place / (len(simulated) + 1))


def _decorrelated(
    values: np.ndarray, simulated: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both, less the mean of the replicates and by their Cholesky factor."""
    mean = simulated.mean(axis=0)
    covariance = np.atleast_2d(np.cov(simulated, rowvar=False))
    # Of readings that hardly differ (all below a limit) only rounding is left.
    ridge = 1e-12 * np.diag(covariance).mean() + 1e-300
    factor = np.linalg.cholesky(covariance + ridge * np.eye(values.size))
    rows = np.linalg.solve(factor, (np.vstack([values, simulated]) - mean).T).T
    return rows[0], rows[1:]


def normality(errors: np.ndarray) -> dict[str, float]:
    """Whether prediction errors are standard normal.

    Returns:
        n, mean and variance; p-values of a mean of 0 (t), a variance of 1 (χ²),
        normality (Shapiro and Wilk) and of all three (the smallest, times 3).
    """
    own = errors[np.isfinite(errors)]
    n, variance = own.size, float(own.var(ddof=1))
    one_side = stats.chi2.cdf((n - 1) * variance, n - 1)
    p = {
        "p_mean": float(
            2.0 * stats.t.sf(abs(own.mean()) / np.sqrt(variance / n), n - 1)
        ),
        "p_variance": float(2.0 * min(one_side, 1.0 - one_side)),
        # Shapiro's p-value is not to be trusted from more than 5000 on.
        "p_normal": float(stats.shapiro(own[:5000])[1]),
    }
    return {
        "n": float(n),
        "mean": float(own.mean()),
        "variance": variance,
        **p,
        "p_all": min(1.0, 3.0 * min(p.values())),
    }


def table_of_tests(seen: Observed, errors: Errors) -> pd.DataFrame:
    """`normality` NPDE, a row an assay."""
    rows = []
    for place, name in enumerate(seen.assays):
        mine = errors.npde[seen.present & (seen.which == place)]
        if mine.size > 2:
            rows.append({"assay": name, **normality(mine)})
    return pd.DataFrame(rows)
