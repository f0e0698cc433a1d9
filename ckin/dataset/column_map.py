"""Which column of a file is which, in what unit, and which rows count.

A file in NONMEM/Monolix columns needs none of this. Any other file is read through a
`ColumnMap`, written as options (`--map day=TIME --where matrix=PB`), as a side file
(`--map trial_columns.toml`; `examples/columns_example.toml` explains each entry), or as
a side file that lies beside the table under its name (`trial.toml` by `trial.csv`).
"""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckin.dataset.columns import (
    ALIASES,
    ASSAYS,
    COLUMNS,
    COVARIATE,
    IGNORE,
    UNITS,
    check_unit,
    unit_key,
)
from ckin.dataset.faults import Faults, did_you_mean, nearest, quoted


# Entries of a side file.
_TABLES = ("columns", "units", "limits", "where")
_LISTS = ("ignore", "covariates")
SIDE_FILE_KEYS = (*_TABLES, *_LISTS, "assay")


@dataclasses.dataclass(frozen=True)
class ColumnMap:
    """How to read a file whose columns have other names.

    Columns of a file are matched without regard to case. Making one checks it.

    Attributes:
        rename: column of the file -> column of ckin (`COLUMNS`).
        units: assay, `AMT` or `TIME` -> unit.
        limits: assay -> detection limit, in the unit of the assay, for rows without
            LIMIT.
        where: column of the file -> the value a row must have to be read.
        ignore: columns of the file not to read.
        covariates: columns of the file to keep as covariates.
        assay: assay of every observation of a file without DVID.

    Raises:
        DataError: a name, unit or number is not one that ckin knows.
    """

    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    assay: str | None = None

    def __post_init__(self):
        faults = Faults("column map")
        draft = _Draft(faults)
        draft.read(
            {
                "columns": self.rename,
                "units": self.units,
                "limits": self.limits,
                "where": self.where,
                "ignore": self.ignore,
                "covariates": self.covariates,
            }
            | ({} if self.assay is None else {"assay": self.assay})
        )
        faults.raise_any()
        for field, value in draft.fields().items():
            object.__setattr__(self, field, value)

    @classmethod
    def from_options(
        cls,
        *,
        map: Iterable[str] = (),
        where: Iterable[str] = (),
        limit: Iterable[str] = (),
        unit: Iterable[str] = (),
        assay: str | None = None,
    ) -> "ColumnMap":
        """A column map from what a command line was given.

        Args:
            map: `COLUMN=NAME`, where NAME is a column of ckin, COVARIATE or IGNORE, or
                the path of a side file (`.toml`). Options go before side files, and a
                later side file before an earlier one.
            where: `COLUMN=VALUE`.
            limit: `ASSAY=NUMBER`.
            unit: `ASSAY=UNIT`, `AMT=UNIT` or `TIME=UNIT`.
            assay: assay of every observation of a file without DVID.

        Raises:
            DataError: with every option that cannot be used.
        """
        faults = Faults("option")
        draft, side = _Draft(faults), cls()
        for entry in map:
            if entry.endswith(".toml") and "=" not in entry:
                side = (read_side_file(Path(entry), faults) or cls()).over(side)
                continue
            faults.file = "--map"
            pair = _pair(entry, "COLUMN=NAME or a .toml file", faults, last=True)
            if pair:
                draft.column(*pair)
        for option, entries, form, take in (
            ("--where", where, "COLUMN=VALUE", draft.condition),
            ("--limit", limit, "ASSAY=NUMBER", draft.limit),
            ("--unit", unit, "ASSAY=UNIT", draft.unit),
        ):
            faults.file = option
            for entry in entries:
                pair = _pair(entry, form, faults, last=option == "--limit")
                if pair:
                    take(*pair)
        if assay is not None:
            faults.file = "--assay"
            draft.one_assay(assay)
        faults.raise_any()
        return cls(**draft.fields()).over(side)

    def targets(self) -> dict[str, tuple[str, str]]:
        """Casefolded column -> the column as written, and what it is.

        What it is: a column of ckin, COVARIATE or IGNORE.
        """
        entries = (
            *self.rename.items(),
            *((column, IGNORE) for column in self.ignore),
            *((column, COVARIATE) for column in self.covariates),
        )
        return {column.casefold(): (column, target) for column, target in entries}

    def over(self, other: "ColumnMap") -> "ColumnMap":
        """Both maps; where they differ, this one holds."""
        mine = self.targets()
        taken = {target for _, target in mine.values()} & set(COLUMNS)
        both = {
            key: entry
            for key, entry in other.targets().items()
            if entry[1] not in taken
        } | mine
        written = both.values()
        conditions = {c.casefold(): (c, value) for c, value in other.where.items()} | {
            c.casefold(): (c, value) for c, value in self.where.items()
        }
        return ColumnMap(
            rename={c: target for c, target in written if target in COLUMNS},
            units={**other.units, **self.units},
            limits={**other.limits, **self.limits},
            where=dict(conditions.values()),
            ignore=tuple(c for c, target in written if target == IGNORE),
            covariates=tuple(c for c, target in written if target == COVARIATE),
            assay=self.assay or other.assay,
        )


