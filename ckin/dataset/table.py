"""A text file with columns -> rows of cells that know their row number.

The number is the line of the file as an editor shows it, comment lines and the row of
column names included, so that a fault can be found by the person who has to mend it.
"""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Collection
from pathlib import Path

from ckin.dataset.cells import parse_number
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.records import counted


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# First bytes of files that people take for text.
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
SAVE_AS_CSV = "save it as comma-separated text in UTF-8"


@dataclasses.dataclass(frozen=True)
class Line:
    """One row: its number in the file and its cells, stripped of blanks."""

    row: int
    cells: tuple[str, ...]


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


def read_table(path: Path, known: Collection[str], faults: Faults) -> Table | None:
    """Rows of the file at `path`, or `None` if it is not a table; see `faults`.

    Args:
        path: the file.
        known: column names (upper case) that tell one separator from another.
        faults: where faults are added.
    """
    data = _read_bytes(path, faults)
    text = None if data is None else _decode(data, faults)
    if data is None or text is None:
        return None
    numbered, comments = [], []
    # Universal newlines and nothing else: str.splitlines also splits at form feeds.
    for row, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.lstrip(' \t"').startswith("#"):
            comments.append((row, line.strip().strip(",;\t\" '")))
        else:
            numbered.append((row, line))
    heading = next(
        (index for index, (_, line) in enumerate(numbered) if line.strip()), None
    )
    if heading is None:
        faults.add(
            None,
            None,
            "an empty file",
            "a table with columns ID, TIME, DV",
            SAVE_AS_CSV,
        )
        return None
    header_row, first = numbered[heading]
    separator = _separator(first, known)
    notes = []
    if separator != ",":
        notes.append(f"columns are separated by {SEPARATORS[separator]}")
    lines = _split(numbered[heading:], separator, faults)
    if not lines:
        return None
    header, body = lines[0].cells, lines[1:]
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
    late = sum(row > header_row for row, _ in comments)
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
        comments=tuple(comments),
        notes=tuple(notes),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read_bytes(path: Path, faults: Faults) -> bytes | None:
    if path.is_dir():
        faults.add(None, None, "a folder", "a CSV file", "name the file in it")
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:
        found = "no such file"
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
    faults.add(None, None, found, "a CSV file", "check the path and its permissions")
    return None


def _decode(data: bytes, faults: Faults) -> str | None:
    kind = next(
        (what for start, what in NOT_TEXT.items() if data.startswith(start)), None
    )
    if kind is None and b"\0" in data:
        kind = "a binary file"
    if kind is not None:
        faults.add(None, None, kind, "text in UTF-8", SAVE_AS_CSV)
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        faults.add(
            before.count(b"\n") + 1,
            None,
            f"byte 0x{data[error.start]:02x}, which is not UTF-8",
            "text in UTF-8",
            SAVE_AS_CSV,
        )
        return None


def _separator(header: str, known: Collection[str]) -> str:
    """The separator that makes the most sense of the column names."""

    def sense(separator: str) -> tuple[int, int]:
        names = header.split(separator)
        # Quotes as a spreadsheet writes them; a blank around a name means nothing.
        plain = [name.strip().strip('"').strip().upper() for name in names]
        return sum(name in known for name in plain), len(names)

    return max(SEPARATORS, key=sense)


def _split(
    numbered: list[tuple[int, str]], separator: str, faults: Faults
) -> list[Line]:
    """Cells of each row; a row that spans lines has the number of its first line."""
    reader = csv.reader(
        (line for _, line in numbered),
        delimiter=separator,
        skipinitialspace=True,
        strict=True,
    )
    lines, read = [], 0
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            lines.append(Line(numbered[read][0], stripped))
            read = reader.line_num
    except csv.Error as error:
        faults.add(
            numbered[min(read, len(numbered) - 1)][0],
            None,
            f"quotation marks that do not pair up ({error})",
            "cells that are quoted whole or not at all",
            'close the quotation mark, or write "" for one inside a cell',
        )
    return lines


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
