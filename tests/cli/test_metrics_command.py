"""`ckin metrics` as its users meet it: tables, files, exit codes, messages."""

import dataclasses
import json
import shutil
import statistics
from functools import partial

import pytest
from typed import rows_of, typed

from ckin.dataset import read_dataset, write_dataset
from ckin.library import dataset_path


run = partial(typed, "metrics")


def numbers(table, code: str, column: str = "AVAL") -> dict[str, float]:
    """Patient -> number, of those who have one."""
    mine = [row for row in table if row["PARAMCD"] == code and row[column]]
    return {row["ID"]: float(row[column]) for row in mine}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Folder of a quick fit (MAP) of six synthetic patients, cycle 1."""
    folder = tmp_path_factory.mktemp("metrics")
    data = read_dataset(dataset_path("szcart01_synthetic")).first_cycles(1)
    write_dataset(
        dataclasses.replace(data, patients=data.patients[:6]), folder / "small.csv"
    )
    options = ["--model", "phases_stein2019", "--method", "map", "--draws", "20"]
    args = ["fit", str(folder / "small.csv"), *options, "--out", str(folder / "fit")]
    result = typed(*args)
    assert result.exit_code in (0, 1), result.output
    return folder


def test_a_data_file_gives_a_table_and_a_long_file(tmp_path):
    file = tmp_path / "metrics.csv"
    result = run("szcart01_synthetic", "--out", file)
    assert result.exit_code == 0, result.output
    for words in ("SYNTHETIC DATA", "cycle 1", "CMAX", "--blq pknca", "written"):
        assert words in result.output
    table = rows_of(file)
    assert len({row["ID"] for row in table}) == 34
    assert {row["SOURCE"] for row in table} == {"SYNTHETIC data"}
    # Never silently nothing.
    assert all(row["AVAL"] or row["REASON"] for row in table)
    assert {r["AVALU"] for r in table if r["PARAMCD"] == "CMAX"} == {"copies/ug"}
    first = read_dataset(dataset_path("szcart01_synthetic")).patients[0]
    highest = max(s.value for s in first.samples if s.cycle == 1 and not s.below)
    cycle = [row for row in table if row["OCC"] == "1"]
    assert numbers(cycle, "CMAX")[first.id] == pytest.approx(highest, rel=1e-9)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("cycle", ["all cycles", "cycle 4", "ratio (90% CI)", "within patients"]),
        ("ARM", ["ARM P1-high", "ARM P2-high", "to ARM P1-high"]),
    ],
)
def test_groups_are_compared(by, words):
    result = run("szcart01_synthetic", "--by", by)
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.output


def test_materials_are_never_mixed(tmp_path):
    file = tmp_path / "samples.csv"
    file.write_text(
        "patient,matrix,day,copies_per_ug\n"
        "A,PB,7,900\nA,PB,28,50\nA,BM,28,7000\nA,PB,90,0\n"
    )
    out = tmp_path / "metrics.csv"
    result = run(file, "--out", out)
    assert result.exit_code == 0, result.output
    peaks = {r["SPEC"]: r["AVAL"] for r in rows_of(out) if r["PARAMCD"] == "CMAX"}
    assert peaks == {"PB": "900", "BM": "7000"}
    assert "day taken for TIME" in result.output


def test_a_fit_gives_posterior_metrics_that_agree_with_its_parameters(fitted, tmp_path):
    out = tmp_path / "metrics.csv"
    result = run(fitted / "fit", "--out", out)
    assert result.exit_code == 0, result.output
    assert "posterior of phases_stein2019 on SYNTHETIC data" in result.output
    table, individual = rows_of(out), rows_of(fitted / "fit" / "individual.csv")
    for code, parameter in (("CMAX", "cmax"), ("TMAX", "tmax")):
        for known in (row for row in individual if row["parameter"] == parameter):
            low, middle, high = (float(known[q]) for q in ("q05", "q50", "q95"))
            # 80 draws and no interpolation between them; peaks are read 0.05 d
            # apart. A third of the interval tells a wrong patient or parameter apart.
            near = 0.05 + 0.01 * middle + 0.3 * (high - low)
            for column, value in (("AVALL", low), ("AVAL", middle), ("AVALH", high)):
                got = numbers(table, code, column)[known["ID"]]
                assert got == pytest.approx(value, abs=near)


WRONG = {
    "no such covariate": (["szcart01_synthetic", "--by", "SITE"], ["SITE", "ARM"]),
    "a number for groups": (["szcart01_synthetic", "--by", "WT"], ["WT", "at most 8"]),
    "no such rule": (["szcart01_synthetic", "--blq", "M3"], ["M3", "pknca", "M7"]),
    "no such assay": (["szcart01_synthetic", "--assay", "flow"], ["flow", "qpcr"]),
    "no folder": (["szcart01_synthetic", "--out", "none/here.csv"], ["none/here.csv"]),
    "no data": (["szcart02"], ["szcart02", "szcart01_synthetic"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_ends_with_code_2_and_says_what_to_do(mistake):
    args, words = WRONG[mistake]
    result = run(*args)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output


def test_a_folder_that_is_no_fit_ends_with_code_2(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "manifest.json" in result.output
    (tmp_path / "manifest.json").write_text("{}")
    assert "fit again" in run(tmp_path).output


@pytest.mark.parametrize(
    ("entry", "value", "code", "words"),
    [
        ("model_sha256", "0" * 64, 2, "phases_stein2019.py has changed since the fit"),
        ("converged", False, 1, "DID NOT CONVERGE"),
    ],
)
def test_what_a_manifest_warns_of_is_heeded(
    fitted, tmp_path, entry, value, code, words
):
    folder = tmp_path / "fit"
    shutil.copytree(fitted / "fit", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {entry: value}))
    result = run(folder)
    assert result.exit_code == code, result.output
    assert words in result.output


def test_options_of_data_are_refused_for_a_fit(fitted):
    result = run(fitted / "fit", "--limit", "qpcr=25")
    assert result.exit_code == 2
    assert "--limit" in result.output


def test_a_table_that_is_not_recognised_is_explained_as_check_would(tmp_path):
    file = tmp_path / "samples.csv"
    file.write_text("who,when,copies_per_ug\nA,7,900\n")
    result = run(file)
    assert result.exit_code == 2
    assert "--map" in result.output


def test_the_real_file_works_as_it_lies(external_data, tmp_path):
    """Counted apart from ckin in the table; bounds are those of the literature."""
    out = tmp_path / "metrics.csv"
    file = external_data / "ctl019" / "qpcr.csv"
    result = run(file, "--limit", "qpcr=25", "--out", out)
    assert result.exit_code == 0, result.output
    table = rows_of(out)
    patients = {m: {r["ID"] for r in table if r["SPEC"] == m} for m in ("PB", "BM")}
    assert (len(patients["PB"]), len(patients["BM"])) == (34, 32)
    blood = [row for row in table if row["SPEC"] == "PB"]
    highest: dict[str, float] = {}
    for row in rows_of(file):
        value = float(row["copies_per_ug"])
        if row["matrix"] == "PB" and float(row["day"]) > 0 and value >= 25:
            highest[row["patient"]] = max(value, highest.get(row["patient"], 0.0))
    cmax = numbers(blood, "CMAX")
    assert set(cmax) == set(highest)
    assert len(cmax) == 33
    # Repeats on one day are averaged, so ours may be lower.
    same = [cmax[name] == pytest.approx(value) for name, value in highest.items()]
    assert all(cmax[name] <= value * (1 + 1e-9) for name, value in highest.items())
    assert sum(same) > 0.9 * len(same)
    assert 2.0 < statistics.median(numbers(blood, "INIHL").values()) < 8.0
