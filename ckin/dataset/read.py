"""A file -> a `Dataset`: rows are checked one by one, then put together by patient."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from ckin.dataset.at_zero import doses_at_zero
from ckin.dataset.column_map import ColumnMap, read_side_file
from ckin.dataset.columns import (
    ALIASES,
    COLUMN_UNITS,
    COLUMNS,
    MONOLIX,
    UNITS,
    check_product,
    check_unit,
    own_assay,
    unit_key,
)
from ckin.dataset.covariates import check_weights, read_covariates
from ckin.dataset.dates import days_of
from ckin.dataset.draft import LOGS
from ckin.dataset.faults import DataError, Faults, did_you_mean, quoted
from ckin.dataset.header import Layout, lay_out
from ckin.dataset.marks import check_codes, comment_rows
from ckin.dataset.notes import notes_on_patients, notes_on_rows
from ckin.dataset.patients import check_cycles, input_windows, put_together
from ckin.dataset.records import Dataset, counted
from ckin.dataset.row_kinds import DoseRow, EventRow
from ckin.dataset.rows import Rows
from ckin.dataset.table import Line, Table, read_table
from ckin.dataset.workbook import file_of
from ckin.protocol import LYMPHODEPLETION


_PRODUCT_COMMENT = re.compile(r"#+\s*product:?[\s,;]+(\S+?)[\s,;=]+(.+)", re.IGNORECASE)
_UNIT_COMMENT = re.compile(r"#+\s*units?:?[\s,;]+(\S+?)[\s,;=]+(.+)", re.IGNORECASE)


def read_dataset(path: str | Path, columns: ColumnMap | None = None) -> Dataset:
    """Read and check patient records.

    The file is a CSV with the columns of `ckin.dataset.COLUMNS`, or any CSV through a
    column map; or a sheet of a workbook (.xlsx), read as the same table. Lines at its
    top may state units (`# unit qpcr copies/ug`) and that it is synthetic (any line
    with that word).

    Args:
        path: the file; of a workbook the first sheet, or `FILE.xlsx#SHEET`. A side file
            of the same name ending in `.toml` is read too.
        columns: what the columns of the file are; it goes before the side file.

    Raises:
        DataError: the file cannot be used; with every fault that was found.
    """
    path = Path(path)
    faults = Faults(str(path))
    notes: list[str] = []
    side = None
    if file_of(path).is_file() and (beside := path.with_suffix(".toml")).is_file():
        side = read_side_file(beside, faults, notes=notes)
        # What a broken column map would say of the columns misleads.
        faults.raise_any()
    given = columns or ColumnMap()
    both = given.over(side or ColumnMap())
    known = {*COLUMNS, *MONOLIX, *(key.upper() for key in both.targets())}
    table = read_table(path, known | {name.upper() for name in both.where}, faults)
    if table is None:
        raise DataError(tuple(faults))
    layout = lay_out(table, both, faults)
    units = _units(table, side, given, faults)
    products = _products(table, both, faults)
    comments = comment_rows(table, layout, faults)
    wanted = [
        line for line in table.lines if layout.wanted(line) and line.row not in comments
    ]
    check_codes(wanted, layout, faults)
    dated, date_notes = None, []
    if layout.has("DATE"):
        order = units.get("DATE")
        dated, date_notes = days_of(wanted, layout, order, faults, (*products,))
    rows = Rows(
        layout,
        units={"AMT": COLUMN_UNITS["AMT"][0]} | units,
        products=products,
        limits=dict(both.limits),
        assay=both.assay,
        faults=faults,
        logs={column: name for name in LOGS for column in getattr(both, name)},
        dated=dated,
    )
    records = [record for line in wanted for record in rows.read(line)]
    told = read_covariates(wanted, layout, rows, faults)
    _every_unit_stated(rows, layout, units, faults)
    _where_finds_rows(table, layout, wanted, faults)
    _own_assays_occur(rows, units, faults)
    doses = [record for record in records if isinstance(record, DoseRow)]
    doses += (given_at_0 := doses_at_zero(wanted, layout, products, doses, faults))
    check_weights([d for d in doses if d.per_kg], told, layout, faults)
    check_cycles(doses, layout, faults)
    events = [record for record in records if isinstance(record, EventRow)]
    windows = input_windows(
        [event for event in events if event.what != LYMPHODEPLETION], layout, faults
    )
    faults.raise_any()
    of_patient: dict[str, list] = {patient: [] for patient in rows.patients}
    for record in (*records, *given_at_0):
        of_patient[record.patient].append(record)
    patients = tuple(
        put_together(
            patient,
            of_patient[patient],
            told.first.get(patient, {}),
            windows.get(patient, ()),
            told.changes.get(patient),
        )
        for patient in rows.patients
    )
    dataset = Dataset(
        path=str(path),
        patients=patients,
        units={assay: units[assay] for assay in sorted(rows.first_row)},
        synthetic=table.synthetic,
        notes=(),
        sha256=table.sha256,
    )
    notes += (*table.notes, *layout.notes, *date_notes)
    notes += notes_on_rows(
        table, layout, rows, wanted, both, units, len(comments), doses
    )
    if given_at_0:
        column = layout.name("DOSE_AT_0")
        notes.append(f"{counted(len(given_at_0), 'dose')} at time 0 by column {column}")
    notes += told.notes
    notes += notes_on_patients(dataset, doses, layout)
    return dataclasses.replace(dataset, notes=tuple(notes))


def _units(
    table: Table, side: ColumnMap | None, given: ColumnMap, faults: Faults
) -> dict[str, str]:
    """Units stated by the file, its side file and the caller, who must agree."""
    units: dict[str, str] = {}
    for row, text in table.comments:
        match = _UNIT_COMMENT.fullmatch(text)
        if match is None:
            continue
        key = unit_key(match[1]) or own_assay(match[1])
        if key is None:
            faults.add(
                row,
                None,
                f"a unit of {quoted(match[1])}",
                f"a unit of one of {', '.join(UNITS)}",
                did_you_mean(match[1], UNITS, ALIASES)
                + "write '# unit qpcr copies/ug', or begin a remark with another word",
            )
            continue
        unit, problem = check_unit(key, match[2])
        if problem is not None:
            faults.add(row, None, f"unit {quoted(match[2])}", *problem)
        elif units.setdefault(key, unit) != unit:
            faults.add(
                row,
                None,
                f"{key} in {unit}",
                f"{units[key]}, as an earlier line says",
                "state the unit once",
            )
    for source, stated in (("side file", side), ("column map", given)):
        for key, unit in ({} if stated is None else stated.units).items():
            if units.setdefault(key, unit) != unit:
                faults.add(
                    None,
                    key,
                    f"{unit} in the {source}",
                    f"{units[key]}, as the file or its side file says",
                    "find out which holds, and state that",
                )
    return units


def _products(table: Table, both: ColumnMap, faults: Faults) -> dict[str, str]:
    """Products of the file's own, with units, from its comments and column maps."""
    products = dict(both.products)
    for row, text in table.comments:
        match = _PRODUCT_COMMENT.fullmatch(text)
        if match is None:
            continue
        name, unit, problem = check_product(match[1], match[2])
        if problem is not None:
            faults.add(row, None, f"product {match[1]} in {match[2]}", *problem)
        elif products.setdefault(name, unit) != unit:
            before = f"{products[name]}, as was said elsewhere"
            fix = "find out which holds, and state that"
            faults.add(row, None, f"{name} in {unit}", before, fix)
    return products


