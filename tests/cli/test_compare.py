"""`ckin compare`, `ckin scenarios`, `ckin new-scenario`."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typed import rows_of, typed

from ckin import scenario_report
from ckin.library import scenario_files


LINEAR = Path(__file__).resolve().parents[1] / "scenario" / "linear.py"
TOY = f"""\
name = "toy"
title = "FTC on other days"
model = "{LINEAR}"
follow_d = 120
assumptions = "cells die at one rate"

[population]
source = "prior"
draws = 40
patients = 5

[arms.usual]
protocol = "szcart01-two-cycles"

[sweeps.days]
protocol = "szcart01-two-cycles"
product = "FTC"
of_day = 8
day = [8, 11, 14]
cells_per_kg = [2e6, 5e6]

[sweeps.dose]
protocol = "szcart01-two-cycles"
product = "FTC"
cells_per_kg = [2e6, 3.25e6, 5e6]

[outcomes.peak]
metric = "CMAX"
cycle = 2

[outcomes.fed]
metric = "DABOVE"
of = "ftc"
level = 50
unit = "cells/uL"

[[utility]]
outcome = "fed"
per = 10
weight = 1.0
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    (folder / "toy.toml").write_text(TOY, encoding="utf-8")
    result = typed("compare", folder / "toy.toml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_what_is_printed_says_what_it_rests_on(compared):
    _, output = compared
    first = output.splitlines()[0]
    assert "MODEL-BASED: prior assumptions, no patient measured" in output
    assert "prior of the parameters, between-patient" in output
    assert "what FTC do rests on priors" in output
    assert "assumed: cells die at one rate" in output
    assert "value of perfect information" in output
    assert first


def test_tables_are_written_and_labelled(compared):
    folder, _ = compared
    out = folder / "out"
    arms, pairs = rows_of(out / "arms.csv"), rows_of(out / "comparisons.csv")
    assert len(arms) == 2 * 10
    assert len(pairs) == 2 * 9
    for row in (*arms, *pairs, *rows_of(out / "best.csv")):
        assert row["basis"].startswith("MODEL-BASED")
        assert row["uncertainty"] == "prior of the parameters, between-patient"
    # FTC are not read as CAR-T: no dose of them changes the peak.
    peaks = [row for row in pairs if row["endpoint"] == "peak"]
    assert {float(row["value"]) for row in peaks} == {1.0}
    assert {float(row["better_patients"]) for row in peaks} == {0.5}
    fed = {row["arm"]: row for row in pairs if row["endpoint"] == "fed"}
    assert float(fed["dose-2e6/kg"]["value"]) < 0
    assert float(fed["dose-5e6/kg"]["value"]) == 0.0
    persons = rows_of(out / "patients.csv")
    assert len(persons) == 10 * 40 * 5
    assert set(persons[0]) == {"arm", "draw", "patient", "weight_kg", "peak", "fed"}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["label"].startswith("MODEL-BASED")
    assert manifest["seed"] == 0
    assert manifest["draws"] == 40
    assert (out / "scenario.toml").read_text(encoding="utf-8") == TOY


def test_figures_are_drawn(compared):
    folder, _ = compared
    drawn = {path.stem for path in (folder / "out" / "figures").glob("*.png")}
    assert drawn == {
        "copies_per_ug",
        "copies_per_ug_ratio",
        "ftc_cells_per_ul",
        "ftc_cells_per_ul_ratio",
        "forest",
        "cells",
        "days_peak_map",
        "days_fed_map",
        "dose_response",
    }


def test_another_comparison_is_not_written_over(compared):
    folder, _ = compared
    again = typed("compare", folder / "toy.toml", "--out", folder / "out")
    assert again.exit_code == 2
    assert "--force" in again.output


def test_options_change_the_people(compared):
    folder, _ = compared
    args = ("--draws", 2, "--patients", 3, "--seed", 5)
    result = typed("compare", folder / "toy.toml", "--out", folder / "few", *args)
    assert result.exit_code == 0, result.output
    assert "2 draws of parameters, 3 patients" in result.output
    assert not (folder / "few" / "information.csv").exists()


def test_outcomes_of_many_go_to_one_file_while_they_come(compared, monkeypatch):
    folder, _ = compared
    monkeypatch.setattr(scenario_report, "MOST_ROWS", 10)
    args = ("--draws", 2, "--patients", 3, "--seed", 5)
    result = typed("compare", folder / "toy.toml", "--out", folder / "many", *args)
    assert result.exit_code == 0, result.output
    assert not (folder / "many" / "patients.csv").exists()
    with xr.open_dataset(folder / "many" / "patients.nc", engine="h5netcdf") as file:
        assert dict(file.sizes) == {"arm": 10, "draw": 2, "patient": 3}
        fed = file["fed"].to_numpy()
    rows = {row["arm"]: row for row in rows_of(folder / "many" / "arms.csv")[1::2]}
    means = {name: each.mean(axis=1) for name, each in zip(rows, fed, strict=True)}
    for name, row in rows.items():
        assert float(row["value"]) == pytest.approx(float(np.median(means[name])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("day = [8, 11, 14]", "day = [8, -1]"), "line 19, sweeps.days.day[1]"),
        (('outcome = "fed"', 'outcome = "feed"'), "did you mean fed"),
        (("FTC on", "\\q"), "not TOML"),
    ],
)
def test_a_bad_scenario_exits_with_2(tmp_path, change, words):
    file = tmp_path / "bad.toml"
    file.write_text(TOY.replace(*change), encoding="utf-8")
    result = typed("compare", file, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_scenario_without_a_use_for_a_fit_says_so(tmp_path, compared):
    folder, _ = compared
    args = ("--fit", tmp_path, "--out", tmp_path / "out")
    result = typed("compare", folder / "toy.toml", *args)
    assert result.exit_code == 2
    assert 'source = "fit"' in result.output


def test_every_scenario_is_listed():
    listed = typed("scenarios")
    assert listed.exit_code == 0
    for name in scenario_files():
        assert name in listed.output


def test_a_new_scenario_is_not_written_over(tmp_path):
    file = tmp_path / "mine.toml"
    assert typed("new-scenario", file).exit_code == 0
    assert typed("new-scenario", file).exit_code == 2
    assert typed("new-scenario", tmp_path / "mine.txt").exit_code == 2


@pytest.mark.slow
def test_the_starting_scenario_runs_as_it_is(tmp_path):
    file = tmp_path / "mine.toml"
    assert typed("new-scenario", file).exit_code == 0
    result = typed("compare", file, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_files())
def test_every_shipped_scenario_runs(tmp_path, name):
    args = ("--draws", 3, "--patients", 4, "--out", tmp_path / "out")
    result = typed("compare", name, *args)
    assert result.exit_code == 0, result.output
    assert "MODEL-BASED" in result.output
