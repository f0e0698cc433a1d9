"""Every metric of one curve, and of the cycles of one patient together."""

import math
from collections.abc import Mapping

import numpy as np

from ckin.metrics.area import BLQ_RULES, DEFAULT_BLQ, window_auc
from ckin.metrics.curve import Curve, Metric
from ckin.metrics.parameters import PARAMETERS
from ckin.metrics.slopes import (
    doubling_time,
    initial_half_life,
    lag,
    terminal_half_life,
)


AUC_DAYS = {"AUC028": 28.0, "AUC084": 84.0}
# Days of the visits, and how far from them a sample counts as theirs (3 and 6 months
# are 91 and 183 days).
VISITS = {"CD28": (28.0, 4.0), "CM3": (91.0, 14.0), "CM6": (183.0, 30.0)}

Metrics = Mapping[str, Metric]


def course_metrics(curve: Curve, blq: str = DEFAULT_BLQ) -> dict[str, Metric]:
    """Every metric of one curve but the ratio to cycle 1.

    Args:
        curve: of data or of a model.
        blq: a key of `BLQ_RULES`; it concerns the areas.

    Returns:
        Metrics by code, in the order of `PARAMETERS`.
    """
    rule = BLQ_RULES[blq]
    if curve.time_d.size == 0:
        return no_metrics("no sample in this cycle")
    found = {code: window_auc(curve, day, rule) for code, day in AUC_DAYS.items()}
    found |= {code: _level_near(curve, *visit) for code, visit in VISITS.items()}
    found["PERSIST"] = persistence(curve)
    if not curve.above.any():
        reason = "all samples below the limit"
        rest = no_metrics(reason) | found
        limit = float(curve.level.max())
        return rest | {"CMAX": Metric(low=0.0, high=limit, reason=reason)}
    found |= {**doubling_time(curve), **initial_half_life(curve)}
    found |= {**terminal_half_life(curve), **_peak(curve), **_last(curve)}
    found["TLAG"] = lag(curve)
    return {code: found[code] for code in PARAMETERS if code in found}


def no_metrics(reason: str) -> dict[str, Metric]:
    """Every metric but the ratio to cycle 1, missing for one reason."""
    return {code: Metric(reason=reason) for code in PARAMETERS if code != "RCMAX"}


def re_expansion(cycles: Mapping[int, Metrics]) -> dict[int, Metric]:
    """RCMAX of every cycle after the first: its highest level over that of cycle 1."""
    first = cycles.get(1, {}).get("CMAX", Metric(reason="no cycle 1"))
    return {
        cycle: _ratio(metrics["CMAX"], first)
        for cycle, metrics in cycles.items()
        if cycle > 1
    }


def persistence(curve: Curve) -> Metric:
    """PERSIST: when the level falls below the limit for good, as an interval.

    From the last quantifiable sample to the first below the limit after it, once a
    second one below has confirmed it; without that, it is censored at the last
    quantifiable sample (`high` is infinite).
    """
    seen = np.flatnonzero(curve.above)
    if not seen.size:
        return Metric(reason="never above the limit")
    last = int(seen[-1])
    low, after = float(curve.time_d[last]), curve.time_d[last + 1 :]
    if after.size >= 2:
        return Metric(low=low, high=float(after[0]), reason="lost within the interval")
    reason = "above the limit at the last sample"
    if after.size:
        reason = "below the limit at the last sample only: not confirmed"
    return Metric(low=low, high=math.inf, reason=reason)


def _peak(curve: Curve) -> dict[str, Metric]:
    peak, above = curve.peak, np.flatnonzero(curve.above)
    note = ""
    if peak == curve.time_d.size - 1:
        note = "at the last sample: the peak may come later"
    elif peak == 0:
        note = "at the first sample: the peak may have come earlier"
    if above.size == 1:
        note = "the only quantifiable sample"
    return {
        "CMAX": Metric(float(curve.level[peak]), note=note),
        "TMAX": Metric(float(curve.time_d[peak]), note=note),
    }


def _last(curve: Curve) -> dict[str, Metric]:
    last = np.flatnonzero(curve.above)[-1]
    return {
        "CLST": Metric(float(curve.level[last])),
        "TLST": Metric(float(curve.time_d[last])),
    }


def _level_near(curve: Curve, day: float, window_d: float) -> Metric:
    """Level of the sample nearest to a day, the earlier of two equally near."""
    nearest = int(np.argmin(np.abs(curve.time_d - day)))
    time = float(curve.time_d[nearest])
    if abs(time - day) > window_d:
        return Metric(
            reason=f"no sample from day {day - window_d:g} to {day + window_d:g}"
        )
    note = "" if time == day else f"sample of day {time:.4g}"
    level = float(curve.level[nearest])
    if curve.below[nearest]:
        return Metric(low=0.0, high=level, reason="below the limit", note=note)
    return Metric(level, note=note)


def _ratio(later: Metric, first: Metric) -> Metric:
    """Ratio of two highest levels; an interval where one is below its limit."""
    if later.value is not None and first.value is not None:
        return Metric(later.value / first.value)
    if first.bounds is None:
        return Metric(reason=f"cycle 1: {first.reason}")
    if later.bounds is None:
        return Metric(reason=later.reason)
    if first.value is not None:
        high = later.bounds[1] / first.value
        return Metric(low=0.0, high=high, reason=later.reason)
    low = (later.value or 0.0) / first.bounds[1] if first.bounds[1] else 0.0
    reason = f"cycle 1: {first.reason}"
    return Metric(low=low, high=math.inf, reason=reason)
