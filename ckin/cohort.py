"""Virtual patients -> a data set, read off by the assay that a fit supposes.

A patient to simulate is a `ckin.dataset.Patient` whose samples say when, and with which
detection limit, blood is drawn; their values are not looked at. So the patients of a
real file can be simulated again, and `virtual_patients` makes new ones for a protocol.

    population = ckin.population.population(load_model("feeding_szcart01"), qpcr())
    patients = virtual_patients(key, load_protocol("szcart01-high"), 20)
    simulated = simulate(key, population, patients, sigma=0.4)
    write_dataset(simulated.dataset, "virtual.csv", simulated.ipred)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.assay import Assay
from ckin.dataset import Dataset, Patient, Sample
from ckin.dataset.examined import counts_per
from ckin.dataset.records import counted, first_infusion
from ckin.errors import InputError
from ckin.model import name_of
from ckin.population import (
    Packed,
    Population,
    additive_parts,
    by_sample,
    log_readings,
    of_its_assay,
    pack,
)
from ckin.population.hyper import locations, patient_phi
from ckin.protocol import Dose, Protocol
from ckin.solve import Solver


# When blood is drawn, days after day 1 of each cycle. Assumed: days 0 to 28 of CD19
# CAR-T trials, and two days about the second FTC of day 8 (day 7 here, drawn before).
# The day of an infusion itself is drawn before it.
SAMPLE_DAYS = (0.0, 1.0, 4.0, 7.0, 9.0, 11.0, 14.0, 17.0, 21.0, 28.0, 42.0)
# Months 3, 6, 9 and 12, then half-yearly to 2 years, the horizon of the registry, after
# day 1 of the last cycle. Assumed.
FOLLOW_UP_DAYS = (91.0, 182.0, 273.0, 365.0, 548.0, 730.0)

# Body weight: log-normal, 62 kg and a coefficient of variation of 18%. Assumed.
WEIGHT_MEDIAN_KG = 62.0
WEIGHT_SD_LOG = 0.18

# Detection limit of a sample: log-normal, 95% between 25 and 100 copies/µg about the 50
# usual for CTL019; the DNA in a reaction differs between samples. Assumed.
LIMIT_COPIES_PER_UG = 50.0
LIMIT_SD_LOG = 0.35
# After lymphodepletion blood yields less DNA than a reaction takes, and the same number
# of copies in the tube is a higher limit. Assumed: three times, for two weeks.
NADIR_FACTOR = 3.0
NADIR_D = 14.0


@dataclasses.dataclass(frozen=True)
class Simulated:
    """A synthetic data set, and what it was made from.

    Attributes:
        dataset: the readings; patients who could not be solved are not in it.
        ipred: for each patient of `dataset` the error-free reading, in the unit of the
            assay, of each of `(*baseline, *samples)`.
        phi: transformed values of `population.estimate`, a row for each patient of
            `dataset`.
        parameters: the same values in their own units, by name.
        failed: patients whose trajectory could not be solved, and their values.
    """

    dataset: Dataset
    # `_`: patients differ in how many samples they have.
    ipred: tuple[Float[np.ndarray, " _"], ...]
    phi: Float[np.ndarray, "patients estimated"]
    parameters: Mapping[str, Float[np.ndarray, " patients"]]
    failed: Mapping[str, Mapping[str, float]]


def simulate(
    key: Array,
    population: Population,
    patients: Sequence[Patient],
    *,
    sigma: float | Mapping[str, float],
    beta: Mapping[str, float] | None = None,
    solver: Solver | None = None,
) -> Simulated:
    """Draw parameters and readings of every patient.

    A patient's parameters depend on `key` and on the place in `patients` alone: the
    same key gives the same people under another protocol or another sampling plan.

    Args:
        key: of the random numbers.
        population: typical values (those of its model) and ω between patients.
        patients: doses, covariates, and samples whose values are to be drawn.
        sigma: SD of the error of the natural logarithm (or what the law of the assay
            says), of every assay or by the name of each; 0 reads without error. The
            additive part of a combined error is `add_NAME`, its prior median if not
            given.
        beta: covariate coefficients by name (`CovariateEffect.name`); 0 if not given.
        solver: how to integrate.

    Raises:
        InputError: a patient without samples or with samples of another assay, or a
            coefficient of no covariate effect of `population`.
    """
    assays = {assay.name: assay for assay in population.assays}
    spread = dict(sigma) if isinstance(sigma, Mapping) else dict.fromkeys(assays, sigma)
    blank = unread(population, patients)
    units = blank.units
    data = pack(blank, population)
    key_eta, key_error = jax.random.split(key)
    eta = normals(key_eta, jnp.arange(data.n_patients), (len(population.eta_names),))
    centre = locations(
        population, population.typical_phi(), _coefficients(population, beta), data
    )
    phi = patient_phi(population, centre, jnp.array(population.spreads, float), eta)
    data = _with_additive(population, data, spread)
    log_exact, solved = _readings(population, phi, data, solver)
    keys = _keys(key_error, jnp.arange(data.n_patients))
    log_value = _drawn(keys, population, log_exact, data, spread)
    values, exact = np.exp(log_value), np.exp(log_exact)
    drawn = np.asarray(population.from_phi(phi))

    made, ipred, failed = [], [], {}
    for row, (patient, ok) in enumerate(zip(patients, solved, strict=True)):
        if not ok:
            own = zip(population.estimate, drawn[row], strict=True)
            failed[patient.id] = {name: float(value) for name, value in own}
            continue
        made.append(read_off(patient, values[row], assays, units))
        ipred.append(exact[row, : len(patient.baseline) + len(patient.samples)])
    told = ", ".join(f"{name} error SD {spread[name]:g}" for name in assays)
    notes = [f"simulated from {name_of(population.model)}, {told}"]
    if failed:
        notes.append(
            f"{counted(len(failed), 'patient')} could not be solved and left out: "
            f"{', '.join(failed)}"
        )
    kept = np.asarray(solved)
    return Simulated(
        dataset=dataclasses.replace(blank, patients=tuple(made), notes=tuple(notes)),
        ipred=tuple(ipred),
        phi=np.asarray(phi)[kept],
        parameters=dict(zip(population.estimate, drawn[kept].T, strict=True)),
        failed=failed,
    )


def _with_additive(
    population: Population, data: Packed, spread: Mapping[str, float]
) -> Packed:
    """Data with the additive parts of combined errors, by name or their priors."""
    if not population.two_part:
        return data
    parts = []
    for place in population.two_part:
        assay = population.assays[place]
        part = spread.get(f"add_{assay.name}", assay.additive_median)
        if part is None:
            raise InputError(
                f"sigma has no add_{assay.name}: a combined error needs its additive "
                "part, in the unit of the assay"
            )
        parts.append(part)
    errors = [spread.get(assay.name, 0.0) for assay in population.assays]
    each = additive_parts(population, jnp.array([*errors, *parts], dtype=float))
    additive = jnp.broadcast_to(by_sample(each, data.which), data.which.shape)
    return eqx.tree_at(
        lambda d: d.sampled.additive, data, additive, is_leaf=lambda x: x is None
    )


def unread(population: Population, patients: Sequence[Patient]) -> Dataset:
    """Patients whose samples are yet to be read, as a data set.

    Raises:
        InputError: a patient without samples or with samples of another assay.
    """
    assays = {assay.name: assay for assay in population.assays}
    whole = tuple(_to_be_read(patient, assays) for patient in patients)
    units = {
        name: population.model.units[assay.quantity] for name, assay in assays.items()
    }
    return Dataset("simulated", whole, units, True, (), "")


def virtual_patients(
    key: Array,
    protocol: Protocol,
    n: int,
    *,
    sample_days: Sequence[float] = SAMPLE_DAYS,
    follow_up_days: Sequence[float] = FOLLOW_UP_DAYS,
    assay: str = "qpcr",
    limit: float | None = LIMIT_COPIES_PER_UG,
    limit_sd_log: float = LIMIT_SD_LOG,
    nadir_factor: float = NADIR_FACTOR,
    arm: str | None = None,
    prefix: str = "V",
) -> tuple[Patient, ...]:
    """Patients under a protocol, with weights and detection limits, yet to be read.

    Args:
        key: of the random numbers.
        protocol: what they are given; doses per kg become cells by their weight.
        n: how many.
        sample_days: days of samples after day 1 of each cycle, until whatever prepares
            or begins the next one. A sample at the time of a dose comes before it.
        follow_up_days: days of samples after day 1 of the last cycle.
        assay: assay of every sample.
        limit: median detection limit in the unit of the assay; `None`: no limit.
        limit_sd_log: SD of its natural logarithm between samples.
        nadir_factor: how many times higher it is until `NADIR_D` days after
            lymphodepletion.
        arm: covariate ARM; the name of the protocol when not given.
        prefix: of the IDs, which count from 1.
    """
    visits = visits_of(protocol, sample_days, follow_up_days)
    key_weight, key_limit = jax.random.split(key)
    weights = np.asarray(normals(key_weight, jnp.arange(n), ()))
    spread = np.asarray(normals(key_limit, jnp.arange(n), (len(visits),)))
    nadir = np.array([_after_depletion(protocol, time_d) for time_d, _ in visits])
    factor = np.where(nadir, nadir_factor, 1.0)
    start = first_infusion(protocol.doses)
    width = len(str(n))
    made = []
    for row in range(n):
        # As a scale and a laboratory write them: 0.1 kg, 3 digits.
        weight = round(
            WEIGHT_MEDIAN_KG * float(np.exp(WEIGHT_SD_LOG * weights[row])), 1
        )
        limits: list[float | None] = [None] * len(visits)
        if limit is not None:
            each = limit * factor * np.exp(limit_sd_log * spread[row])
            limits = [float(f"{value:.3g}") for value in each]
        samples = [
            Sample(time_d, assay, np.nan, False, most, False, cycle, 0)
            for (time_d, cycle), most in zip(visits, limits, strict=True)
        ]
        made.append(
            Patient(
                id=f"{prefix}{row + 1:0{width}d}",
                doses=tuple(_in_cells(dose, weight) for dose in protocol.doses),
                samples=tuple(s for s in samples if s.time_d > start),
                baseline=tuple(s for s in samples if s.time_d <= start),
                covariates={"WT": weight, "ARM": arm or protocol.name},
                windows=protocol.windows,
                lymphodepletion_d=protocol.lymphodepletion_d,
            )
        )
    return tuple(made)


# One compilation for every cohort of one shape.
_readings = eqx.filter_jit(log_readings)


def _keys(key: Array, index: Array) -> Array:
    """A key for each patient, whatever the number of patients."""
    return jax.vmap(lambda patient: jax.random.fold_in(key, patient))(index)


def normals(key: Array, index: Array, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, (patients, *shape), from a key for each patient.

    Args:
        key: of all patients.
        index: which patients; the numbers of a patient depend on no other.
        shape: of the numbers of each.
    """
    return jax.vmap(lambda own: jax.random.normal(own, shape))(_keys(key, index))


