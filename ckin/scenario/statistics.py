"""What is said of arms and of pairs of arms, from one number of each person.

Numbers are (draws, patients): patients are averaged within a draw, and draws make the
credible interval. Who could not be solved is NaN and left out, in a pair from both
arms. A pair is compared within persons: the same patient, the same draw.
"""

import dataclasses

import numpy as np

from ckin._types import Float
from ckin.scenario.scenario import Endpoint, Outcome


# Of every interval.
LEVEL = 0.90
QUANTILES = (0.05, 0.5, 0.95)
# Draws under which a regression on a parameter says nothing.
MIN_DRAWS = 30


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with what is not known of it.

    Attributes:
        value: median over draws.
        low: 5% over draws; NaN where there is one draw.
        high: 95% over draws; NaN likewise.
        mc_se: standard error of `value` from the finite number of patients, on the
            scale of the comparison (of a ratio: of its logarithm).
    """

    value: float
    low: float
    high: float
    mc_se: float


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One arm against another, of one endpoint.

    Attributes:
        kind: "ratio" of geometric means, or "difference".
        estimate: over draws.
        patient_low: 5% of the same ratio (difference) within persons.
        patient_high: 95% of it.
        better_patients: share of persons who are better off; ties count half.
        better_draws: share of draws whose endpoint is better; ties count half.
        n: persons solved under both arms.
    """

    kind: str
    estimate: Estimate
    patient_low: float
    patient_high: float
    better_patients: float
    better_draws: float
    n: int


def summaries(
    endpoint: Endpoint, values: Float[np.ndarray, "draws patients"]
) -> Float[np.ndarray, " draws"]:
    """The endpoint of an arm in each draw.

    A geometric mean is that of positive numbers; 0 where everyone has nothing.
    """
    found = _over_patients(endpoint, _scored(endpoint, values))
    if endpoint.summary == "geometric mean":
        known = np.isfinite(values)
        nothing = known.any(axis=1) & np.all(~known | (values <= 0), axis=1)
        found = np.where(nothing, 0.0, found)
    return found


def _scored(endpoint: Endpoint, values: np.ndarray) -> np.ndarray:
    """What is averaged over patients: a logarithm, a yes or no, or the number."""
    known = np.isfinite(values)
    if endpoint.summary == "geometric mean":
        positive = known & (values > 0)
        return np.where(positive, np.log(np.where(positive, values, 1.0)), np.nan)
    if endpoint.at_least is not None:
        return np.where(known, values >= endpoint.at_least, np.nan)
    if endpoint.at_most is not None:
        return np.where(known, values <= endpoint.at_most, np.nan)
    return values


def _over_patients(endpoint: Endpoint, scored: np.ndarray) -> np.ndarray:
    some = np.isfinite(scored).any(axis=1)
    found = np.full(len(scored), np.nan)
    middle = np.nanmedian if endpoint.summary == "median" else np.nanmean
    if some.any():
        found[some] = middle(scored[some], axis=1)
    return np.exp(found) if endpoint.summary == "geometric mean" else found


def estimate(per_draw: np.ndarray, mc_se: float = np.nan) -> Estimate:
    """Median and interval over draws."""
    known = per_draw[np.isfinite(per_draw)]
    if not known.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    low, middle, high = np.quantile(known, QUANTILES)
    if known.size == 1:
        low = high = np.nan
    return Estimate(float(middle), float(low), float(high), mc_se)


