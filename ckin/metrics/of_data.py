"""Patients of a data set -> their curves, cycle by cycle.

A sample belongs to the cycle whose first CAR-T infusion came last before it, whatever
the file numbers it: after a next infusion it is that one's cells it shows. A sample at
the time of the infusion was drawn before it unless it says `after`.
"""

import numpy as np

from ckin.dataset import Patient, Sample
from ckin.metrics.area import DEFAULT_BLQ
from ckin.metrics.course import Metrics, course_metrics, no_metrics, re_expansion
from ckin.metrics.curve import Curve, curve


# A sample this long before an infusion still tells the level just before it.
PREDOSE_D = 7.0


def cycle_starts(patient: Patient) -> dict[int, float]:
    """Day of the first CAR-T infusion of each cycle.

    A patient without recorded doses has cycle 1 alone, at the first infusion.
    """
    starts: dict[int, float] = {}
    for dose in patient.doses:
        if dose.product == "CART" and (dose.cells or dose.cells_per_kg):
            starts.setdefault(dose.cycle, dose.time_d)
    return starts or {1: patient.first_infusion_d}


def data_curves(patient: Patient, assay: str) -> dict[int, Curve]:
    """Curves of one assay by cycle; a cycle without samples has a curve of none."""
    starts = cycle_starts(patient)
    mine = [s for s in (*patient.baseline, *patient.samples) if s.assay == assay]
    curves = {}
    for cycle, start_d in starts.items():
        later = [day for day in starts.values() if day > start_d]
        end_d = min(later, default=np.inf)
        own = [s for s in mine if _follows(s, start_d) and not _follows(s, end_d)]
        before = [s for s in mine if not _follows(s, start_d)]
        curves[cycle] = curve(
            np.array([s.time_d - start_d for s in own], dtype=float),
            np.array([s.value for s in own], dtype=float),
            np.array([s.below for s in own], dtype=bool),
            start=_start(before, start_d, first=start_d == min(starts.values())),
        )
    return curves


def patient_metrics(
    patient: Patient, assay: str, blq: str = DEFAULT_BLQ
) -> dict[int, Metrics]:
    """Metrics of one assay by cycle.

    A cycle that has samples and no CAR-T infusion has none: its day 1 is not known.
    """
    found: dict[int, dict] = {
        cycle: course_metrics(one, blq)
        for cycle, one in data_curves(patient, assay).items()
    }
    numbered = {s.cycle for s in patient.samples if s.assay == assay}
    for cycle in sorted(numbered - set(found)):
        found[cycle] = no_metrics("no CAR-T infusion recorded in this cycle")
    for cycle, ratio in re_expansion(found).items():
        found[cycle] = {**found[cycle], "RCMAX": ratio}
    return dict(sorted(found.items()))


def _follows(sample: Sample, infusion_d: float) -> bool:
    return (sample.time_d, sample.after) > (infusion_d, False)


def _start(before: list[Sample], start_d: float, *, first: bool) -> float | None:
    """Level just before an infusion: none before the first, whatever was read."""
    if first:
        return 0.0
    near = [s for s in before if start_d - s.time_d <= PREDOSE_D]
    if not near:
        return None
    last = max(near, key=lambda sample: (sample.time_d, sample.after))
    return 0.0 if last.below else last.value
