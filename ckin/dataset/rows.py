"""One row of a file -> one checked record: a dose, a sample or another event.

A row with a fault becomes nothing, and the fault is noted. What is left out or read in
a particular way without being a fault is counted, for the notes of the data set.
"""

import collections
import dataclasses
import math

from ckin.dataset.cells import parse_number
from ckin.dataset.checks import Checks
from ckin.dataset.columns import ASSAYS, DEFAULT_ASSAY
from ckin.dataset.faults import Faults, did_you_mean, quoted
from ckin.dataset.header import Layout
from ckin.dataset.table import Line
from ckin.protocol import LYMPHODEPLETION, PRODUCTS
from ckin.units import HOURS_PER_DAY


TKI = "TKI"
OTHER_EVENTS = (LYMPHODEPLETION, TKI)
# A time beyond a century is a slip, or a date as a spreadsheet stores it.
LONGEST_D = 36_525.0
# ADDL beyond this is a slip; nobody is given so many cell doses.
MOST_FURTHER_DOSES = 1000
# OCC beyond this is no cycle of cell doses but something else, a visit or a date.
MOST_CYCLES = 100
BOLUSES_ONLY = "this version takes boluses only: write each dose as a row with RATE 0"


@dataclasses.dataclass(frozen=True)
class DoseRow:
    """A dose, with how often it is repeated. `cycle` is `None` without OCC."""

    row: int
    patient: str
    time_d: float
    cycle: int | None
    product: str
    amount: float
    further: int
    every_d: float


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """A sample that is to be used. `cycle` is `None` without OCC."""

    row: int
    patient: str
    time_d: float
    cycle: int | None
    assay: str
    value: float
    below: bool
    limit: float | None
    after: bool


@dataclasses.dataclass(frozen=True)
class EventRow:
    """Lymphodepletion, or TKI at `level` from now on."""

    row: int
    patient: str
    time_d: float
    what: str
    level: float


