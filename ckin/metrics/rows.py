"""Metrics of many curves at the same times at once: a row of a matrix is a curve.

`course_metrics` looks at one curve and says why a number is missing; a comparison of
schedules has a hundred thousand curves of a model, none of them with a limit. These
are the same numbers (held to it by a test), a hundred times quicker.

The first column is the level just before the infusion that begins the window, as the
`start` of a `Curve`: areas and times begin there, and it is no peak.
"""

import numpy as np

from ckin._types import Float
from ckin.metrics.area import mean_between


def level_on(
    time_d: Float[np.ndarray, " times"],
    level: Float[np.ndarray, "rows times"],
    days: Float[np.ndarray, " days"],
) -> Float[np.ndarray, "rows days"]:
    """Levels on days within the times: straight where they rise, else exponential."""
    right = np.clip(np.searchsorted(time_d, days, side="left"), 1, time_d.size - 1)
    width = time_d[right] - time_d[right - 1]
    share = (days - time_d[right - 1]) / np.where(width > 0, width, 1.0)
    before, after = level[:, right - 1], level[:, right]
    found = before + share * (after - before)
    falls = (after > 0) & (after < before)
    shares = np.broadcast_to(share, before.shape)[falls]
    found[falls] = before[falls] * (after[falls] / before[falls]) ** shares
    return found


def areas(
    time_d: Float[np.ndarray, " times"],
    level: Float[np.ndarray, "rows times"],
    end_d: float,
) -> Float[np.ndarray, " rows"]:
    """Area from the first time to `end_d`, by the linear-up log-down trapezoid."""
    inside = time_d < end_d
    last = level_on(time_d, level, np.array([end_d]))
    t = np.append(time_d[inside], end_d)
    c = np.concatenate([level[:, inside], last], axis=1)
    return np.sum(np.diff(t) * mean_between(c[:, :-1], c[:, 1:]), axis=1)


def peaks(
    time_d: Float[np.ndarray, " times"], level: Float[np.ndarray, "rows times"]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Highest level after the start, and when."""
    at = np.argmax(level[:, 1:], axis=1) + 1
    return np.take_along_axis(level, at[:, None], axis=1)[:, 0], time_d[at]


def days_above(
    time_d: Float[np.ndarray, " times"],
    level: Float[np.ndarray, "rows times"],
    limit: float,
) -> Float[np.ndarray, " rows"]:
    """Days at or above a level."""
    before, after = level[:, :-1], level[:, 1:]
    share = np.where((before >= limit) & (after >= limit), 1.0, 0.0)
    falls = (before >= limit) & (after < limit)
    rises = (before < limit) & (after >= limit)
    share[falls] = _crossed(before[falls], after[falls], limit)
    share[rises] = 1.0 - _crossed(before[rises], after[rises], limit)
    return share @ np.diff(time_d)


def last_above(
    time_d: Float[np.ndarray, " times"],
    level: Float[np.ndarray, "rows times"],
    limit: float,
) -> Float[np.ndarray, " rows"]:
    """When the level falls below a limit for the last time.

    The last time where it is above to the end; the first where it never is.
    """
    above = level >= limit
    last = level.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    right = np.minimum(last + 1, time_d.size - 1)
    before, after = (
        np.take_along_axis(level, at[:, None], axis=1)[:, 0] for at in (last, right)
    )
    share = np.zeros(before.shape)
    falls = (before >= limit) & (after < limit)
    share[falls] = _crossed(before[falls], after[falls], limit)
    found = time_d[last] + share * (time_d[right] - time_d[last])
    return np.where(above.any(axis=1), found, time_d[0])


def _crossed(before: np.ndarray, after: np.ndarray, limit: float) -> np.ndarray:
    """Share of the way from `before` to `after` at which the limit is crossed."""
    straight = (limit - before) / (after - before)
    falls = (after > 0) & (after < before)
    straight[falls] = np.log(limit / before[falls]) / np.log(
        after[falls] / before[falls]
    )
    return straight