def _own_assays_occur(rows: Rows, units: Mapping[str, str], faults: Faults) -> None:
    """Whose unit is stated and who never occurs is probably misspelt."""
    for name in units:
        if name not in UNITS and name not in rows.first_row:
            found = ", ".join(rows.first_row) or "no observation"
            faults.add(
                None,
                None,
                f"a unit of {quoted(name)}, and in the file {found}",
                f"observations of {name}, or a unit of one of {', '.join(UNITS)}",
                did_you_mean(name, UNITS, ALIASES) + "mend or drop it",
            )


def _every_unit_stated(
    rows: Rows, layout: Layout, units: Mapping[str, str], faults: Faults
) -> None:
    for assay, row in rows.first_row.items():
        if assay not in units:
            unit = UNITS.get(assay, ("UNIT",))[0]
            faults.add(
                row,
                layout.name("DVID" if layout.has("DVID") else "DV"),
                f"{assay}, whose unit is missing",
                f"the unit of {assay} to be stated",
                f"--unit {assay}={unit} if that is what it is, or a line "
                f"'# unit {assay} {unit}' above the column names",
            )


def _where_finds_rows(
    table: Table, layout: Layout, wanted: list[Line], faults: Faults
) -> None:
    if wanted or not table.lines:
        return
    for at, value in layout.where.items():
        found = sorted({line.cells[at] for line in table.lines})
        shown = ", ".join(quoted(cell) for cell in found[:8])
        faults.add(
            None,
            table.header[at],
            f"{shown}{' ...' if len(found) > 8 else ''}",
            f"a row with {quoted(value)}",
            did_you_mean(value, found) + "mend the value asked for by where",
        )
