"""A text file -> rows of cells: which separator it has, and what its comments are."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from ckin.dataset.cells import spreadsheet_error
from ckin.dataset.faults import Faults
from ckin.dataset.grid import SAVE_AS_CSV, Grid, Line, read_bytes, sha256


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# First bytes of files that people take for text.
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet workbook (its name should end in .xlsx) or a zip "
    "archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def read_text(path: Path, known: Collection[str], faults: Faults) -> Grid | None:
    """Rows of a text file, or `None` if it holds none; see `faults`."""
    data = read_bytes(path, faults)
    text = None if data is None else _decode(data, faults)
    if data is None or text is None:
        return None
    numbered, comments, notes = [], [], []
    # Universal newlines and nothing else: str.splitlines also splits at form feeds.
    for row, line in enumerate(io.StringIO(text, newline=None), start=1):
        if _is_comment(line):
            comments.append((row, line.strip().strip(",;\t\" '")))
        else:
            numbered.append((row, line))
    named = _names_in_a_comment(numbered, comments, known)
    if named:
        comments.remove(named)
        numbered = [(named[0], named[1].lstrip("# \t") + "\n"), *numbered]
        notes.append(f"column names read from the comment in row {named[0]}")
    heading = next(
        (index for index, (_, line) in enumerate(numbered) if line.strip()), None
    )
    lines: list[Line] = []
    if heading is not None:
        separator = _separator(numbered[heading][1], known)
        if separator != ",":
            notes.append(f"columns are separated by {SEPARATORS[separator]}")
        lines = _split(numbered[heading:], separator, faults)
        if not lines:
            return None
    return Grid(tuple(lines), tuple(comments), tuple(notes), sha256(data))


def _names_in_a_comment(
    numbered: list[tuple[int, str]],
    comments: list[tuple[int, str]],
    known: Collection[str],
) -> tuple[int, str] | None:
    """The comment with the column names (`#ID,TIME,DV`), if no other row has them."""
    filled = [(row, line) for row, line in numbered if line.strip()]
    if not filled:
        return None
    first, top = filled[0]

    def names(line: str) -> int:
        words = line.lstrip("# \t").split(_separator(line, known))
        return sum(word.strip().strip('"').upper() in known for word in words)

    if names(top):
        return None
    above = [comment for comment in comments if comment[0] < first]
    return next((c for c in reversed(above) if names(c[1]) >= 2), None)


def _is_comment(line: str) -> bool:
    start = line.lstrip(' \t"')
    return start.startswith("#") and not spreadsheet_error(start)


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
