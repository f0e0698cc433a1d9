"""One row of a file -> one checked record: a dose, a sample or another event.

A row with a fault becomes nothing, and the fault is noted. What is left out or read in
a particular way without being a fault is counted, for the notes of the data set.
"""

import collections
import math
from collections.abc import Callable, Mapping

from ckin.dataset.cells import NO_ERROR_VALUE, parse_number, spreadsheet_error
from ckin.dataset.checks import DOSE_COLUMNS, Checks
from ckin.dataset.columns import (
    ASSAYS,
    DEFAULT_ASSAY,
    LONGEST_D,
    OTHER_EVENTS,
    UNITS,
    own_assay,
)
from ckin.dataset.faults import Faults, did_you_mean, quoted
from ckin.dataset.header import Layout
from ckin.dataset.row_kinds import DoseRow, EventRow, Record, ResetRow, SampleRow
from ckin.dataset.table import Line
from ckin.dataset.values import Values
from ckin.protocol import LYMPHODEPLETION, PRODUCTS
from ckin.units import conversion


EVIDS = {
    0: "observation",
    1: "dose",
    2: "other event",
    3: "reset",
    4: "reset and dose",
}
# ADDL beyond this is a slip; nobody is given so many cell doses.
MOST_FURTHER_DOSES = 1000
NO_STEADY_STATE = "cells have none: write each dose as a row of its own"


