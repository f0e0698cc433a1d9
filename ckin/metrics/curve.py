"""One course as a curve: levels after the infusion that begins it, and what is known.

Data and trajectories of a model are the same to everything that follows: times from
the infusion, levels, and which of them lie below their limit.
"""

import dataclasses

import numpy as np

from ckin._types import Bool, Float


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of one curve, or why there is none.

    Attributes:
        value: the number; `None` when there is none.
        low: it lies above this (interval-censored), or 5% of a posterior.
        high: it lies below this, or 95% of a posterior; infinity when censored.
        reason: why there is no value; empty if there is one.
        note: what qualifies it.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    note: str = ""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Where the number lies for certain; `None` when nothing is known of it."""
        if self.value is not None:
            return self.value, self.value
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Curve:
    """Levels of one patient in one cycle. Make it with `curve`.

    Attributes:
        time_d: days from the first infusion of the cycle, at or above 0, increasing.
        level: in any unit; positive, and the limit where `below`.
        below: below the detection limit, which is then known and no more.
        start: level just before the infusion, 0 for none; `None` when not known.
    """

    time_d: Float[np.ndarray, " times"]
    level: Float[np.ndarray, " times"]
    below: Bool[np.ndarray, " times"]
    start: float | None = 0.0

    @property
    def above(self) -> Bool[np.ndarray, " times"]:
        """At or above the limit: quantifiable."""
        return ~self.below

    @property
    def peak(self) -> int:
        """Index of the highest quantifiable level, the first of equals; see `above`."""
        return int(np.argmax(np.where(self.above, self.level, -np.inf)))


def curve(
    time_d: Float[np.ndarray, " samples"],
    level: Float[np.ndarray, " samples"],
    below: Bool[np.ndarray, " samples"],
    *,
    start: float | None = 0.0,
) -> Curve:
    """A curve of samples in any order. Repeats at one time become one sample.

    That is the geometric mean of the quantifiable ones (the error of the assay is
    multiplicative); only if all are below is it below the highest of their limits.
    A quantifiable level of 0 is below a limit of 0.

    Args:
        time_d: days from the infusion.
        level: levels; the limit where `below`.
        below: below the detection limit.
        start: level just before the infusion; `None` when not known.

    Raises:
        ValueError: a time before the infusion, or a level that is not a number of 0
            or more.
    """
    if not np.all(time_d >= 0):
        raise ValueError("a sample before the infusion is no part of the curve")
    if not np.all(np.isfinite(level) & (level >= 0)):
        raise ValueError("a level is a number of 0 or more")
    below = below | (level == 0)
    times = np.unique(time_d)
    if times.size == time_d.size:
        order = np.argsort(time_d)
        return Curve(time_d[order], level[order], below[order], start)
    levels, belows = np.empty(times.size), np.empty(times.size, dtype=bool)
    for index, time in enumerate(times):
        here = time_d == time
        above = here & ~below
        belows[index] = not above.any()
        levels[index] = (
            level[here].max() if belows[index] else np.exp(np.log(level[above]).mean())
        )
    return Curve(times, levels, belows, start)