def _coefficients(population: Population, beta: Mapping[str, float] | None) -> Array:
    given = dict(beta or {})
    names = [effect.name for effect in population.covariates]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InputError(
            f"beta has {unknown[0]!r}, which is no covariate effect of the population; "
            f"it has {', '.join(names) or 'none'}"
        )
    return jnp.array([given.get(name, 0.0) for name in names], dtype=float)


def _drawn(
    keys: Array,
    population: Population,
    log_exact: Array,
    data: Packed,
    sigma: Mapping[str, float],
) -> Array:
    """Log readings with error, each by the law of its assay."""
    each = []
    for index, assay in enumerate(population.assays):
        # The numbers of an assay do not depend on which others there are: its key is
        # its own, and its samples come first, in their order.
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, index) if index else keys
        draw = jax.vmap(assay.draw, (0, 0, None, 0))
        order = jnp.argsort(data.which != index, axis=1, stable=True)
        first = partial(jnp.take_along_axis, indices=order, axis=1)
        sampled = jax.tree.map(first, data.sampled)
        drawn = draw(own, first(log_exact), sigma[assay.name], sampled)
        each.append(jnp.take_along_axis(drawn, jnp.argsort(order, axis=1), axis=1))
    return of_its_assay(each, data.which)


def _to_be_read(patient: Patient, assays: Mapping[str, Assay]) -> Patient:
    """The patient with baseline and samples in one row, none of them read yet."""
    samples = (*patient.baseline, *patient.samples)
    other = next((s.assay for s in samples if s.assay not in assays), None)
    if not samples or other is not None:
        found = "no samples" if other is None else f"samples of {other}"
        names = " and ".join(assays)
        raise InputError(
            f"patient {patient.id} has {found}; simulating {names} needs the times of "
            f"{names} samples and of nothing else"
        )
    unread = tuple(dataclasses.replace(s, value=1.0, below=False) for s in samples)
    return dataclasses.replace(patient, baseline=(), samples=unread)