class Rows:
    """Checks rows one after the other.

    Attributes:
        check: reads the cells.
        counts: how many rows were left out or read in a particular way, by reason;
            for those about an assay the reason is (reason, assay).
        first_row: assay -> the first row that has it.
        patients: patient -> its first row, in the order of the file.
        apart: patients whose rows are not together.
        time_d: row -> its day, of rows that have a patient and a time.

    Args:
        units: of assays, AMT and TIME.
        products: of one's own -> the unit of their doses.
        limits: detection limit of each assay where a row states none.
        assay: of every observation, without DVID.
        logs: column -> log or log10, where it holds logarithms.
        dated: row -> days from the first infusion, of a file with dates.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        units: dict[str, str],
        products: Mapping[str, str],
        limits: dict[str, float],
        assay: str | None,
        faults: Faults,
        logs: Mapping[str, str] | None = None,
        dated: Mapping[int, float] | None = None,
    ):
        self._dated = dated
        self._layout = layout
        self._units = units
        self._products = products
        self._own = tuple(key for key in units if key not in UNITS)
        # The one assay whose unit is stated, where it is of one's own.
        alone = self._own if len(self._own) == 1 and not {*units} & {*ASSAYS} else ()
        self._assay = assay or next(iter(alone), DEFAULT_ASSAY)
        self._faults = faults
        self.check = Checks(layout, faults)
        self._days = conversion(units.get("TIME", "day"), "day") or 1.0
        self.counts: collections.Counter = collections.Counter()
        self._values = Values(self.check, units, limits, self.counts, logs or {})
        self.first_row: dict[str, int] = {}
        self.patients: dict[str, int] = {}
        self.apart: set[str] = set()
        self.time_d: dict[int, float] = {}
        self._last: dict[str, tuple[float, int]] = {}
        self._previous: str | None = None
        self._seen: dict[tuple[str, ...], int] = {}

    def read(self, line: Line) -> tuple[Record, ...]:
        """Records of a row; none if it has a fault or is to be left out."""
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
        time = self._time(line)
        if time is not None and patient is not None:
            self.time_d[line.row] = time
            self._in_order(line, patient, time)
        kind = self._kind(line)
        # Without a patient or a time the rest of the row is still checked.
        who, when = patient or "", math.nan if time is None else time
        reset = ResetRow(line.row, who, when)
        found: dict[int | None, Callable[[], tuple[Record | None, ...]]] = {
            0: lambda: (self._sample(line, who, when),),
            1: lambda: (self._dose(line, who, when),),
            2: lambda: (self._event(line, who, when),),
            3: lambda: (self._bare_reset(line, reset),),
            4: lambda: (reset, self._dose(line, who, when)),
        }
        records = found[kind]() if kind in found else ()
        complete = patient is not None and time is not None
        if not complete or len(self._faults) > before:
            return ()
        return tuple(record for record in records if record is not None)

    def _time(self, line: Line) -> float | None:
        """Days from the first infusion; without a date, that is a fault already."""
        if self._dated is not None:
            return self._dated.get(line.row)
        longest = LONGEST_D / self._days
        time = self.check.needed(
            line,
            "TIME",
            "days from the first infusion, a number within a century",
            least=-longest,
            most=longest,
        )
        return None if time is None else time * self._days

    def _patient(self, line: Line) -> str | None:
        patient = self._layout.text(line, "ID")
        if patient is None:
            if self._layout.has("ID"):
                self.check.add(line, "ID", "nothing", "a patient", "fill it in")
            return None
        if spreadsheet_error(patient):
            self.check.add(line, "ID", quoted(patient), *NO_ERROR_VALUE)
            return None
        if patient in self.patients and self._previous != patient:
            self.apart.add(patient)
        self.patients.setdefault(patient, line.row)
        self._previous = patient
        return patient

    def _in_order(self, line: Line, patient: str, time_d: float) -> None:
        last = self._last.get(patient)
        if last is not None and time_d < last[0]:
            column = "TIME" if self._dated is None else "DATE"
            self.check.add(
                line,
                column,
                f"{quoted(self._layout.text(line, column))}, earlier than row "
                f"{last[1]} of patient {quoted(patient)}",
                "rows of a patient in order of time",
                f"sort them by ID and {column}, correct the time, or give each course "
                "of treatment an ID of its own",
            )
        self._last[patient] = (time_d, line.row)

    def _kind(self, line: Line) -> int | None:
        """The EVID of a row: as written, or by what else stands there."""
        text = self._layout.text(line, "EVID")
        if text is not None:
            value, _, _ = parse_number(text)
            if value in EVIDS:
                return int(value)
            expected = ", ".join(f"{evid} ({what})" for evid, what in EVIDS.items())
            self.check.add(line, "EVID", quoted(text), expected, "write one of them")
            return None
        if self._layout.has("EVID"):
            self.counts["no EVID"] += 1
        what = self._layout.text(line, "CMT")
        if what is not None and what.upper() in OTHER_EVENTS:
            return 2
        amount = self._layout.text(line, "AMT")
        return 0 if amount is None or parse_number(amount)[0] == 0 else 1

    def _duration(self, line: Line, amount: float | None) -> float | None:
        """Days over which a dose runs in: DUR, or AMT by RATE; `None`: a fault."""
        before = len(self._faults)
        if self.check.number(line, "SS", expected="0", fix=NO_STEADY_STATE):
            found = quoted(self._layout.text(line, "SS"))
            self.check.add(line, "SS", found, "0", NO_STEADY_STATE)
        lasts = self.check.number(
            line, "DUR", expected="how long the dose runs in, 0 or more", least=0.0
        )
        rate = self.check.number(
            line,
            "RATE",
            expected="amount per unit of TIME, 0 or more",
            fix="0 gives it at once; rates to be estimated (-1, -2) are not taken: "
            "write the rate, or how long it runs in as DUR",
            least=0.0,
        )
        if rate and lasts:
            self.check.add(
                line,
                "RATE",
                f"{quoted(self._layout.text(line, 'RATE'))} beside DUR "
                f"{quoted(self._layout.text(line, 'DUR'))}",
                "one of them",
                "leave RATE or DUR at 0",
            )
        if rate and amount is not None:
            lasts = amount / rate
        return None if len(self._faults) > before else (lasts or 0.0) * self._days

    def _bare_reset(self, line: Line, reset: ResetRow) -> ResetRow:
        self.check.nothing(line, DOSE_COLUMNS, "on a reset")
        self._no_level(line)
        self._not_examined(line)
        return reset

    def _not_examined(self, line: Line) -> None:
        self.check.nothing(
            line,
            ("EXAMINED", "PARTITIONS"),
            "where nothing was measured",
            fix="clear it, or write EVID 0 if the row is an observation",
        )

    def _no_level(self, line: Line) -> None:
        fix = "clear it, or write EVID 2 if an input changes here"
        self.check.nothing(line, ("LEVEL",), "where no input changes", fix)

    def _dose(self, line: Line, patient: str, time_d: float) -> DoseRow | None:
        self._not_examined(line)
        self._no_level(line)
        cycle = self.check.cycle(line)
        product = self._product(line)
        unit = self._products.get(product or "", self._units["AMT"])
        amount = self.check.needed(
            line, "AMT", f"a dose of 0 or more {unit}", least=0.0
        )
        duration_d = self._duration(line, amount)
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
        if product is None or amount is None or duration_d is None:
            return None
        if further and every is None:
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
            duration_d=duration_d,
            unit=amount_unit(unit),
            per_kg=amount_unit(unit) != unit,
        )

    def _product(self, line: Line) -> str | None:
        text = self._layout.text(line, "CMT")
        every = (*PRODUCTS, *self._products)
        known = ", ".join(every)
        if text is None and len(self._products) == 1:
            return next(iter(self._products))
        if text is None:
            found = "nothing" if self._layout.has("CMT") else "no column CMT"
            fix = "name the product of each dose in CMT"
            self.check.add(line, "CMT", found, f"a product: {known}", fix)
            return None
        if text.upper() in every:
            return text.upper()
        fix = did_you_mean(text, every) + "name the product"
        if text.upper() in OTHER_EVENTS:
            fix = f"{text.upper()} is another event: EVID 2"
        elif parse_number(text)[0] is not None:
            name = every[-1] if self._products else "CART"
            fix = f"{fix}, or say what {text} is: {_coded('CMT', text, name)}"
        else:
            fix = f"{fix}, or declare one of your own: --product {text.upper()}=mg"
        self.check.add(line, "CMT", quoted(text), f"a product: {known}", fix)
        return None

    def _event(self, line: Line, patient: str, time_d: float) -> EventRow | None:
        self.check.nothing(line, DOSE_COLUMNS[1:], "on another event")
        self._not_examined(line)
        text = self._layout.text(line, "CMT")
        if text is None:
            self.counts["event without CMT"] += 1
            return None
        what = text.upper()
        if what not in OTHER_EVENTS:
            fix = did_you_mean(text, OTHER_EVENTS) + "a dose is EVID 1"
            known = f"LD (lymphodepletion) or an input: {', '.join(OTHER_EVENTS[1:])}"
            self.check.add(line, "CMT", quoted(text), known, fix)
            return None
        level = 0.0
        if what != LYMPHODEPLETION:
            expected = f"the level of {what} from now on: 0 (held) to 1 (full)"
            column = "AMT" if self._layout.text(line, "LEVEL") is None else "LEVEL"
            if column == "LEVEL":
                fix = "keep the level in LEVEL alone"
                self.check.nothing(line, ("AMT",), "beside LEVEL", fix)
            level = self.check.needed(line, column, expected, least=0.0, most=1.0)
        if level is None:
            return None
        return EventRow(line.row, patient, time_d, what, level)

    def _sample(self, line: Line, patient: str, time_d: float) -> SampleRow | None:
        if self.check.flag(line, "MDV", "0 uses the value, 1 leaves it out"):
            self.counts["MDV"] += 1
            return None
        self.check.nothing(line, DOSE_COLUMNS, "on an observation")
        self._no_level(line)
        if self._layout.text(line, "CMT") is not None:
            self.counts["CMT of an observation"] += 1
        cycle = self.check.cycle(line)
        after = self.check.flag(
            line, "AFTER", "1: drawn after the dose at the same time"
        )
        assay = self._assay_of(line)
        if assay is not None:
            self.first_row.setdefault(assay, line.row)
        measured = self._values.read(line, assay)
        if assay is None or measured is None:
            return None
        return SampleRow(
            line.row,
            patient,
            time_d,
            cycle,
            assay,
            measured.value,
            measured.below,
            measured.limit,
            after,
            measured.examined,
            measured.partitions,
        )

    def _assay_of(self, line: Line) -> str | None:
        if not self._layout.has("DVID"):
            return self._assay
        text = self._layout.text(line, "DVID")
        every = (*ASSAYS, *self._own)
        expected = f"an assay: {', '.join(every)}"
        if text is None:
            self.check.add(
                line, "DVID", "nothing", expected, "name the assay of the value"
            )
            return None
        if text.lower() in every:
            return text.lower()
        fix = did_you_mean(text, every) + "name the assay, or drop the row"
        if parse_number(text)[0] is not None:
            name = self._own[0] if self._own else "qpcr"
            fix = f"{fix}; or say what {text} is: {_coded('DVID', text, name)}"
        elif own_assay(text) is not None:
            fix = f"{fix}; or declare one of your own: --unit {text.lower()}=UNIT"
        self.check.add(line, "DVID", quoted(text), expected, fix)
        return None


def amount_unit(unit: str) -> str:
    """The unit of a dose without "per kg of body weight"."""
    return unit.removesuffix("/kg")


def _coded(column: str, code: str, name: str) -> str:
    """How a column map says what a code stands for."""
    return f'{column} = {{{code} = "{name}"}} under [codes] of a column map'