def contrast(
    endpoint: Endpoint,
    outcome: Outcome,
    one: Float[np.ndarray, "draws patients"],
    other: Float[np.ndarray, "draws patients"],
) -> Contrast:
    """`one` against `other`, within persons."""
    a, b = _scored(endpoint, one), _scored(endpoint, other)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, np.nan), np.where(both, b, np.nan)
    gap = a - b
    logs = endpoint.summary == "geometric mean"
    if endpoint.summary == "median":
        per_draw = _over_patients(endpoint, a) - _over_patients(endpoint, b)
    else:
        plain = dataclasses.replace(endpoint, summary="mean")
        per_draw = _over_patients(plain, gap)
    found = estimate(per_draw, _mc_se(gap))
    known = gap[both]
    ends = np.quantile(known, QUANTILES[::2]) if known.size else [np.nan, np.nan]
    shown = np.exp if logs else float
    raw = np.where(both, one - other, np.nan)
    return Contrast(
        kind="ratio" if logs else "difference",
        estimate=Estimate(
            float(shown(found.value)),
            float(shown(found.low)),
            float(shown(found.high)),
            found.mc_se,
        ),
        patient_low=float(shown(ends[0])),
        patient_high=float(shown(ends[1])),
        better_patients=_share_better(outcome.sign * raw),
        better_draws=_share_better(_sign(endpoint, outcome) * per_draw),
        n=int(both.sum()),
    )


def _sign(endpoint: Endpoint, outcome: Outcome) -> float:
    """1 where a higher endpoint is better. "At most so much" counts low numbers."""
    return -outcome.sign if endpoint.at_most is not None else outcome.sign


def _mc_se(gap: np.ndarray) -> float:
    """Standard error of a mean over patients, of its average over draws.

    The patients are the same in every draw, so that draws do not make it smaller.
    """
    per_patient = _nan_mean(gap, axis=0)
    known = per_patient[np.isfinite(per_patient)]
    if known.size < 2:
        return np.nan
    return float(known.std(ddof=1) / np.sqrt(known.size))


def _nan_mean(values: np.ndarray, axis: int) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    count = known.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _share_better(gain: np.ndarray) -> float:
    known = gain[np.isfinite(gain)]
    if not known.size:
        return np.nan
    return float(np.mean(known > 0) + 0.5 * np.mean(known == 0))


def chances_of_being_best(
    *worth: Float[np.ndarray, "arms ..."],
) -> Float[np.ndarray, " arms"]:
    """Chance that each arm is the best of all; ties are shared.

    Args:
        worth: of each arm in each case (person or draw), more is better, in any number
            of parts. A case in which any arm is NaN is left out.
    """
    total, count = np.zeros(len(worth[0])), 0
    for part in worth:
        known = np.isfinite(part).all(axis=0)
        cases = part[:, known]
        best = cases == cases.max(axis=0, initial=-np.inf)
        total = total + (best / np.maximum(best.sum(axis=0), 1)).sum(axis=1)
        count += int(known.sum())
    return total / count if count else np.full(total.shape, np.nan)


def value_of_information(expected: Float[np.ndarray, "arms draws"]) -> float:
    """Expected value of perfect information: what knowing the parameters would gain.

    Args:
        expected: utility of each arm in each draw, averaged over patients.

    Returns:
        mean over draws of the best arm's, less the best arm's mean: 0 or more.
    """
    known = np.isfinite(expected).all(axis=0)
    if not known.any():
        return np.nan
    cases = expected[:, known]
    # Never below 0 but for rounding.
    return max(0.0, float(cases.max(axis=0).mean() - cases.mean(axis=1).max()))


def partial_value_of_information(
    expected: Float[np.ndarray, "arms draws"],
    parameter: Float[np.ndarray, " draws"],
) -> float:
    """What knowing one parameter would gain, by regression on it.

    The expected utility of each arm given the parameter is a cubic of it, fitted over
    draws (Strong, Oakley, Brennan, Med Decis Making 2014;34:311-326, who take a
    smoother curve). Never above `value_of_information` but for the error of the fit.
    """
    known = np.isfinite(expected).all(axis=0) & np.isfinite(parameter)
    if known.sum() < MIN_DRAWS or np.ptp(parameter[known]) == 0:
        return np.nan
    x = parameter[known]
    basis = np.vander((x - x.mean()) / x.std(), 4)
    cases = expected[:, known]
    # Differences from one arm: what is common to all arms decides nothing.
    gains = cases - cases[:1]
    fitted = (basis @ np.linalg.lstsq(basis, gains.T, rcond=None)[0]).T
    return max(0.0, float(fitted.max(axis=0).mean() - fitted.mean(axis=1).max()))
