"""Metrics of a group of patients, and groups against one another.

Levels, areas and half-lives are told by geometric mean and geometric CV%, times by
their median. Intervals take part in medians: the median lies between that of their
lower and that of their upper ends, whatever the true values are.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ckin.metrics.curve import Metric
from ckin.metrics.parameters import PARAMETERS


RATIO_LEVEL = 0.90


@dataclasses.dataclass(frozen=True)
class GroupRow:
    """One metric of one group.

    Attributes:
        code: PARAMCD.
        group: the patients: `all`, a level of a covariate, or a cycle.
        n: patients with a value; for PERSIST, with an interval that ends.
        total: patients of the group.
        mean: geometric mean; `None` for times and without values.
        cv_pct: geometric CV, 100 √(exp s² - 1) with s the SD of the logarithms; `None`
            for fewer than two values.
        median: where the median lies; two equal numbers when it is known, `None` when
            nothing is known of anyone.
        lowest: smallest value.
        highest: largest value.
        reasons: why patients have no value, and how many.
        ratio: geometric mean over that of the first group; `None` for the first.
        ratio_interval: its 90% confidence interval; `None` without it.
    """

    code: str
    group: str
    n: int
    total: int
    mean: float | None
    cv_pct: float | None
    median: tuple[float, float] | None
    lowest: float | None
    highest: float | None
    reasons: Mapping[str, int]
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None


def group_rows(
    groups: Mapping[str, Mapping[str, Mapping[str, Metric]]], *, paired: bool = False
) -> list[GroupRow]:
    """Rows of every metric that is averaged, group by group.

    Args:
        groups: group -> patient -> code -> metric. The first group is the reference.
        paired: the same patients are in every group (cycles): ratios are those within
            patients who have both values. Otherwise groups are compared by Welch's t on
            logarithms.
    """
    rows = []
    for code, parameter in PARAMETERS.items():
        if not parameter.summary:
            continue
        reference: dict[str, float] | None = None
        for group, patients in groups.items():
            mine = {
                p: metrics[code] for p, metrics in patients.items() if code in metrics
            }
            if not mine:
                continue
            row = _row(code, group, list(mine.values()))
            logs = _logs(mine) if parameter.summary == "geometric" else {}
            if reference is None:
                reference = logs
            elif logs:
                row = _compared(row, logs, reference, paired=paired)
            rows.append(row)
    return rows


def _row(code: str, group: str, metrics: Sequence[Metric]) -> GroupRow:
    values = np.array([m.value for m in metrics if m.value is not None])
    reasons: dict[str, int] = {}
    for metric in metrics:
        if metric.value is None:
            reasons[metric.reason] = reasons.get(metric.reason, 0) + 1
    known = [m.bounds for m in metrics if m.bounds is not None]
    ended = sum(np.isfinite(high) for _, high in known)
    logs = np.log(values) if np.all(values > 0) else np.array([])
    geometric = PARAMETERS[code].summary == "geometric" and logs.size > 0
    return GroupRow(
        code=code,
        group=group,
        n=int(ended) if code == "PERSIST" else values.size,
        total=len(metrics),
        mean=float(np.exp(logs.mean())) if geometric else None,
        cv_pct=_cv_pct(logs) if geometric and logs.size > 1 else None,
        median=_median(known) if known else None,
        lowest=float(values.min()) if values.size else None,
        highest=float(values.max()) if values.size else None,
        reasons=reasons,
    )


def _cv_pct(logs: np.ndarray) -> float:
    return float(100.0 * np.sqrt(np.expm1(logs.var(ddof=1))))


def _median(bounds: list[tuple[float, float]]) -> tuple[float, float]:
    """Where the median of numbers known to lie within bounds is."""
    low, high = np.sort(np.array(bounds), axis=0).T
    middle = [(len(bounds) - 1) // 2, len(bounds) // 2]
    return float(low[middle].mean()), float(high[middle].mean())


def _logs(metrics: Mapping[str, Metric]) -> dict[str, float]:
    return {
        patient: float(np.log(metric.value))
        for patient, metric in metrics.items()
        if metric.value is not None and metric.value > 0
    }


def _compared(
    row: GroupRow,
    logs: Mapping[str, float],
    reference: Mapping[str, float],
    *,
    paired: bool,
) -> GroupRow:
    """The row with its ratio to the reference group."""
    if paired:
        both = [logs[p] - reference[p] for p in logs if p in reference]
        if not both:
            return row
        centre, n = float(np.mean(both)), len(both)
        error = float(np.std(both, ddof=1)) / n**0.5 if n > 1 else None
        freedom = n - 1.0
    else:
        one, other = (np.array(list(each.values())) for each in (logs, reference))
        if not other.size:
            return row
        centre, error, freedom = float(one.mean() - other.mean()), None, 0.0
        if min(one.size, other.size) > 1:
            shares = one.var(ddof=1) / one.size, other.var(ddof=1) / other.size
            error = float(sum(shares)) ** 0.5
            weights = shares[0] ** 2 / (one.size - 1) + shares[1] ** 2 / (
                other.size - 1
            )
            freedom = float(sum(shares) ** 2 / weights) if weights > 0 else 1.0
    interval = None
    if error is not None:
        reach = float(stats.t.ppf(0.5 + 0.5 * RATIO_LEVEL, freedom)) * error
        interval = (float(np.exp(centre - reach)), float(np.exp(centre + reach)))
    return dataclasses.replace(
        row, ratio=float(np.exp(centre)), ratio_interval=interval
    )
