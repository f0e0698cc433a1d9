"""A column map in the making: entries are checked as they are added."""

import math
from collections.abc import Mapping
from typing import Any

from ckin.dataset.cells import plain_code
from ckin.dataset.columns import (
    ALIASES,
    ASSAYS,
    COLUMNS,
    COVARIATE,
    IGNORE,
    OTHER_EVENTS,
    UNITS,
    check_product,
    check_unit,
    own_assay,
    unit_key,
)
from ckin.dataset.faults import Faults, did_you_mean, quoted
from ckin.protocol import PRODUCTS


# Entries of a side file.
TABLES = ("columns", "units", "products", "limits", "where", "codes")
LOGS = ("log", "log10")
SIDE_FILE_KEYS = (*TABLES, "ignore", "covariates", *LOGS, "assay")
# Columns that may hold codes for words, beside covariates, and logarithms.
CODED = ("ID", "CMT", "DVID", "ARM")
LOGARITHMIC = ("DV", "LIMIT")


class Draft:
    """A column map in the making: entries are checked as they are added."""

    def __init__(self, faults: Faults):
        self._faults = faults
        self._targets: dict[str, tuple[str, str]] = {}
        self._units: dict[str, str] = {}
        self._products: dict[str, str] = {}
        self._limits: dict[str, float] = {}
        self._where: dict[str, str] = {}
        self._assay: str | None = None
        self._codes: dict[str, dict[str, str]] = {}
        self._logs: dict[str, str] = {}

    def fields(self) -> dict[str, Any]:
        """Fields of the `ColumnMap`."""
        written = self._targets.values()
        return {
            "rename": {c: target for c, target in written if target in COLUMNS},
            "units": self._units,
            "products": self._products,
            "limits": self._limits,
            "where": self._where,
            "ignore": tuple(c for c, target in written if target == IGNORE),
            "covariates": tuple(c for c, target in written if target == COVARIATE),
            "assay": self._assay,
            "codes": self._codes,
        } | {
            name: tuple(column for column, kind in self._logs.items() if kind == name)
            for name in LOGS
        }

    def read(self, entries: Mapping[str, Any]) -> None:
        """Take the tables and lists of a side file."""
        adders = {
            "columns": self.column,
            "units": self.unit,
            "products": self.product,
            "limits": self.limit,
            "where": self.condition,
        }
        for name in TABLES:
            table = entries.get(name, {})
            if not isinstance(table, Mapping):
                self._wrong(
                    name, table, f"a table [{name}]", "write NAME = VALUE in it"
                )
                continue
            for key, value in table.items():
                if name == "codes":
                    self.code(key, value)
                elif name == "limits" or isinstance(value, str):
                    adders[name](key, value)
                else:
                    self._wrong(
                        f"{name}.{key}",
                        value,
                        "a text in quotation marks",
                        "quote it; lists such as ignore go above the first [table]",
                    )
        takes = {
            "ignore": lambda column: self.column(column, IGNORE),
            "covariates": lambda column: self.column(column, COVARIATE),
            "log": lambda column: self.logarithm(column, "log"),
            "log10": lambda column: self.logarithm(column, "log10"),
        }
        for name, take in takes.items():
            columns = entries.get(name, ())
            whole = isinstance(columns, list | tuple)
            if not whole or not all(isinstance(column, str) for column in columns):
                self._wrong(name, columns, "a list of columns", f'{name} = ["COLUMN"]')
                continue
            for column in columns:
                take(column)
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

    def code(self, column: str, names: Any) -> None:
        """Cells of `column` are codes: each stands for a name."""
        spelled = column.strip()
        upper = spelled.upper()
        key = upper if upper in (*CODED, *COLUMNS) else spelled
        if key in COLUMNS and key not in CODED:
            self._wrong(
                f"codes.{column}",
                column,
                f"one of {', '.join(CODED)}, or a covariate",
                "numbers of other columns are numbers",
            )
            return
        if not isinstance(names, Mapping) or not all(
            isinstance(name, str) for name in names.values()
        ):
            self._wrong(
                f"codes.{column}",
                names,
                "a name for each code",
                f'{column} = {{1 = "NAME", 2 = "NAME"}} under [codes]',
            )
            return
        words = {
            "DVID": (*ASSAYS, *self._own_assays()),
            "CMT": (*PRODUCTS, *self._products, *OTHER_EVENTS),
        }.get(key)
        taken: dict[str, str] = {}
        for code, name in names.items():
            known = {word.casefold(): word for word in words or (name,)}
            word = known.get(name.strip().casefold())
            if words is not None and word is None:
                self._wrong(
                    f"codes.{column}",
                    name,
                    f"one of {', '.join(words)}",
                    did_you_mean(name, words) + "name what the code stands for",
                )
            else:
                taken[plain_code(str(code))] = word or name.strip()
        if taken:
            self._codes[key] = taken

    def logarithm(self, column: str, kind: str) -> None:
        """`column` holds logarithms, natural (log) or decimal (log10)."""
        name = column.strip().upper()
        if name not in LOGARITHMIC:
            known = " or ".join(LOGARITHMIC)
            self._wrong(kind, column, known, f'{kind} = ["DV"]')
        elif self._logs.setdefault(name, kind) != kind:
            self._wrong(kind, column, f"{self._logs[name]}, as before", "keep one")

    def unit(self, key: str, unit: str) -> None:
        """`key`, an assay or a column, is in `unit`."""
        name = unit_key(key) or own_assay(key)
        if name is None:
            self._wrong(
                key,
                key,
                f"one of {', '.join(UNITS)}",
                did_you_mean(key, UNITS, ALIASES)
                + "a unit is of an assay (one of your own: letters and digits), AMT or "
                "TIME",
            )
            return
        spelled, problem = check_unit(name, unit)
        if problem:
            self._wrong(key, unit, *problem)
        elif self._units.get(name, spelled) != spelled:
            self._wrong(key, unit, f"{self._units[name]}, as before", "state it once")
        else:
            self._units[name] = spelled

    def product(self, product: str, unit: str) -> None:
        """`product` is one of the file's own, given in `unit`."""
        name, spelled, problem = check_product(product, unit)
        if problem:
            self._wrong(product, f"{product} in {unit}", *problem)
        elif self._products.get(name, spelled) != spelled:
            was = f"{self._products[name]}, as before"
            self._wrong(product, unit, was, "state it once")
        else:
            self._products[name] = spelled

    def _own_assays(self) -> tuple[str, ...]:
        return tuple(key for key in self._units if key not in UNITS)

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
        every = (*ASSAYS, *self._own_assays())
        if name in every:
            return name
        self._wrong(
            assay,
            assay,
            f"one of {', '.join(every)}",
            did_you_mean(assay, every)
            + "name an assay that ckin knows, or state the unit of one of your own",
        )
        return None

    def _wrong(self, column: str, found: Any, expected: str, fix: str) -> None:
        self._faults.add(None, column, quoted(found), expected, fix)
