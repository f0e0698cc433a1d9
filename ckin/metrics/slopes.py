"""Straight lines through logarithms: half-lives and the doubling time.

Only quantifiable samples take part. Every result comes with the number of points and
the days from the first to the last of them.
"""

import dataclasses
import math

import numpy as np

from ckin._types import Float
from ckin.metrics.curve import Curve, Metric


LN2 = math.log(2.0)
# Fewest points of a terminal or an initial half-life.
MIN_POINTS = 3
# The initial half-life is that of these days from the peak on, three half-lives of the
# contraction of CD19 CAR-T (4.3 d: Stein 2019; 5.0 d: Ogasawara 2021).
INITIAL_D = 14.0
# Of two terminal lines whose adjusted R2 differ by less, the one with more points is
# taken (WinNonlin's and PKNCA's best-fit rule).
R2_TIE = 1e-4
# A line that changes the logarithm by less than this over its points is flat.
FLAT = 1e-9


@dataclasses.dataclass(frozen=True)
class Line:
    """Least-squares line through ln(level): slope per day, points, days, R2."""

    slope: float
    points: int
    first_d: float
    last_d: float
    r2_adjusted: float

    @property
    def flat(self) -> bool:
        """Whether it neither rises nor falls."""
        return abs(self.slope) * (self.last_d - self.first_d) < FLAT


def fitted(time_d: Float[np.ndarray, " n"], log_level: Float[np.ndarray, " n"]) -> Line:
    """The line through two or more points at different times."""
    slope, r2 = _tails(time_d, log_level)
    return _line(time_d, slope, r2, len(time_d))


def terminal_line(
    time_d: Float[np.ndarray, " n"], log_level: Float[np.ndarray, " n"]
) -> Line | None:
    """The falling line of best fit through the last 3 or more of the points.

    Best is the largest adjusted R2; among those within 1e-4 of it, most points.

    Returns:
        `None` when there are fewer than 3 points or no line falls.
    """
    if len(time_d) < MIN_POINTS:
        return None
    slope, r2 = _tails(time_d, log_level)
    span = (time_d[-1] - time_d)[::-1]
    falls = slope * span < -FLAT
    falls[: MIN_POINTS - 1] = False
    if not falls.any():
        return None
    best = r2[falls].max()
    points = int(np.flatnonzero(falls & (r2 > best - R2_TIE))[-1]) + 1
    return _line(time_d, slope, r2, points)


