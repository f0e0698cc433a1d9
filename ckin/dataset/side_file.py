"""A column map -> the TOML file that says the same, to lie beside its table."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ckin.dataset.column_map import ColumnMap, read_side_file
from ckin.dataset.faults import Faults
from ckin.errors import InputError


# The first line of a side file that may be replaced.
WRITTEN_BY_CKIN = "# Written by ckin beside the table of the same name.\n"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def side_file_text(columns: ColumnMap) -> str:
    """The entries of a column map in TOML; nothing for an empty one."""
    # Lists come first: TOML takes what follows a [table] for a part of it.
    lists = ("ignore", "covariates", "log", "log10")
    lines = [
        f"{name} = [{', '.join(map(_quoted, getattr(columns, name)))}]"
        for name in lists
        if getattr(columns, name)
    ]
    if columns.assay is not None:
        lines.append(f"assay = {_quoted(columns.assay)}")
    tables: dict[str, Mapping[str, str | float]] = {
        "columns": columns.rename,
        "units": columns.units,
        "products": columns.products,
        "limits": columns.limits,
        "where": columns.where,
    }
    tables |= {f"codes.{_key(name)}": names for name, names in columns.codes.items()}
    for name, table in tables.items():
        if table:
            lines += ["", f"[{name}]"]
            lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines).removeprefix("\n") + "\n" * bool(lines)


def write_side_file(path: Path, columns: ColumnMap, head: str = "") -> None:
    """Write a column map to `path`; an empty one leaves no file there.

    Args:
        path: the side file, which is replaced if ckin wrote it.
        columns: what it should say.
        head: comment lines to put above it.

    Raises:
        InputError: a file that ckin did not write is in the way.
    """
    check_replaceable(path)
    text = side_file_text(columns)
    if text:
        path.write_text(WRITTEN_BY_CKIN + head + text, encoding="utf-8", newline="\n")
    else:
        path.unlink(missing_ok=True)


def save_column_map(data: Path, columns: ColumnMap) -> Path:
    """Write a column map beside the data, where it is read without being asked for.

    Args:
        data: the data file; its side file, if ckin wrote it, keeps what is not changed.
        columns: what was given in options.

    Returns:
        The side file.

    Raises:
        InputError: there is nothing to save, or a side file that a person has written.
        DataError: the side file that is there cannot be read.
    """
    path = data.with_suffix(".toml")
    if columns == ColumnMap():
        raise InputError("nothing to save: give --map, --where, --limit or --unit")
    if path.exists():
        if not written_by_ckin(path):
            raise InputError(
                f"{path} was not written by ckin, so it is left as it is. It is read "
                f"with the data; what you gave would be this in it:\n"
                f"{side_file_text(columns)}"
            )
        faults = Faults(str(path))
        before = read_side_file(path, faults)
        faults.raise_any()
        columns = columns.over(before or ColumnMap())
    write_side_file(path, columns)
    return path


def check_replaceable(path: Path) -> None:
    """Refuse to replace a side file that a person has written.

    Raises:
        InputError: there is one at `path`.
    """
    if path.exists() and not written_by_ckin(path):
        raise InputError(
            f"{path} would be read with the table, and ckin did not write it: "
            "remove it, or write the table under another name"
        )


def written_by_ckin(path: Path) -> bool:
    """Whether a side file begins as those do that ckin writes."""
    return path.read_text(encoding="utf-8").startswith(WRITTEN_BY_CKIN)


def _value(value: str | float) -> str:
    return _quoted(value) if isinstance(value, str) else repr(float(value))


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """A text in quotation marks: as in JSON, where TOML wants one escape more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
