"""A table of samples in other words than ckin's, recognised by its column names.

A laboratory's list of samples (patient, matrix, day, copies_per_ug) says in its column
names what a column map would say. `recognised` makes that map, and says what it took
each column for. It is for describing data (`ckin metrics`); a fit wants a map that a
person has written.
"""

import dataclasses
from collections import Counter
from pathlib import Path

from ckin.dataset.cells import parse_number
from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import ALIASES, COLUMNS, DEFAULT_ASSAY
from ckin.dataset.faults import Faults
from ckin.dataset.header import REQUIRED
from ckin.dataset.table import Table, read_table
from ckin.dataset.workbook import file_of


# Columns of values whose name says the assay and its unit.
VALUES = {
    "COPIES_PER_UG": ("qpcr", "copies/ug"),
    "COPIES_PER_UG_GDNA": ("qpcr", "copies/ug"),
    "COPIES/UG": ("qpcr", "copies/ug"),
    "CELLS_PER_UL": ("flow", "cells/uL"),
    "CELLS/UL": ("flow", "cells/uL"),
}
# Columns that say what was sampled; levels of different materials are never mixed.
MATERIALS = ("MATRIX", "SPECIMEN", "SPEC", "PCSPEC", "SAMPLE_TYPE", "MATERIAL")
# Without doses there is no day to count dates from.
DATED = {"DATE", "CLOCK"}


@dataclasses.dataclass(frozen=True)
class Recognised:
    """How to read a table whose columns were recognised.

    Attributes:
        columns: the column map, with what the user stated over it.
        material: column of the material, as the file spells it; "" without one.
        materials: its values, the most frequent first; one that was asked for stands
            alone. Empty without the column.
        notes: what was taken for what.
    """

    columns: ColumnMap
    material: str
    materials: tuple[str, ...]
    notes: tuple[str, ...]


def recognised(path: Path, given: ColumnMap) -> Recognised | None:
    """What the columns of a table are by their names.

    Args:
        path: the file.
        given: what the user stated: conditions, limits, units.

    Returns:
        `None` if the user said which column is which (here or in a side file), the
        table has ckin's columns already or is no table, or patient, time or value
        cannot be told from the names.
    """
    if (
        given.targets()
        or path.with_suffix(".toml").is_file()
        or not file_of(path).is_file()
    ):
        return None
    words = {*COLUMNS, *ALIASES, *VALUES, *MATERIALS}
    table = read_table(path, words, Faults(str(path)))
    if table is None:
        return None
    meant = _meant(table.header)
    if not set(REQUIRED) <= set(meant.values()):
        return None
    if all(name.upper() == target for name, target in meant.items()):
        return None
    material = next((n for n in table.header if n.upper() in MATERIALS), "")
    unread = [n for n in table.header if n not in meant and n != material]
    notes = [f"{name} taken for {target}" for name, target in meant.items()]
    notes += [f"columns not read: {', '.join(unread)}"] if unread else []
    value = next(name for name, target in meant.items() if target == "DV")
    assay, unit = VALUES.get(value.upper(), (None, None))
    key = assay or given.assay or DEFAULT_ASSAY
    limits = {}
    smallest = _smallest_above_zero(table, value)
    stated = {"LIMIT", "EXAMINED"} & set(meant.values())
    if key not in given.limits and not stated and smallest:
        limits = {key: smallest}
        notes.append(
            f"zeros have no limit in this file: read as below {smallest:g}, its "
            f"smallest value above 0; --limit {key}=VALUE states the laboratory's"
        )
    columns = ColumnMap(
        rename={n: target for n, target in meant.items() if n.upper() != target},
        units={} if unit is None else {key: unit},
        limits=limits,
        ignore=tuple(n for n in (*unread, material) if n),
        assay=assay if assay != DEFAULT_ASSAY else None,
    )
    return Recognised(
        given.over(columns), material, _materials(table, material, given), tuple(notes)
    )


def _meant(header: tuple[str, ...]) -> dict[str, str]:
    """Column of the file -> column of ckin; its own names go first."""
    known = set(COLUMNS) - DATED
    meant = {name: name.upper() for name in header if name.upper() in known}
    for name in header:
        target = "DV" if name.upper() in VALUES else ALIASES.get(name.upper())
        if target in known and target not in meant.values():
            meant.setdefault(name, target)
    return meant


def _smallest_above_zero(table: Table, column: str) -> float | None:
    """Smallest value above 0 of a column that has zeros; `None` without zeros."""
    at = table.header.index(column)
    numbers = [parse_number(line.cells[at])[0] for line in table.lines]
    above = [number for number in numbers if number is not None and number > 0]
    return min(above, default=None) if 0.0 in numbers else None


def _materials(table: Table, column: str, given: ColumnMap) -> tuple[str, ...]:
    asked = {name.casefold(): value for name, value in given.where.items()}
    if not column:
        return ()
    if column.casefold() in asked:
        return (asked[column.casefold()],)
    at = table.header.index(column)
    counts = Counter(line.cells[at] for line in table.lines)
    return tuple(value for value, _ in counts.most_common())
