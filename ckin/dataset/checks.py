"""What a column asks of its cells: a number within bounds, a flag, or nothing at all.

A cell that does not hold what was asked for is a fault, noted with its row and column.
"""

import dataclasses
import math

from ckin.dataset.cells import parse_number
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.table import Line


# Columns that only doses have; the first one other events have too.
DOSE_COLUMNS = ("AMT", "ADDL", "RATE", "DUR", "SS")
# OCC beyond this is no cycle of cell doses but something else, a visit or a date.
MOST_CYCLES = 100
A_DOSE = "clear it, or write EVID 1 if the row is a dose"


@dataclasses.dataclass(frozen=True)
class Checks:
    """Reads cells of one file.

    Attributes:
        layout: where its columns are.
        faults: where its faults are noted.
    """

    layout: Layout
    faults: Faults

    def number(
        self,
        line: Line,
        column: str,
        *,
        expected: str = "a number",
        fix: str = "correct it, or leave it empty",
        least: float = -math.inf,
        above: float = -math.inf,
        most: float = math.inf,
        whole: bool = False,
    ) -> float | None:
        """The number in a cell; `None` if it is missing, or wrong and now a fault."""
        text = self.layout.text(line, column)
        if text is None:
            return None
        value, wrong, hint = parse_number(text)
        if value is not None:
            fits = least <= value <= most and value > above
            if fits and (not whole or value == int(value)):
                return value
            wrong = quoted(text)
        self.add(line, column, wrong, expected, hint or fix)
        return None

    def needed(self, line: Line, column: str, expected: str, **checks) -> float | None:
        """As `number`, where a missing cell is a fault too."""
        if self.layout.text(line, column) is None:
            if self.layout.has(column):
                fix = checks.get("fix", "fill it in, or drop the row")
                self.add(line, column, "nothing", expected, fix)
            elif column not in ("TIME", "DV"):  # those are faults of the header
                self.add(line, column, f"no column {column}", expected, f"add {column}")
            return None
        checks.setdefault("fix", "correct it, or drop the row")
        return self.number(line, column, expected=expected, **checks)

    def cycle(self, line: Line) -> int | None:
        """The cycle in OCC; `None` if it is missing, or wrong and now a fault."""
        value = self.number(
            line,
            "OCC",
            expected=f"a cycle: a whole number from 1 to {MOST_CYCLES}",
            fix="number cycles 1, 2, 3 ...",
            least=1.0,
            most=float(MOST_CYCLES),
            whole=True,
        )
        return None if value is None else int(value)

    def flag(self, line: Line, column: str, fix: str) -> bool:
        """Whether a cell says 1; anything but 0, 1 and nothing is a fault."""
        value = self.number(line, column, expected="0 or 1", fix=fix, whole=True)
        if value not in (None, 0, 1):
            found = quoted(self.layout.text(line, column))
            self.add(line, column, found, "0 or 1", fix)
        return value == 1

    def nothing(
        self, line: Line, columns: tuple[str, ...], where: str, fix: str = A_DOSE
    ) -> None:
        """These columns belong to other rows: what they hold here would be lost."""
        for column in columns:
            text = self.layout.text(line, column)
            if text is not None and parse_number(text)[0] != 0:
                self.add(line, column, quoted(text), f"nothing or 0 {where}", fix)

    def add(self, line: Line, column: str, found: str, expected: str, fix: str) -> None:
        """Note a fault of a cell."""
        self.faults.add(line.row, self.layout.name(column), found, expected, fix)
