"""Crowds: more virtual patients than memory holds, under one protocol, onto disk.

A netCDF file with dimensions (patient, time) is filled batch by batch, so memory does
not grow with the number of patients. Patient i is the same whatever the batch, the
number of patients and of devices: every random number comes from a key of its own.
Patients are lanes of one compiled program, shared out over all devices of JAX.

    crowd = simulate_crowd(Path("crowd.nc"), population, protocol, n=100_000, seed=0,
                           time_d=np.arange(1.0, 29.0))
    xarray.open_dataset("crowd.nc")["reading"]
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import diffrax as dfx
import equinox as eqx
import h5netcdf
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.assay import NOT_COUNTED
from ckin.cohort import WEIGHT_MEDIAN_KG, WEIGHT_SD_LOG, normals
from ckin.dosing import Dosing, dosing, weighed
from ckin.inference.referee import ATOL, RTOL
from ckin.model import name_of
from ckin.population import GRID_ERROR, Packed, Population, refined
from ckin.population.hyper import patient_phi
from ckin.population.model import log_reading
from ckin.protocol import Protocol, stack_events
from ckin.solve import Solver, make_grids


# Patients of a batch: enough that starting it costs nothing, few enough that the states
# of all steps stay in a core's cache rather than in memory.
BATCH = 1024
# Virtual patients that the grid of all is laid for.
GRID_PATIENTS = 64
# Patients solved again adaptively, to say how far the grid can be trusted.
CHECKED = 100
# Readings under this are as good as nothing, copies/µg or cells/µL.
UNSEEN = 1.0

Report = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Crowd:
    """What was simulated.

    Attributes:
        path: the netCDF file.
        patients: how many.
        failed: patients who could not be solved; their readings are NaN.
        error_log10: largest error of a reading of 1 or more among `CHECKED` patients
            solved again adaptively, log10.
        seconds: of simulation, without laying the grid and compiling.
    """

    path: Path
    patients: int
    failed: int
    error_log10: float
    seconds: float


def simulate_crowd(
    path: Path,
    whole: Population,
    protocol: Protocol,
    *,
    n: int,
    seed: int,
    time_d: Float[np.ndarray, " times"],
    batch: int = BATCH,
    report: Report = lambda *_: None,
) -> Crowd:
    """Simulate `n` virtual patients and write their error-free readings.

    Args:
        path: netCDF file to write (over).
        whole: typical values and between-patient variation (the model's ω).
        protocol: what everyone is given; doses per kg by each patient's weight.
        n: number of patients.
        seed: of every random number.
        time_d: sample times, days, not decreasing.
        batch: patients at a time.
        report: called with (patients done, n).
    """
    time_d = np.asarray(time_d, dtype=float)
    key = jax.random.key(seed)
    plan = _plan(whole, protocol, time_d, jax.random.fold_in(key, 1))
    n_devices = len(jax.devices())
    batch = -(-min(batch, n) // n_devices) * n_devices
    times = jnp.asarray(time_d)
    run = _compiled(whole, plan, key, times, batch, n_devices)
    began, failed = time.perf_counter(), 0
    with h5netcdf.File(path, "w") as file:
        _declare(file, whole, protocol, n, time_d, seed)
        for start in range(0, n, batch):
            stop = min(start + batch, n)
            made = run(whole, plan, key, times, jnp.arange(start, start + batch))
            values = [np.asarray(part)[: stop - start] for part in made]
            _write(file, whole, slice(start, stop), values)
            _, solved, *_ = values
            failed += int((~solved).sum())
            report(stop, n)
        seconds = time.perf_counter() - began
        first = np.asarray(file.variables["reading"][: min(CHECKED, n)])
    error = _error(whole, plan, key, times, first)
    return Crowd(path, n, failed, error, seconds)


def _plan(whole: Population, protocol: Protocol, time_d, key: Array) -> Dosing:
    """The protocol on a grid that serves a sample of its virtual patients."""
    inputs = whole.model.inputs
    alone = stack_events([protocol.events(WEIGHT_MEDIAN_KG, inputs)])
    typical = jax.tree.map(jnp.asarray, alone)
    samples, late = time_d[None], np.zeros((1, time_d.size), bool)
    data = Packed(
        ids=("typical",),
        events=typical,
        grid=make_grids(whole.model, typical, samples, late),
        time_d=jnp.asarray(samples),
        after=jnp.asarray(late),
        log_value=jnp.zeros(samples.shape),
        below=jnp.asarray(late),
        present=jnp.asarray(~late),
        which=jnp.zeros(samples.shape, int),
        sampled=NOT_COUNTED,
        known={name: jnp.array([WEIGHT_MEDIAN_KG]) for name in weighed(whole.model)},
        covariates=jnp.zeros((1, len(whole.covariates))),
    )
    if whole.on_grid:
        phi = _phi(whole, key, jnp.arange(GRID_PATIENTS))
        data, _ = refined(whole, data, phi[:, None], target=GRID_ERROR)
    grid = jax.tree.map(lambda rows: rows[0], data.grid)
    plan = dosing(whole.model, protocol, grid, WEIGHT_MEDIAN_KG)
    return jax.tree.map(jnp.asarray, plan)


def _phi(whole: Population, key: Array, index: Array) -> Array:
    """φ of these patients, (patients, estimated)."""
    eta = normals(key, index, (len(whole.vary),))
    centre = jnp.broadcast_to(
        whole.typical_phi(), (index.shape[0], len(whole.estimate))
    )
    return patient_phi(whole, centre, jnp.array(whole.omega, float), eta)


def _people(whole: Population, key: Array, index: Array) -> tuple[Array, Array]:
    """φ and weight (kg) of these patients."""
    of_phi, of_weight = jax.random.split(key)
    spread = normals(of_weight, index, ())
    return _phi(whole, of_phi, index), WEIGHT_MEDIAN_KG * jnp.exp(
        WEIGHT_SD_LOG * spread
    )


def _readings(
    whole: Population,
    plan: Dosing,
    key: Array,
    time_d: Array,
    index: Array,
    solver: Solver | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Readings, who was solved, weights and parameters of these patients."""
    phi, weight = _people(whole, key, index)

    def one(phi, weight):
        known = {name: weight for name in weighed(whole.model)}
        events, grid = plan.at(weight)
        reading, solved = log_reading(
            whole, phi, known, events, time_d, solver=solver, grid=grid
        )
        return jnp.where(solved, jnp.exp(reading), jnp.nan), solved

    readings, solved = jax.vmap(one)(phi, weight)
    return readings, solved, weight, whole.from_phi(phi)


def _compiled(whole, plan, key, time_d, batch: int, n_devices: int):
    """The program of a batch, compiled before anyone looks at a clock."""
    each, same = jax.P("patients"), jax.P()
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:n_devices]), ("patients",))

    @eqx.filter_jit
    def run(whole, plan, key, time_d, index):
        arrays, rest = eqx.partition((whole, plan, key, time_d), eqx.is_array)

        def shared(arrays, index):
            whole, plan, key, time_d = eqx.combine(arrays, rest)
            return _readings(whole, plan, key, time_d, index)

        return jax.shard_map(
            shared,
            mesh=mesh,
            in_specs=(same, each),
            out_specs=each,
            check_vma=False,
        )(arrays, index)

    jax.block_until_ready(run(whole, plan, key, time_d, jnp.arange(batch)))
    return run


