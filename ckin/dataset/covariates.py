"""What is known of a patient beside doses and samples: values that hold until the next.

A cell that is empty says nothing: the value before holds there. What is told of a
patient once holds for all of its days.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from ckin.dataset.cells import (
    NO_ERROR_VALUE,
    parse_number,
    spreadsheet_error,
)
from ckin.dataset.dates import looks_like_a_date
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.records import Change, counted
from ckin.dataset.row_kinds import DoseRow
from ckin.dataset.rows import Rows
from ckin.dataset.table import Line
from ckin.protocol import runs


# Patients and rows that a note names.
NAMED, NAMED_ROWS = 3, 12


@dataclasses.dataclass(frozen=True)
class Covariates:
    """Covariates of a file.

    Attributes:
        first: the first value of each, by patient and name.
        changes: further values, by patient and name.
        notes: what was read in a particular way.
    """

    first: dict[str, dict[str, float | str]]
    changes: dict[str, dict[str, tuple[Change, ...]]]
    notes: list[str]


@dataclasses.dataclass
class _Course:
    """Cells of one covariate of one patient, as they come.

    Attributes:
        cells: where it changed, the first value among them.
        told: text, day and row of its last value.
        empty: rows without one.
    """

    cells: list[Change]
    told: tuple[str, float, int] | None
    empty: list[int]


class _Reader:
    """Reads the covariates of row after row."""

    def __init__(self, layout: Layout, rows: Rows, faults: Faults):
        self._layout, self._rows, self._faults = layout, rows, faults
        self.places = dict(layout.covariates)
        if layout.has("WT"):
            self.places["WT"] = layout.position["WT"]
        self._spelled = {"WT": layout.name("WT"), "ARM": layout.name("ARM")}
        self.courses: dict[str, dict[str, _Course]] = {n: {} for n in self.places}
        # Columns in which there are words, with the first of them.
        self.texts: dict[str, tuple[str, int]] = {}
        # Patient -> day of its last row, and the last day before that.
        self._days: dict[str, tuple[float, float]] = {}

    def read(self, line: Line) -> None:
        """One row."""
        patient = self._layout.text(line, "ID")
        time_d = self._rows.time_d.get(line.row)
        if patient is not None and time_d is not None:
            last, before = self._days.get(patient, (time_d, time_d))
            self._days[patient] = (time_d, before if time_d == last else last)
        for name, at in self.places.items():
            text = self._layout.cell(line, at)
            if text is not None and not self._sound(line, name, text):
                continue
            if patient is not None:
                self._tell(line, name, patient, text, time_d)

    def _sound(self, line: Line, name: str, text: str) -> bool:
        """Whether a cell is a value of the covariate; a fault is noted."""
        add, column = self._faults.add, self._spelled.get(name, name)
        if looks_like_a_date(text):
            # What is read may be written again, and dates must not be.
            fix = "ignore the column, or write the age or the days instead"
            add(line.row, column, "a date", "a number or a word", fix)
            return False
        if spreadsheet_error(text):
            add(line.row, column, quoted(text), *NO_ERROR_VALUE)
            return False
        value, wrong, hint = parse_number(text)
        if "not a finite" in wrong:
            add(line.row, column, wrong, "a finite number", hint or "correct it")
            return False
        if name == "WT":
            expected = "a body weight in kg, above 0"
            weight = self._rows.check.number(line, "WT", expected=expected, above=0.0)
            return weight is not None
        if value is None:
            self.texts.setdefault(name, (text, line.row))
        return True

    def _tell(
        self,
        line: Line,
        name: str,
        patient: str,
        text: str | None,
        time_d: float | None,
    ) -> None:
        course = self.courses[name].setdefault(patient, _Course([], None, []))
        if text is None:
            course.empty.append(line.row)
            return
        # A row without a time is a fault already.
        day = 0.0 if time_d is None else time_d
        before, course.told = course.told, (text, day, line.row)
        cell = Change(day, text, self._days.get(patient, (day, day))[1], line.row)
        if before is None:
            course.cells.append(cell)
            return
        value, same = parse_number(text)[0], before[0] == text
        if (
            time_d is None
            or same
            or (value is not None and parse_number(before[0])[0] == value)
        ):
            return
        found = (line.row, self._spelled.get(name, name), quoted(text))
        as_before = f"{quoted(before[0])} as in row {before[2]}"
        if name == "ARM":
            self._faults.add(*found, f"{as_before}, one value per patient", "keep one")
        elif before[1] == day:
            fix = "keep one of them, or correct the time"
            self._faults.add(*found, f"{as_before}, one value at one time", fix)
        else:
            course.cells.append(cell)


def read_covariates(
    lines: Iterable[Line], layout: Layout, rows: Rows, faults: Faults
) -> Covariates:
    """Covariates of every patient, with their changes.

    Args:
        lines: rows that are wanted, read by `rows` before.
        layout: which columns there are.
        rows: says on which day each row is.
        faults: what is wrong goes there.
    """
    reader = _Reader(layout, rows, faults)
    for line in lines:
        reader.read(line)
    texts, notes = reader.texts, []
    if "ARM" in reader.courses:
        texts.setdefault("ARM", ("", 0))
    first: dict[str, dict[str, float | str]] = {}
    changes: dict[str, dict[str, tuple[Change, ...]]] = {}
    for name, of_patients in reader.courses.items():
        for patient, course in of_patients.items():
            valued = [_valued(cell, name in texts) for cell in course.cells]
            if valued:
                first.setdefault(patient, {})[name] = valued[0].value
            if valued[1:]:
                changes.setdefault(patient, {})[name] = tuple(valued[1:])
        told = [c.cells[0].value for c in of_patients.values() if c.cells]
        numbers = [text for text in told if parse_number(str(text))[0] is not None]
        if name in texts and name != "ARM" and numbers:
            text, row = texts[name]
            notes.append(
                f"covariate {name} is read as text: row {row} has {quoted(text)}; "
                f"{counted(len(numbers), 'patient')} with a number in it"
            )
        notes += _notes_on_changes(name, of_patients)
    return Covariates(first, changes, notes)


def _valued(cell: Change, as_text: bool) -> Change:
    value = None if as_text else parse_number(str(cell.value))[0]
    return cell if value is None else dataclasses.replace(cell, value=value)


def _notes_on_changes(name: str, of_patients: Mapping[str, _Course]) -> list[str]:
    """What was taken to hold where a covariate changes."""
    changing = {p: course for p, course in of_patients.items() if course.cells[1:]}
    if not changing:
        return []
    shown = [f"{p} in row {c.cells[1].row}" for p, c in list(changing.items())[:NAMED]]
    more = ", ..." if len(changing) > NAMED else ""
    notes = [
        f"covariate {name} changes within {counted(len(changing), 'patient')} "
        f"({', '.join(shown)}{more}): a value holds from its row until the next"
    ]
    early, later = [], []
    for course in changing.values():
        start = course.cells[0].row
        early += [row for row in course.empty if row < start]
        later += [row for row in course.empty if row > start]
    for empty, what in ((later, "the value before"), (early, "the first value after")):
        if empty:
            some = runs(sorted(empty)[:NAMED_ROWS])
            more = f", ... ({len(empty)} in all)" if len(empty) > NAMED_ROWS else ""
            notes.append(
                f"covariate {name} is empty in row {some}{more} of patients in whom it "
                f"changes: {what} holds there"
            )
    return notes


def check_weights(
    doses: list[DoseRow], told: Covariates, layout: Layout, faults: Faults
) -> None:
    """Doses per kg of a patient need the patient's weight, and one."""
    first = {dose.patient: dose.row for dose in reversed(doses)}
    for patient, row in first.items():
        found = f"a dose per kg and no weight of patient {quoted(patient)}"
        fix = "add a column WT, or give AMT in cells"
        if "WT" in told.changes.get(patient, {}):
            other = told.changes[patient]["WT"][0].row
            found = f"a dose per kg, and another weight in row {other}"
            fix = "give AMT in cells, or keep one weight"
        elif "WT" in told.first.get(patient, {}):
            continue
        faults.add(row, layout.name("WT"), found, "a body weight in kg", fix)
