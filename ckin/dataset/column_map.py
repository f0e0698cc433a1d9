"""Which column of a file is which, in what unit, and which rows count.

A file in NONMEM/Monolix columns needs none of this. Any other file is read through a
`ColumnMap`, written as options (`--map day=TIME --where matrix=PB`), as a side file
(`--map trial_columns.toml`; `examples/columns_example.toml` explains each entry), or as
a side file that lies beside the table under its name (`trial.toml` by `trial.csv`).
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckin.dataset.columns import COLUMNS, COVARIATE, IGNORE
from ckin.dataset.draft import SIDE_FILE_KEYS, Draft
from ckin.dataset.faults import Faults, did_you_mean, nearest, quoted


@dataclasses.dataclass(frozen=True)
class ColumnMap:
    """How to read a file whose columns have other names.

    Columns of a file are matched without regard to case. Making one checks it.

    Attributes:
        rename: column of the file -> column of ckin (`COLUMNS`).
        units: assay, `AMT` or `TIME` -> unit. An assay that ckin does not know is one
            of the file's own.
        products: product of the file's own -> unit of its doses (mg, mg/kg).
        limits: assay -> detection limit, in the unit of the assay, for rows without
            LIMIT.
        where: column of the file -> the value a row must have to be read.
        ignore: columns of the file not to read.
        covariates: columns of the file to keep as covariates.
        assay: assay of every observation of a file without DVID.
        codes: column (DVID, CMT, ID, ARM, a covariate) -> code -> what it stands for,
            for files in which words are numbers.
        log: columns (DV, LIMIT) that hold natural logarithms.
        log10: columns that hold decimal logarithms.

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
    codes: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    log: tuple[str, ...] = ()
    log10: tuple[str, ...] = ()
    products: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        faults = Faults("column map")
        draft = Draft(faults)
        draft.read(
            {
                "columns": self.rename,
                "units": self.units,
                "products": self.products,
                "limits": self.limits,
                "where": self.where,
                "ignore": self.ignore,
                "covariates": self.covariates,
                "codes": self.codes,
                "log": self.log,
                "log10": self.log10,
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
        product: Iterable[str] = (),
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
            product: `NAME=UNIT`, a product of one's own.
            assay: assay of every observation of a file without DVID.

        Raises:
            DataError: with every option that cannot be used.
        """
        faults = Faults("option")
        draft, side = Draft(faults), cls()
        for entry in map:
            if entry.endswith(".toml") and "=" not in entry:
                side = (read_side_file(Path(entry), faults) or cls()).over(side)
                continue
            faults.file = "--map"
            pair = _pair(entry, "COLUMN=NAME or a .toml file", faults, last=True)
            if pair:
                draft.column(*pair)
        for option, entries, form, take in (
            ("--unit", unit, "ASSAY=UNIT", draft.unit),
            ("--product", product, "NAME=UNIT", draft.product),
            ("--where", where, "COLUMN=VALUE", draft.condition),
            ("--limit", limit, "ASSAY=NUMBER", draft.limit),
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
            products={**other.products, **self.products},
            limits={**other.limits, **self.limits},
            where=dict(conditions.values()),
            ignore=tuple(c for c, target in written if target == IGNORE),
            covariates=tuple(c for c, target in written if target == COVARIATE),
            assay=self.assay or other.assay,
            codes={**other.codes, **self.codes},
            log=self.log or tuple(c for c in other.log if c not in self.log10),
            log10=self.log10 or tuple(c for c in other.log10 if c not in self.log),
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
    draft = Draft(own)
    draft.read(entries)
    faults.extend(own)
    return None if len(own) else ColumnMap(**draft.fields())


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
