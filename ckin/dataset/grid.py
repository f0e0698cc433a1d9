"""What any kind of file is first read as: rows of cells that know their row number.

The number is the one that a person sees who opens the file, in an editor or in a
spreadsheet, comment lines and the row of column names included, so that a fault can be
found by the person who has to mend it.
"""

import dataclasses
import datetime
import hashlib
import importlib
from pathlib import Path
from typing import Any

from ckin.dataset.faults import Faults


SAVE_AS_CSV = "save it as comma-separated text in UTF-8"


@dataclasses.dataclass(frozen=True)
class Line:
    """One row: its number in the file and its cells, stripped of blanks."""

    row: int
    cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Rows of a file, before anything is made of them.

    Attributes:
        lines: the rows, column names first.
        comments: row number and text of each line that starts with `#`.
        notes: what was read in a particular way.
        sha256: of the bytes of the file.
    """

    lines: tuple[Line, ...]
    comments: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]
    sha256: str


def read_bytes(path: Path, faults: Faults) -> bytes | None:
    """The bytes of a file, or `None` if there are none to be had; see `faults`."""
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


def library(module: str, kind: str, extra: str, faults: Faults) -> Any:
    """A library that is installed for those who ask; `None` is a fault.

    Args:
        module: what to import.
        kind: what it reads, for the message.
        extra: of ckin, with which it comes.
        faults: where faults are added.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        name = module.partition(".")[0]
        faults.add(
            None,
            None,
            f"{kind}, and no {name} to read it with",
            f"{name} to be installed",
            f'pip install "ckin[{extra}]", or {SAVE_AS_CSV}',
        )
        return None


def sha256(data: bytes) -> str:
    """Check sum of the bytes of a file."""
    return hashlib.sha256(data).hexdigest()


def cell_text(value: object) -> str:
    """A cell as a CSV of the table holds it, dates and numbers exactly."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        # A date without a time of day is stored as midnight.
        return (value.date() if midnight else value).isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value).strip()
