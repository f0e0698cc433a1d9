"""A `Dataset` -> a CSV in NONMEM/Monolix columns that `read_dataset` reads back."""

import collections
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ckin.dataset.cells import MISSING
from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import ASSAYS, LONGEST_D
from ckin.dataset.conventions import CONVENTIONS, Written
from ckin.dataset.parquet import check_pyarrow, is_parquet, write_parquet
from ckin.dataset.records import Change, Dataset, Patient, Sample
from ckin.dataset.side_file import (
    check_replaceable,
    write_side_file,
    written_by_ckin,
)
from ckin.errors import InputError
from ckin.protocol import INPUTS, LYMPHODEPLETION, PRODUCTS, Dose


FIRST = ("ID", "TIME", "EVID", "AMT", "CMT")
OBSERVED = ("DV", "DVID", "CENS", "LIMIT", "OCC", "AFTER")
# Written where some sample has it.
COUNTED = ("EXAMINED", "PARTITIONS")
# Covariates that the reader knows without being told.
KNOWN = ("WT", "ARM")
SYNTHETIC = "# SYNTHETIC: simulated by ckin; no patient was measured."
# What a person's program would not open under that name.
NOT_WRITTEN = (".xlsx", ".xlsm", ".xls")
KEY_HEAD = "# Who is who: keep it where patients are named. Read it with --map.\n"


def write_dataset(
    dataset: Dataset,
    path: str | Path,
    ipred: Sequence[Sequence[float] | np.ndarray] | None = None,
    *,
    digits: int | None = None,
    convention: str = "ckin",
) -> tuple[Path, ...]:
    """Write patient records so that `read_dataset` gives the same patients.

    Covariates other than WT and ARM are declared in a side file beside the table
    (FILE.toml), which holds the codes of NONMEM and Monolix too. Where NONMEM wants
    numbers for patients, FILE_ids.toml says who is who; a reader who is given it as a
    column map has the patients by name.
    `Dataset.notes` and `Sample.row` are about the file that was read, and are not
    written. An input window that ends becomes a row with level 0, and a covariate that
    changes where there is no other record a row of EVID 2 without CMT.

    Args:
        dataset: the records.
        path: the CSV, or a .parquet.
        ipred: for each patient the prediction of each of `(*baseline, *samples)`,
            written as IPRED.
        digits: significant digits of DV, LIMIT and IPRED; `None` writes them exactly.
        convention: ckin, nonmem or monolix (`ckin.dataset.conventions`).

    Returns:
        The files written: the table, and what lies beside it.

    Raises:
        InputError: records that no file in these columns can hold, or a side file that
            ckin did not write lies in the way.
    """
    path = Path(path)
    check_format(path, convention)
    if not dataset.patients:
        raise InputError(f"there is no patient to write to {path}")
    table = CONVENTIONS[convention](_table(dataset, ipred, digits))
    side, key = path.with_suffix(".toml"), path.with_name(f"{path.stem}_ids.toml")
    _check_names(table)
    check_replaceable(side)
    if table.key.codes or (key.exists() and written_by_ckin(key)):
        write_side_file(key, table.key, KEY_HEAD)
    write_side_file(side, table.columns, table.head)
    if is_parquet(path):
        write_parquet(path, table)
    else:
        path.write_text(_text_of(table), encoding="utf-8", newline="\n")
    beside = [side] if side.exists() else []
    return (path, *beside, *([key] if table.key.codes else []))


def check_format(path: Path, convention: str = "ckin") -> None:
    """Refuse what `write_dataset` cannot write, before there is anything to write.

    Raises:
        InputError: a convention or a kind of file that ckin does not write here.
    """
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise InputError(f"no convention {convention!r}; ckin writes {known}")
    if path.suffix.lower() in NOT_WRITTEN:
        raise InputError(f"{path}: ckin writes .csv and .parquet")
    if is_parquet(path):
        if convention != "ckin":
            raise InputError(f"{path}: {convention} reads text; write a .csv")
        check_pyarrow()


def _check_names(table: Written) -> None:
    """A covariate may have any name but that of a column of the table."""
    counts = collections.Counter(name.casefold() for name in table.names)
    twice = [name for name in table.names if counts[name.casefold()] > 1]
    if twice:
        raise InputError(
            f"two columns would be called {twice[0]}: give the covariate another name"
        )


