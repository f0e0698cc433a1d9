"""Dates and times of day -> days from each patient's first infusion.

A date is one of 2024-03-01, 01-Mar-2024 and the like, with a time of day beside it
(CLOCK, or TIME as NONMEM has it) or in the cell (2024-03-01T10:30). 03/04/2024 is two
dates: the column map must say which (`--unit DATE=DMY`). Dates go no further than this
file: a data set has days.
"""

import dataclasses
import datetime
import re
from collections.abc import Iterable, Mapping

from ckin.dataset.cells import parse_number
from ckin.dataset.columns import LONGEST_D
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.records import counted
from ckin.dataset.table import Line
from ckin.protocol import PRODUCTS


NOON = datetime.time(12)
_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d*)?)?"
_CLOCK_ONLY = re.compile(_CLOCK)
_WITH_CLOCK = re.compile(rf"(.*\d{{4}}|\d{{4}}\D.*?|.*\D\d\d)(?:[T ]\s*|:){_CLOCK}(.*)")
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)")
_YEAR_LAST = re.compile(r"(\d\d?)([-/.])(\d\d?)\2(\d{2}|\d{4})")
_MONTH_NAMED = re.compile(r"(\d\d?)[-/. ]*([A-Za-z]{3})[a-z]*[-/., ]*(\d{2}|\d{4})")
_MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WHOLE_DATE = "a date such as 2024-03-01"


@dataclasses.dataclass(frozen=True)
class Moment:
    """A date, and the time of day where it is known."""

    date: datetime.date
    clock: datetime.time | None

    def at(self, otherwise: datetime.time) -> datetime.datetime:
        """The moment, at some time of day where none is known."""
        return datetime.datetime.combine(self.date, self.clock or otherwise)


class NoDateError(ValueError):
    """A cell that is no date; `args` are what was expected and what to do."""


def looks_like_a_date(text: str) -> bool:
    """Whether a cell holds a date, as people write them, and not a number."""
    found = _WITH_CLOCK.fullmatch(text)
    day = found[1] if found else text
    forms = (_YEAR_FIRST, _YEAR_LAST, _MONTH_NAMED)
    return not day.isdigit() and any(form.fullmatch(day) for form in forms)


def parse_moment(text: str, order: str | None) -> Moment:
    """The date, and time of day if any, that a cell holds.

    Args:
        text: the cell.
        order: DMY or MDY where the file says how to read 03/04/2024.

    Raises:
        NoDateError: it holds none, or more than one.
    """
    found = _WITH_CLOCK.fullmatch(text)
    if found and found[5]:
        raise NoDateError(WHOLE_DATE + "T10:30", "write local time, and nothing after")
    day = found[1].strip() if found else text
    clock = parse_clock(text[found.start(2) :]) if found else None
    numbers = _numbers(day, order)
    try:
        return Moment(datetime.date(*numbers), clock)
    except ValueError as error:
        raise NoDateError("a day of the calendar", f"correct it ({error})") from error


def _numbers(day: str, order: str | None) -> tuple[int, int, int]:
    """Year, month and day of a date."""
    if found := _YEAR_FIRST.fullmatch(day):
        if found[2] or len(day) == 8:
            return int(found[1]), int(found[3]), int(found[4])
    if found := _MONTH_NAMED.fullmatch(day):
        year, month = found[3], found[2].upper()
        if month in _MONTHS:
            return _year(year), _MONTHS.index(month) + 1, int(found[1])
    if found := _YEAR_LAST.fullmatch(day):
        year = _year(found[4])
        if order == "DMY":
            return year, int(found[3]), int(found[1])
        if order == "MDY":
            return year, int(found[1]), int(found[3])
        raise NoDateError(
            "a date that can be read in one way only",
            "--unit DATE=DMY if the day comes first, DATE=MDY if the month does",
        )
    raise NoDateError(WHOLE_DATE, "write the whole date, or drop the row")


def _year(text: str) -> int:
    if len(text) == 4:
        return int(text)
    raise NoDateError("a year of four digits", "write it out")


def parse_clock(text: str) -> datetime.time:
    """The time of day that a cell holds.

    Raises:
        NoDateError: it holds none.
    """
    found = _CLOCK_ONLY.fullmatch(text)
    if found is None:
        raise NoDateError("a time of day such as 10:30", "correct it, or clear it")
    hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        return datetime.time(hour, minute, second)
    except ValueError as error:
        raise NoDateError("a time of day", f"correct it ({error})") from error


