"""Visual predictive checks: quantiles of what was read, among those of replicates.

Replicates have the cohort's own designs and limits (`ckin.check.replicates`). What is
below its limit ranks below everything, in data and replicates alike, so that a quantile
is a number where enough was quantified and "below the limit" where not; how many are
below has a panel of its own (Bergstrand and Karlsson 2009,
doi:10.1208/s12248-009-9112-5).

Prediction-corrected, readings and replicates are moved by the same amount: by what the
typical patient of their bin reads over what this patient would without variation of
its own (Bergstrand et al. 2011, doi:10.1208/s12248-011-9255-z). Doses, covariates and
times within a bin then no longer widen the quantiles.
"""

import numpy as np
import pandas as pd

from ckin._types import Float
from ckin.check.replicates import Observed


PROBABILITIES = (0.1, 0.5, 0.9)
# Of replicates inside a band.
LEVEL = 0.9
# Samples in a bin, unless told how many bins: a 10% quantile then is one of samples.
PER_BIN, MOST_BINS = 20, 12


def bins_of(
    time_d: Float[np.ndarray, " samples"], bins: int | None = None
) -> np.ndarray:
    """Edges of bins that hold about equally many samples; none parts equal times.

    Args:
        time_d: of all samples.
        bins: how many, at most; so that a bin has about 20 unless told.

    Returns:
        Edges (bins + 1,); a bin holds times from its left edge on and below its right.
    """
    days, counts = np.unique(time_d, return_counts=True)
    if bins is None:
        bins = int(np.clip(time_d.size // PER_BIN, 1, MOST_BINS))
    # The share of samples up to the middle of each day.
    share = (np.cumsum(counts) - 0.5 * counts) / time_d.size
    place = np.minimum((share * bins).astype(int), bins - 1)
    starts = days[np.flatnonzero(np.diff(place, prepend=-1))]
    # Half way between the days on either side.
    before = days[np.searchsorted(days, starts[1:]) - 1]
    inner = 0.5 * (before + starts[1:])
    return np.concatenate([[days[0]], inner, [np.nextafter(days[-1], np.inf)]])


def vpc(
    seen: Observed,
    replicates: Float[np.ndarray, "draws patients samples"],
    assay: int = 0,
    *,
    typical: Float[np.ndarray, "patients samples"] | None = None,
    bins: int | None = None,
) -> pd.DataFrame:
    """A visual predictive check of one assay.

    Args:
        seen: what was read.
        replicates: natural log of readings of replicates, before any limit.
        assay: its place in `seen.assays`.
        typical: natural log of what patients without variation read, for a
            prediction-corrected check.
        bins: how many, at most (`bins_of`).

    Returns:
        A row a bin and statistic: bin, start_d, end_d, time_d (median), samples,
        statistic (`q10`, `q50`, `q90` or `below`), observed, low, middle, high. Those
        of quantiles are in the unit of the assay, NaN where below the limit; `below` is
        the share below the limit. low to high holds 90% of the replicates.
    """
    mine = seen.present & (seen.which == assay)
    time_d, limit = seen.time_d[mine], seen.log_limit[mine]
    simulated = replicates[:, mine]
    gone = simulated < limit
    shift = np.zeros(time_d.size)
    edges = bins_of(time_d, bins)
    place = np.searchsorted(edges, time_d, side="right") - 1
    if typical is not None:
        for number in np.unique(place):
            own = place == number
            usual = typical[mine][own]
            shift[own] = np.median(usual) - usual
    values = np.where(seen.below[mine], -np.inf, seen.log_value[mine] + shift)
    simulated = np.where(gone, -np.inf, simulated + shift)
    rows = []
    for number in np.unique(place):
        own = place == number
        about = {
            "bin": int(number),
            "start_d": edges[number],
            "end_d": edges[number + 1],
            "time_d": float(np.median(time_d[own])),
            "samples": int(own.sum()),
        }
        for probability in PROBABILITIES:
            rows.append(
                about
                | {"statistic": f"q{100 * probability:g}"}
                | _band(
                    _quantile(values[own][None], probability),
                    _quantile(simulated[:, own], probability),
                )
            )
        share = np.where(np.isnan(simulated[:, own]), np.nan, gone[:, own])
        rows.append(
            about
            | {"statistic": "below"}
            | _band(
                np.atleast_1d(seen.below[mine][own].mean()),
                np.nanmean(share, axis=1),
                logged=False,
            )
        )
    return pd.DataFrame(rows)


def _quantile(values: np.ndarray, probability: float) -> np.ndarray:
    """Of each row the reading nearest to a quantile; NaN are left out.

    No interpolation: half way between a reading and "below" is no number.
    """
    known = (~np.isnan(values)).sum(axis=1)
    ranked = np.sort(values, axis=1)
    place = np.rint(probability * (known - 1)).astype(int)
    return ranked[np.arange(len(ranked)), np.maximum(place, 0)]


def _band(own: np.ndarray, each: np.ndarray, *, logged: bool = True) -> dict:
    """What was observed, and the quantiles of replicates."""
    edges = (0.5 * (1.0 - LEVEL), 0.5, 0.5 * (1.0 + LEVEL))
    low, middle, high = (_quantile(each[None], p)[0] for p in edges)
    found = {"observed": own[0], "low": low, "middle": middle, "high": high}
    if logged:
        inside = low <= own[0] <= high
        found = {k: np.exp(v) if np.isfinite(v) else np.nan for k, v in found.items()}
        return found | {"inside": bool(inside)}
    return found | {"inside": bool(low <= own[0] <= high)}
