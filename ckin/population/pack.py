"""A data set as padded arrays: one row per patient, ready for `vmap`.

Padding never reaches the likelihood (`present` is False there) and never costs a
solve (an appended event has a segment of no length).
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Bool, Float, Int, Shaped
from ckin.assay import FLOOR, WELLS, Assay, Sampled
from ckin.ct import Standards
from ckin.ct.likelihood import pack_standards
from ckin.dataset import Dataset, Patient, Sample
from ckin.dataset.examined import counts_per
from ckin.errors import InputError
from ckin.model import AbstractModel, name_of, parameters, states
from ckin.population.groups import size_of_blocks
from ckin.population.padded_wells import packed_wells
from ckin.population.pieces import COURSE, CYCLE, Pieces, check_changes, pieces_of
from ckin.population.specification import Population
from ckin.protocol import (
    PRODUCTS,
    Dose,
    EventTable,
    cycle_starts,
    event_table,
    stack_events,
)
from ckin.solve import Grid, make_grids
from ckin.units import canonical_unit, conversion


class PackError(InputError):
    """The data cannot be described by the chosen model; says which patient and why."""


class Packed(eqx.Module):
    """Arrays of a cohort; the leading axis is the patient.

    Attributes:
        ids: patient identifiers.
        events: event tables, padded.
        grid: steps that hold them and the samples, padded.
        time_d: sample times, days, shape (patients, samples), padded with the last.
        after: sample drawn after the dose given at the same time.
        log_value: natural log of the reading (of `FLOOR` where it is 0); of the limit
            where `below`.
        below: sample below its detection limit.
        present: False where the row is padding.
        which: assay of each sample, by its place in the population's assays.
        sampled: what was examined of each sample, for assays that count.
        known: parameters read from the data (weight), name to shape (patients,); and,
            of covariates that change, `COURSE` and `CYCLE` of `population.pieces`.
        covariates: what each β multiplies, shape (patients, effects); at the first
            event, of a covariate that changes.
        standards: of the plates whose wells the samples have; `None` without wells.
        together: so many patients are looked at side by side, those of the most steps
            of the grid first; all at once where it is 0.
    """

    ids: tuple[str, ...] = eqx.field(static=True)
    events: EventTable
    grid: Grid
    time_d: Float[Array, "patients samples"]
    after: Bool[Array, "patients samples"]
    log_value: Float[Array, "patients samples"]
    below: Bool[Array, "patients samples"]
    present: Bool[Array, "patients samples"]
    which: Int[Array, "patients samples"]
    sampled: Sampled
    known: dict[str, Shaped[Array, "patients ..."]]
    covariates: Float[Array, "patients effects"]
    standards: Standards | None = None
    together: int = eqx.field(static=True, default=0)

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return self.time_d.shape[0]

    @property
    def n_occasions(self) -> Int[np.ndarray, " patients"]:
        """How many occasions each patient has; 1 where none are told apart."""
        told = self.events.occasion
        if COURSE in self.known:
            # Occasions of the event table are pieces then.
            told = self.known.get(CYCLE)
        if told is None:
            return np.ones(self.n_patients, dtype=int)
        return np.asarray(told).max(axis=1) + 1


def pack(
    dataset: Dataset, population: Population, like: Packed | None = None
) -> Packed:
    """Arrays of every patient who has a sample of one of the population's assays.

    Args:
        dataset: the patients.
        population: what is estimated, the assays, and the covariates with centres and
            scales of their own: nothing of a patient depends on who else is packed.
        like: a cohort that these patients join. The data give them what they gave it,
            covariates need not differ among them, and there is room for as many events
            and pieces: what is compiled for it serves them, given as many samples and
            steps.

    Raises:
        PackError: no patient has a sample of an assay; an assay is in another unit than
            the model's; a patient lacks a covariate, doses, what a counting assay
            needs, or has more courses than the model describes.
    """
    for assay in population.assays:
        _check_assay(assay, dataset, population)
    names = [assay.name for assay in population.assays]
    patients = [
        patient
        for patient in dataset.patients
        if any(sample.assay in names for sample in patient.samples)
    ]
    for patient in patients:
        _check_doses(patient, population)
    samples = [_samples(patient, population) for patient in patients]
    width = max(len(rows["time_d"]) for rows in samples)
    check_changes(patients, population.covariates, population.model, dataset.path)
    pieces = [_pieces(patient, population, dataset.path) for patient in patients]
    tables = [
        _events(patient, population, _starts(patient, population, own))
        for patient, own in zip(patients, pieces, strict=True)
    ]
    columns = {
        key: jax.device_put(np.stack([_pad(rows[key], width) for rows in samples]))
        for key in samples[0]
    }
    events = jax.device_put(_stacked(tables, like))
    sampled = Sampled(columns.pop("examined"), columns.pop("partitions"))
    standards = None
    if any(WELLS in assay.error.needs for assay in population.assays):
        standards = pack_standards(dataset.plates)
        wells = [[s.wells for s in p.samples if s.assay in names] for p in patients]
        sampled = dataclasses.replace(
            sampled, wells=packed_wells(wells, width, standards)
        )
    return Packed(
        ids=tuple(patient.id for patient in patients),
        events=events,
        grid=make_grids(population.model, events, columns["time_d"], columns["after"]),
        known=_known(patients, population, dataset.path, like)
        | _changing(pieces, population, like),
        covariates=jnp.asarray(_covariates(pieces, population, like)),
        sampled=sampled,
        standards=standards,
        together=0 if population.on_grid else size_of_blocks(len(patients)),
        **columns,
    )


def _stacked(tables: Sequence[EventTable], like: Packed | None) -> EventTable:
    """Event tables of patients, with room for those of `like`."""
    if like is None:
        return stack_events(tables)
    room = jax.tree.map(lambda rows: np.asarray(rows)[0], like.events)
    return jax.tree.map(lambda rows: rows[:-1], stack_events([*tables, room]))


def _check_assay(assay: Assay, dataset: Dataset, population: Population) -> None:
    if not any(s.assay == assay.name for p in dataset.patients for s in p.samples):
        raise PackError(
            f"{dataset.path} has no {assay.name} sample after the first infusion; "
            f"its assays are {', '.join(dataset.assays) or 'none'}"
        )
    unit = canonical_unit(population.model.units[assay.quantity])
    given = dataset.units.get(assay.name, unit)
    if given != unit:
        raise PackError(
            f"{dataset.path} has {assay.name} in {given}, and "
            f"{name_of(population.model)} predicts {unit}; see `Dataset.in_unit`"
        )


def _samples(patient: Patient, population: Population) -> dict[str, np.ndarray]:
    """Samples of the population's assays, in order of time."""
    assays, units = population.assays, population.model.units
    names = [assay.name for assay in assays]
    rows = [sample for sample in patient.samples if sample.assay in names]
    which = [names.index(row.assay) for row in rows]
    for row, index in zip(rows, which, strict=True):
        _check_zero(patient, row, assays[index])
    sampled = [
        _sampled(patient, row, assays[index], units[assays[index].quantity])
        for row, index in zip(rows, which, strict=True)
    ]
    return {
        "which": np.array(which, dtype=int),
        "examined": np.array([examined for examined, _ in sampled], dtype=float),
        "partitions": np.array([parts for _, parts in sampled], dtype=float),
        "time_d": np.array([row.time_d for row in rows], dtype=float),
        "after": np.array([row.after for row in rows], dtype=bool),
        "log_value": np.log([max(row.value, FLOOR) for row in rows]),
        "below": np.array([row.below for row in rows], dtype=bool),
        "present": np.ones(len(rows), dtype=bool),
    }