def _text_of(table: Written) -> str:
    text = io.StringIO()
    text.writelines(f"{comment}\n" for comment in table.comments)
    text.write(table.before_names)
    writer = csv.DictWriter(
        text, table.names, restval=table.missing, lineterminator="\n"
    )
    writer.writeheader()
    # Cells that hold nothing are as missing as those that are not there.
    writer.writerows(
        {name: cell or table.missing for name, cell in row.items()}
        for row in table.rows
    )
    return text.getvalue()


def _table(
    dataset: Dataset,
    ipred: Sequence[Sequence[float] | np.ndarray] | None,
    digits: int | None,
) -> Written:
    """The records in ckin's own columns."""
    per_kg, products = _per_kg(dataset), _own_products(dataset)
    covariates = [
        (name, isinstance(value, str))
        for patient in dataset.patients
        for name, value in patient.covariates.items()
    ]
    others = sorted({name for name, _ in covariates} - set(KNOWN))
    runs_in = any(d.duration_d for p in dataset.patients for d in p.doses)
    names = [*FIRST, *(["DUR"] if runs_in else []), *OBSERVED, *_counted(dataset)]
    names += [*KNOWN, *others]
    names += [] if ipred is None else ["IPRED"]
    units = {"TIME": "day", "AMT": "cells/kg" if per_kg else "cells", "WT": "kg"}
    units |= dataset.units
    rows, seen = [], set()
    for index, patient in enumerate(dataset.patients):
        if patient.id in seen:
            raise InputError(f"two patients {patient.id!r}: number them differently")
        seen.add(patient.id)
        predicted = None if ipred is None else ipred[index]
        kinds = {name for name, unit in products.items() if unit.endswith("/kg")}
        kinds |= {*PRODUCTS} if per_kg else set()
        rows += _rows(patient, predicted, per_kg=kinds, digits=digits)
    return Written(
        names=tuple(names),
        rows=tuple(rows),
        texts=tuple(sorted({name for name, text in covariates if text} | {"ARM"})),
        comments=(
            *((SYNTHETIC,) if dataset.synthetic else ()),
            *(f"# unit {key} {unit}" for key, unit in units.items()),
            *(f"# product {name} {unit}" for name, unit in products.items()),
        ),
        columns=ColumnMap(covariates=tuple(others)),
        own=ColumnMap(
            units={k: unit for k, unit in dataset.units.items() if k not in ASSAYS},
            products=products,
        ),
    )


def _rows(
    patient: Patient,
    ipred: Sequence[float] | np.ndarray | None,
    *,
    per_kg: set[str],
    digits: int | None,
) -> list[dict[str, str]]:
    """Rows of one patient, by time; at one time in the order in which things happen."""
    weight = patient.covariates.get("WT")
    timed = [
        (t, 0, {"EVID": "2", "CMT": LYMPHODEPLETION}) for t in patient.lymphodepletion_d
    ]
    timed += [(t, -1, {"EVID": "3"}) for t in patient.resets_d]
    timed += [
        (t, 1, {"EVID": "2", "CMT": name.upper(), "AMT": _number(level)})
        for name, t, level in _input_levels(patient)
    ]
    samples = (*patient.baseline, *patient.samples)
    if ipred is not None and len(ipred) != len(samples):
        raise InputError(
            f"patient {patient.id!r} has {len(samples)} samples and {len(ipred)} "
            "predictions"
        )
    for index, sample in enumerate(samples):
        row = _observed(sample, digits)
        if ipred is not None:
            row["IPRED"] = _number(ipred[index], digits)
        timed.append((sample.time_d, 4 if sample.after else 2, row))
    for dose in patient.doses:
        amount = (
            dose.cells_per_kg
            if dose.product in per_kg
            else _cells(dose, weight, patient)
        )
        row = {"EVID": "1", "AMT": _number(amount), "CMT": dose.product}
        if dose.duration_d:
            row["DUR"] = _number(dose.duration_d)
        timed.append((dose.time_d, 3, row | {"OCC": str(dose.cycle)}))
    # Where a covariate changes, and the row before, there is a row; or one without CMT.
    there = {entry[0] for entry in timed}
    wanted = {t for c in _changes(patient) for t in (c.time_d, c.before_d)}
    timed += [(t, 5, {"EVID": "2"}) for t in sorted(wanted - there)]
    if not timed:
        raise InputError(f"patient {patient.id!r} has no record, so no row to stand in")
    timed.sort(key=lambda entry: entry[:2])
    always = {"ID": _text(patient.id)}
    rows = [
        always | _covariates(patient, t) | {"TIME": _number(t)} | row
        for t, _, row in timed
    ]
    if len({tuple(sorted(row.items())) for row in rows}) < len(rows):
        raise InputError(
            f"patient {patient.id!r} has the same record twice, which a reader takes "
            "for a slip: leave one out"
        )
    return rows


