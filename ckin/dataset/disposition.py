"""What a data set holds, in one small table: overall, and by arm."""

import statistics

from ckin.dataset.records import Dataset, Patient
from ckin.protocol import PRODUCTS


def disposition(dataset: Dataset) -> list[dict[str, float | int | str]]:
    """Counts of patients, samples and doses; one row overall and one for each ARM.

    Returns:
        Rows with the same keys in the same order: `group`; `patients`; `cycles`,
        patients by cycle as text (`1: 24, 2: 18`); for each product `doses_CART`; for
        each assay `samples_qpcr`, after the first infusion, and `below_qpcr_pct`, the
        percentage of them below their limit (nan without any); `baseline_samples` set
        aside; `no_samples`, patients without any after the first infusion; and
        `follow_up_median_d`, `follow_up_max_d`, days from the first infusion to the
        last sample, over patients who have one (nan without any).
    """
    groups = {"all": list(dataset.patients)}
    for patient in dataset.patients:
        if "ARM" in patient.covariates:
            groups.setdefault(f"ARM {patient.covariates['ARM']}", []).append(patient)
    if any("ARM" in patient.covariates for patient in dataset.patients):
        rest = [p for p in dataset.patients if "ARM" not in p.covariates]
        groups |= {"no ARM": rest} if rest else {}
    return [_row(group, members, dataset) for group, members in groups.items()]


def _row(
    group: str, patients: list[Patient], dataset: Dataset
) -> dict[str, float | int | str]:
    row: dict[str, float | int | str] = {"group": group, "patients": len(patients)}
    cycles = []
    for cycle in range(1, dataset.n_cycles + 1):
        treated = sum(cycle in _cycles_of(patient) for patient in patients)
        cycles.append(f"{cycle}: {treated}")
    row["cycles"] = ", ".join(cycles)
    given = {d.product for patient in dataset.patients for d in patient.doses}
    # Of one's own alone, CAR-T and FTC would be two rows of nothing.
    usual = () if given and not given & {*PRODUCTS} else tuple(PRODUCTS)
    for product in (*usual, *sorted(given - {*PRODUCTS})):
        row[f"doses_{product}"] = sum(
            dose.product == product for patient in patients for dose in patient.doses
        )
    for assay in dataset.assays:
        below = [
            sample.below
            for patient in patients
            for sample in patient.samples
            if sample.assay == assay
        ]
        row[f"samples_{assay}"] = len(below)
        row[f"below_{assay}_pct"] = (
            100.0 * sum(below) / len(below) if below else float("nan")
        )
    row["baseline_samples"] = sum(len(patient.baseline) for patient in patients)
    row["no_samples"] = sum(not patient.samples for patient in patients)
    follow_up_d = [
        patient.samples[-1].time_d - patient.first_infusion_d
        for patient in patients
        if patient.samples
    ]
    row["follow_up_median_d"] = (
        statistics.median(follow_up_d) if follow_up_d else float("nan")
    )
    row["follow_up_max_d"] = max(follow_up_d, default=float("nan"))
    return row


def _cycles_of(patient: Patient) -> set[int]:
    """Cycles a patient was treated in; by samples where no dose is recorded."""
    records = patient.doses or patient.samples
    return {record.cycle for record in records}