def _check_zero(patient: Patient, row: Sample, assay: Assay) -> None:
    if row.value > 0 or assay.error.takes_zero:
        return
    raise PackError(
        f"row {row.row}, patient {patient.id}: {row.assay} is 0, which has no "
        f"logarithm, and the error law {assay.error.name} is of the logarithm; say "
        f"which limit it is below (--limit {row.assay}=NUMBER), or take --error "
        f"{row.assay}=additive"
    )


def _sampled(
    patient: Patient, row: Sample, assay: Assay, unit: str
) -> tuple[float, float]:
    """What was examined, and in how many partitions; 1 where nobody asks."""
    given = {"EXAMINED": row.examined, "PARTITIONS": row.partitions, WELLS: row.wells}
    for column in assay.error.needs:
        if given[column] is None:
            raise PackError(
                f"row {row.row}, patient {patient.id}: {assay.name} is counted "
                f"(error law {assay.error.name}), and the sample has no {column}; fill "
                f"it in, or take --error {assay.name}=normal"
            )
    needs = assay.error.needs
    examined = row.examined if "EXAMINED" in needs else None
    partitions = row.partitions if "PARTITIONS" in needs else None
    amount = 1.0 if examined is None else counts_per(examined, unit)
    return amount, 1.0 if partitions is None else float(partitions)