def _changes(patient: Patient) -> list[Change]:
    return [change for each in patient.changes.values() for change in each]


def _covariates(patient: Patient, time_d: float) -> dict[str, str]:
    """Cells of the covariates on a day."""
    values = {name: patient.covariate_at(name, time_d) for name in patient.covariates}
    return {
        name: _text(value) if isinstance(value, str) else _number(value)
        for name, value in values.items()
    }


def _observed(sample: Sample, digits: int | None) -> dict[str, str]:
    counted = {name: getattr(sample, name.lower()) for name in COUNTED}
    return {
        "EVID": "0",
        "DV": _number(sample.value, digits),
        "DVID": sample.assay,
        "CENS": str(int(sample.below)),
        "LIMIT": "" if sample.limit is None else _number(sample.limit, digits),
        "OCC": str(sample.cycle),
        "AFTER": str(int(sample.after)),
    } | {name: _number(value) for name, value in counted.items() if value is not None}


def _counted(dataset: Dataset) -> list[str]:
    """The columns of what was examined that some sample has."""
    samples = [s for p in dataset.patients for s in (*p.baseline, *p.samples)]
    return [
        name
        for name in COUNTED
        if any(getattr(sample, name.lower()) is not None for sample in samples)
    ]


def _per_kg(dataset: Dataset) -> bool:
    """Whether doses of cells are per kg, every one: a file has one unit of AMT."""
    doses = [d for p in dataset.patients for d in p.doses if d.product in PRODUCTS]
    return bool(doses) and all(dose.cells is None for dose in doses)


def _own_products(dataset: Dataset) -> dict[str, str]:
    """Products of one's own, with the unit of their doses; per kg if all of them are.

    Raises:
        InputError: doses of one product in two units.
    """
    doses = [d for p in dataset.patients for d in p.doses if d.product not in PRODUCTS]
    products = {}
    for name in sorted({dose.product for dose in doses}):
        mine = [dose for dose in doses if dose.product == name]
        units = {dose.unit for dose in mine}
        if len(units) > 1:
            raise InputError(f"{name} is given in {' and '.join(sorted(units))}")
        per_kg = all(dose.cells is None for dose in mine)
        products[name] = units.pop() + ("/kg" if per_kg else "")
    return products


def _cells(dose: Dose, weight: float | str | None, patient: Patient) -> float:
    if dose.cells is None and not isinstance(weight, float | int):
        raise InputError(
            f"patient {patient.id!r} has doses per kg, other doses are in cells, and "
            "there is no weight to convert with: give WT"
        )
    return dose.total(float(weight or 0.0))


def _input_levels(patient: Patient) -> Iterator[tuple[str, float, float]]:
    """Inputs, times at which each changes, and its level from then on."""
    for window in patient.windows:
        if window.name not in INPUTS:
            raise InputError(
                f"patient {patient.id!r} has input {window.name!r}; a file holds "
                f"{', '.join(INPUTS)}"
            )
        if window.slope:
            raise InputError(
                f"patient {patient.id!r} has an input {window.name!r} with a slope; a "
                "file holds levels that stay until the next one"
            )
    for name in dict.fromkeys(window.name for window in patient.windows):
        mine = [window for window in patient.windows if window.name == name]
        moments = {window.start_d for window in mine}
        # A window that lasts beyond any follow-up has no end to write down.
        moments |= {w.stop_d for w in mine if w.stop_d <= LONGEST_D}
        for moment in sorted(moments):
            levels = [window.level for window in mine if window.holds_at(moment)]
            yield name, moment, max(levels, default=0.0)


def _number(value: float | int | None, digits: int | None = None) -> str:
    """Shortest text that reads back as the same number, or as the rounded one."""
    number = float(value or 0.0)
    if digits is not None:
        number = float(f"{number:.{digits}g}")
    whole = abs(number) < 1e15 and number == int(number)
    return str(int(number)) if whole else repr(number)


def _text(value: str) -> str:
    """A text that reads back as it is.

    Raises:
        InputError: it would not.
    """
    lost = value != value.strip() or value.upper() in MISSING
    # The reader takes a line for a comment even where the first cell is quoted.
    comment = value.lstrip(' "').startswith("#")
    if lost or comment or not value.isprintable():
        raise InputError(
            f"{value!r} does not survive in a CSV: it is empty, a sign for a missing "
            "value, a comment, or has blanks around it"
        )
    return value