def read_side_file(
    path: Path, faults: Faults, *, notes: list[str] | None = None
) -> ColumnMap | None:
    """The column map in a TOML file, or `None` if there is none in it; see `faults`.

    Args:
        path: the file.
        faults: where faults are added.
        notes: `None` for a file that was named: every entry must be a column map's. A
            list for a file that merely lies beside a table: entries of another purpose
            are named there and passed over.
    """
    own = Faults(str(path))
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        content = None
        own.add(
            None,
            None,
            f"a file that cannot be read ({error.strerror})",
            "a TOML file",
            "check the path",
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        content = None
        own.add(None, None, f"no TOML ({error})", "a TOML file", "mend it there")
    if content is None:
        faults.extend(own)
        return None
    entries, other = {}, []
    for key, value in content.items():
        if key in SIDE_FILE_KEYS:
            entries[key] = value
        elif notes is None or (len(key) > 3 and _almost(key)):
            own.add(
                None,
                key,
                f"an entry {quoted(key)}",
                f"one of {', '.join(SIDE_FILE_KEYS)}",
                did_you_mean(key, SIDE_FILE_KEYS) + "rename or remove it",
            )
        else:
            other.append(key)
    if notes is not None and other:
        notes.append(f"{path.name}: {', '.join(other)} not read")
    if notes is not None and entries:
        notes.append(f"{path.name}: {', '.join(entries)} read from this side file")
    draft = _Draft(own)
    draft.read(entries)
    faults.extend(own)
    return None if len(own) else ColumnMap(**draft.fields())


class _Draft:
    """A column map in the making: entries are checked as they are added."""

    def __init__(self, faults: Faults):
        self._faults = faults
        self._targets: dict[str, tuple[str, str]] = {}
        self._units: dict[str, str] = {}
        self._limits: dict[str, float] = {}
        self._where: dict[str, str] = {}
        self._assay: str | None = None

    def fields(self) -> dict[str, Any]:
        """Fields of the `ColumnMap`."""
        written = self._targets.values()
        return {
            "rename": {c: target for c, target in written if target in COLUMNS},
            "units": self._units,
            "limits": self._limits,
            "where": self._where,
            "ignore": tuple(c for c, target in written if target == IGNORE),
            "covariates": tuple(c for c, target in written if target == COVARIATE),
            "assay": self._assay,
        }

    def read(self, entries: Mapping[str, Any]) -> None:
        """Take the tables and lists of a side file."""
        adders = {
            "columns": self.column,
            "units": self.unit,
            "limits": self.limit,
            "where": self.condition,
        }
        for name in _TABLES:
            table = entries.get(name, {})
            if not isinstance(table, Mapping):
                self._wrong(
                    name, table, f"a table [{name}]", "write NAME = VALUE in it"
                )
                continue
            for key, value in table.items():
                if name == "limits" or isinstance(value, str):
                    adders[name](key, value)
                else:
                    self._wrong(
                        f"{name}.{key}",
                        value,
                        "a text in quotation marks",
                        "quote it; lists such as ignore go above the first [table]",
                    )
        for name, target in (("ignore", IGNORE), ("covariates", COVARIATE)):
            columns = entries.get(name, ())
            whole = isinstance(columns, list | tuple)
            if not whole or not all(isinstance(column, str) for column in columns):
                self._wrong(name, columns, "a list of columns", f'{name} = ["COLUMN"]')
                continue
            for column in columns:
                self.column(column, target)
        if "assay" in entries:
            assay = entries["assay"]
            if isinstance(assay, str):
                self.one_assay(assay)
            else:
                self._wrong("assay", assay, "the name of an assay", 'assay = "qpcr"')

    def column(self, column: str, target: str) -> None:
        """`column` of the file is `target`."""
        name = target.strip().upper()
        known = (*COLUMNS, COVARIATE, IGNORE)
        key = column.strip().casefold()
        if name not in known:
            self._wrong(
                column,
                target,
                f"one of {', '.join(known)}",
                did_you_mean(target, known, ALIASES)
                + f"{column}=COVARIATE keeps a column under its own name",
            )
            return
        before = self._targets.get(key)
        if before is not None and before[1] != name:
            self._wrong(column, name, f"{before[1]}, as before", "name a column once")
            return
        twin = next(
            (c for k, (c, t) in self._targets.items() if t == name and k != key), None
        )
        if name in COLUMNS and twin is not None:
            self._wrong(
                column,
                name,
                f"one column to be {name}; {quoted(twin)} is",
                f"drop one, or {column}=IGNORE",
            )
            return
        self._targets[key] = (column.strip(), name)

    def unit(self, key: str, unit: str) -> None:
        """`key`, an assay or a column, is in `unit`."""
        name = unit_key(key)
        if name is None:
            self._wrong(
                key,
                key,
                f"one of {', '.join(UNITS)}",
                did_you_mean(key, UNITS, ALIASES)
                + "a unit is of an assay, AMT or TIME",
            )
            return
        spelled, problem = check_unit(name, unit)
        if problem:
            self._wrong(key, unit, *problem)
        elif self._units.get(name, spelled) != spelled:
            self._wrong(key, unit, f"{self._units[name]}, as before", "state it once")
        else:
            self._units[name] = spelled

    def limit(self, assay: str, limit: Any) -> None:
        """Values of `assay` under `limit` are below detection."""
        name = self._known_assay(assay)
        if isinstance(limit, str):
            try:
                value = float(limit)
            except ValueError:
                value = math.nan
        else:
            numeric = isinstance(limit, int | float) and not isinstance(limit, bool)
            value = float(limit) if numeric else math.nan
        if not (math.isfinite(value) and value > 0):
            self._wrong(
                assay,
                limit,
                "a detection limit, a number above 0",
                f"for example {name or 'qpcr'}=25, in the unit of the assay",
            )
        elif name is not None:
            self._limits[name] = value

    def condition(self, column: str, value: str) -> None:
        """Only rows with `value` in `column` are read."""
        column, value = column.strip(), value.strip()
        before = self._where.setdefault(column, value)
        if before != value:
            self._wrong(
                column,
                value,
                f"one value; {quoted(before)} was asked for too",
                "read the file once for each value",
            )

    def one_assay(self, assay: str) -> None:
        """Every observation is of `assay`."""
        self._assay = self._known_assay(assay)

    def _known_assay(self, assay: str) -> str | None:
        name = assay.strip().lower()
        if name in ASSAYS:
            return name
        self._wrong(
            assay,
            assay,
            f"one of {', '.join(ASSAYS)}",
            did_you_mean(assay, ASSAYS) + "name an assay that ckin knows",
        )
        return None

    def _wrong(self, column: str, found: Any, expected: str, fix: str) -> None:
        self._faults.add(None, column, quoted(found), expected, fix)


def _pair(
    entry: str, form: str, faults: Faults, *, last: bool
) -> tuple[str, str] | None:
    """The two sides of `A=B`, split at the last (or first) equals sign."""
    left, equals, right = entry.rpartition("=") if last else entry.partition("=")
    if equals and left.strip() and right.strip():
        return left.strip(), right.strip()
    faults.add(None, None, quoted(entry), form, "write both sides of =, without blanks")
    return None


def _almost(key: str) -> bool:
    """Whether an unknown entry is a known one misspelt by a letter or so."""
    near = nearest(key, SIDE_FILE_KEYS)
    return near is not None and abs(len(near) - len(key)) <= 1 and near[:3] == key[:3]
