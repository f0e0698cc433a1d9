"""Metrics as a long table, in the manner of CDISC's ADPP: one row a number."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckin.metrics.course import Metrics
from ckin.metrics.parameters import PARAMETERS


COLUMNS = (
    *("ID", "OCC", "SPEC", "ASSAY", "PARAMCD", "PARAM", "AVAL", "AVALU"),
    *("AVALL", "AVALH", "REASON", "NOTE", "GROUP", "BLQRULE", "SOURCE"),
)


@dataclasses.dataclass(frozen=True)
class Course:
    """Metrics of one patient in one cycle, and what they are of.

    Attributes:
        patient: ID.
        cycle: from 1.
        material: what was sampled (PB, BM); "" when the file does not say.
        assay: a key of `ckin.dataset.ASSAYS`.
        unit: of its levels.
        group: level of the covariate that groups are made by; "" without.
        metrics: by code.
    """

    patient: str
    cycle: int
    material: str
    assay: str
    unit: str
    group: str
    metrics: Metrics


def long_rows(
    courses: Iterable[Course], *, blq: str, source: str
) -> list[dict[str, str]]:
    """Rows of the table; cells are texts.

    AVAL is empty where there is no value, and REASON says why. AVALL and AVALH bound
    an interval-censored number (AVALH is empty when it is right-censored), or are the
    5% and 95% quantiles of a posterior.

    Args:
        courses: in the order of the table.
        blq: the rule for levels below the limit.
        source: what the numbers are of: data, SYNTHETIC data, a posterior.
    """
    return [
        {
            "ID": course.patient,
            "OCC": str(course.cycle),
            "SPEC": course.material,
            "ASSAY": course.assay,
            "PARAMCD": code,
            "PARAM": PARAMETERS[code].name,
            "AVAL": _cell(metric.value),
            "AVALU": PARAMETERS[code].unit_of(course.unit),
            "AVALL": _cell(metric.low),
            "AVALH": _cell(metric.high),
            "REASON": metric.reason,
            "NOTE": metric.note,
            "GROUP": course.group,
            "BLQRULE": blq,
            "SOURCE": source,
        }
        for course in courses
        for code, metric in course.metrics.items()
    ]


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the table as CSV: `COLUMNS`, then what else rows say of themselves."""
    rows = list(rows)
    columns = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.10g}"
