"""One row of a file of wells -> one checked well."""

import collections
import dataclasses

from ckin.ct.columns import COLUMNS
from ckin.ct.records import Ct
from ckin.dataset.cells import parse_number
from ckin.dataset.checks import Checks
from ckin.dataset.columns import LONGEST_D
from ckin.dataset.faults import Faults, did_you_mean, quoted
from ckin.dataset.header import Layout
from ckin.dataset.table import Line


STANDARD, SAMPLE, NTC = "standard", "sample", "ntc"
# How instruments spell the types.
TYPES = {
    "standard": STANDARD,
    "std": STANDARD,
    "sample": SAMPLE,
    "unknown": SAMPLE,
    "unkn": SAMPLE,
    "ntc": NTC,
}
# How instruments say that a well did not amplify, besides an empty cell.
UNDETERMINED = frozenset(
    {"undetermined", "undet", "undet.", "nan", "n/a", "no ct", "no cq"}
)
# More cycles than any instrument runs; a Ct above is a slip of the column.
MOST_CYCLES_OF_PCR = 60.0
# More DNA than a reaction holds: a slip of the unit.
MOST_DNA_NG = 10_000.0
# Copies that no standard has: a slip of the unit.
MOST_COPIES = 1e12
ONE_PLATE = "1"


@dataclasses.dataclass(frozen=True)
class Well:
    """A well; what does not belong to its type is `None`."""

    row: int
    plate: str
    kind: str
    ct: Ct
    copies: float | None = None
    sample: str | None = None
    patient: str | None = None
    time_d: float | None = None
    dna_ng: float | None = None
    cycle: int | None = None


class WellRows:
    """Checks rows one after the other.

    Attributes:
        counts: how often something was read in a particular way, by what.
        kinds: types of wells that occur, faulty wells included.
    """

    def __init__(self, layout: Layout, faults: Faults):
        self._layout = layout
        self._faults = faults
        self._check = Checks(layout, faults)
        self._positions: dict[tuple[str, str], int] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.kinds: set[str] = set()

    def read(self, line: Line) -> Well | None:
        """The well of a row; `None` if it has a fault."""
        before = len(self._faults)
        plate = ONE_PLATE
        if self._layout.has("PLATE"):
            plate = self._text(line, "PLATE") or ""
        self._position(line, plate)
        kind = self._kind(line)
        ct = self._ct(line)
        well = Well(line.row, plate, kind or "", ct)
        if kind == STANDARD:
            well = dataclasses.replace(well, copies=self._copies(line))
        elif kind == SAMPLE:
            well = self._of_sample(line, well)
        if kind in (SAMPLE, NTC):
            self._no_copies(line, kind)
        return None if len(self._faults) > before else well

    def _position(self, line: Line, plate: str) -> None:
        position = self._layout.text(line, "WELL")
        if position is None:
            return
        first = self._positions.setdefault((plate, position.upper()), line.row)
        if first != line.row:
            self._check.add(
                line,
                "WELL",
                f"{quoted(position)}, as in row {first}",
                "one row for each well of a plate",
                "drop one of the rows, or tell the plates apart in PLATE",
            )

    def _kind(self, line: Line) -> str | None:
        text = self._text(line, "TYPE")
        if text is None:
            return None
        if text.casefold() not in TYPES:
            known = (STANDARD, SAMPLE, NTC)
            fix = did_you_mean(text, known) + "name the type, or drop the row"
            self._check.add(line, "TYPE", quoted(text), ", ".join(known), fix)
            return None
        self.kinds.add(TYPES[text.casefold()])
        return TYPES[text.casefold()]

    def _ct(self, line: Line) -> Ct:
        text = self._layout.text(line, "CT")
        if text is None or text.casefold() in UNDETERMINED:
            word = "empty" if text is None else text
            self.counts[f"without a Ct ({word})"] += 1
            return None
        return self._check.number(
            line,
            "CT",
            expected="a Ct, above 0 and at most 60 cycles",
            fix="leave it empty, or write Undetermined, if the well did not amplify",
            above=0.0,
            most=MOST_CYCLES_OF_PCR,
        )

    def _copies(self, line: Line) -> float | None:
        return self._check.needed(
            line,
            "COPIES",
            "copies per reaction of the standard, above 0",
            fix="write the number of copies, not its logarithm; a well without "
            "template is of type ntc",
            above=0.0,
            most=MOST_COPIES,
        )

    def _no_copies(self, line: Line, kind: str) -> None:
        """Copies of another well would be a reading of it by somebody else's curve."""
        text = self._layout.text(line, "COPIES")
        if text is not None and parse_number(text)[0] != 0:
            self._check.add(
                line,
                "COPIES",
                quoted(text),
                f"nothing in a well of type {kind}",
                "clear it, or write TYPE standard if the copies are known",
            )

    def _of_sample(self, line: Line, well: Well) -> Well:
        time_d = self._check.needed(
            line,
            "TIME",
            "days from the first infusion, a number within a century",
            least=-LONGEST_D,
            most=LONGEST_D,
        )
        dna_ng = self._check.needed(
            line,
            "DNA_NG",
            "DNA in the reaction in ng, above 0 and at most 10,000",
            fix="write the ng that went into the reaction, not a concentration",
            above=0.0,
            most=MOST_DNA_NG,
        )
        cycle = self._check.cycle(line)
        return dataclasses.replace(
            well,
            sample=self._text(line, "SAMPLE"),
            patient=self._text(line, "ID"),
            time_d=time_d,
            dna_ng=dna_ng,
            cycle=cycle,
        )

    def _text(self, line: Line, column: str) -> str | None:
        """A cell that must not be empty."""
        text = self._layout.text(line, column)
        if text is None:
            found = "nothing" if self._layout.has(column) else f"no column {column}"
            fix = "fill it in, or drop the row"
            self._check.add(line, column, found, COLUMNS[column], fix)
        return text

    def not_read(self, line: Line, kind: str) -> None:
        """Count what stands in columns that a well of this type does not use."""
        if kind == SAMPLE:
            return
        for column in ("ID", "TIME", "DNA_NG", "OCC"):
            text = self._layout.text(line, column)
            if text is not None and parse_number(text)[0] != 0:
                self.counts[f"of type {kind} with a {column}, which is not read"] += 1
