"""Outcomes: one number of each person under an arm, from levels over time."""

import numpy as np

from ckin._types import Float
from ckin.metrics.rows import areas, days_above, last_above, level_on, peaks
from ckin.protocol import Protocol
from ckin.scenario.scenario import AREA_DAYS, Outcome, window


# Of a window's last day, for sums of floating-point days.
ROUNDING_D = 1e-9


def outcome_values(
    outcome: Outcome,
    plan: Protocol,
    time_d: Float[np.ndarray, " times"],
    level: Float[np.ndarray, "people times"],
    follow_d: float,
) -> Float[np.ndarray, " people"]:
    """The outcome of everyone; NaN of who could not be solved.

    Args:
        outcome: which.
        plan: what was given: where cycles begin.
        time_d: days of the readings; a reading at the time of a dose is before it.
        level: of its quantity.
        follow_d: last day that is followed.
    """
    start_d, end_d = window(plan, outcome.cycle, follow_d)
    days, rows = _within(time_d, level, start_d, end_d)
    lost = ~np.all(np.isfinite(rows), axis=1)
    rows = np.where(lost[:, None], 1.0, rows)
    values = _measured(outcome, days, rows)
    return np.where(lost, np.nan, values)


def _within(
    time_d: np.ndarray, level: np.ndarray, start_d: float, end_d: float
) -> tuple[np.ndarray, np.ndarray]:
    """Days from the start of a window, and levels there: both ends included."""
    inside = (time_d > start_d + ROUNDING_D) & (time_d < end_d - ROUNDING_D)
    ends = level_on(time_d, level, np.array([start_d, end_d]))
    days = np.concatenate([[start_d], time_d[inside], [end_d]]) - start_d
    rows = np.concatenate([ends[:, :1], level[:, inside], ends[:, 1:]], axis=1)
    return days, rows


def _measured(outcome: Outcome, days: np.ndarray, rows: np.ndarray) -> np.ndarray:
    metric, limit = outcome.metric, outcome.level
    if outcome.after_d:
        # The first column stays: it is the start and no peak.
        kept = (days == 0.0) | (days >= outcome.after_d - ROUNDING_D)
        days, rows = days[kept], rows[:, kept]
    if metric in ("CMAX", "TMAX"):
        return peaks(days, rows)[metric == "TMAX"]
    if metric in (*AREA_DAYS, "AUC"):
        return areas(days, rows, AREA_DAYS.get(metric, float(days[-1])))
    if metric in ("CEND", "CMIN"):
        found = rows[:, -1] if metric == "CEND" else rows[:, 1:].min(axis=1)
        return found if limit is None else np.maximum(found, limit)
    assert limit is not None  # `Outcome` asks for it
    if metric in ("DABOVE", "DBELOW"):
        above = days_above(days, rows, limit)
        return above if metric == "DABOVE" else days[-1] - above
    if metric == "TLST":
        return last_above(days, rows, limit)
    at_end = rows[:, -1] >= limit
    return (at_end if metric == "ABOVE" else ~at_end).astype(float)


def censored(
    outcome: Outcome, values: Float[np.ndarray, "*people"], length_d: float
) -> float:
    """Share of persons whose number would grow if they were followed longer."""
    if outcome.metric != "TLST":
        return 0.0
    known = np.isfinite(values)
    reached = known & (values >= length_d - ROUNDING_D)
    return float(reached.sum() / max(known.sum(), 1))
