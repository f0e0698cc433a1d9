"""A file of wells -> `CtData`: every fault with its row, or plates to rely on."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ckin.ct.columns import COLUMNS, lay_out_wells, renamed
from ckin.ct.curve import FEWEST_LEVELS, levels, standard_curve
from ckin.ct.records import CtData, CtSample, Plate, Standard
from ckin.ct.wells import NTC, SAMPLE, STANDARD, Well, WellRows
from ckin.dataset.faults import DataError, Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.records import counted
from ckin.dataset.table import Table, read_table


_UNIT = re.compile(r"#+\s*units?\b.*", re.IGNORECASE)
# What the replicate wells of a sample have in common: field of a well, column.
_SHARED = (
    ("patient", "ID"),
    ("time_d", "TIME"),
    ("dna_ng", "DNA_NG"),
    ("cycle", "OCC"),
)


def read_wells(path: str | Path, map: Iterable[str] = ()) -> CtData:
    """Read and check the wells of qPCR plates.

    Args:
        path: a CSV with the columns of `ckin.ct.COLUMNS`. A line at its top that says
            SYNTHETIC marks wells that nobody measured.
        map: `COLUMN=NAME`, for columns with other names; NAME may be IGNORE.

    Raises:
        DataError: the file cannot be used; with every fault that was found.
    """
    rename = renamed(map)
    faults = Faults(str(path))
    known = {*COLUMNS, *(column.upper() for column in rename)}
    table = read_table(Path(path), known, faults)
    if table is None:
        raise DataError(tuple(faults))
    layout = lay_out_wells(table, rename, faults)
    _no_units(table, faults)
    # Without TYPE or CT every row would be a fault.
    faults.raise_any()
    rows = WellRows(layout, faults)
    wells = []
    for line in table.lines:
        well = rows.read(line)
        if well is not None:
            wells.append(well)
            rows.not_read(line, well.kind)
    if SAMPLE in rows.kinds and not layout.has("TIME"):
        faults.add(
            table.header_row,
            "TIME",
            "no column TIME",
            f"a column TIME: {COLUMNS['TIME']}",
            "name it TIME, or --map 'COLUMN=TIME'",
        )
    faults.raise_any()
    samples = _samples(wells, layout, faults)
    plates = _plates(wells)
    _every_plate_has_a_curve(plates, samples, layout, faults)
    faults.raise_any()
    return CtData(
        path=str(path),
        plates=plates,
        samples=samples,
        synthetic=table.synthetic,
        notes=(
            *table.notes,
            *layout.notes,
            *_notes(plates, samples, layout, rows.counts),
        ),
        sha256=table.sha256,
    )


def _no_units(table: Table, faults: Faults) -> None:
    """Units of these columns are fixed: a line that states others must not be lost."""
    for row, text in table.comments:
        if _UNIT.fullmatch(text):
            faults.add(
                row,
                None,
                quoted(text),
                "TIME in days, DNA_NG in ng, COPIES per reaction, and no unit lines",
                "convert the values to these units and remove the line",
            )


def _samples(wells: list[Well], layout: Layout, faults: Faults) -> tuple[CtSample, ...]:
    """Replicate wells put together by plate and sample."""
    together: dict[tuple[str, str], list[Well]] = {}
    for well in wells:
        if well.kind == SAMPLE and well.sample is not None:
            together.setdefault((well.plate, well.sample), []).append(well)
    samples = []
    for (plate, name), mine in together.items():
        first = mine[0]
        for well in mine[1:]:
            for field, column in _SHARED:
                if getattr(well, field) != getattr(first, field):
                    faults.add(
                        well.row,
                        layout.name(column),
                        f"{getattr(well, field)!r} in sample {quoted(name)}",
                        f"{getattr(first, field)!r}, as in row {first.row}",
                        "replicate wells are of one tube: correct it, or give another "
                        "tube another name in SAMPLE",
                    )
        if first.patient is None or first.time_d is None or first.dna_ng is None:
            continue
        samples.append(
            CtSample(
                name=name,
                plate=plate,
                patient=first.patient,
                time_d=first.time_d,
                cycle=first.cycle,
                dna_ng=first.dna_ng,
                cts=tuple(well.ct for well in mine),
                row=first.row,
            )
        )
    return tuple(samples)


def _plates(wells: list[Well]) -> tuple[Plate, ...]:
    names = dict.fromkeys(well.plate for well in wells)
    return tuple(
        Plate(
            name,
            standards=tuple(
                Standard(well.copies or 0.0, well.ct, well.row)
                for well in wells
                if well.plate == name and well.kind == STANDARD
            ),
            controls=tuple(
                well.ct for well in wells if well.plate == name and well.kind == NTC
            ),
        )
        for name in names
    )


def _every_plate_has_a_curve(
    plates: tuple[Plate, ...],
    samples: tuple[CtSample, ...],
    layout: Layout,
    faults: Faults,
) -> None:
    if plates and not samples and not any(plate.standards for plate in plates):
        faults.add(
            None,
            layout.name("TYPE"),
            "neither standards nor samples",
            "wells of type standard, and samples to read",
            "check TYPE: is this the whole export?",
        )
    for plate in plates:
        mine = [sample for sample in samples if sample.plate == plate.name]
        if not plate.standards and mine:
            faults.add(
                mine[0].row,
                layout.name("PLATE") if layout.has("PLATE") else None,
                f"no standard wells on plate {quoted(plate.name)}, which has "
                f"{counted(len(mine), 'sample')}",
                f"standards of at least {FEWEST_LEVELS} levels on every plate",
                "add its standard wells (TYPE standard, COPIES); wells that share one "
                "curve share one PLATE",
            )
            continue
        if not plate.standards:
            continue
        row, found = plate.standards[0].row, levels(plate)
        if len(found) < FEWEST_LEVELS:
            faults.add(
                row,
                layout.name("COPIES"),
                f"{counted(len(found), 'level')} with a Ct on plate "
                f"{quoted(plate.name)}",
                f"at least {FEWEST_LEVELS} different COPIES with a Ct",
                "add the missing standard wells of the dilution series",
            )
        elif standard_curve(plate).slope >= 0:
            faults.add(
                row,
                layout.name("COPIES"),
                f"Ct that do not fall as COPIES rise on plate {quoted(plate.name)}",
                "about 3.3 cycles less for ten times the copies",
                "check that COPIES and CT belong together and are not dilutions",
            )


def _notes(
    plates: tuple[Plate, ...],
    samples: tuple[CtSample, ...],
    layout: Layout,
    counts: Counter[str],
) -> list[str]:
    notes = []
    if not layout.has("PLATE"):
        notes.append("no column PLATE: every well is of one plate")
    for what, count in counts.items():
        taken = ": no amplification" if what.startswith("without") else ""
        notes.append(f"{counted(count, 'well')} {what}{taken}")
    again = Counter((sample.patient, sample.time_d, sample.name) for sample in samples)
    repeated = sum(count > 1 for count in again.values())
    if repeated:
        notes.append(
            f"{counted(repeated, 'sample')} on more than one plate: one reading of each"
        )
    idle = [plate.name for plate in plates if not plate.standards]
    if idle:
        notes.append(f"no standards and no samples on plate {', '.join(idle)}")
    return notes
