"""The same table as Parquet: numbers as numbers, and the comments of a CSV with them.

Comment lines (units, that the data are synthetic) are kept in the file's metadata,
where pandas keeps `DataFrame.attrs`, so that they survive being read and written by it.
"""

import importlib
import io
import json
import math
from pathlib import Path
from typing import Any

from ckin.dataset.conventions import Written
from ckin.dataset.faults import Faults
from ckin.dataset.grid import Grid, Line, cell_text, library, read_bytes, sha256
from ckin.errors import InputError


SUFFIX = ".parquet"
PYARROW = "pyarrow.parquet"
ATTRS, COMMENTS = b"PANDAS_ATTRS", "ckin"
# Columns of words, beside covariates that are.
WORDS = ("ID", "CMT", "DVID")


def is_parquet(path: Path) -> bool:
    """Whether a path is that of a Parquet file, by its name."""
    return path.suffix.lower() == SUFFIX


def read_parquet(path: Path, faults: Faults) -> Grid | None:
    """Rows of a Parquet file, or `None` if it cannot be read; see `faults`.

    Column names are row 1 and the first record is row 2, as in a CSV of it.
    """
    data = read_bytes(path, faults)
    if data is None:
        return None
    arrow = library(PYARROW, "a Parquet file", "parquet", faults)
    if arrow is None:
        return None
    try:
        table = arrow.read_table(io.BytesIO(data))
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        told = str(error).splitlines()[0]
        faults.add(
            None, None, f"no Parquet ({told})", "a Parquet file", "write it again"
        )
        return None
    attrs = json.loads((table.schema.metadata or {}).get(ATTRS, b"{}"))
    columns = [
        (str(name), [_text(value) for value in table.column(at).to_pylist()])
        for at, name in enumerate(table.column_names)
        if not name.startswith("__index_level_")
    ]
    header = Line(1, tuple(name.strip() for name, _ in columns))
    cells = zip(*(values for _, values in columns), strict=True)
    lines = [Line(row, tuple(texts)) for row, texts in enumerate(cells, start=2)]
    comments = tuple((0, str(text)) for text in attrs.get(COMMENTS, ()))
    return Grid((header, *lines), comments, (), sha256(data))


def write_parquet(path: Path, table: Written) -> None:
    """Write a table; see `check_pyarrow`."""
    import pandas as pd

    words = {*WORDS, *table.texts}
    made: dict[str, Any] = {}
    for name in table.names:
        cells = [row.get(name, "") for row in table.rows]
        if name in words:
            made[name] = pd.Series([cell or None for cell in cells], dtype="str")
        else:
            made[name] = [float(cell) if cell else math.nan for cell in cells]
    frame = pd.DataFrame(made)
    frame.attrs[COMMENTS] = list(table.comments)
    frame.to_parquet(path, engine="pyarrow", index=False)


def check_pyarrow() -> None:
    """Refuse to go on without what writes Parquet.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        importlib.import_module(PYARROW)
    except ModuleNotFoundError:
        raise InputError(
            'Parquet needs pyarrow: pip install "ckin[parquet]", or write a .csv'
        ) from None


def _text(value: object) -> str:
    missing = isinstance(value, float) and math.isnan(value)
    return "" if missing else cell_text(value)