class Rows:
    """Checks rows one after the other.

    Attributes:
        check: reads the cells.
        counts: how many rows were left out or read in a particular way, by reason;
            for those about an assay the reason is (reason, assay).
        first_row: assay -> the first row that has it.
        patients: patient -> its first row, in the order of the file.
        apart: patients whose rows are not together.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        units: dict[str, str],
        limits: dict[str, float],
        assay: str | None,
        faults: Faults,
    ):
        self._layout = layout
        self._units = units
        self._limits = limits
        self._assay = assay or DEFAULT_ASSAY
        self._faults = faults
        self.check = Checks(layout, faults)
        self._days = 1 / HOURS_PER_DAY if units.get("TIME") == "hour" else 1.0
        self.counts: collections.Counter = collections.Counter()
        self.first_row: dict[str, int] = {}
        self.patients: dict[str, int] = {}
        self.apart: set[str] = set()
        self._last: dict[str, tuple[float, int]] = {}
        self._previous: str | None = None
        self._seen: dict[tuple[str, ...], int] = {}

    def read(self, line: Line) -> DoseRow | SampleRow | EventRow | None:
        """The record of a row, or `None` if it has a fault or is to be left out."""
        before = len(self._faults)
        twin = self._seen.setdefault(line.cells, line.row)
        if twin != line.row:
            self._faults.add(
                line.row,
                None,
                f"the same cells as row {twin}",
                "rows that differ",
                "drop one; replicates: number them in a column, and ignore that",
            )
        patient = self._patient(line)
        longest = LONGEST_D / self._days
        time = self.check.needed(
            line,
            "TIME",
            "days from the first infusion, a number within a century",
            least=-longest,
            most=longest,
        )
        if time is not None:
            time *= self._days
            if patient is not None:
                self._in_order(line, patient, time)
        kind = self._kind(line)
        record = None
        # Without a patient or a time the rest of the row is still checked.
        who, when = patient or "", math.nan if time is None else time
        if kind == 1:
            record = self._dose(line, who, when)
        elif kind == 0:
            record = self._sample(line, who, when)
        elif kind == 2:
            record = self._event(line, who, when)
        complete = patient is not None and time is not None
        return record if complete and len(self._faults) == before else None

    def _patient(self, line: Line) -> str | None:
        patient = self._layout.text(line, "ID")
        if patient is None:
            if self._layout.has("ID"):
                self.check.add(line, "ID", "nothing", "a patient", "fill it in")
            return None
        if patient in self.patients and self._previous != patient:
            self.apart.add(patient)
        self.patients.setdefault(patient, line.row)
        self._previous = patient
        return patient

    def _in_order(self, line: Line, patient: str, time_d: float) -> None:
        last = self._last.get(patient)
        if last is not None and time_d < last[0]:
            self.check.add(
                line,
                "TIME",
                f"{quoted(self._layout.text(line, 'TIME'))}, earlier than row "
                f"{last[1]} of patient {quoted(patient)}",
                "rows of a patient in order of time",
                "sort them by ID and TIME, correct the time, or give each course of "
                "treatment an ID of its own",
            )
        self._last[patient] = (time_d, line.row)

    def _kind(self, line: Line) -> int | None:
        """0 observation, 1 dose, 2 other event."""
        text = self._layout.text(line, "EVID")
        if text is not None:
            value, _, _ = parse_number(text)
            if value in (0, 1, 2):
                return int(value)
            fix = "write 0, 1 or 2"
            if value in (3, 4):
                fix = "resets are not taken: " + BOLUSES_ONLY
            expected = "0 (observation), 1 (dose) or 2 (other event)"
            self.check.add(line, "EVID", quoted(text), expected, fix)
            return None
        if self._layout.has("EVID"):
            self.counts["no EVID"] += 1
        what = self._layout.text(line, "CMT")
        if what is not None and what.upper() in OTHER_EVENTS:
            return 2
        amount = self._layout.text(line, "AMT")
        return 0 if amount is None or parse_number(amount)[0] == 0 else 1

    def _boluses(self, line: Line) -> None:
        for column in ("RATE", "SS"):
            value = self.check.number(line, column, expected="0", fix=BOLUSES_ONLY)
            if value:
                found = quoted(self._layout.text(line, column))
                self.check.add(line, column, found, "0", BOLUSES_ONLY)

    def _cycle(self, line: Line) -> int | None:
        value = self.check.number(
            line,
            "OCC",
            expected=f"a cycle: a whole number from 1 to {MOST_CYCLES}",
            fix="number cycles 1, 2, 3 ...",
            least=1.0,
            most=float(MOST_CYCLES),
            whole=True,
        )
        return None if value is None else int(value)

    def _dose(self, line: Line, patient: str, time_d: float) -> DoseRow | None:
        self._boluses(line)
        cycle = self._cycle(line)
        product = self._product(line)
        unit = self._units["AMT"]
        amount = self.check.needed(
            line, "AMT", f"a dose of 0 or more {unit}", least=0.0
        )
        further = self.check.number(
            line,
            "ADDL",
            expected=f"a whole number of further doses, 0 to {MOST_FURTHER_DOSES}",
            least=0.0,
            most=float(MOST_FURTHER_DOSES),
            whole=True,
        )
        every = None
        if further:
            every = self.check.needed(
                line, "II", "the time between doses, above 0", above=0.0
            )
        elif self.check.number(line, "II"):
            self.counts["II without ADDL"] += 1
        value = self._layout.text(line, "DV")
        if value is not None and parse_number(value)[0] != 0:
            self.counts["DV of a dose"] += 1
        if product is None or amount is None or (further and every is None):
            return None
        if amount == 0:
            self.counts["dose of 0"] += 1
        return DoseRow(
            row=line.row,
            patient=patient,
            time_d=time_d,
            cycle=cycle,
            product=product,
            amount=amount,
            further=int(further or 0),
            every_d=(every or 0.0) * self._days,
        )

    def _product(self, line: Line) -> str | None:
        text = self._layout.text(line, "CMT")
        known = ", ".join(PRODUCTS)
        if text is None:
            found = "nothing" if self._layout.has("CMT") else "no column CMT"
            fix = "name the product of each dose in CMT"
            self.check.add(line, "CMT", found, f"a product: {known}", fix)
            return None
        if text.upper() in PRODUCTS:
            return text.upper()
        fix = did_you_mean(text, PRODUCTS) + "name the product"
        if text.upper() in OTHER_EVENTS:
            fix = f"{text.upper()} is another event: EVID 2"
        self.check.add(line, "CMT", quoted(text), f"a product: {known}", fix)
        return None

    def _event(self, line: Line, patient: str, time_d: float) -> EventRow | None:
        self.check.nothing(line, ("ADDL", "RATE", "SS"), "on another event")
        text = self._layout.text(line, "CMT")
        if text is None:
            self.counts["event without CMT"] += 1
            return None
        what = text.upper()
        if what not in OTHER_EVENTS:
            fix = did_you_mean(text, OTHER_EVENTS) + "a dose is EVID 1"
            known = "LD (lymphodepletion) or TKI"
            self.check.add(line, "CMT", quoted(text), known, fix)
            return None
        level = 0.0
        if what == TKI:
            expected = "the level of TKI from now on: 0 (held) to 1 (full)"
            level = self.check.needed(line, "AMT", expected, least=0.0, most=1.0)
        if level is None:
            return None
        return EventRow(line.row, patient, time_d, what, level)

    def _sample(self, line: Line, patient: str, time_d: float) -> SampleRow | None:
        if self.check.flag(line, "MDV", "0 uses the value, 1 leaves it out"):
            self.counts["MDV"] += 1
            return None
        self.check.nothing(line, ("AMT", "ADDL", "RATE", "SS"), "on an observation")
        if self._layout.text(line, "CMT") is not None:
            self.counts["CMT of an observation"] += 1
        cycle = self._cycle(line)
        after = self.check.flag(
            line, "AFTER", "1: drawn after the dose at the same time"
        )
        assay = self._assay_of(line)
        if assay is not None:
            self.first_row.setdefault(assay, line.row)
        measured = self._measured(line, assay)
        if assay is None or measured is None:
            return None
        value, below, limit = measured
        return SampleRow(
            line.row, patient, time_d, cycle, assay, value, below, limit, after
        )

    def _assay_of(self, line: Line) -> str | None:
        if not self._layout.has("DVID"):
            return self._assay
        text = self._layout.text(line, "DVID")
        expected = f"an assay: {', '.join(ASSAYS)}"
        if text is None:
            self.check.add(
                line, "DVID", "nothing", expected, "name the assay of the value"
            )
            return None
        if text.lower() in ASSAYS:
            return text.lower()
        fix = did_you_mean(text, ASSAYS) + "name the assay, or drop the row"
        self.check.add(line, "DVID", quoted(text), expected, fix)
        return None

    def _measured(
        self, line: Line, assay: str | None
    ) -> tuple[float, bool, float | None] | None:
        """Value, whether it is below the limit, and the limit."""
        unit = self._units.get(assay or "", "")
        fix = f"write a concentration{' in ' + unit if unit else ''} or drop the row"
        stated = self.check.number(
            line,
            "LIMIT",
            expected="a detection limit above 0",
            fix="write the limit of the assay itself, or leave it empty",
            above=0.0,
        )
        if stated is None and self._layout.text(line, "LIMIT") is not None:
            return None
        limit = self._limits.get(assay or "") if stated is None else stated
        if self._censored(line):
            return self._below(line, assay, limit)
        if not self._layout.has("DV"):
            return None
        if self._layout.text(line, "DV") is None:
            self.check.add(
                line,
                "DV",
                "nothing",
                "a number",
                fix + ", or write MDV 1; below the limit is CENS 1 with LIMIT",
            )
            return None
        value = self.check.number(line, "DV", fix=fix)
        if value is None:
            return None
        if value < 0:
            found = quoted(self._layout.text(line, "DV"))
            self.check.add(line, "DV", found, "a value of 0 or more", fix)
            return None
        if value == 0 and limit is None:
            self.check.add(
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
                self.counts[kind, assay] += 1
            return limit, True, limit
        return value, False, limit

    def _censored(self, line: Line) -> bool:
        text = self._layout.text(line, "CENS")
        if text is None:
            return False
        value, _, _ = parse_number(text)
        if value not in (0, 1):
            fix = "write 1 for a value below its detection limit"
            if value == -1:
                fix = "values above an upper limit are not taken: drop the row"
            self.check.add(line, "CENS", quoted(text), "0 or 1", fix)
        return value == 1

    def _below(
        self, line: Line, assay: str | None, limit: float | None
    ) -> tuple[float, bool, float | None] | None:
        """A value said to be below its limit, which the row or the map may state."""
        text = self._layout.text(line, "DV")
        value = None
        if text is not None:
            value = self.check.number(
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
                self.check.add(
                    line,
                    "CENS",
                    "1 with no detection limit",
                    "LIMIT, or the limit as DV",
                    f"--limit {assay or DEFAULT_ASSAY}=NUMBER, or a column LIMIT",
                )
                return None
            if assay is not None:
                self.counts["DV as limit", assay] += 1
            limit = value
        if value is not None and value > limit:
            self.check.add(
                line,
                "DV",
                f"{quoted(text)} with CENS 1 and limit {limit:g}",
                "a value that is not above its limit",
                "write the limit of this sample in LIMIT, or CENS 0",
            )
            return None
        return limit, True, limit