def read_off(
    patient: Patient,
    values: Float[np.ndarray, " padded"],
    assays: Mapping[str, Assay],
    units: Mapping[str, str],
) -> Patient:
    """The patient with these values, those under their limit below it."""
    read = []
    for sample, value in zip(
        (*patient.baseline, *patient.samples), values, strict=False
    ):
        limit = _limit(sample, assays[sample.assay], units[sample.assay])
        below = limit is not None and bool(value < limit)
        shown = limit if below and limit is not None else float(value)
        read.append(dataclasses.replace(sample, value=shown, below=below, limit=limit))
    n_baseline = len(patient.baseline)
    return dataclasses.replace(
        patient,
        baseline=tuple(read[:n_baseline]),
        samples=tuple(read[n_baseline:]),
    )


def _limit(sample: Sample, assay: Assay, unit: str) -> float | None:
    """Its limit; that of one count where counts have none."""
    if sample.limit is None and assay.error.needs and sample.examined is not None:
        return 1.0 / counts_per(sample.examined, unit)
    return sample.limit


def with_samples(
    patients: Sequence[Patient],
    assay: str,
    *,
    limit: float | None = None,
    examined: float | None = None,
    partitions: int | None = None,
) -> tuple[Patient, ...]:
    """The patients with a sample of one more assay wherever they have one, unread.

    Args:
        patients: with samples of other assays.
        assay: the further one.
        limit: its detection limit.
        examined: what is examined of each sample.
        partitions: of a ddPCR.
    """

    def also(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        twice = []
        seen = set()
        for sample in samples:
            twice.append(sample)
            if (sample.time_d, sample.after) not in seen:
                seen.add((sample.time_d, sample.after))
                further = dataclasses.replace(
                    sample,
                    assay=assay,
                    limit=limit,
                    examined=examined,
                    partitions=partitions,
                )
                twice.append(further)
        return tuple(twice)

    return tuple(
        dataclasses.replace(p, baseline=also(p.baseline), samples=also(p.samples))
        for p in patients
    )


def _in_cells(dose: Dose, weight_kg: float) -> Dose:
    cells = dose.total(weight_kg)
    return dataclasses.replace(dose, cells=cells, cells_per_kg=None)


def visits_of(
    protocol: Protocol, sample_days: Sequence[float], follow_up_days: Sequence[float]
) -> list[tuple[float, int]]:
    """Time and cycle of every sample of a protocol, in order."""
    day1: dict[int, float] = {}
    for dose in protocol.doses:
        day1[dose.cycle] = min(dose.time_d, day1.get(dose.cycle, dose.time_d))
    visits = []
    for cycle, start_d in (day1 or {1: 0.0}).items():
        later = [t for other, t in day1.items() if other > cycle]
        last = not later
        ends = [t for t in (*protocol.lymphodepletion_d, *later) if t > start_d]
        end_d = min(ends, default=np.inf)
        for day in sorted({*sample_days, *(follow_up_days if last else ())}):
            if last or start_d + day < end_d:
                visits.append((start_d + day, cycle))
    return visits


def _after_depletion(protocol: Protocol, time_d: float) -> bool:
    return any(0 <= time_d - t <= NADIR_D for t in protocol.lymphodepletion_d)
