"""Files that are written: what goes wrong is said as the user's to mend."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ckin.errors import InputError


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
