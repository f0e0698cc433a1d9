"""Sentences about what was left out, assumed, or read in a particular way."""

from collections.abc import Mapping, Sequence

from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import ASSAYS
from ckin.dataset.examined import EXAMINED
from ckin.dataset.faults import quoted
from ckin.dataset.header import Layout
from ckin.dataset.patients import SPLIT_INFUSION_D
from ckin.dataset.records import Dataset, Patient, counted
from ckin.dataset.row_kinds import DoseRow
from ckin.dataset.rows import Rows
from ckin.dataset.table import Line, Table
from ckin.protocol import PRODUCTS


def notes_on_rows(
    table: Table,
    layout: Layout,
    rows: Rows,
    wanted: list[Line],
    columns: ColumnMap,
    units: Mapping[str, str],
    comments: int,
    doses: Sequence[DoseRow],
) -> list[str]:
    """What was said, left out and assumed of rows."""
    notes = []
    left = len(table.lines) - len(wanted) - comments
    for at, value in layout.where.items():
        notes.append(f"only rows where {table.header[at]} is {quoted(value)}")
    if left:
        everyone = {layout.text(line, "ID") for line in table.lines} - {None}
        gone = len(everyone) - len(rows.patients)
        also = f", and {counted(gone, 'patient')} with them" if gone else ""
        notes.append(f"{counted(left, 'row')} left out by that{also}")
    counts = rows.counts
    if comments:
        notes.append(f"{counted(comments, 'row')} with C in column C left out")
    if not layout.has("EVID"):
        notes.append("no column EVID: rows with AMT above 0 are doses")
    if not layout.has("DVID") and rows.first_row:
        (assay,) = rows.first_row
        own = "the one whose unit is stated" if assay not in ASSAYS else "by default"
        said = "as asked" if columns.assay else own
        notes.append(f"no column DVID: every value is {assay}, {said}")
    for name, what in (("log", "natural"), ("log10", "decimal")):
        held = [column for column in getattr(columns, name) if layout.has(column)]
        if held:
            notes.append(f"{' and '.join(held)} read as {what} logarithms, as asked")
    in_cells = not doses or any(dose.product in PRODUCTS for dose in doses)
    if layout.has("AMT") and "AMT" not in units and in_cells:
        notes.append("AMT is taken to be in cells: no unit is stated")
    if units.get("TIME", "day") != "day":
        plural = {"min": "minutes"}.get(units["TIME"], f"{units['TIME']}s")
        notes.append(f"TIME and II converted from {plural} to days")
    if rows.apart:
        notes.append(
            f"rows of {counted(len(rows.apart), 'patient')} are not together: "
            "joined by ID"
        )
    for reason, sentence in (
        ("no EVID", "without EVID: told apart by AMT and CMT"),
        ("MDV", "left out with MDV 1"),
        ("event without CMT", "of EVID 2 without CMT left out, but for covariates"),
        ("DV of a dose", "with a dose: DV not read"),
        ("CMT of an observation", "with an observation: CMT not read"),
        ("II without ADDL", "with II and no ADDL: II not read"),
        ("dose of 0", "with a dose of 0 cells"),
    ):
        if counts[reason]:
            notes.append(f"{counted(counts[reason], 'row')} {sentence}")
    for assay in rows.first_row:
        for reason, what in (
            ("zero", "of 0 taken as below the limit"),
            ("under the limit", "above 0 and under the limit taken as below it"),
            ("lower bound", "with CENS 1 and LIMIT 0, Monolix's lower bound: below DV"),
            ("DV as limit", "with CENS 1 and no limit: DV taken as the limit"),
        ):
            if counts[reason, assay]:
                number = counted(counts[reason, assay], f"{assay} value")
                notes.append(f"{number} {what}")
        if counts["limit of examined", assay]:
            number = counted(counts["limit of examined", assay], f"{assay} sample")
            notes.append(f"{number}: the limit is {EXAMINED[assay].says}")
    return notes


def note_on_unsampled(patients: Sequence[Patient]) -> list[str]:
    """Who has no sample that a fit could use; nothing if everybody has one."""
    bare = [patient for patient in patients if not patient.samples]
    return [f"no sample after the first infusion of {_some(bare)}"] if bare else []


def notes_on_patients(
    dataset: Dataset, doses: list[DoseRow], layout: Layout
) -> list[str]:
    """What was assumed of patients, and what is odd about them."""
    notes = []
    patients = dataset.patients
    written_out = sum(dose.further for dose in doses)
    if written_out:
        notes.append(f"{counted(written_out, 'dose')} written out from ADDL and II")
    without = [patient for patient in patients if not patient.doses]
    if len(without) == len(patients):
        notes.append("no dose rows: the first infusion is taken to be at TIME 0")
    elif without:
        notes.append(
            f"no dose rows of {_some(without)}: their first infusion is taken to be at "
            "TIME 0"
        )
    other = [
        patient
        for patient in patients
        if patient.doses and {d.product for d in patient.doses} == {"FTC"}
    ]
    if other:
        notes.append(f"no CAR-T dose of {_some(other)}: their first dose counts")
    shifted = [patient for patient in patients if patient.first_infusion_d != 0]
    if shifted:
        notes.append(
            f"the first infusion of {_some(shifted)} is not at TIME 0; times are kept "
            "as they are"
        )
    unnumbered = any(dose.cycle is None and dose.product == "CART" for dose in doses)
    if unnumbered and dataset.n_cycles > 1:
        notes.append(
            "cycles numbered by time: CAR-T more than "
            f"{SPLIT_INFUSION_D:g} d after the CAR-T before it starts a cycle"
        )
    baseline = sum(len(patient.baseline) for patient in patients)
    if baseline:
        notes.append(
            f"{counted(baseline, 'sample')} at or before the first infusion set aside "
            "as baseline"
        )
    idle = sum(
        sample.after and sample.time_d not in {0.0, *(d.time_d for d in patient.doses)}
        for patient in patients
        for sample in (*patient.samples, *patient.baseline)
    )
    if idle:
        notes.append(f"{counted(idle, 'sample')} with AFTER 1 and no dose at that time")
    notes += note_on_unsampled(patients)
    weighed = sum("WT" in patient.covariates for patient in patients)
    if 0 < weighed < len(patients):
        notes.append(f"no weight of {counted(len(patients) - weighed, 'patient')}")
    return notes


def _some(patients: list[Patient]) -> str:
    """How many patients, and the first few by name."""
    names = ", ".join(patient.id for patient in patients[:5])
    more = ", ..." if len(patients) > 5 else ""
    return f"{counted(len(patients), 'patient')} ({names}{more})"
