"""A sheet of a workbook (.xlsx) -> rows of cells, as they would stand in a CSV of it.

Numbers, texts and the stored values of formulas are taken as they are. A cell that
the spreadsheet shows as a date becomes a date in words (2024-03-01T10:30:00), never the
number of days that is stored in its place.
"""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

from ckin.dataset.cells import spreadsheet_error
from ckin.dataset.faults import Faults, did_you_mean, quoted
from ckin.dataset.grid import (
    SAVE_AS_CSV,
    Grid,
    Line,
    cell_text,
    library,
    read_bytes,
    sha256,
)
from ckin.dataset.records import counted


SUFFIXES = (".xlsx", ".xlsm")


def file_of(path: Path) -> Path:
    """The file of a path that may name a sheet too: `trial.xlsx#PK` -> `trial.xlsx`."""
    return path.with_name(_parts(path)[0])


def is_workbook(path: Path) -> bool:
    """Whether a path is that of a workbook, by its name."""
    return _parts(path)[0].lower().endswith(SUFFIXES)


def _parts(path: Path) -> tuple[str, str]:
    """Name of the file, and the sheet that is asked for."""
    name, _, sheet = path.name.partition("#")
    asked = sheet and name.lower().endswith(SUFFIXES) and not path.is_file()
    return (name, sheet) if asked else (path.name, "")


def read_workbook(path: Path, faults: Faults) -> Grid | None:
    """Rows of a sheet, or `None` if it cannot be read; see `faults`.

    Args:
        path: the workbook, whose first sheet is read, or `FILE.xlsx#SHEET`.
        faults: where faults are added.
    """
    data = read_bytes(file_of(path), faults)
    if data is None:
        return None
    openpyxl = library("openpyxl", "a workbook", "excel", faults)
    if openpyxl is None:
        return None
    values = _open(openpyxl, data, faults)
    if values is None:
        return None
    sheets = [sheet.title for sheet in values.worksheets]
    name = _parts(path)[1] or sheets[0]
    if name not in sheets:
        fix = did_you_mean(name, sheets) + "name it after #"
        expected = f"one of {', '.join(map(quoted, sheets))}"
        faults.add(None, None, f"no sheet {quoted(name)}", expected, fix)
        return None
    notes = []
    if len(sheets) > 1:
        others = ", ".join(map(quoted, (s for s in sheets if s != name)))
        notes.append(f"sheet {quoted(name)} read; not read: {others}")
    sheet = values[name]
    hidden = [
        row for row, how in sheet.row_dimensions.items() if how.hidden and row > 0
    ]
    if hidden:
        notes.append(f"{counted(len(hidden), 'hidden row')} read like any other")
    texts = [[cell_text(cell.value) for cell in row] for row in sheet.iter_rows()]
    formulas = _open(openpyxl, data, faults, formulas=True)
    if formulas is not None:
        _check_formulas(sheet, formulas[name], faults)
    merged = _fill_merged(texts, sheet.merged_cells.ranges)
    if merged:
        notes.append(
            f"{counted(merged, 'merged cell')} read as the same value in each of its "
            "rows"
        )
    lines, comments = _lines(texts)
    return Grid(tuple(lines), tuple(comments), tuple(notes), sha256(data))


def _open(openpyxl: Any, data: bytes, faults: Faults, *, formulas: bool = False) -> Any:
    with warnings.catch_warnings():
        # It tells of formats that it does not keep; they are not read here.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return openpyxl.load_workbook(io.BytesIO(data), data_only=not formulas)
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            kind = "an old or encrypted one" if data[:2] == b"\xd0\xcf" else str(error)
            faults.add(
                None,
                None,
                f"a workbook that cannot be opened ({kind})",
                "an .xlsx workbook without a password",
                f"save it as such in the spreadsheet, or {SAVE_AS_CSV}",
            )
            return None


def _check_formulas(values: Any, formulas: Any, faults: Faults) -> None:
    """A formula without a stored value would read as nothing: that is a fault."""
    for row in formulas.iter_rows():
        for cell in row:
            stored = values.cell(cell.row, cell.column)
            # A formula that gives an empty text has that type.
            empty = stored.value is None and stored.data_type == "n"
            if cell.data_type == "f" and empty:
                faults.add(
                    cell.row,
                    cell.column_letter,
                    f"{quoted(str(cell.value))}, a formula without a stored value",
                    "its value",
                    "open and save the workbook in a spreadsheet, or write the value",
                )


def _fill_merged(texts: list[list[str]], ranges: Any) -> int:
    """Give each row of a merged cell its value; how many there are.

    A row that is empty otherwise stays so.
    """
    filled = [any(row) for row in texts]
    for where in ranges:
        first, last, column = where.min_row - 1, where.max_row, where.min_col - 1
        for row in range(first, last):
            if filled[row]:
                texts[row][column] = texts[first][column]
    return len(ranges)


def _lines(texts: list[list[str]]) -> tuple[list[Line], list[tuple[int, str]]]:
    """Rows without the empty margins of the sheet, and comments."""
    lines, comments = [], []
    for row, cells in enumerate(texts, start=1):
        start = cells[0] if cells else ""
        if start.startswith("#") and not spreadsheet_error(start):
            comments.append((row, ", ".join(cell for cell in cells if cell)))
        elif lines or any(cells):
            lines.append((row, cells))
    while lines and not any(lines[-1][1]):
        lines.pop()
    width = 0
    for _, cells in lines:
        filled = [at for at, cell in enumerate(cells, start=1) if cell]
        width = max(width, *filled, 0) if filled else width
    return [Line(row, tuple(cells[:width])) for row, cells in lines], comments
