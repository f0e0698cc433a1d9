"""Files that are written: what goes wrong is said as the user's to mend."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ckin.errors import InputError


# Of everything that is made from a fit: the last column of every table, a key of every
# JSON, a word of every title, the first line on the screen.
CONVERGED, DID_NOT = "converged", "DID NOT CONVERGE"

# Ending of a file that is being written.
UNFINISHED = ".part"

# HDF5 tells of a full disk by a RuntimeError with this in its text.
HDF5_ERRNO = re.compile(r"errno = (\d+)")


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say which file could not be written, and why.

    Raises:
        InputError: for an `OSError` inside.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
    except RuntimeError as error:
        number = HDF5_ERRNO.search(str(error))
        if number is None:
            raise
        why = os.strerror(int(number[1]))
        raise InputError(f"{path} cannot be written ({why})") from None


def check_writable(folder: Path) -> None:
    """Refuse a folder that is there and cannot be written to.

    Raises:
        InputError: it is.
    """
    if folder.exists() and not os.access(folder, os.W_OK):
        raise InputError(f"{folder} is not writable; choose another --out")


def with_verdict(table: Any, converged: Any) -> Any:
    """A data frame made from a fit, with a last column that says whether it converged.

    Args:
        table: the data frame.
        converged: of the fit, or of that of each row.
    """
    return table.assign(**{CONVERGED: converged})


def rows_with_verdict(
    rows: Iterable[Mapping[str, Any]], converged: bool | None
) -> list[dict[str, Any]]:
    """Rows of a table, each saying whether the fit converged; `None` without a fit."""
    said = {} if converged is None else {CONVERGED: converged}
    return [{**row, **said} for row in rows]


def titled(title: str, converged: bool | None) -> str:
    """A title that says so where the fit did not converge; `None` without a fit."""
    if converged in (True, None):
        return title
    return f"{title} - THE FIT {DID_NOT}"


def write_texts(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write texts by file name, those that are not empty; the files written.

    Raises:
        InputError: one cannot be written.
    """
    written = [folder / name for name, text in files.items() if text]
    for path in written:
        with writing(path):
            path.write_text(files[path.name].rstrip() + "\n", encoding="utf-8")
    return written


def refuse_to_write_over(path: Path, what: str, suffix: str) -> None:
    """Refuse a new file that is there already, or has another ending.

    Args:
        path: the file to write.
        what: what it is, in a word.
        suffix: how its name ends.
    """
    if path.suffix != suffix:
        raise InputError(f"{path}: a {what} file ends in {suffix}")
    if path.exists():
        raise InputError(f"{path} exists and is left as it is; choose another name")


def put_whole(path: Path, content: bytes) -> None:
    """Put a file in place whole, or not at all, and on disk when this returns."""
    part = path.with_name(path.name + UNFINISHED)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        # The new name is on disk only when the folder is. Some network file systems
        # cannot be asked for that; the file is whole all the same.
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):
            os.fsync(handle)
        os.close(handle)
