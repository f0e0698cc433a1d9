"""Laws of every bundled data set, and those of the synthetic cohort."""

import csv
import hashlib
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ckin.dataset import disposition, read_dataset
from ckin.library import dataset_path, list_datasets, load_model
from ckin.model import parameters


DATA = Path(__file__).resolve().parents[2] / "data"
SYNTHETIC = DATA / "szcart01_synthetic"

each_dataset = pytest.mark.parametrize("name", list_datasets())


def source_of(name: str) -> dict[str, Any]:
    path = dataset_path(name).parent / "SOURCE.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_folder_is_a_data_set():
    folders = sorted(path.name for path in DATA.iterdir() if path.is_dir())
    assert list(list_datasets()) == folders
    assert folders


@each_dataset
def test_the_source_says_what_it_is_and_under_which_licence(name: str):
    source = source_of(name)
    for key in ("title", "what", "licence", "patients", "units", "sha256"):
        assert source[key], key


@each_dataset
def test_every_table_is_the_one_that_the_source_describes(name: str):
    folder = dataset_path(name).parent
    tables = {path.name for path in folder.glob("*.csv")}
    sums = source_of(name)["sha256"]
    assert set(sums) == tables
    for table in tables:
        found = hashlib.sha256((folder / table).read_bytes()).hexdigest()
        assert found == sums[table], f"{table}: run make.py again"


@each_dataset
def test_it_reads_without_a_fault_and_says_if_it_is_synthetic(name: str):
    source, dataset = source_of(name), read_dataset(dataset_path(name))
    assert len(dataset.patients) == source["patients"]
    assert dataset.synthetic == bool(source.get("synthetic"))
    assert dataset.synthetic == ("synthetic" in name)
    for assay, unit in dataset.units.items():
        assert source["units"][assay] == unit


# The synthetic cohort in the design of NCT03984968


def test_the_cohort_has_the_groups_of_the_registry():
    groups = {
        row["group"]: row["patients"]
        for row in disposition(read_dataset(dataset_path("szcart01_synthetic")))
    }
    assert groups == {
        "all": 34,
        "ARM P1-high": 6,
        "ARM P1-medium": 6,
        "ARM P1-low": 6,
        "ARM P2-high": 16,
    }


def test_the_first_cycle_is_without_feeding_cells_and_later_ones_have_two_doses():
    for patient in read_dataset(dataset_path("szcart01_synthetic")).patients:
        cycles = {dose.cycle for dose in patient.doses}
        assert cycles in ({1, 2}, {1, 2, 3}, {1, 2, 3, 4})
        for cycle in cycles:
            given = [d.product for d in patient.doses if d.cycle == cycle]
            assert given == ["CART"] + ["FTC"] * 2 * (cycle > 1)


def test_everyone_has_age_sex_weight_and_a_baseline():
    for patient in read_dataset(dataset_path("szcart01_synthetic")).patients:
        assert 15 <= float(patient.covariates["AGE"]) <= 65
        assert patient.covariates["SEX"] in ("F", "M")
        assert 30 < float(patient.covariates["WT"]) < 120
        # Nobody has CAR-T before the first infusion.
        assert [sample.below for sample in patient.baseline] == [True]


def test_peaks_and_shares_below_the_limit_are_what_a_remission_gives():
    dataset = read_dataset(dataset_path("szcart01_synthetic"))
    peaks = [
        max(s.value for s in patient.samples if s.cycle == 1)
        for patient in dataset.patients
    ]
    # Few targets, few thousand copies/µg: a tenth of a relapse (Stein 2019: 24,000).
    assert 1000 < np.median(peaks) < 10_000
    below = [s.below for patient in dataset.patients for s in patient.samples]
    assert 0.08 < np.mean(below) < 0.45


def test_the_true_values_are_those_of_the_model():
    model = load_model(source_of("szcart01_synthetic")["model"])
    known = parameters(model)
    truth = rows_of(SYNTHETIC / "truth_population.csv")
    names = [row["parameter"] for row in truth if row["parameter"] != "sigma_qpcr"]
    assert names == [name for name, info in known.items() if info.estimate]
    for row in truth[: len(names)]:
        info = known[row["parameter"]]
        value = float(getattr(model, row["parameter"]))
        # Written with six digits.
        assert float(row["typical"]) == pytest.approx(value, rel=1e-5)
        assert row["unit"] == info.unit
        assert (float(row["omega"]) if row["omega"] else None) == info.omega
    patients = read_dataset(dataset_path("szcart01_synthetic")).patients
    individual = rows_of(SYNTHETIC / "truth_individual.csv")
    found = [(row["ID"], row["parameter"]) for row in individual]
    assert found == [(patient.id, name) for patient in patients for name in names]
    assert all(float(row["value"]) > 0 for row in individual)


@pytest.mark.slow
def test_make_gives_the_same_tables_to_rounding(tmp_path: Path):
    make = module_of(SYNTHETIC / "make.py")
    simulated = make.cohort()
    assert not simulated.failed
    make.write(simulated, tmp_path)
    for table in sorted(SYNTHETIC.glob("*.csv")):
        assert_same_table(tmp_path / table.name, table)
    side = "szcart01_synthetic.toml"
    assert (tmp_path / side).read_text() == (SYNTHETIC / side).read_text()


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_szcart01_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_same_table(made: Path, shipped: Path) -> None:
    """Same texts, and numbers that differ by no more than their last digit."""
    pairs = zip(
        made.read_text(encoding="utf-8").splitlines(),
        shipped.read_text(encoding="utf-8").splitlines(),
        strict=True,
    )
    for line, expected in pairs:
        for cell, wanted in zip(line.split(","), expected.split(","), strict=True):
            if cell != wanted:
                # Four significant digits are kept.
                assert float(cell) == pytest.approx(float(wanted), rel=1.1e-3), line