def _pad(rows: np.ndarray, width: int) -> np.ndarray:
    """Repeat the last entry; a flag is padded with False."""
    if rows.dtype == bool:
        return np.pad(rows, (0, width - rows.size))
    return np.pad(rows, (0, width - rows.size), mode="edge")


def _check_doses(patient: Patient, population: Population) -> None:
    model = population.model
    if model.receives and not patient.doses:
        raise PackError(
            f"patient {patient.id} has no dose records, and {name_of(model)} needs "
            f"the cells given of {', '.join(model.receives)}; add dose rows (EVID=1)"
        )
    own = {dose.product for dose in patient.doses} - {*PRODUCTS}
    if model.receives and own and not own & {*model.receives}:
        raise PackError(
            f"patient {patient.id} is given {', '.join(sorted(own))}, and "
            f"{name_of(model)} receives {', '.join(model.receives)}; call both the same"
        )
    cycles = sorted({sample.cycle for sample in patient.samples})
    if model.one_course and len(cycles) > 1:
        raise PackError(
            f"patient {patient.id} has samples in {len(cycles)} cycles, and "
            f"{name_of(model)} describes one course; fit the first with --cycles 1"
        )


def _in_units_of(model: AbstractModel, patient: Patient) -> tuple[Dose, ...]:
    """The patient's doses, those of one's own in the unit of the state they enter."""
    return tuple(
        dose
        if dose.product in PRODUCTS or dose.product not in model.receives
        else _in_unit(model, patient, dose)
        for dose in patient.doses
    )


def _in_unit(model: AbstractModel, patient: Patient, dose: Dose) -> Dose:
    name = model.receives[dose.product]
    wanted = states(model)[name].unit
    factor = conversion(dose.unit, wanted)
    if factor is None:
        raise PackError(
            f"patient {patient.id}: {dose.product} is given in {dose.unit}, and enters "
            f"{name} of {name_of(model)}, which is in {wanted}; mend one of the units"
        )
    told = {
        field: None if amount is None else factor * amount
        for field, amount in (
            ("cells", dose.cells),
            ("cells_per_kg", dose.cells_per_kg),
        )
    }
    return dataclasses.replace(dose, unit=wanted, **told)


def _events(
    patient: Patient,
    population: Population,
    starts_d: Sequence[float] | None = None,
) -> EventTable:
    model = population.model
    return event_table(
        _in_units_of(model, patient),
        products=tuple(dict.fromkeys([*PRODUCTS, *model.receives])),
        weight_kg=float(patient.covariates.get("WT", np.nan)),
        lymphodepletion_d=patient.lymphodepletion_d,
        windows=patient.windows,
        inputs=population.model.inputs,
        resets_d=patient.resets_d,
        occasion_starts_d=starts_d,
    )


