"""What is known of a patient beside doses and samples: one value for each patient."""

from collections.abc import Iterable, Mapping

from ckin.dataset.cells import (
    NO_ERROR_VALUE,
    parse_number,
    spreadsheet_error,
)
from ckin.dataset.dates import looks_like_a_date
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.records import counted
from ckin.dataset.row_kinds import DoseRow
from ckin.dataset.rows import Rows
from ckin.dataset.table import Line


def read_covariates(
    lines: Iterable[Line], layout: Layout, rows: Rows, faults: Faults
) -> tuple[dict[str, dict[str, float | str]], list[str]]:
    """Covariates by patient, each one value; and notes."""
    places = dict(layout.covariates)
    if layout.has("WT"):
        places["WT"] = layout.position["WT"]
    spelled = {"WT": layout.name("WT"), "ARM": layout.name("ARM")}
    # covariate -> patient -> text and row of its first value
    first: dict[str, dict[str, tuple[str, int]]] = {name: {} for name in places}
    texts: dict[str, tuple[str, int]] = {}
    notes = []
    for line in lines:
        patient = layout.text(line, "ID")
        for name, at in places.items():
            text = layout.cell(line, at)
            if text is None:
                continue
            column = spelled.get(name, name)
            if looks_like_a_date(text):
                # What is read may be written again, and dates must not be.
                fix = "ignore the column, or write the age or the days instead"
                faults.add(line.row, column, "a date", "a number or a word", fix)
                continue
            if spreadsheet_error(text):
                faults.add(line.row, column, quoted(text), *NO_ERROR_VALUE)
                continue
            value, wrong, hint = parse_number(text)
            if "not a finite" in wrong:
                fix = hint or "correct it"
                faults.add(line.row, column, wrong, "a finite number", fix)
                continue
            if name == "WT":
                weight = rows.check.number(
                    line, "WT", expected="a body weight in kg, above 0", above=0.0
                )
                if weight is None:
                    continue
            elif value is None:
                texts.setdefault(name, (text, line.row))
            if patient is None:
                continue
            before, row = first[name].setdefault(patient, (text, line.row))
            if before != text and (value is None or parse_number(before)[0] != value):
                faults.add(
                    line.row,
                    column,
                    quoted(text),
                    f"{quoted(before)} as in row {row}, one value per patient",
                    "covariates that change with time are not taken yet: keep one",
                )
    if "ARM" in first:
        texts.setdefault("ARM", ("", 0))
    covariates: dict[str, dict[str, float | str]] = {}
    for name, values in first.items():
        for patient, (text, _) in values.items():
            value = text if name in texts else parse_number(text)[0]
            if value is not None:
                covariates.setdefault(patient, {})[name] = value
        numbers = [
            text for text, _ in values.values() if parse_number(text)[0] is not None
        ]
        if name in texts and name != "ARM" and numbers:
            text, row = texts[name]
            notes.append(
                f"covariate {name} is read as text: row {row} has {quoted(text)}; "
                f"{counted(len(numbers), 'patient')} with a number in it"
            )
    return covariates, notes


def check_weights(
    doses: list[DoseRow],
    covariates: Mapping[str, Mapping[str, float | str]],
    layout: Layout,
    faults: Faults,
) -> None:
    """Doses per kg of a patient need the patient's weight."""
    first = {dose.patient: dose.row for dose in reversed(doses)}
    for patient, row in first.items():
        if "WT" not in covariates.get(patient, {}):
            faults.add(
                row,
                layout.name("WT"),
                f"a dose per kg and no weight of patient {quoted(patient)}",
                "a body weight in kg",
                "add a column WT, or give AMT in cells",
            )
