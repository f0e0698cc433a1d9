"""Wells and readings -> CSV files."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from ckin.ct.readings import Reading
from ckin.ct.records import Ct, CtData
from ckin.errors import InputError


WELLS = ("PLATE", "TYPE", "CT", "COPIES", "SAMPLE", "ID", "TIME", "DNA_NG", "OCC")
OBSERVED = ("ID", "TIME", "EVID", "DV", "DVID", "CENS", "LIMIT", "OCC", "EXAMINED")
SYNTHETIC = "# SYNTHETIC: no patient was measured."
UNITS = ("# unit qpcr copies/ug", "# unit TIME day")


def write_observations(data: CtData, readings: tuple[Reading, ...], path: Path) -> int:
    """Write the readings as observations in ckin's columns, by patient and time.

    A sample below its detection limit has CENS 1 and the limit as DV. EXAMINED is the
    DNA of one reaction, µg. Doses are not known here: their rows are to be added.

    Returns:
        How many rows were the same as another (samples of one tube on two plates, both
        below the limit) and are written once.

    Raises:
        InputError: there is no sample.
    """
    if not readings:
        raise InputError(f"{data.path} has no wells of type sample: nothing to write")
    order = {patient: at for at, patient in enumerate(_patients(readings))}
    rows = [
        {
            "ID": reading.sample.patient,
            "TIME": f"{reading.sample.time_d:.10g}",
            "EVID": "0",
            "DV": f"{reading.copies_per_ug:.6g}",
            "DVID": "qpcr",
            "CENS": str(int(reading.below)),
            "LIMIT": f"{reading.lod:.6g}",
            "OCC": "" if reading.sample.cycle is None else str(reading.sample.cycle),
            "EXAMINED": f"{reading.sample.dna_ug:.6g}",
        }
        for reading in sorted(
            readings, key=lambda r: (order[r.sample.patient], r.sample.time_d)
        )
    ]
    # A reader takes a repeated row for a slip.
    unique = list({tuple(row.values()): row for row in rows}.values())
    head = (SYNTHETIC, *UNITS) if data.synthetic else UNITS
    _write(path, head, OBSERVED, unique)
    return len(rows) - len(unique)


def write_wells(data: CtData, path: Path) -> None:
    """Write wells so that `read_wells` gives the same plates and samples."""
    rows = [
        {"PLATE": p.name, "TYPE": "standard", "CT": _ct(w.ct), "COPIES": repr(w.copies)}
        for p in data.plates
        for w in p.standards
    ]
    rows += [
        {"PLATE": plate.name, "TYPE": "ntc", "CT": _ct(ct)}
        for plate in data.plates
        for ct in plate.controls
    ]
    rows += [
        {
            "PLATE": sample.plate,
            "TYPE": "sample",
            "CT": _ct(ct),
            "SAMPLE": sample.name,
            "ID": sample.patient,
            "TIME": repr(sample.time_d),
            "DNA_NG": repr(sample.dna_ng),
            "OCC": "" if sample.cycle is None else str(sample.cycle),
        }
        for sample in data.samples
        for ct in sample.cts
    ]
    _write(path, (SYNTHETIC,) if data.synthetic else (), WELLS, rows)


def _write(
    path: Path, head: Iterable[str], columns: tuple[str, ...], rows: list[dict]
) -> None:
    text = io.StringIO()
    text.writelines(line + "\n" for line in head)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): name another file"
        ) from error


def _patients(readings: Iterable[Reading]) -> list[str]:
    return list(dict.fromkeys(reading.sample.patient for reading in readings))


def _ct(ct: Ct) -> str:
    return "Undetermined" if ct is None else repr(ct)