def _pieces(patient: Patient, population: Population, path: str) -> Pieces:
    """Where the patient's parameters and covariates change."""
    effects = population.covariates
    for effect in effects:
        if effect.column not in patient.covariates:
            row = min((s.row for s in patient.samples if s.row), default=0)
            where = f"{path}, row {row}, column {effect.column}: " if row else ""
            raise PackError(
                f"{where}patient {patient.id} has no covariate "
                f"{effect.column}; it has {', '.join(patient.covariates) or 'none'}"
            )
    first_d = 0.0
    if population.changing:
        first_d = float(_events(patient, population).time_d[0])
    try:
        return pieces_of(
            patient, effects, _occasion_starts(patient, population) or (), first_d
        )
    except ValueError as error:
        raise PackError(f"{path}: {error}") from error


def _starts(
    patient: Patient, population: Population, pieces: Pieces
) -> Sequence[float] | None:
    """Days on which what the event table counts begins; `None` where nothing does."""
    if population.changing:
        return pieces.starts_d.tolist()
    return _occasion_starts(patient, population)


def _changing(
    pieces: Sequence[Pieces], population: Population, like: Packed | None
) -> dict[str, Array]:
    """Courses of the covariates that change, padded to the longest."""
    changing = [place for place, e in enumerate(population.covariates) if e.changes]
    if not changing:
        return {}
    most = max(len(own.starts_d) for own in pieces)
    if like is not None:
        most = max(most, like.known[COURSE].shape[1])
    padded = [own.padded(most) for own in pieces]
    told = {COURSE: jnp.asarray(np.stack([own.values[:, changing] for own in padded]))}
    if population.iov:
        told[CYCLE] = jnp.asarray(np.stack([own.cycle for own in padded]))
    return told


def _occasion_starts(
    patient: Patient, population: Population
) -> tuple[float, ...] | None:
    """Days on which the patient's cycles begin; `None` where all are alike.

    A cycle begins with the first that is given in it, lymphodepletion or cells.
    """
    if not population.iov:
        return None
    given = [(dose.cycle, dose.time_d) for dose in patient.doses]
    given += [(patient.lymphodepletion_cycle(t), t) for t in patient.lymphodepletion_d]
    most = max((cycle for cycle, _ in given), default=1)
    if most > population.occasions:
        raise PackError(
            f"patient {patient.id} has {most} cycles, and the population was made for "
            f"{population.occasions}; say occasions={most}"
        )
    return cycle_starts(given, population.occasions)


def _known(
    patients: list[Patient], population: Population, path: str, like: Packed | None
) -> dict[str, Array]:
    """Values of parameters that a data column gives, where the data have it."""
    known = {}
    for name, info in parameters(population.model).items():
        if info.column is None or name in population.estimate:
            continue
        having = [patient for patient in patients if info.column in patient.covariates]
        wanted = bool(having) if like is None else name in like.known
        if not wanted:
            continue
        if len(having) < len(patients):
            missing = next(p.id for p in patients if info.column not in p.covariates)
            raise PackError(
                f"patient {missing} has no {info.column}, which others have and "
                f"{name_of(population.model)} reads as {name}; fill it in"
            )
        _check_constant(patients, info.column, name, population, path)
        known[name] = jnp.array([float(p.covariates[info.column]) for p in patients])
    return known


def _check_constant(
    patients: list[Patient], column: str, name: str, population: Population, path: str
) -> None:
    """Refuse a column that changes where the model takes one value of it."""
    for patient in patients:
        for change in patient.changes.get(column, ())[:1]:
            raise PackError(
                f"{path}, row {change.row}, column {column}: it changes within patient "
                f"{patient.id}, and {name_of(population.model)} reads it as {name}, "
                "one value per patient; keep one, and give what changes in a column of "
                "its own (--covariate)"
            )


def _covariates(
    pieces: Sequence[Pieces], population: Population, like: Packed | None
) -> np.ndarray:
    """What each β multiplies at the first event, (patients, effects)."""
    every = np.concatenate([own.values for own in pieces])
    for column, effect in enumerate(population.covariates):
        if like is None and np.ptp(every[:, column]) == 0:
            raise PackError(
                f"covariate {effect.name.removeprefix('beta_')} is the same for every "
                "patient, so its effect cannot be estimated; leave it out"
            )
    return np.stack([own.values[0] for own in pieces])
