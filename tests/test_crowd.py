"""A crowd: the same patients whatever the batch, and right where solved again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from toys import QPCR, Hunt, dataset, made, patient, sample

from ckin.crowd import simulate_crowd
from ckin.population import log_readings, pack, population
from ckin.protocol import Dose, Protocol


PLAN = Protocol(
    "toy",
    (Dose(0.0, "CART", cells_per_kg=0.1), Dose(7.0, "FTC", cells=80.0)),
    assumptions=("everything",),
)
WHOLE = population(made(Hunt), QPCR)
TIME_D = np.array([1.0, 7.0, 9.0, 30.0])


def crowd(folder, **more):
    path = folder / f"crowd{len(list(folder.iterdir()))}.nc"
    wanted = {"n": 21, "seed": 3, "time_d": TIME_D, "batch": 8} | more
    return simulate_crowd(path, WHOLE, PLAN, **wanted)


def opened(path):
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()


@pytest.mark.slow
def test_neither_batch_nor_number_of_patients_changes_a_patient(tmp_path):
    few, many = crowd(tmp_path), crowd(tmp_path, n=40, batch=40)
    one, other = opened(few.path), opened(many.path)
    assert one.sizes == {"patient": 21, "time": 4}
    # float32 of the same numbers: lanes are summed in another order at most.
    np.testing.assert_allclose(
        one["reading"], other["reading"][:21], rtol=1e-6, atol=0.0
    )
    np.testing.assert_array_equal(one["weight"], other["weight"][:21])


def test_readings_are_those_of_patients_solved_one_by_one(tmp_path):
    made_up = opened(crowd(tmp_path).path)
    for row in range(3):
        person = made_up.isel(patient=row)
        weight = float(person["weight"])

        alone = patient(
            "a",
            [sample(day, 1.0) for day in TIME_D.tolist()],
            doses=(
                Dose(0.0, "CART", cells=0.1 * weight),
                Dose(7.0, "FTC", cells=80.0),
            ),
            WT=weight,
        )
        data = pack(dataset([alone]), WHOLE)
        phi = jnp.log(jnp.array([[float(person["growth"])]]))
        expected = np.exp(log_readings(WHOLE, phi, data)[0][0])
        # Two grids, each within 1e-3 log10, and float32.
        np.testing.assert_allclose(person["reading"], expected, rtol=5e-3)


def test_the_grid_is_checked_and_the_file_says_what_it_is(tmp_path):
    told = []
    result = crowd(tmp_path, report=lambda done, n: told.append((done, n)))
    assert result.failed == 0
    assert 0.0 < result.error_log10 < 1e-3
    assert told == [(8, 21), (16, 21), (21, 21)]
    data = opened(result.path)
    assert data.attrs["data"].startswith("SYNTHETIC")
    assert data.attrs["assumed"] == "everything"
    assert data["reading"].attrs["units"] == "copies/ug"


@pytest.mark.slow
def test_a_patient_who_cannot_be_solved_is_nan_and_counted(tmp_path):
    wild = population(made(Hunt), QPCR, omega={"growth": 200.0})
    result = simulate_crowd(
        tmp_path / "wild.nc", wild, PLAN, n=16, seed=0, time_d=TIME_D, batch=16
    )
    readings = opened(result.path)["reading"].to_numpy()
    assert 0 < result.failed < 16
    assert np.isnan(readings).all(axis=1).sum() == result.failed


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import ckin, jax
from test_crowd import crowd, opened
result = crowd(Path(sys.argv[2]))
print(json.dumps([len(jax.devices()), opened(result.path)["reading"].values.tolist()]))
"""


@pytest.mark.slow
def test_two_devices_simulate_the_same_patients(tmp_path):
    here = Path(__file__).parent
    runs = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(here), str(folder)],
            env={**os.environ, "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    assert [run[0] for run in runs] == [1, 2]
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-6)