def _tails(
    time_d: Float[np.ndarray, " n"], log_level: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Slope and adjusted R2 of the line through the last 1, 2, ..., n points.

    That of one point has a slope of 0.
    """
    # Sums from the end on; about the last point, so that they lose no digits.
    x, y = (time_d - time_d[-1])[::-1], (log_level - log_level[-1])[::-1]
    n = np.arange(1.0, x.size + 1)
    sx, sy = np.cumsum(x), np.cumsum(y)
    sxx = np.cumsum(x * x) - sx**2 / n
    sxy = np.cumsum(x * y) - sx * sy / n
    syy = np.cumsum(y * y) - sy**2 / n
    slope = np.divide(sxy, sxx, out=np.zeros_like(x), where=n > 1)
    r2 = np.divide(slope * sxy, syy, out=np.zeros_like(x), where=syy > 0)
    return slope, 1.0 - (1.0 - r2) * (n - 1.0) / np.maximum(n - 2.0, 1.0)


def _line(time_d: np.ndarray, slope: np.ndarray, r2: np.ndarray, points: int) -> Line:
    return Line(
        slope=float(slope[points - 1]),
        points=points,
        first_d=float(time_d[-points]),
        last_d=float(time_d[-1]),
        r2_adjusted=float(r2[points - 1]),
    )


def terminal_half_life(curve: Curve) -> dict[str, Metric]:
    """LAMZHL from samples after the peak, the points used, and R2ADJ."""
    after = curve.above & (curve.time_d > curve.time_d[curve.peak])
    time_d, log_level = curve.time_d[after], np.log(curve.level[after])
    line = terminal_line(time_d, log_level)
    if line is not None:
        low = "" if line.r2_adjusted >= 0.9 else "poor line: adjusted R2 below 0.9"
        short = line.last_d - line.first_d < LN2 / -line.slope
        note = "points span less than one half-life" if short else low
        return _told("LAMZ", "LAMZHL", line, note) | {"R2ADJ": Metric(line.r2_adjusted)}
    few = len(time_d) < MIN_POINTS
    return _missing(
        ("LAMZHL", "LAMZNPT", "LAMZLL", "LAMZUL", "R2ADJ"),
        "fewer than 3 quantifiable samples after the peak"
        if few
        else "level does not fall at the end",
    )


def initial_half_life(curve: Curve) -> dict[str, Metric]:
    """INIHL: the line through the samples from the peak to 14 days after it."""
    peak_d = curve.time_d[curve.peak]
    near = curve.above & (curve.time_d >= peak_d) & (curve.time_d <= peak_d + INITIAL_D)
    codes = ("INIHL", "ININPT", "INILL", "INIUL")
    if near.sum() < MIN_POINTS:
        reason = "fewer than 3 quantifiable samples within 14 d from the peak on"
        return _missing(codes, reason)
    line = fitted(curve.time_d[near], np.log(curve.level[near]))
    if line.slope >= 0 or line.flat:
        return _missing(codes, "level does not fall within 14 d of the peak")
    return _told("INI", "INIHL", line)


def doubling_time(curve: Curve) -> dict[str, Metric]:
    """DBLT: the line from the lowest quantifiable level before the peak to the peak.

    Where the sample before the peak is the last below the limit, the cells doubled
    faster than from the limit to the peak: DBLT lies between 0 and that.
    """
    codes = ("DBLT", "DBLNPT", "DBLLL", "DBLUL")
    peak = curve.peak
    rising = np.flatnonzero(curve.above[:peak])
    if rising.size:
        # The last of equals: expansion has not begun while the level stays.
        levels = curve.level[rising]
        nadir = int(rising[np.flatnonzero(levels == levels.min())[-1]])
        used = np.arange(nadir, peak + 1)
        used = used[curve.above[used]]
        line = fitted(curve.time_d[used], np.log(curve.level[used]))
        if line.slope <= 0 or line.flat:
            return _missing(codes, "level does not rise before the peak")
        return _told("DBL", "DBLT", line, "two points" if line.points == 2 else "")
    if peak == 0:
        return _missing(codes, "no sample before the peak")
    reason = "no quantifiable sample before the peak"
    missing = _missing(codes, reason)
    limit, top = float(curve.level[peak - 1]), float(curve.level[peak])
    if 0 < limit < top:
        slowest = float(curve.time_d[peak] - curve.time_d[peak - 1])
        slowest *= LN2 / math.log(top / limit)
        missing["DBLT"] = Metric(low=0.0, high=slowest, reason=reason)
    return missing


def lag(curve: Curve) -> Metric:
    """TLAG: the last of the lowest samples before the peak; expansion begins after it.

    Below the limit is lowest. It begins before the next sample: the interval.
    """
    peak = curve.peak
    if peak == 0:
        return Metric(reason="no sample before the peak")
    height = np.where(curve.below, 0.0, curve.level)[:peak]
    nadir = int(np.flatnonzero(height == height.min())[-1])
    low, high = float(curve.time_d[nadir]), float(curve.time_d[nadir + 1])
    return Metric(low, low=low, high=high, note="expansion begins within the interval")


def _told(stem: str, code: str, line: Line, note: str = "") -> dict[str, Metric]:
    return {
        code: Metric(LN2 / abs(line.slope), note=note),
        f"{stem}NPT": Metric(float(line.points)),
        f"{stem}LL": Metric(line.first_d),
        f"{stem}UL": Metric(line.last_d),
    }


def _missing(codes: tuple[str, ...], reason: str) -> dict[str, Metric]:
    return {code: Metric(reason=reason) for code in codes}
