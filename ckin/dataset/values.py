"""The value of an observation: a number, or that it lies below a detection limit."""

import collections
import dataclasses
import math
from collections.abc import Mapping

from ckin.dataset.cells import parse_number
from ckin.dataset.checks import Checks
from ckin.dataset.columns import ASSAYS, DEFAULT_ASSAY
from ckin.dataset.examined import EXAMINED
from ckin.dataset.faults import quoted
from ckin.dataset.table import Line


# Logarithms: base and name.
BASES = {"log": (math.e, "natural"), "log10": (10.0, "decimal")}
LARGEST_LOG10 = 300.0


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of a sample; the attributes are those of `Sample`."""

    value: float
    below: bool
    limit: float | None
    examined: float | None = None
    partitions: int | None = None


class Values:
    """Reads DV, CENS, LIMIT, EXAMINED and PARTITIONS.

    Args:
        check: reads the cells.
        units: unit of each assay, for messages.
        limits: detection limit of each assay where a row states none.
        counts: where values read in a particular way are counted, by (reason, assay).
        logs: column -> log or log10, where it holds logarithms.
    """

    def __init__(
        self,
        check: Checks,
        units: Mapping[str, str],
        limits: Mapping[str, float],
        counts: collections.Counter,
        logs: Mapping[str, str],
    ):
        self._logs = logs
        self._check, self._units = check, units
        self._limits, self._counts = limits, counts

    def read(self, line: Line, assay: str | None) -> Measured | None:
        """What the row says was measured; `None` where that is a fault."""
        examined = self._examined(line, assay)
        partitions = self._partitions(line, assay)
        wrong = examined is None and self._check.layout.text(line, "EXAMINED")
        # Where EXAMINED is a fault, that there is no limit is not another one.
        measured = self._value(line, assay, 1.0 if wrong else examined)
        if measured is None:
            return None
        return dataclasses.replace(measured, examined=examined, partitions=partitions)

    def _examined(self, line: Line, assay: str | None) -> float | None:
        """EXAMINED, of an assay that counts per something."""
        if assay is not None and assay not in EXAMINED:
            known = ", ".join(EXAMINED)
            fix = f"clear it: {known} count per amount examined"
            self._check.nothing(line, ("EXAMINED",), f"on a row of {assay}", fix)
            return None
        unit = EXAMINED[assay].unit if assay else "the unit of the assay"
        return self._check.number(
            line,
            "EXAMINED",
            expected=f"how much was examined, in {unit}, above 0",
            above=0.0,
        )

    def _partitions(self, line: Line, assay: str | None) -> int | None:
        """PARTITIONS, of a ddPCR reaction."""
        if assay not in (None, "ddpcr"):
            fix = "clear it, or write ddpcr in DVID if droplets were counted"
            self._check.nothing(line, ("PARTITIONS",), f"on a row of {assay}", fix)
            return None
        count = self._check.number(
            line,
            "PARTITIONS",
            expected="a whole number of partitions, 1 or more",
            least=1.0,
            whole=True,
        )
        return None if count is None else int(count)

    def _limit_of(self, assay: str | None, examined: float | None) -> float | None:
        """The limit that follows from what was examined, counted for the notes."""
        if assay not in EXAMINED or examined is None:
            return None
        self._counts["limit of examined", assay] += 1
        return EXAMINED[assay].limit(examined, self._units.get(assay, ""))

    def _value(
        self, line: Line, assay: str | None, examined: float | None
    ) -> Measured | None:
        unit = self._units.get(assay or "", "")
        fix = f"write a concentration{' in ' + unit if unit else ''} or drop the row"
        bounded = self._lower_bound(line)
        stated = (
            None
            if bounded
            else self._number(
                line,
                "LIMIT",
                expected="a detection limit above 0",
                fix="write the limit of the assay itself, or leave it empty",
                above=0.0,
            )
        )
        stands = self._check.layout.text(line, "LIMIT") is not None
        if stated is None and stands and not bounded:
            return None
        limit = self._limits.get(assay or "") if stated is None else stated
        if self._censored(line):
            if bounded:
                return self._below(line, assay, None, examined, "lower bound")
            return self._below(line, assay, limit, examined)
        if not self._check.layout.has("DV"):
            return None
        if self._check.layout.text(line, "DV") is None:
            self._check.add(
                line,
                "DV",
                "nothing",
                "a number",
                fix + ", or write MDV 1; below the limit is CENS 1 with LIMIT",
            )
            return None
        value = self._number(line, "DV", fix=fix)
        if value is None:
            return None
        if value < 0:
            found = quoted(self._check.layout.text(line, "DV"))
            self._check.add(line, "DV", found, "a value of 0 or more", fix)
            return None
        if value == 0 and limit is None:
            limit = self._limit_of(assay, examined)
            if limit is None and assay is not None and assay not in ASSAYS:
                # Of one's own: an additive error can read nothing.
                return Measured(0.0, False, None)
            if limit is None:
                self._check.add(
                    line,
                    "DV",
                    "0 with no detection limit",
                    "a limit that a value of 0 is below",
                    _how_to_state_a_limit(assay),
                )
                return None
            return Measured(limit, True, limit)
        if limit is not None and value < limit:
            if assay is not None:
                kind = "zero" if value == 0 else "under the limit"
                self._counts[kind, assay] += 1
            return Measured(limit, True, limit)
        return Measured(value, False, limit)

    def _number(self, line: Line, column: str, **checks) -> float | None:
        """The number of a cell, or that of which it is the logarithm."""
        kind = self._logs.get(column)
        if kind is None:
            return self._check.number(line, column, **checks)
        base, name = BASES[kind]
        most = LARGEST_LOG10 / math.log10(base)
        expected = f"a {name} logarithm, {-most:.0f} to {most:.0f}"
        value = self._check.number(
            line, column, expected=expected, least=-most, most=most
        )
        return None if value is None else base**value

    def _lower_bound(self, line: Line) -> bool:
        """Whether LIMIT 0 is what Monolix has there: a value between 0 and DV."""
        if "LIMIT" in self._logs:
            return False
        cells = (
            self._check.layout.text(line, name) for name in ("CENS", "LIMIT", "DV")
        )
        censored, limit, value = (parse_number(cell or "")[0] for cell in cells)
        return censored == 1 and limit == 0 and (value or 0.0) > 0

    def _censored(self, line: Line) -> bool:
        text = self._check.layout.text(line, "CENS")
        if text is None:
            return False
        value, _, _ = parse_number(text)
        if value not in (0, 1):
            fix = "write 1 for a value below its detection limit"
            if value == -1:
                fix = "values above an upper limit are not taken: drop the row"
            self._check.add(line, "CENS", quoted(text), "0 or 1", fix)
        return value == 1

    def _below(
        self,
        line: Line,
        assay: str | None,
        limit: float | None,
        examined: float | None,
        reason: str = "DV as limit",
    ) -> Measured | None:
        """A value said to be below its limit, which the row or the map may state."""
        text = self._check.layout.text(line, "DV")
        value = None
        if text is not None:
            value = self._number(
                line,
                "DV",
                expected="the limit, 0 or nothing, with CENS 1",
                fix="clear it",
                least=0.0,
            )
            if value is None:
                return None
            if "DV" in self._logs and parse_number(text)[0] == 0:
                value = 0.0  # that is where nothing is said, not a limit of 1
        if limit is None and value:
            limit = value
            if assay is not None:
                self._counts[reason, assay] += 1
        elif limit is None:
            limit = self._limit_of(assay, examined)
        if limit is None:
            self._check.add(
                line,
                "CENS",
                "1 with no detection limit",
                "LIMIT, or the limit as DV",
                _how_to_state_a_limit(assay),
            )
            return None
        if value is not None and value > limit:
            self._check.add(
                line,
                "DV",
                f"{quoted(text)} with CENS 1 and limit {limit:g}",
                "a value that is not above its limit",
                "write the limit of this sample in LIMIT, or CENS 0",
            )
            return None
        return Measured(limit, True, limit)


def _how_to_state_a_limit(assay: str | None) -> str:
    ways = f"--limit {assay or DEFAULT_ASSAY}=NUMBER, or a column LIMIT"
    unit = EXAMINED[assay].unit if assay in EXAMINED else ""
    return f"{ways}, or EXAMINED in {unit}" if unit else ways
