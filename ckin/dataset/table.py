"""A file with columns -> a table: column names, the rows below, and its comments."""

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path

from ckin.dataset.cells import parse_number
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.grid import SAVE_AS_CSV, Grid
from ckin.dataset.grid import Line as Line
from ckin.dataset.parquet import is_parquet, read_parquet
from ckin.dataset.records import counted
from ckin.dataset.text import read_text
from ckin.dataset.workbook import is_workbook, read_workbook


_SYNTHETIC = re.compile(r"\bsynthetic\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        header: column names as the file spells them, stripped of blanks.
        header_row: row number of the column names.
        lines: the rows below, each with as many cells as there are columns.
        comments: row number and text of each line that starts with `#`.
        notes: what was left out, or read in a particular way.
        sha256: of the bytes of the file.
    """

    header: tuple[str, ...]
    header_row: int
    lines: tuple[Line, ...]
    comments: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]
    sha256: str

    @property
    def synthetic(self) -> bool:
        """Whether a comment says that no patient was measured."""
        return any(_SYNTHETIC.search(text) for _, text in self.comments)


def read_table(path: Path, known: Collection[str], faults: Faults) -> Table | None:
    """Rows of the file at `path`, or `None` if it is not a table; see `faults`.

    Args:
        path: the file; a sheet of a workbook is `FILE.xlsx#SHEET`.
        known: column names (upper case) that tell one separator from another.
        faults: where faults are added.
    """
    if is_workbook(path):
        grid = read_workbook(path, faults)
    elif is_parquet(path):
        grid = read_parquet(path, faults)
    else:
        grid = read_text(path, known, faults)
    return None if grid is None else _table(grid, known, faults)


def _table(grid: Grid, known: Collection[str], faults: Faults) -> Table | None:
    if not grid.lines:
        faults.add(
            None,
            None,
            "an empty file",
            "a table with columns ID, TIME, DV",
            SAVE_AS_CSV,
        )
        return None
    notes = [*grid.notes]
    header, header_row = grid.lines[0].cells, grid.lines[0].row
    body = grid.lines[1:]
    if len(header) == 1 and len(header[0].split()) > 1:
        faults.add(
            header_row,
            None,
            quoted(header[0]),
            "column names separated by commas",
            SAVE_AS_CSV,
        )
        return None
    named = any(name.upper() in known for name in header)
    if not named and any(parse_number(name)[0] is not None for name in header):
        faults.add(
            header_row,
            None,
            "numbers",
            "a row of column names",
            "write the names of the columns above the first row",
        )
        return None
    filled = [line for line in body if any(line.cells)]
    if len(filled) < len(body):
        notes.append(f"{counted(len(body) - len(filled), 'empty row')} left out")
    late = sum(row > header_row for row, _ in grid.comments)
    if late:
        notes.append(f"{counted(late, 'row')} starting with # left out as comments")
    if not filled:
        faults.add(
            header_row,
            None,
            "column names and no rows",
            "at least one row of data",
            "check that the file was exported whole",
        )
    return Table(
        header=header,
        header_row=header_row,
        lines=tuple(_whole_lines(filled, header, faults)),
        comments=grid.comments,
        notes=tuple(notes),
        sha256=grid.sha256,
    )


def _whole_lines(
    lines: list[Line], header: tuple[str, ...], faults: Faults
) -> list[Line]:
    whole = [line for line in lines if len(line.cells) == len(header)]
    for line in lines:
        if len(line.cells) != len(header):
            faults.add(
                line.row,
                None,
                counted(len(line.cells), "cell"),
                f"{len(header)}, one per column",
                "add or remove separators; quote a cell that holds one",
            )
    return whole
