"""Simulations people ask for: a file of virtual patients, curves under protocols."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.assay import ASSAYS, Assay, Counts, laws_asked, with_priors
from ckin.cohort import simulate, virtual_patients, with_samples
from ckin.crowd import CHECKED, simulate_crowd
from ckin.dataset import Patient, check_format, disposition, write_dataset
from ckin.errors import InputError
from ckin.library import load_model, load_protocol
from ckin.model import AbstractModel, name_of
from ckin.population import Population, population, predicted
from ckin.population.hyper import patient_phi
from ckin.protocol import EventTable, Protocol, cells_text, stack_events
from ckin.solve import base_of, solve


# CAR-T of a protocol above so many times what is usual in a model are told.
UNUSUAL = 10.0
# Of a patient, to count doses per kg.
WEIGHT_KG = 60.0

# Called with (stage, done, total).
Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class SimulatedFile:
    """What a simulation wrote.

    Attributes:
        path: the file.
        lines: what to tell the user.
    """

    path: Path
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Watch:
    """Through which assays virtual patients are watched, all on the same days.

    Attributes:
        assays: keys of `ckin.assay.ASSAYS`.
        limits: detection limits of all samples, in the unit of the assay. Without one
            qPCR has limits as laboratories have them (`virtual_patients`), others none.
        examined: what is examined of each sample, by assay, in what the assay counts
            per (µg DNA, µL, ABL1 copies): its readings are then counts, unless
            `errors` say otherwise.
        errors: error laws, as LAW or ASSAY=LAW.
        sigmas: sizes of errors (of what is fitted: medians of their priors), as
            ASSAY=MEDIAN or ASSAY=MEDIAN:SD_LOG; add_ASSAY for the additive part of a
            combined one.
    """

    assays: tuple[str, ...] = ("qpcr",)
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    examined: Mapping[str, float] = dataclasses.field(default_factory=dict)
    errors: tuple[str, ...] = ()
    sigmas: tuple[str, ...] = ()

    def laws(self) -> tuple[Assay, ...]:
        """The assays, with their error laws.

        Raises:
            InputError: an assay that does not exist, a limit or an amount of one that
                is not watched or that is not above 0, an error law that does not
                exist, whose size is not told, or that nothing is examined for.
        """
        unknown = [name for name in self.assays if name not in ASSAYS]
        if unknown:
            raise InputError(f"--assay {unknown[0]}: choose {', '.join(ASSAYS)}")
        for option, given in (("limit", self.limits), ("examined", self.examined)):
            for name, value in given.items():
                if name not in self.assays:
                    raise InputError(
                        f"--{option} {name}: {name} is not simulated; simulated are "
                        f"{', '.join(self.assays)} (--assay)"
                    )
                if not 0 < value < float("inf"):
                    raise InputError(f"--{option} {name}={value:g}: expected above 0")
        asked = laws_asked(self.errors, self.assays, "simulated")
        laws = dict.fromkeys(self.examined, Counts()) | asked
        usual = [ASSAYS[name]() for name in self.assays]
        each = [assay.with_error(laws.get(assay.name, assay.error)) for assay in usual]
        each = with_priors(each, self.sigmas)
        for assay in each:
            _check_drawable(assay, {"EXAMINED"} if assay.name in self.examined else ())
        return tuple(each)

    def patients(self, key: Array, plan: Protocol, n: int) -> tuple[Patient, ...]:
        """Virtual patients with samples of every assay on planned days, unread."""
        first, *others = self.assays
        chosen: dict = {"limit": self.limits.get(first)}
        if first in self.limits:
            chosen |= {"limit_sd_log": 0.0, "nadir_factor": 1.0}
        elif first == "qpcr" and first not in self.examined:
            chosen = {}
        people = virtual_patients(key, plan, n, assay=first, **chosen)
        people = tuple(_examining(p, self.examined.get(first)) for p in people)
        for name in others:
            limit, examined = self.limits.get(name), self.examined.get(name)
            people = with_samples(people, name, limit=limit, examined=examined)
        return people


QPCR_ALONE = Watch()


def simulate_to_file(
    path: Path,
    *,
    model: str,
    protocol: str,
    n: int,
    seed: int,
    values: Mapping[str, float | str],
    horizon_d: float | None,
    watch: Watch = QPCR_ALONE,
    report: Report = lambda *_: None,
) -> SimulatedFile:
    """Virtual patients of a model under a protocol, written as a data file.

    Between-patient variation is the model's own; the typical values are its defaults
    or `values`. The file, a .csv or .parquet, reads with `ckin check` and fits with
    `ckin fit`; its column IPRED is the reading without error.

    Raises:
        InputError: unknown model, protocol, parameter or assay; a horizon without
            samples.
    """
    check_format(path)
    chosen, plan = model_and_plan(model, protocol, values)
    whole = population(chosen, watch.laws())
    # The prior median of a fit.
    sigma = {assay.name: assay.typical_sigma for assay in whole.assays}
    report("simulate", 0, n)
    people = watch.patients(jax.random.key(seed), plan, n)
    if horizon_d is not None:
        people = tuple(until(patient, horizon_d) for patient in people)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    made = simulate(key, whole, people, sigma=sigma)
    write_dataset(made.dataset, path, ipred=made.ipred)
    report("simulate", n, n)
    group = disposition(made.dataset)[0]
    samples = ", ".join(
        f"{group[f'samples_{name}']} {name} samples, "
        f"{group[f'below_{name}_pct']:.0f}% below their limit"
        for name in watch.assays
    )
    failures = [
        f"{len(made.failed)} patients could not be solved: {', '.join(made.failed)}"
    ]
    return SimulatedFile(
        path,
        (
            f"{group['patients']} virtual patients, {samples}",
            *_told(chosen, plan),
            *(failures if made.failed else []),
            f"written: {path}",
        ),
    )


def simulate_to_netcdf(
    path: Path,
    *,
    model: str,
    protocol: str,
    n: int,
    seed: int,
    values: Mapping[str, float | str],
    horizon_d: float | None,
    watch: Watch = QPCR_ALONE,
    report: Report = lambda *_: None,
) -> SimulatedFile:
    """Error-free readings of any number of virtual patients, streamed to disk.

    Samples are those planned for a trial (`ckin.cohort`), for everyone the same days.

    Raises:
        InputError: unknown model, protocol, parameter or assay; several assays, or one
            with limits or counts; a horizon without samples.
    """
    chosen, plan = model_and_plan(model, protocol, values)
    assay = _one_exact(watch)
    (typical,) = virtual_patients(jax.random.key(seed), plan, 1, limit=None)
    if horizon_d is not None:
        typical = until(typical, horizon_d)
    crowd = simulate_crowd(
        path,
        population(chosen, assay),
        plan,
        n=n,
        seed=seed,
        time_d=np.array([sample.time_d for sample in typical.samples]),
        report=lambda done, total: report("simulate", done, total),
    )
    failures = [f"{crowd.failed} patients could not be solved: their readings are NaN"]
    return SimulatedFile(
        path,
        (
            f"{crowd.patients} virtual patients, {len(typical.samples)} readings each, "
            "without error and limits",
            f"checked: readings of the first {min(crowd.patients, CHECKED)}, solved "
            f"again adaptively, change by up to {crowd.error_log10:.1g} log10",
            *_told(chosen, plan),
            *(failures if crowd.failed else []),
            f"written: {path}",
        ),
    )


def model_and_plan(
    model: str, protocol: str, values: Mapping[str, float | str]
) -> tuple[AbstractModel, Protocol]:
    """A model with these values and a protocol, by name or path.

    Raises:
        InputError: the model describes one course and the protocol has several.
    """
    chosen = load_model(model).with_values(**values)
    plan = load_protocol(protocol)
    if chosen.one_course and max(dose.cycle for dose in plan.doses) > 1:
        raise InputError(
            f"{name_of(chosen)} describes one course and {protocol} has several "
            "cycles; simulate szcart01-cart1"
        )
    return chosen, plan


def _told(model: AbstractModel, plan: Protocol) -> list[str]:
    """What the protocol assumes, and what of it the model does not know."""
    lines = [f"assumed: {assumption}" for assumption in plan.assumptions]
    strange = sorted({window.name for window in plan.windows} - set(model.inputs))
    lines += [
        f"note: {name_of(model)} has no input {name!r}: the {name.upper()} of the "
        "protocol changes nothing in it"
        for name in strange
    ]
    given = [d.total(WEIGHT_KG) for d in plan.doses if d.product == "CART"]
    usual, largest = model.usual_cart, max(given, default=0.0)
    if usual is not None and largest > UNUSUAL * usual:
        lines.append(
            f"note: {name_of(model)} is no patient: usual in it are "
            f"{cells_text(usual)} CAR-T cells in all, and the protocol gives "
            f"{cells_text(largest)} (at {WEIGHT_KG:g} kg); write a protocol with a "
            "dose in cells (ckin new-protocol)"
        )
    return lines


def _check_drawable(assay: Assay, told: Collection[str]) -> None:
    """That its error has all that is needed to draw it; `told` are columns."""
    law, asked = assay.error, f"--error {assay.name}={assay.error.name}"
    lacking = sorted(set(law.needs).difference(told))
    if lacking == ["EXAMINED"]:
        raise InputError(
            f"{asked}: say how much is examined of each sample: "
            f"--examined {assay.name}=AMOUNT"
        )
    if lacking:
        raise InputError(
            f"{asked}: cannot be simulated, for it needs {' and '.join(lacking)} of "
            "each sample"
        )
    in_its_unit = law.sigma_unit == "" or law.has_additive
    if in_its_unit and assay.additive_median is None:
        name = f"add_{assay.name}" if law.has_additive else assay.name
        raise InputError(
            f"{asked}: its size is in the unit of the assay, and there is no usual "
            f"one; say it: --sigma {name}=SIZE"
        )


def _one_exact(watch: Watch) -> Assay:
    """The assay of readings without error."""
    first, *others = watch.laws()
    if others or watch != Watch(watch.assays):
        raise InputError(
            "--out FILE.nc holds readings of one assay without error: leave out "
            "--limit, --examined, --error and --sigma, and write a file for each "
            "--assay"
        )
    return first


def _examining(patient: Patient, amount: float | None) -> Patient:
    """The patient with so much examined of every sample."""
    if amount is None:
        return patient
    each = lambda samples: tuple(
        dataclasses.replace(sample, examined=amount) for sample in samples
    )
    return dataclasses.replace(
        patient, baseline=each(patient.baseline), samples=each(patient.samples)
    )


def until(patient: Patient, horizon_d: float) -> Patient:
    """The patient followed to this day.

    Raises:
        InputError: no sample is planned by then.
    """
    samples = tuple(s for s in patient.samples if s.time_d <= horizon_d)
    if not samples:
        raise InputError(
            f"--horizon {horizon_d:g}: no sample is planned by then; the first is on "
            f"day {min(s.time_d for s in patient.samples):g}"
        )
    return dataclasses.replace(
        patient,
        samples=samples,
        doses=tuple(dose for dose in patient.doses if dose.time_d <= horizon_d),
        lymphodepletion_d=tuple(
            time_d for time_d in patient.lymphodepletion_d if time_d <= horizon_d
        ),
    )


def protocol_curves(
    key: Array,
    whole: Population,
    protocols: Mapping[str, Protocol],
    time_d: Float[np.ndarray, " times"],
    *,
    n: int,
    weight_kg: float,
) -> dict[str, Float[np.ndarray, "patients times"]]:
    """Error-free readings of the same virtual patients under several protocols.

    Args:
        key: of the patients: the same under every protocol (common random numbers).
        whole: typical values and variation; the assay says what is read.
        protocols: by label.
        time_d: days, not decreasing.
        n: virtual patients.
        weight_kg: weight of everyone.

    Returns:
        Readings by label; NaN where a patient could not be solved.
    """
    eta = jax.random.normal(key, (n, len(whole.vary)))
    centre = jnp.broadcast_to(whole.typical_phi(), (n, len(whole.estimate)))
    phi = patient_phi(whole, centre, jnp.array(whole.omega, float), eta)
    tables = [plan.events(weight_kg, whole.model.inputs) for plan in protocols.values()]
    stacked = stack_events(tables)
    curves = np.exp(_protocol_curves(whole, phi, stacked, jnp.asarray(time_d)))
    return dict(zip(protocols, np.asarray(curves), strict=True))


@eqx.filter_jit
def _protocol_curves(whole: Population, phi: Array, tables: EventTable, time_d: Array):
    def one(table: EventTable, phi: Array) -> Array:
        model = base_of(whole.patient_model(phi, {}))
        trajectory = solve(model, table, time_d)
        reading = predicted(whole, model, trajectory.states)
        return jnp.where(trajectory.ok, reading, jnp.nan)

    return jax.vmap(lambda table: jax.vmap(lambda phi: one(table, phi))(phi))(tables)