def _declare(file, whole: Population, protocol: Protocol, n: int, time_d, seed: int):
    """Dimensions, variables and what a reader must know."""
    file.dimensions = {"patient": n, "time": time_d.size}
    file.attrs["data"] = "SYNTHETIC: virtual patients, simulated; not patients"
    file.attrs["model"] = name_of(whole.model)
    file.attrs["protocol"] = protocol.name
    file.attrs["assumed"] = "; ".join(protocol.assumptions)
    file.attrs["seed"] = seed
    days = file.create_variable("time", ("time",), float, data=time_d)
    days.attrs["units"] = "days from the first infusion"
    chunk = min(BATCH, n)
    reading = file.create_variable(
        "reading", ("patient", "time"), "f4", chunks=(chunk, time_d.size)
    )
    reading.attrs["units"] = whole.model.units[whole.assay.quantity]
    reading.attrs["long_name"] = f"{whole.assay.name} without error"
    weight = file.create_variable("weight", ("patient",), "f4", chunks=(chunk,))
    weight.attrs["units"] = "kg"
    for name, info in whole.info.items():
        if name in whole.vary:
            values = file.create_variable(name, ("patient",), "f4", chunks=(chunk,))
            values.attrs["units"] = info.unit


def _write(file, whole: Population, rows: slice, values: list[np.ndarray]) -> None:
    readings, _, weight, parameters = values
    file.variables["reading"][rows] = readings.astype("f4")
    file.variables["weight"][rows] = weight.astype("f4")
    for name in whole.vary:
        column = parameters[:, whole.estimate.index(name)]
        file.variables[name][rows] = column.astype("f4")


def _error(whole: Population, plan: Dosing, key, time_d, first: np.ndarray) -> float:
    """Largest error of the first patients' readings, log10."""
    if not whole.on_grid:
        return 0.0
    solver = Solver(method=dfx.Tsit5(), rtol=RTOL, atol=ATOL)
    again = eqx.filter_jit(_readings)(
        whole, plan, key, time_d, jnp.arange(len(first)), solver
    )
    exact, solved = np.asarray(again[0]), np.asarray(again[1])
    seen = solved[:, None] & np.isfinite(first) & ((exact > UNSEEN) | (first > UNSEEN))
    ratio = np.log10(np.where(seen, np.maximum(first, UNSEEN), 1.0)) - np.log10(
        np.where(seen, np.maximum(exact, UNSEEN), 1.0)
    )
    return float(np.abs(ratio).max(initial=0.0))