def days_of(
    lines: Iterable[Line],
    layout: Layout,
    order: str | None,
    faults: Faults,
    products: tuple[str, ...] = (),
) -> tuple[dict[int, float], list[str]]:
    """Row -> days from the first infusion of its patient; and notes.

    A row without a time of day is taken at that of a dose on the same day, if one is
    known (a sample is then before the dose unless AFTER says otherwise), or at noon.

    Args:
        lines: rows to read.
        layout: of a file with a column DATE.
        order: how 03/04/2024 is to be read, if the file says so.
        faults: where faults are added.
        products: of the file's own, besides CART and FTC.
    """
    moments: dict[int, Moment] = {}
    of_patient: dict[str, list[Line]] = {}
    lines = list(lines)
    if _numbers_in_time(lines, layout, faults):
        return {}, []
    for line in lines:
        moment = _moment(line, layout, order, faults)
        patient = layout.text(line, "ID")
        if patient is not None:
            of_patient.setdefault(patient, []).append(line)
            if moment is not None:
                moments[line.row] = moment
    days: dict[int, float] = {}
    for patient, mine in of_patient.items():
        known = {line.row: moments[line.row] for line in mine if line.row in moments}
        doses = _doses(mine, layout, products)
        if not doses:
            faults.add(
                mine[0].row,
                layout.name("DATE"),
                f"dates and no infusion of patient {quoted(patient)}",
                "a dose row: days are counted from the first infusion",
                "add the infusion, or write days in TIME",
            )
        elif all(row in known for row in doses):
            days |= _days(known, doses)
    for line in lines:
        if abs(days.get(line.row, 0.0)) > LONGEST_D:
            shown = quoted(layout.text(line, "DATE"))
            expected = "a date within a century of the first infusion"
            faults.add(line.row, layout.name("DATE"), shown, expected, "correct it")
    return days, _notes(moments, layout)


def _notes(moments: Mapping[int, Moment], layout: Layout) -> list[str]:
    notes = [
        f"days counted from the first infusion of each patient by {layout.name('DATE')}"
    ]
    vague = sum(moment.clock is None for moment in moments.values())
    if vague:
        notes.append(
            f"{counted(vague, 'row')} without a time of day: taken at the time of a "
            "dose on that day where it is known, otherwise at noon; a sample at the "
            "time of a dose is before it unless AFTER is 1"
        )
    return notes


def _days(known: Mapping[int, Moment], doses: list[int]) -> dict[int, float]:
    """Row -> days, of one patient; `doses` are the rows that day 0 is the first of."""
    clocks: dict[datetime.date, datetime.time] = {}
    for row in doses:
        date, clock = known[row].date, known[row].clock
        if clock is not None:
            clocks[date] = min(clock, clocks.get(date, clock))
    exact = {row: m.at(clocks.get(m.date, NOON)) for row, m in known.items()}
    start = min(exact[row] for row in doses)
    a_day = datetime.timedelta(days=1)
    return {row: (moment - start) / a_day for row, moment in exact.items()}


def _doses(lines: list[Line], layout: Layout, own: tuple[str, ...]) -> list[int]:
    """Rows of the CAR-T given; of any product, where no CAR-T is."""
    given: dict[str, list[int]] = {}
    for line in lines:
        evid = parse_number(layout.text(line, "EVID") or "1")[0]
        amount = parse_number(layout.text(line, "AMT") or "0")[0]
        product = (layout.text(line, "CMT") or "").upper()
        if not product and len(own) == 1:
            product = own[0]
        if evid in (1, 4) and amount and product in (*PRODUCTS, *own):
            given.setdefault(product, []).append(line.row)
    return given.get("CART") or [row for rows in given.values() for row in rows]


def _moment(
    line: Line, layout: Layout, order: str | None, faults: Faults
) -> Moment | None:
    """The moment of a row, or `None`, which is a fault."""
    text, beside = layout.text(line, "DATE"), _clock_column(layout)
    clock = layout.text(line, beside) if beside else None
    column, shown = "DATE", text
    try:
        if text is None:
            raise NoDateError(WHOLE_DATE, "fill it in, or drop the row")
        moment = parse_moment(text, order)
        column, shown = beside, clock
        if clock is None:
            return moment
        if moment.clock is not None:
            raise NoDateError("nothing beside a date with a time", "keep one of them")
        return dataclasses.replace(moment, clock=parse_clock(clock))
    except NoDateError as error:
        found = "nothing" if shown is None else quoted(shown)
        faults.add(line.row, layout.name(column), found, *error.args)
        return None


def _clock_column(layout: Layout) -> str:
    """The column of the time of day; "" without one."""
    return next((name for name in ("CLOCK", "TIME") if layout.has(name)), "")


def _numbers_in_time(lines: list[Line], layout: Layout, faults: Faults) -> bool:
    """Whether the file has days (or hours) beside its dates: either may be meant."""
    for line in lines:
        text = layout.text(line, "TIME")
        if text is not None and parse_number(text)[0] is not None:
            faults.add(
                line.row,
                layout.name("TIME"),
                f"{quoted(text)} beside a date in {layout.name('DATE')}",
                "days in TIME, or DATE with a time of day (10:30), not both",
                f"--map {layout.name('DATE')}=IGNORE reads TIME alone, "
                f"{layout.name('TIME')}=IGNORE the dates alone",
            )
            return True
    return False
