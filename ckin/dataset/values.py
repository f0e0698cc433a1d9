"""The value of an observation: a number, or that it lies below a detection limit."""

import collections
from collections.abc import Mapping

from ckin.dataset.cells import parse_number
from ckin.dataset.checks import Checks
from ckin.dataset.columns import DEFAULT_ASSAY
from ckin.dataset.faults import quoted
from ckin.dataset.table import Line


class Values:
    """Reads DV, CENS and LIMIT.

    Args:
        check: reads the cells.
        units: unit of each assay, for messages.
        limits: detection limit of each assay where a row states none.
        counts: where values read in a particular way are counted, by (reason, assay).
    """

    def __init__(
        self,
        check: Checks,
        units: Mapping[str, str],
        limits: Mapping[str, float],
        counts: collections.Counter,
    ):
        self._check, self._units = check, units
        self._limits, self._counts = limits, counts

    def read(
        self, line: Line, assay: str | None
    ) -> tuple[float, bool, float | None] | None:
        """Value, whether it is below the limit, and the limit."""
        unit = self._units.get(assay or "", "")
        fix = f"write a concentration{' in ' + unit if unit else ''} or drop the row"
        stated = self._check.number(
            line,
            "LIMIT",
            expected="a detection limit above 0",
            fix="write the limit of the assay itself, or leave it empty",
            above=0.0,
        )
        if stated is None and self._check.layout.text(line, "LIMIT") is not None:
            return None
        limit = self._limits.get(assay or "") if stated is None else stated
        if self._censored(line):
            return self._below(line, assay, limit)
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
        value = self._check.number(line, "DV", fix=fix)
        if value is None:
            return None
        if value < 0:
            found = quoted(self._check.layout.text(line, "DV"))
            self._check.add(line, "DV", found, "a value of 0 or more", fix)
            return None
        if value == 0 and limit is None:
            self._check.add(
                line,
                "DV",
                "0 with no detection limit",
                "a limit that a value of 0 is below",
                f"--limit {assay or DEFAULT_ASSAY}=NUMBER, or a column LIMIT",
            )
            return None
        if limit is not None and value < limit:
            if assay is not None:
                kind = "zero" if value == 0 else "under the limit"
                self._counts[kind, assay] += 1
            return limit, True, limit
        return value, False, limit

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
        self, line: Line, assay: str | None, limit: float | None
    ) -> tuple[float, bool, float | None] | None:
        """A value said to be below its limit, which the row or the map may state."""
        text = self._check.layout.text(line, "DV")
        value = None
        if text is not None:
            value = self._check.number(
                line,
                "DV",
                expected="the limit, 0 or nothing, with CENS 1",
                fix="clear it",
                least=0.0,
            )
            if value is None:
                return None
        if limit is None:
            if not value:
                self._check.add(
                    line,
                    "CENS",
                    "1 with no detection limit",
                    "LIMIT, or the limit as DV",
                    f"--limit {assay or DEFAULT_ASSAY}=NUMBER, or a column LIMIT",
                )
                return None
            if assay is not None:
                self._counts["DV as limit", assay] += 1
            limit = value
        if value is not None and value > limit:
            self._check.add(
                line,
                "DV",
                f"{quoted(text)} with CENS 1 and limit {limit:g}",
                "a value that is not above its limit",
                "write the limit of this sample in LIMIT, or CENS 0",
            )
            return None
        return limit, True, limit
