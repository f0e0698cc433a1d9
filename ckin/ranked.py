"""Ranks of truths among draws of their posteriors, and whether they are uniform.

`ckin.calibration` makes them: one record a replicate.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit
from scipy import stats


# Chance that an ECDF of a right fit leaves its band anywhere, over all that is ranked.
FALSE_ALARM = 0.05
BAND_SIMULATIONS = 2000
LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What came out.

    Attributes:
        ranks: one row a replicate and ranked number: number, parameter, rank, of.
        coverage: one row a ranked number: how many of the replicates' intervals hold
            the truth, and how far the ECDF of its ranks is from uniform.
        replicates: what each replicate told.
    """

    ranks: pd.DataFrame
    coverage: pd.DataFrame
    replicates: tuple[Mapping[str, Any], ...]

    @property
    def calibrated(self) -> bool:
        """Whether every ECDF is inside its band."""
        return bool(self.coverage["inside_band"].all())


def judged(replicates: Sequence[Mapping[str, Any]]) -> Calibration:
    """Ranks as coverage and ECDFs.

    Args:
        replicates: of `replicate`.
    """
    rows = [
        {"number": r["number"], "parameter": name, "rank": rank, "of": r["of"]}
        for r in replicates
        for name, rank in r["ranks"].items()
    ]
    ranks = pd.DataFrame(rows, columns=["number", "parameter", "rank", "of"])
    each = by_name(ranks)
    coverage = []
    for name, own in each.items():
        values, places = uniforms(own), _prior_places(name, replicates)
        coverage.append(_covered(name, values, len(each)) | _centred(values, places))
    return Calibration(ranks, pd.DataFrame(coverage), tuple(replicates))


def by_name(ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each ranked number, in order."""
    groups = ranks.groupby("parameter", sort=False)
    return {str(name): own for name, own in groups}


def uniforms(ranks: pd.DataFrame) -> np.ndarray:
    """Ranks as numbers that are uniform on 0 to 1 if a fit is right.

    A rank r of L draws is anywhere between r / (L + 1) and (r + 1) / (L + 1).
    """
    spread = np.random.default_rng(0).uniform(size=len(ranks))
    return ((ranks["rank"] + spread) / (ranks["of"] + 1)).to_numpy()


def ecdf(values: np.ndarray, names: int) -> tuple[np.ndarray, ...]:
    """ECDF and simultaneous band (Säilynoja et al. 2022, Stat Comput 32:32).

    Args:
        values: uniform if a fit is right.
        names: how many such ECDFs are looked at.

    Returns:
        Places, ECDF, lower and upper end of the band, each (values - 1,).
    """
    places, low, high = _band(len(values), 1.0 - FALSE_ALARM / names)
    return places, compute_ecdf(values, places), low, high


@functools.lru_cache
def _band(n: int, inside: float) -> tuple[np.ndarray, ...]:
    """Places and band of the ECDF of n uniform numbers, found by simulation."""
    rng = np.random.default_rng(0)
    any_ = rng.uniform(size=n)
    places, _, low, high = ecdf_pit(any_, inside, BAND_SIMULATIONS, rng=rng)
    return places, low, high


def _covered(name: str, values: np.ndarray, names: int) -> dict[str, Any]:
    n = len(values)
    row: dict[str, Any] = {"parameter": name, "replicates": n}
    for level in LEVELS:
        held = int((np.abs(values - 0.5) < 0.5 * level).sum())
        row[f"in_{100 * level:.0f}_pct"] = 100.0 * held / n
        if level == 0.9:
            low, high = stats.binomtest(held, n).proportion_ci(0.95)
            row |= {"in_90_low": 100.0 * low, "in_90_high": 100.0 * high}
    places, found, low, high = ecdf(values, names)
    row["inside_band"] = bool(((found >= low) & (found <= high)).all())
    row["farthest"] = float(np.abs(found - places).max())
    return row


def _prior_places(
    name: str, replicates: Sequence[Mapping[str, Any]]
) -> np.ndarray | None:
    """Where in the prior the ranked truths lie, 0 to 1; `None` if that is not told."""
    places = [r.get("prior", {}).get(name) for r in replicates if name in r["ranks"]]
    return None if None in places else np.array(places)


def _centred(values: np.ndarray, places: np.ndarray | None) -> dict[str, float]:
    """Mean rank of 0 to 1, 0.5 if a fit is right, and its standard error.

    Where data tell little of a parameter, the truth's rank follows its place in the
    prior, and a mean rank off 0.5 may be the luck of what was drawn. That luck is
    known, for the places are uniform: what the ranks follow of it is taken out (a
    control variate).
    """
    found = {"mean_rank": values.mean(), "mean_rank_error": _error(values)}
    given = np.full_like(values, np.nan)
    if places is not None and len(values) > 2:
        slope = np.cov(values, places)[0, 1] / places.var(ddof=1)
        given = values - slope * (places - 0.5)
    return found | {"given_prior": given.mean(), "given_prior_error": _error(given)}


def _error(values: np.ndarray) -> float:
    return float(stats.sem(values)) if len(values) > 1 else float("nan")
