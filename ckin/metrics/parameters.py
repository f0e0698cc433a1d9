"""The metrics by their codes: what each is called, in what unit, how it is averaged.

Codes are CDISC's where CDISC has one (CMAX, TMAX, TLAG, CLST, TLST, LAMZHL, LAMZNPT,
LAMZLL, LAMZUL, R2ADJ); the others are made in its manner and are ckin's own.
"""

import dataclasses
from typing import Literal


Unit = Literal["level", "day", "level*day", "1"]
Summary = Literal["geometric", "time", ""]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One metric.

    Attributes:
        code: PARAMCD.
        name: PARAM.
        unit: in days and in the unit of the levels.
        summary: how a group is told: "geometric" mean, CV% and median, or the median
            of a "time"; "" for what is about one curve only.
    """

    code: str
    name: str
    unit: Unit
    summary: Summary = ""

    def unit_of(self, level_unit: str) -> str:
        """AVALU, for levels in `level_unit`."""
        return self.unit.replace("level", level_unit)


_ALL: tuple[tuple[str, str, Unit, Summary], ...] = (
    ("CMAX", "Highest level", "level", "geometric"),
    ("TMAX", "Time of highest level", "day", "time"),
    ("AUC028", "AUC, day 0 to 28", "level*day", "geometric"),
    ("AUC084", "AUC, day 0 to 84", "level*day", "geometric"),
    ("CLST", "Last level above limit", "level", "geometric"),
    ("TLST", "Time of last level above limit", "day", "time"),
    ("TLAG", "Lag before expansion", "day", "time"),
    ("DBLT", "Doubling time of expansion", "day", "geometric"),
    ("DBLNPT", "Points of doubling time", "1", ""),
    ("DBLLL", "Doubling time, first point", "day", ""),
    ("DBLUL", "Doubling time, last point", "day", ""),
    ("INIHL", "Initial half-life", "day", "geometric"),
    ("ININPT", "Points of initial half-life", "1", ""),
    ("INILL", "Initial half-life, first point", "day", ""),
    ("INIUL", "Initial half-life, last point", "day", ""),
    ("LAMZHL", "Terminal half-life", "day", "geometric"),
    ("LAMZNPT", "Points of terminal half-life", "1", ""),
    ("LAMZLL", "Terminal half-life, first point", "day", ""),
    ("LAMZUL", "Terminal half-life, last point", "day", ""),
    ("R2ADJ", "Adjusted R2 of terminal half-life", "1", ""),
    ("CD28", "Level at day 28", "level", "geometric"),
    ("CM3", "Level at month 3", "level", "geometric"),
    ("CM6", "Level at month 6", "level", "geometric"),
    ("PERSIST", "Persistence above limit", "day", "time"),
    ("RCMAX", "Highest level over that of cycle 1", "1", "geometric"),
)
PARAMETERS = {entry[0]: Parameter(*entry) for entry in _ALL}
