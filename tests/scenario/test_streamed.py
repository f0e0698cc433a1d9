"""Outcomes that go to disk: the same people, the same numbers, block by block."""

import dataclasses
import sys

import numpy as np
import pytest
import xarray as xr
from questions import ARMS, OUTCOMES, scenario

from ckin.errors import InputError
from ckin.scenario import Endpoint, PeopleSpec, Result, Worth, compare, run
from ckin.scenario.kept import OnDisk


# Other lanes: XLA may round the last digits otherwise.
LAST_DIGITS = 1e-10
ASKED = scenario(
    ARMS[:3],
    people=PeopleSpec(source="prior", draws=4, patients=7),
    outcomes=tuple(o for o in OUTCOMES if o.name in ("end", "above", "gone", "peak_d")),
    endpoints=(
        Endpoint("end", "end", "geometric mean"),
        Endpoint("above", "above", "median"),
        Endpoint("long", "above", "share", at_least=30.0),
        Endpoint("gone", "gone", "share"),
    ),
    worths=(Worth("above", 1.0, per=10.0), Worth("end", -0.1, scale="log2")),
    uncertainty=("parameters", "between-patient", "residual"),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tmp_path_factory.mktemp("streamed") / "patients.nc"
    # Blocks of 3, 3 and 1 patients of each draw.
    streamed = Result(run(ASKED, stream=path, block=12))
    return compare(ASKED), streamed, path


def test_streamed_outcomes_are_those_in_memory(both):
    held, streamed, path = both
    assert streamed.outcomes.people.shape == held.outcomes.people.shape
    with xr.open_dataset(path, engine="h5netcdf") as file:
        assert file.attrs["data"].startswith("MODEL-BASED")
        assert file["arm"].values.tolist() == [arm.name for arm in ASKED.arms]
        weights = file["weight_kg"].to_numpy()
        np.testing.assert_array_equal(weights, held.outcomes.people.weight_kg)
        for name, values in held.outcomes.values.items():
            assert isinstance(streamed.outcomes.values[name], OnDisk)
            np.testing.assert_allclose(
                file[name].to_numpy(), values[:], rtol=LAST_DIGITS
            )
            assert file[name].attrs["units"] == held.outcomes.units[name]


@pytest.mark.parametrize(
    "table", ["arm_rows", "comparison_rows", "best_rows", "curve_rows"]
)
def test_what_is_said_of_them_is_the_same(both, table):
    held, streamed, _ = both
    rows, again = getattr(held, table), getattr(streamed, table)
    assert len(rows) == len(again) > 0
    for one, other in zip(rows, again, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if isinstance(value, float):
                # A curve is kept with seven digits.
                near = 1e-6 if table == "curve_rows" else LAST_DIGITS
                np.testing.assert_allclose(other[name], value, rtol=near, atol=1e-12)
            else:
                assert other[name] == value


def test_a_file_that_was_not_finished_is_removed(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    # `ckin.scenario.compare` is a function as well as a module.
    monkeypatch.setattr(sys.modules[run.__module__], "_of_part", broken)
    with pytest.raises(KeyboardInterrupt):
        run(ASKED, stream=tmp_path / "patients.nc", block=12)
    assert not (tmp_path / "patients.nc").exists()


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(ASKED, stream=tmp_path / "file" / "patients.nc")


def test_noise_of_a_patient_is_its_own_whatever_the_number(both):
    held, *_ = both
    few = dataclasses.replace(
        ASKED, people=PeopleSpec(source="prior", draws=2, patients=3)
    )
    alone = compare(few)
    for name, values in alone.outcomes.values.items():
        np.testing.assert_allclose(
            values[:], held.outcomes.values[name][:, :2, :3], rtol=LAST_DIGITS
        )
