"""Metrics of trajectories: a curve for each draw of a posterior, told by quantiles.

A trajectory is read like data by the same functions: with the patient's own detection
limit, from day 1 on, where sampling begins in most trials. Before that a model may have
the infused cells still in the blood, and their level, which no sample saw, is no peak.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ckin._types import Float
from ckin.metrics.area import DEFAULT_BLQ
from ckin.metrics.course import VISITS, Metrics, course_metrics, re_expansion
from ckin.metrics.curve import Metric, curve
from ckin.metrics.parameters import PARAMETERS


# Days between readings. A peak that is a cusp, rising by 0.9 and falling by 0.2 a day,
# is then missed by at most 0.05 d and 1%.
FIRST_READ_D = 1.0
FINE_STEP_D, FINE_UNTIL_D = 0.05, 35.0
DAILY_UNTIL_D, LATE_STEP_D = 100.0, 5.0
PROBABILITIES = (0.05, 0.5, 0.95)


def reading_days(end_d: float) -> Float[np.ndarray, " times"]:
    """Days of a course at which a trajectory is read, from 1 to before `end_d`."""
    first, last = (round(day / FINE_STEP_D) for day in (FIRST_READ_D, FINE_UNTIL_D))
    days = np.concatenate(
        [
            np.arange(first, last) * FINE_STEP_D,
            np.arange(FINE_UNTIL_D, DAILY_UNTIL_D),
            np.arange(DAILY_UNTIL_D, max(end_d, DAILY_UNTIL_D), LATE_STEP_D),
            [day for day, _ in VISITS.values()],
        ]
    )
    days = np.unique(days)
    return days[days < end_d]


def trajectory_metrics(
    courses: Mapping[int, tuple[Float[np.ndarray, " times"], np.ndarray]],
    limit: float,
    blq: str = DEFAULT_BLQ,
) -> dict[int, Metrics]:
    """Metrics of one patient by cycle: medians, with 5% and 95% quantiles.

    Args:
        courses: by cycle, days from its infusion and levels, (draws, times); a draw
            that could not be solved is NaN.
        limit: detection limit of the patient; 0 for none.
        blq: a key of `BLQ_RULES`.
    """
    draws = []
    n_draws = len(next(iter(courses.values()))[1])
    for draw in range(n_draws):
        cycles: dict[int, dict[str, Metric]] = {}
        before: float | None = 0.0
        for cycle, (time_d, levels) in courses.items():
            level = levels[draw]
            if not np.all(np.isfinite(level)):
                break
            below = level < limit
            read = np.where(below, limit, level)
            cycles[cycle] = course_metrics(
                curve(time_d, read, below, start=before), blq
            )
            before = 0.0 if below[-1] else float(level[-1])
        else:
            for cycle, ratio in re_expansion(cycles).items():
                cycles[cycle]["RCMAX"] = ratio
            draws.append(cycles)
    return {
        cycle: {
            code: over_draws(code, [cycles[cycle][code] for cycles in draws], n_draws)
            for code in PARAMETERS
            if PARAMETERS[code].summary and (code != "RCMAX" or cycle > 1)
        }
        for cycle in courses
    }


def over_draws(code: str, metrics: Sequence[Metric], n_draws: int) -> Metric:
    """Median and 5% and 95% quantiles of a metric over draws.

    A level below its limit lies anywhere under it, a persistence beyond the last
    reading anywhere after it, and quantiles say so. Draws without the metric are left
    out and counted.
    """
    known = [m.bounds for m in metrics if m.bounds is not None]
    reasons = [m.reason for m in metrics if m.bounds is None]
    reasons += ["the model could not be solved"] * (n_draws - len(metrics))
    often = max(set(reasons), key=reasons.count) if reasons else ""
    if 2 * len(known) <= n_draws:
        return Metric(reason=f"none in most draws, most often: {often}")
    low, high = np.array(known).T
    if code == "PERSIST":
        # Readings are at most 5 d apart: the middle between two tells the time.
        ended = np.isfinite(high)
        middle = 0.5 * (low[ended] + high[ended])
        low[ended] = middle
        high[ended] = middle
    lows = np.quantile(low, PROBABILITIES, method="inverted_cdf")
    highs = np.quantile(high, PROBABILITIES, method="inverted_cdf")
    share = 100 * len(reasons) / n_draws
    note = f"{share:.0f}% of draws without: {often}" if reasons else ""
    known_median = lows[1] == highs[1]
    reason = "above the limit to the end" if code == "PERSIST" else "below the limit"
    return Metric(
        value=float(lows[1]) if known_median else None,
        low=float(lows[0]),
        high=float(highs[2]),
        reason="" if known_median else f"{reason} in half of the draws",
        note=note,
    )
