"""How patients differ: η of each, how much of it the data tell, and covariates.

Modes and means of η are drawn to 0 where data are few, and a relation with a covariate
shrinks with them. So relations are taken in every draw of the posterior: the means of
draws are as wide as the population, and what is uncertain shows as an interval
(Lavielle and Ribba 2016, doi:10.1007/s11095-016-2020-3).
"""

import numpy as np
import pandas as pd

from ckin._types import Float
from ckin.dataset import Dataset


# A category of fewer patients, or of all but fewer, is not compared.
LEAST_IN_LEVEL = 3


def eta_table(
    ids: tuple[str, ...],
    varying: tuple[str, ...],
    eta: Float[np.ndarray, "draws patients varying"],
) -> pd.DataFrame:
    """One row a patient and parameter: ID, parameter, mean, sd, q05, q95 of η."""
    low, high = np.quantile(eta, (0.05, 0.95), axis=0)
    rows = [
        {
            "ID": name,
            "parameter": parameter,
            "mean": eta[:, row, column].mean(),
            "sd": eta[:, row, column].std(ddof=1),
            "q05": low[row, column],
            "q95": high[row, column],
        }
        for column, parameter in enumerate(varying)
        for row, name in enumerate(ids)
    ]
    return pd.DataFrame(rows)


def shrinkage_table(
    varying: tuple[str, ...], eta: Float[np.ndarray, "draws patients varying"]
) -> pd.DataFrame:
    """One row a parameter: SD over patients of means and of draws, shrinkage in %.

    `sd_of_draws` should be near 1; `shrinkage_pct` is 100 (1 - SD of means).
    """
    of_means = eta.mean(axis=0).std(axis=0, ddof=1)
    of_draws = eta.std(axis=1, ddof=1).mean(axis=0)
    return pd.DataFrame(
        {
            "parameter": varying,
            "sd_of_means": of_means,
            "sd_of_draws": of_draws,
            "shrinkage_pct": 100.0 * (1.0 - of_means),
        }
    )


def covariate_columns(dataset: Dataset) -> dict[str, Float[np.ndarray, " patients"]]:
    """Covariates as numbers: themselves, or 0 and 1 for each category NAME=LEVEL.

    Those that are the same for everyone are left out; NaN where a patient has none.
    """
    names = dict.fromkeys(name for p in dataset.patients for name in p.covariates)
    columns = {}
    for name in names:
        values = [patient.covariates.get(name) for patient in dataset.patients]
        known = [value for value in values if value is not None]
        if all(isinstance(value, float | int) for value in known):
            columns[name] = np.array([np.nan if v is None else v for v in values])
            continue
        levels = sorted({str(value) for value in known})
        for level in levels[1:] if len(levels) == 2 else levels:
            own = np.array([np.nan if v is None else str(v) == level for v in values])
            if LEAST_IN_LEVEL <= np.nansum(own) <= len(known) - LEAST_IN_LEVEL:
                columns[f"{name}={level}"] = own.astype(float)
    return {
        name: values.astype(float)
        for name, values in columns.items()
        if np.isfinite(values).sum() > 2 and np.nanstd(values.astype(float)) > 0
    }


def eta_covariates(
    varying: tuple[str, ...],
    eta: Float[np.ndarray, "draws patients varying"],
    columns: dict[str, Float[np.ndarray, " patients"]],
) -> pd.DataFrame:
    """One row a parameter and covariate: correlation of η with it.

    Columns parameter, covariate, patients, r_q05, r_q50, r_q95 (over draws), away: the
    chance that the correlation has the sign of its median. A covariate that is in the
    model should show none.
    """
    rows = []
    for column, parameter in enumerate(varying):
        for name, values in columns.items():
            have = np.isfinite(values)
            own = eta[:, have, column]
            own = own - own.mean(axis=1, keepdims=True)
            other = values[have] - values[have].mean()
            scale = np.sqrt((own**2).sum(axis=1) * (other**2).sum())
            r = own @ other / np.maximum(scale, 1e-300)
            low, middle, high = np.quantile(r, (0.05, 0.5, 0.95))
            rows.append(
                {
                    "parameter": parameter,
                    "covariate": name,
                    "patients": int(have.sum()),
                    "r_q05": low,
                    "r_q50": middle,
                    "r_q95": high,
                    "away": float((np.sign(r) == np.sign(middle)).mean()),
                }
            )
    return pd.DataFrame(rows)
