"""Simulations people ask for: a file of virtual patients, curves under protocols."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.assay import qpcr
from ckin.cohort import FOLLOW_UP_DAYS, SAMPLE_DAYS, simulate, virtual_patients
from ckin.crowd import CHECKED, simulate_crowd
from ckin.dataset import check_format, disposition, write_dataset
from ckin.errors import InputError
from ckin.library import load_model, load_protocol
from ckin.model import AbstractModel, name_of
from ckin.population import Population, population, predicted
from ckin.population.model import patient_phi
from ckin.protocol import EventTable, Protocol, stack_events
from ckin.solve import solve


# Error SD of the natural log of a simulated reading: the prior median of a fit.
SIGMA = 0.5

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


def simulate_to_file(
    path: Path,
    *,
    model: str,
    protocol: str,
    n: int,
    seed: int,
    values: Mapping[str, float],
    horizon_d: float | None,
    report: Report = lambda *_: None,
) -> SimulatedFile:
    """Virtual patients of a model under a protocol, written as a data file.

    Between-patient variation is the model's own; the typical values are its defaults
    or `values`. The file, a .csv or .parquet, reads with `ckin check` and fits with
    `ckin fit`; its column IPRED is the reading without error.

    Raises:
        InputError: unknown model, protocol or parameter; a horizon without samples.
    """
    check_format(path)
    chosen, plan = _model_and_plan(model, protocol, values)
    report("simulate", 0, n)
    people = virtual_patients(
        jax.random.key(seed),
        plan,
        n,
        sample_days=SAMPLE_DAYS,
        follow_up_days=FOLLOW_UP_DAYS,
    )
    if horizon_d is not None:
        people = tuple(_until(patient, horizon_d) for patient in people)
    whole = population(chosen, qpcr())
    key = jax.random.fold_in(jax.random.key(seed), 1)
    made = simulate(key, whole, people, sigma=SIGMA)
    write_dataset(made.dataset, path, ipred=made.ipred)
    report("simulate", n, n)
    group = disposition(made.dataset)[0]
    failures = [
        f"{len(made.failed)} patients could not be solved: {', '.join(made.failed)}"
    ]
    return SimulatedFile(
        path,
        (
            f"{group['patients']} virtual patients, {group['samples_qpcr']} samples, "
            f"{group['below_qpcr_pct']:.0f}% below their limit",
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
    values: Mapping[str, float],
    horizon_d: float | None,
    report: Report = lambda *_: None,
) -> SimulatedFile:
    """Error-free readings of any number of virtual patients, streamed to disk.

    Samples are those planned for a trial (`ckin.cohort`), for everyone the same days.

    Raises:
        InputError: unknown model, protocol or parameter; a horizon without samples.
    """
    chosen, plan = _model_and_plan(model, protocol, values)
    (typical,) = virtual_patients(jax.random.key(seed), plan, 1, limit=None)
    if horizon_d is not None:
        typical = _until(typical, horizon_d)
    crowd = simulate_crowd(
        path,
        population(chosen, qpcr()),
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


def _model_and_plan(
    model: str, protocol: str, values: Mapping[str, float]
) -> tuple[AbstractModel, Protocol]:
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
    return lines


def _until(patient, horizon_d: float):
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
        model: AbstractModel = whole.patient_model(phi, {})
        trajectory = solve(model, table, time_d)
        reading = predicted(whole, model, trajectory.states)
        return jnp.where(trajectory.ok, reading, jnp.nan)

    return jax.vmap(lambda table: jax.vmap(lambda phi: one(table, phi))(phi))(tables)
