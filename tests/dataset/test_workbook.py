"""A workbook reads as the same table in CSV; what only a workbook can hold is told."""

import csv
import datetime
import io
import sys
import tempfile
from pathlib import Path

import openpyxl
import pytest
from drawn import dataset_of, datasets
from hypothesis import given, settings
from openpyxl.cell.cell import ERROR_CODES

from ckin.dataset import DataError, Patient, read_dataset, write_dataset
from ckin.dataset.cells import parse_number


HEADER = ("ID", "TIME", "EVID", "AMT", "CMT", "DV")
UNIT = ("# unit qpcr copies/ug",)
DOSE = ("a", 0, 1, 1e8, "CART", None)


def save(path: Path, *rows, **sheets) -> Path:
    """A workbook of one sheet, and others by name."""
    book = openpyxl.Workbook()
    first = book.worksheets[0]
    for row in rows:
        first.append(row)
    for name, others in sheets.items():
        sheet = book.create_sheet(name)
        for row in others:
            sheet.append(row)
    book.save(path)
    return path


@pytest.fixture
def book(tmp_path):
    return lambda *rows, **sheets: save(tmp_path / "trial.xlsx", *rows, **sheets)


def rounded(text: str) -> str:
    """A cell with as many digits as a spreadsheet keeps."""
    number = parse_number(text)[0]
    return text if number is None else f"{number:.15g}"


def as_typed(text: str) -> float | str | None:
    """What a person's spreadsheet makes of a cell of a CSV."""
    number = parse_number(text)[0]
    return text or None if number is None else number


@settings(max_examples=25)
@given(datasets())
def test_a_table_is_the_same_as_csv_and_as_workbook(drawn):
    made, synthetic = drawn
    dataset = dataset_of(*(Patient(**fields) for fields in made), synthetic=synthetic)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.csv"
        write_dataset(dataset, path)
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        at = next(i for i, row in enumerate(rows) if row[0] == "ID")
        rows[at:] = [[row[0], *map(rounded, row[1:])] for row in rows[at:]]
        typed = [
            [row[0], *map(as_typed, row[1:])] if number > at else row
            for number, row in enumerate(rows)
        ]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        one = read_dataset(path)
        other = read_dataset(save(path.with_suffix(".xlsx"), *typed))
    assert other.patients == one.patients
    assert (other.units, other.synthetic) == (one.units, one.synthetic)
    assert other.notes == one.notes


def test_any_sheet_can_be_named(book):
    path = book(["remarks"], PK=[UNIT, HEADER, DOSE, ("a", 3, 0, None, None, 50)])
    dataset = read_dataset(f"{path}#PK")
    assert [s.value for s in dataset.patients[0].samples] == [50.0]
    assert "sheet 'PK' read; not read: 'Sheet'" in dataset.notes
    with pytest.raises(DataError, match="no sheet 'KP', expected one of 'Sheet', 'PK'"):
        read_dataset(f"{path}#KP")


def faults_of(path: Path) -> list[tuple]:
    with pytest.raises(DataError) as error:
        read_dataset(path)
    return [(f.row, f.column, str(f)) for f in error.value.faults]


@pytest.mark.parametrize("at", range(len(HEADER)))
@pytest.mark.parametrize("code", ["#DIV/0!", "#N/A", "#REF!"])
def test_an_error_value_is_a_fault_of_its_row_and_column(book, at, code):
    assert code in ERROR_CODES
    observed = ["a", 3, 0, None, None, 50]
    if HEADER[at] in ("AMT", "CMT"):
        observed = list(DOSE)
    observed[at] = code
    path = book(UNIT, HEADER, DOSE, [], observed)
    faults = faults_of(path)
    # The row is the one that the spreadsheet shows, empty rows counted.
    assert {fault[:2] for fault in faults} == {(5, HEADER[at])}
    assert code in faults[0][2]


def test_an_error_value_of_a_covariate_is_a_fault(book):
    path = book(UNIT, (*HEADER, "ARM"), (*DOSE, "#VALUE!"))
    ((row, column, says),) = faults_of(path)
    assert (row, column) == (3, "ARM")
    assert "mend the formula" in says


@pytest.mark.parametrize(
    "date", [datetime.date(2024, 3, 1), datetime.datetime(2024, 3, 1, 10, 30)]
)
def test_a_date_in_time_is_not_taken_for_days(book, date):
    path = book(UNIT, HEADER, DOSE, ("a", date, 0, None, None, 50))
    ((row, column, says),) = faults_of(path)
    assert (row, column) == (4, "TIME")
    assert "2024-03-01" in says


def test_a_duration_in_time_is_not_taken_for_days(book):
    path = book(
        UNIT, HEADER, DOSE, ("a", datetime.timedelta(hours=36), 0, None, None, 50)
    )
    assert faults_of(path)[0][:2] == (4, "TIME")


def test_a_formula_without_a_stored_value_is_a_fault(book):
    path = book(UNIT, HEADER, DOSE, ("a", 3, 0, None, None, "=40+10"))
    row, column, says = faults_of(path)[0]
    assert (row, column) == (4, "F")
    assert "a formula without a stored value" in says


def test_merged_and_empty_and_hidden_rows_are_told(tmp_path):
    path = tmp_path / "trial.xlsx"
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    rows = (
        UNIT,
        HEADER,
        DOSE,
        ("a", 3, 0, None, None, 50),
        (),
        (None, 9, 0, "", "", 7),
    )
    for row in rows:
        sheet.append(row)
    sheet.merge_cells("A3:A6")
    sheet.row_dimensions[4].hidden = True
    sheet["Z90"].number_format = "0.0"
    made.save(path)
    dataset = read_dataset(path)
    (patient,) = dataset.patients
    assert [(s.row, s.value) for s in patient.samples] == [(4, 50.0), (6, 7.0)]
    assert "1 merged cell read as the same value in each of its rows" in dataset.notes
    assert "1 hidden row read like any other" in dataset.notes
    assert "1 empty row left out" in dataset.notes


def test_without_openpyxl_a_sentence_says_how_to_install_it(book, monkeypatch):
    path = book(UNIT, HEADER, DOSE)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r'pip install "ckin\[excel\]"'):
        read_dataset(path)


@pytest.mark.parametrize("data", [b"ID,TIME,DV\n", b"PK\x03\x04rest", b"\xd0\xcf\x11"])
def test_what_is_no_workbook_is_refused(tmp_path, data):
    path = tmp_path / "trial.xlsx"
    path.write_bytes(data)
    with pytest.raises(DataError, match="a workbook that cannot be opened"):
        read_dataset(path)


def test_a_side_file_lies_beside_a_workbook_too(book):
    path = book(("patient", "TIME", "DV"), ("a", 3, 50))
    path.with_suffix(".toml").write_text(
        '[columns]\npatient = "ID"\n[units]\nqpcr = "copies/ug"\n'
    )
    assert [patient.id for patient in read_dataset(path).patients] == ["a"]
    assert read_dataset(f"{path}#Sheet").patients == read_dataset(path).patients
