"""Area under a curve, and what stands in for levels below the limit in it.

Linear-up log-down: a segment that falls is an exponential, one that rises or ends in 0
a straight line. Points within a segment are read off the same line, so that areas of
adjoining windows add up exactly.
"""

from typing import Literal, NamedTuple

import numpy as np

from ckin._types import Float
from ckin.metrics.curve import Curve, Metric


class BlqRule(NamedTuple):
    """What becomes of samples below the limit after the first quantifiable one.

    Each is left out, 0, or half its limit. Before the first quantifiable sample they
    are 0 in every rule: cells that were never seen add no area.

    Attributes:
        between: of samples between quantifiable ones: all, or the first of each run.
        after_first: of the first sample after the last quantifiable one.
        after_rest: of the samples after that.
        meaning: in words.
    """

    between: Literal["out", "zero", "half", "half, first"]
    after_first: Literal["out", "zero", "half"]
    after_rest: Literal["out", "zero", "half"]
    meaning: str


# PKNCA: its default (conc.blq: first keep, middle drop, last keep). M1, M5, M6, M7:
# Beal SL, J Pharmacokinet Pharmacodyn 2001;28:481-504.
BLQ_RULES = {
    "pknca": BlqRule(
        *("out", "zero", "zero"),
        "missing between quantifiable samples, 0 before the first and after the last",
    ),
    "M1": BlqRule(*("out", "out", "out"), "left out"),
    "M5": BlqRule(*("half", "half", "half"), "half the limit"),
    "M6": BlqRule(
        *("half, first", "half", "out"),
        "half the limit for the first of consecutive ones, the others left out",
    ),
    "M7": BlqRule(*("zero", "zero", "zero"), "0"),
}
DEFAULT_BLQ = "pknca"
# Share of the limit that stands in for a level below it.
SHARES = {"out": np.nan, "zero": 0.0, "half": 0.5}

# Sampling may end this share of a window early: a visit on day 26 is that of day 28.
WINDOW_REACHED = 0.9


def with_blq(
    curve: Curve, rule: BlqRule
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Times and levels that an area is made of, from the infusion on.

    Args:
        curve: with a quantifiable sample and a known `start`.
        rule: one of `BLQ_RULES`.
    """
    assert curve.start is not None
    seen, index = np.flatnonzero(curve.above), np.arange(curve.time_d.size)
    between = (index > seen[0]) & (index < seen[-1]) & curve.below
    first_of_run = between & ~np.concatenate([[False], curve.below[:-1]])
    share = np.ones(curve.time_d.size)
    share[index < seen[0]] = SHARES["zero"]
    share[between] = SHARES[rule.between.removesuffix(", first")]
    if rule.between == "half, first":
        share[between & ~first_of_run] = SHARES["out"]
    share[seen[-1] + 1 : seen[-1] + 2] = SHARES[rule.after_first]
    share[seen[-1] + 2 :] = SHARES[rule.after_rest]
    kept = np.isfinite(share)
    return (
        np.concatenate([[0.0], curve.time_d[kept]]),
        np.concatenate([[curve.start], (share * curve.level)[kept]]),
    )


def level_at(
    time_d: Float[np.ndarray, " points"], level: Float[np.ndarray, " points"], at: float
) -> float:
    """Level at a time between the first and the last point, by linear-up log-down."""
    right = int(np.searchsorted(time_d, at, side="left"))
    if time_d[right] == at:
        return float(level[right])
    share = (at - time_d[right - 1]) / (time_d[right] - time_d[right - 1])
    before, after = level[right - 1], level[right]
    if 0 < after < before:
        return float(before * (after / before) ** share)
    return float(before + share * (after - before))


def auc(
    time_d: Float[np.ndarray, " points"],
    level: Float[np.ndarray, " points"],
    start_d: float,
    end_d: float,
) -> float:
    """Area under points from `start_d` to `end_d`, by the linear-up log-down trapezoid.

    Args:
        time_d: not decreasing, days.
        level: 0 or more.
        start_d: within the points.
        end_d: within the points, not before `start_d`.

    Returns:
        Area in the unit of the levels times days.
    """
    if not time_d[0] <= start_d <= end_d <= time_d[-1]:
        raise ValueError(
            f"day {start_d:g} to {end_d:g} is not within the points, day "
            f"{time_d[0]:g} to {time_d[-1]:g}"
        )
    inside = (time_d > start_d) & (time_d < end_d)
    edges = [level_at(time_d, level, start_d), level_at(time_d, level, end_d)]
    t = np.concatenate([[start_d], time_d[inside], [end_d]])
    c = np.concatenate([edges[:1], level[inside], edges[1:]])
    mean = mean_between(c[:-1], c[1:])
    return float(np.sum(np.diff(t) * mean))


def mean_between(
    before: Float[np.ndarray, "*rows"], after: Float[np.ndarray, "*rows"]
) -> Float[np.ndarray, "*rows"]:
    """Mean level between two points: of an exponential that falls, else of a line."""
    mean = 0.5 * (before + after)
    falls = (after > 0) & (after < before)
    # (C1 - C2) / ln(C1 / C2); log1p keeps its digits when the two are nearly equal.
    drop = (before[falls] - after[falls]) / after[falls]
    mean[falls] = after[falls] * drop / np.log1p(drop)
    return mean


def window_auc(curve: Curve, end_d: float, rule: BlqRule) -> Metric:
    """Area from the infusion to day `end_d`.

    Where sampling ends up to 10% early above the limit, its last level is held to the
    end of the window; where it goes on below the limit, nothing is added.
    """
    if not curve.above.any():
        return Metric(reason="all samples below the limit")
    if curve.start is None:
        return Metric(reason="no sample within 7 d before the infusion")
    sampled_to = float(curve.time_d[-1])
    if sampled_to < WINDOW_REACHED * end_d:
        return Metric(reason=f"sampling ends before day {end_d:g}")
    time_d, level = with_blq(curve, rule)
    area = auc(time_d, level, 0.0, min(end_d, float(time_d[-1])))
    if sampled_to >= end_d or curve.below[-1]:
        return Metric(area)
    area += (end_d - sampled_to) * level[-1]
    return Metric(area, note=f"level of day {sampled_to:.4g} held to day {end_d:g}")
