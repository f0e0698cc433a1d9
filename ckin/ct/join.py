"""Wells of plates join the patients of a data set, and leave it again.

The data set has doses, covariates and other assays; the qPCR of it comes from the wells
alone. A sample keeps its wells, so that a fit can start from them, and the reading by
its plate's own curve, for figures and tables.
"""

import dataclasses

from ckin.ct.readings import Reading, read_samples
from ckin.ct.records import NG_PER_UG, CtData, CtSample
from ckin.dataset import Dataset, Patient
from ckin.dataset.notes import note_on_unsampled
from ckin.dataset.patients import with_rows
from ckin.dataset.records import counted
from ckin.dataset.row_kinds import SampleRow
from ckin.errors import InputError


QPCR, UNIT = "qpcr", "copies/ug"


def with_wells(dataset: Dataset, data: CtData) -> Dataset:
    """The data set with the samples of `data` as its qPCR.

    A sample at the time of a dose was drawn before it. One drawn at or before the first
    infusion is baseline, as in every data set.

    Raises:
        InputError: the data set has qPCR of its own; a sample is of a patient whom it
            does not have; there is no sample.
    """
    if QPCR in dataset.assays:
        raise InputError(
            f"{dataset.path} has qpcr values and {data.path} has wells: a sample would "
            "be counted twice; leave out one of them (rows with DVID qpcr, or --wells)"
        )
    rows: dict[str, list[SampleRow]] = {patient.id: [] for patient in dataset.patients}
    for reading in read_samples(data):
        if reading.sample.patient not in rows:
            raise InputError(
                f"{data.path}, row {reading.sample.row}: patient "
                f"{reading.sample.patient!r} is not in {dataset.path}, which has "
                f"{_some(list(rows))}; spell the ID as there, or add the patient's "
                "rows (doses)"
            )
        rows[reading.sample.patient].append(_row(reading))
    if not data.samples:
        raise InputError(f"{data.path} has no wells of type sample: nothing to fit")
    joined = tuple(with_rows(p, rows[p.id]) for p in dataset.patients)
    before = note_on_unsampled(dataset.patients)
    notes = [note for note in dataset.notes if note not in before]
    notes += [*data.notes, *note_on_unsampled(joined)]
    note = (
        f"{counted(len(data.samples), 'qpcr sample')} from the wells of {data.path} on "
        f"{counted(len(data.plates), 'plate')}"
    )
    return dataclasses.replace(
        dataset,
        patients=joined,
        units={**dataset.units, QPCR: UNIT},
        synthetic=dataset.synthetic or data.synthetic,
        notes=(*notes, note),
        plates=data.plates,
    )


def apart(dataset: Dataset) -> tuple[Dataset, CtData]:
    """A data set with wells as the two files it came from."""
    samples = [
        CtSample(
            name=sample.wells.name,
            plate=sample.wells.plate,
            patient=patient.id,
            time_d=sample.time_d,
            cycle=sample.cycle,
            dna_ng=sample.wells.dna_ug * NG_PER_UG,
            cts=sample.wells.cts,
            row=sample.row,
        )
        for patient in dataset.patients
        for sample in (*patient.baseline, *patient.samples)
        if sample.wells is not None
    ]
    wells = CtData(dataset.path, dataset.plates, tuple(samples), dataset.synthetic)
    rest = dataclasses.replace(
        dataset,
        patients=tuple(map(_without, dataset.patients)),
        units={name: unit for name, unit in dataset.units.items() if name != QPCR},
        plates=(),
    )
    return rest, wells


def _without(patient: Patient) -> Patient:
    """The patient without the samples that have wells."""
    return dataclasses.replace(
        patient,
        baseline=tuple(s for s in patient.baseline if s.wells is None),
        samples=tuple(s for s in patient.samples if s.wells is None),
    )


def _row(reading: Reading) -> SampleRow:
    sample = reading.sample
    return SampleRow(
        row=sample.row,
        patient=sample.patient,
        time_d=sample.time_d,
        cycle=sample.cycle,
        assay=QPCR,
        value=reading.copies_per_ug,
        below=reading.below,
        limit=reading.lod,
        after=False,
        examined=sample.dna_ug,
        wells=sample.wells,
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown + (", ..." if len(names) > 8 else "")
