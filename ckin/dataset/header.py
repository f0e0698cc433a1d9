"""The row of column names: what each column of a table is."""

import dataclasses
from collections.abc import Mapping

from ckin.dataset.cells import plain_code, present
from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import (
    ALIASES,
    COLUMNS,
    COVARIATE,
    IGNORE,
    standard_name,
)
from ckin.dataset.faults import Faults, did_you_mean, nearest, quoted
from ckin.dataset.table import Line, Table


REQUIRED = ("ID", "TIME", "DV")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things are in a row.

    Attributes:
        position: column of ckin -> place in a row.
        spelled: column of ckin -> as the file spells it.
        covariates: covariate, as the file spells it -> place in a row.
        where: place in a row -> the value it must have.
        notes: columns that are not read.
        codes: place in a row -> code -> what it stands for.
    """

    position: dict[str, int]
    spelled: dict[str, str]
    covariates: dict[str, int]
    where: dict[int, str]
    notes: tuple[str, ...]
    codes: Mapping[int, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def has(self, column: str) -> bool:
        """Whether the file has the ckin column `column`."""
        return column in self.position

    def name(self, column: str) -> str:
        """A ckin column as the file spells it."""
        return self.spelled.get(column, column)

    def text(self, line: Line, column: str) -> str | None:
        """The cell of a ckin column, or `None` if it is missing."""
        at = self.position.get(column)
        return None if at is None else self.cell(line, at)

    def cell(self, line: Line, at: int) -> str | None:
        """A cell, or what it stands for; `None` if it is missing."""
        text = present(line.cells[at])
        if text is None or at not in self.codes:
            return text
        return self.codes[at].get(plain_code(text), text)

    def wanted(self, line: Line) -> bool:
        """Whether a row has the values that `where` asks for."""
        return all(line.cells[at] == value for at, value in self.where.items())


def lay_out(table: Table, columns: ColumnMap, faults: Faults) -> Layout:
    """What each column of `table` is; see `faults`."""
    targets = columns.targets()
    asked = {column.casefold() for column in columns.where}
    names = {name.casefold(): at for at, name in enumerate(table.header) if name}
    position: dict[str, int] = {}
    spelled: dict[str, str] = {}
    covariates: dict[str, int] = {}
    notes, unread, unknown = [], [], []
    for at, name in enumerate(table.header):
        key = name.casefold()
        if not name:
            if any(line.cells[at] for line in table.lines):
                faults.add(
                    table.header_row,
                    None,
                    f"no name above column {at + 1}, which has values",
                    "a name above every column",
                    "name it, or clear the column",
                )
            else:
                notes.append(f"column {at + 1} has no name and is empty: left out")
            continue
        if names[key] != at:
            faults.add(
                table.header_row,
                name,
                "the same name above two columns",
                "different names",
                "rename or remove one of them",
            )
            continue
        target = targets[key][1] if key in targets else standard_name(name)
        if target in (IGNORE, "IPRED"):
            unread.append(name)
        elif target == COVARIATE:
            covariates[name] = at
        elif target is not None:
            if target in position:
                faults.add(
                    table.header_row,
                    name,
                    f"a second column for {target}, beside {quoted(spelled[target])}",
                    f"one column to be {target}",
                    f"--map {name}=IGNORE, or rename one of them",
                )
                continue
            position[target], spelled[target] = at, name
            if target == "ARM":
                covariates["ARM"] = at
        elif key not in asked:
            unknown.append(name)
    _refuse(unknown, position, table, faults)
    for key, (name, target) in targets.items():
        if key not in names and target == IGNORE:
            notes.append(f"column {name}, not to be read, is not in the file")
        elif key not in names:
            _absent(table, name, faults)
    where = {}
    for name, value in columns.where.items():
        at = names.get(name.casefold(), position.get(name.upper()))
        if at is None:
            _absent(table, name, faults)
        else:
            where[at] = value
    codes = {}
    for name, meanings in columns.codes.items():
        at = names.get(name.casefold()) if name not in COLUMNS else position.get(name)
        if at is None:
            notes.append(f"codes of {name}: there is no such column")
        else:
            codes[at] = meanings
    monolix = [
        f"{spelled[column]} read as {column}"
        for column in position
        if spelled[column].casefold() not in targets
        and spelled[column].upper() != column
    ]
    if monolix:
        notes.append(f"columns in the words of Monolix: {', '.join(monolix)}")
    for column in REQUIRED:
        if column == "TIME" and "DATE" in position:
            continue
        if column not in position:
            faults.add(
                table.header_row,
                column,
                f"no column {column} among {', '.join(table.header)}",
                f"a column {column}: {COLUMNS[column]}",
                f"name it {column}, or --map COLUMN={column}",
            )
    if unread:
        notes.append(f"columns not read: {', '.join(unread)}")
    return Layout(position, spelled, covariates, where, tuple(notes), codes)


def _absent(table: Table, name: str, faults: Faults) -> None:
    faults.add(
        table.header_row,
        name,
        "no such column",
        f"one of {', '.join(table.header)}",
        did_you_mean(name, table.header) + "mend the column map",
    )


def _refuse(
    unknown: list[str], position: dict[str, int], table: Table, faults: Faults
) -> None:
    for name in unknown:
        free = [column for column in COLUMNS if column not in position]
        meant = nearest(name, free, ALIASES)
        guess = f"did you mean {meant}? --map {name}={meant}; or " if meant else ""
        faults.add(
            table.header_row,
            name,
            "an unknown column",
            "a column of ckin",
            f"{guess}--map {name}=COVARIATE or --map {name}=IGNORE",
        )
