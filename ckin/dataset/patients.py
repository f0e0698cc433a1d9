"""Checked rows of one patient -> the patient: doses, cycles, samples, windows."""

import dataclasses
from collections.abc import Mapping

from ckin.dataset.columns import LONGEST_D
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.records import Change, Patient, Sample
from ckin.dataset.row_kinds import DoseRow, EventRow, Record, ResetRow, SampleRow
from ckin.protocol import LYMPHODEPLETION, Dose, InputWindow


# A CAR-T dose later than this after the one before starts a cycle, when no OCC says
# so; nearer ones are one infusion, split.
SPLIT_INFUSION_D = 7.0
# Until when the last level of an input lasts.
INPUT_LASTS_D = 2 * LONGEST_D


def put_together(
    patient: str,
    records: list[Record],
    covariates: Mapping[str, float | str],
    windows: tuple[InputWindow, ...],
    changes: Mapping[str, tuple[Change, ...]] | None = None,
) -> Patient:
    """The patient whose rows these are.

    Args:
        patient: ID.
        records: the patient's rows.
        covariates: by name.
        windows: of inputs.
        changes: further values of covariates that change.
    """
    doses = _doses([r for r in records if isinstance(r, DoseRow)])
    empty = Patient(
        id=patient,
        doses=doses,
        samples=(),
        baseline=(),
        covariates=dict(covariates),
        windows=windows,
        lymphodepletion_d=tuple(
            record.time_d
            for record in records
            if isinstance(record, EventRow) and record.what == LYMPHODEPLETION
        ),
        resets_d=tuple(r.time_d for r in records if isinstance(r, ResetRow)),
        changes=dict(changes or {}),
    )
    return with_rows(empty, [r for r in records if isinstance(r, SampleRow)])


def with_rows(patient: Patient, rows: list[SampleRow]) -> Patient:
    """The patient with more samples, by time; those of a time as they are given."""
    carts = [dose for dose in patient.doses if dose.product == "CART"]
    more = []
    for row in rows:
        # A sample at the time of a dose comes before it: the order of events.
        before = [d.cycle for d in carts if (d.time_d, True) <= (row.time_d, row.after)]
        sample = Sample(
            time_d=row.time_d,
            assay=row.assay,
            value=row.value,
            below=row.below,
            limit=row.limit,
            after=row.after,
            cycle=row.cycle or max(before, default=1),
            row=row.row,
            examined=row.examined,
            partitions=row.partitions,
            wells=row.wells,
        )
        more.append(sample)
    order = lambda sample: (sample.time_d, sample.after)
    every = sorted((*patient.baseline, *patient.samples, *more), key=order)
    start = (patient.first_infusion_d, False)
    return dataclasses.replace(
        patient,
        baseline=tuple(sample for sample in every if order(sample) <= start),
        samples=tuple(sample for sample in every if order(sample) > start),
    )


def input_windows(
    rows: list[EventRow], layout: Layout, faults: Faults
) -> dict[str, tuple[InputWindow, ...]]:
    """Inputs by patient: each level holds until the next row of that input."""
    by_input: dict[tuple[str, str], list[EventRow]] = {}
    for row in rows:
        mine = by_input.setdefault((row.patient, row.what), [])
        if mine and mine[-1].time_d == row.time_d:
            faults.add(
                row.row,
                layout.name("TIME"),
                f"two levels of {row.what}, here and in row {mine[-1].row}",
                "one level at a time",
                "drop one of the rows",
            )
        elif not mine or mine[-1].time_d < row.time_d:
            mine.append(row)
    windows: dict[str, tuple[InputWindow, ...]] = {}
    for (patient, what), mine in by_input.items():
        ends = [row.time_d for row in mine[1:]] + [INPUT_LASTS_D]
        windows[patient] = windows.get(patient, ()) + tuple(
            InputWindow(what.lower(), row.level, row.time_d, end)
            for row, end in zip(mine, ends, strict=True)
        )
    return windows


def check_cycles(doses: list[DoseRow], layout: Layout, faults: Faults) -> None:
    """CAR-T doses of a patient are numbered all or none, and never backwards."""
    before: dict[str, DoseRow] = {}
    for dose in doses:
        if dose.product != "CART":
            continue
        last = before.get(dose.patient)
        before[dose.patient] = dose
        if last is None:
            continue
        if last.cycle is None and dose.cycle is None:
            continue
        if last.cycle is None or dose.cycle is None:
            blank = last if last.cycle is None else dose
            faults.add(
                blank.row,
                layout.name("OCC"),
                "nothing",
                f"a cycle, as other CAR-T doses of patient {quoted(dose.patient)} have",
                "number every CAR-T dose, or none",
            )
        elif dose.cycle < last.cycle:
            faults.add(
                dose.row,
                layout.name("OCC"),
                quoted(str(dose.cycle)),
                f"cycle {last.cycle} (row {last.row}) or a later one",
                "number cycles in order of time",
            )


def _doses(rows: list[DoseRow]) -> tuple[Dose, ...]:
    """Doses by time, those of ADDL written out, each with its cycle."""
    given = sorted(
        (
            (row.time_d + number * row.every_d, row)
            for row in rows
            for number in range(row.further + 1)
        ),
        key=lambda pair: (pair[0], pair[1].row),
    )
    # Cycles by time, for CAR-T without OCC.
    starts: list[tuple[float, int]] = []
    for time_d, row in given:
        if row.product != "CART":
            continue
        cycle = row.cycle
        if cycle is None:
            last_d, last = starts[-1] if starts else (time_d, 1)
            cycle = last + (time_d - last_d > SPLIT_INFUSION_D)
        starts.append((time_d, cycle))
    doses, carts = [], iter(starts)
    for time_d, row in given:
        if row.product == "CART":
            cycle = next(carts)[1]
        else:
            before = [cycle for start_d, cycle in starts if start_d <= time_d]
            cycle = row.cycle or max(before, default=1)
        doses.append(
            Dose(
                time_d,
                row.product,
                cells=None if row.per_kg else row.amount,
                cells_per_kg=row.amount if row.per_kg else None,
                cycle=cycle,
                duration_d=row.duration_d,
                unit=row.unit,
            )
        )
    return tuple(doses)
