"""`ckin optimise`, `ckin new-question`: on a model in which cells only die."""

import json
from pathlib import Path

import pytest
from typed import rows_of, typed

from ckin.dataset import read_dataset


LINEAR = Path(__file__).resolve().parents[1] / "scenario" / "linear.py"
# FTC are lost at one rate: days above a level are the more, the farther apart two are.
TOY = f"""\
name = "toy"
title = "Two FTC, apart"
model = "{LINEAR}"
follow_d = 110
assumptions = "cells die at one rate"

[population]
source = "prior"
people = 4
weight_kg = 60

[course]
protocol = "szcart01-medium"
repeated = {{ cycles = 2 }}

[[open]]
product = "FTC"
cycle = 2
infusions = 2
to_day = 22
most_cells_per_kg = 5e6

[budget]
product = "FTC"
cells_per_kg = 6.5e6

[outcomes.fed]
metric = "DABOVE"
of = "ftc_cells_per_ul"
level = 50
unit = "cells/uL"

[[utility]]
outcome = "fed"
weight = 1.0

[[caps]]
of = "ftc_cells_per_ul"
level = 280
unit = "cells/uL"
share = 0.0

[grid]
cells_per_kg = [1.5e6, 3.25e6, 5e6]

[search]
starts = 4
steps = 30

[pareto]
shares = [0.5, 1.2, 1]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimise")
    (folder / "toy.toml").write_text(TOY, encoding="utf-8")
    result = typed("optimise", folder / "toy.toml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_what_is_printed_says_what_it_rests_on(found):
    _, output = found
    assert "MODEL-BASED: prior assumptions, no patient measured" in output
    assert "what FTC do rests on priors" in output
    assert "assumed: cells die at one rate" in output
    assert "BROKEN" not in output


def test_the_best_schedule_beats_the_grid_in_fewer_solves_and_keeps_the_rules(found):
    folder, _ = found
    rows = {row["schedule"]: row for row in rows_of(folder / "out" / "schedules.csv")}
    assert list(rows) == ["optimised", "grid", "as it is", "least"]
    best, grid = rows["optimised"], rows["grid"]
    assert float(best["utility"]) >= float(grid["utility"]) - 1e-9
    assert float(grid["utility"]) > float(rows["as it is"]["utility"])
    assert float(rows["least"]["utility"]) < 0.1
    assert int(best["schedules_solved"]) < int(grid["schedules_solved"])
    for row in (best, grid):
        assert row["feasible"] == "True"
        assert float(row["left"]) >= -1e-6 * 3.9e8
        assert row["basis"].startswith("MODEL-BASED")
    limits = rows_of(folder / "out" / "constraints.csv")
    assert {row["kept"] for row in limits} == {"True"}
    assert any(row["rule"] == "budget" for row in limits)
    assert any("above 280" in row["rule"] for row in limits)


def test_more_cells_are_never_worth_less(found):
    folder, _ = found
    rows = rows_of(folder / "out" / "pareto.csv")
    worth = [float(row["utility"]) for row in rows]
    assert len(rows) == 3
    assert worth == sorted(worth)
    for row in rows:
        assert float(row["cost"]) <= float(row["budget"]) * (1 + 1e-9)
    # The point of the whole budget is the answer, or better for the smaller one's help.
    best = rows_of(folder / "out" / "schedules.csv")[0]
    assert worth[1] >= float(best["utility"]) - 1e-9


def test_manifest_question_and_figures_are_written(found):
    folder, _ = found
    out = folder / "out"
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["label"].startswith("MODEL-BASED")
    assert manifest["people"] == 4
    assert (out / "question.toml").read_text(encoding="utf-8") == TOY
    assert {path.stem for path in (out / "figures").glob("*.png")} == {
        "schedules",
        "pareto",
        "ftc_cells_per_ul",
    }
    assert len(rows_of(out / "starts.csv")) == 4
    days = [row for row in rows_of(out / "infusions.csv") if row["schedule"] == "grid"]
    assert len(days) == 2


def test_the_same_seed_gives_the_same_numbers(found):
    folder, _ = found
    args = ("optimise", folder / "toy.toml", "--out", folder / "again", "--no-grid")
    result = typed(*args)
    assert result.exit_code == 0, result.output
    first, again = (
        rows_of(folder / name / "schedules.csv")[0] for name in ("out", "again")
    )
    for name in ("infusions", "utility", "fed", "cost"):
        assert first[name] == again[name]


def test_an_answer_is_not_written_over(found):
    folder, _ = found
    again = typed("optimise", folder / "toy.toml", "--out", folder / "out")
    assert again.exit_code == 2
    assert "--force" in again.output


WRONG = {
    "a fault of the file": (("cycle = 2\n", "cycle = 9\n"), (), "line 16, open[0]"),
    "a fit without a use": (("", ""), ("--fit", "fit"), 'source = "fit"'),
    "an id without data": (("", ""), ("--id", "P1"), "--patient FILE"),
    "no such data": (("", ""), ("--patient", "nobody.csv"), "nobody.csv"),
    "a front of no budget": (
        ('[budget]\nproduct = "FTC"\ncells_per_kg = 6.5e6\n', ""),
        ("--pareto",),
        "[budget]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_ends_with_code_2(tmp_path, case):
    change, options, words = WRONG[case]
    file = tmp_path / "bad.toml"
    file.write_text(TOY.replace(*change), encoding="utf-8")
    result = typed("optimise", file, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2, result.output
    assert words in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_new_question_is_not_written_over(tmp_path):
    file = tmp_path / "mine.toml"
    assert typed("new-question", file).exit_code == 0
    assert typed("new-question", file).exit_code == 2


EARLY = """\
name = "day-8"
title = "How much FTC on day 8"
model = "{model}"
follow_d = 100
[population]
source = "prior"
people = 40
[course]
protocol = "{protocol}"
repeated = {{ cycles = 2 }}
[[open]]
product = "FTC"
cycle = 2
from_day = 8
to_day = 8
most_cells_per_kg = 5e6
[outcomes.fed]
metric = "DABOVE"
of = "ftc_cells_per_ul"
level = 20
unit = "cells/uL"
[[utility]]
outcome = "fed"
weight = 1.0
[search]
starts = 2
steps = 20
"""


def early(folder: Path, protocol="szcart01-medium") -> Path:
    file = folder / "early.toml"
    file.write_text(EARLY.format(model=LINEAR, protocol=protocol), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    data = tmp_path_factory.mktemp("patient") / "two.csv"
    args = ("--model", LINEAR, "--protocol", "szcart01-medium", "--n", 2)
    result = typed("simulate", *args, "--out", data)
    assert result.exit_code == 0, result.output
    return data


@pytest.mark.slow
def test_the_dose_of_one_patient_is_decided_from_its_early_samples(simulated, tmp_path):
    names = [patient.id for patient in read_dataset(simulated).patients]
    args = ("optimise", early(tmp_path), "--patient", simulated, "--id", names[1])
    result = typed(*args, "--out", tmp_path / "out", "--no-grid")
    assert result.exit_code == 0, result.output
    assert f"readings of {names[1]}" in result.output
    assert "SYNTHETIC" in result.output
    assert "medians of the prior" in result.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["patient"] == names[1]
    # Cycle 1 and the first week of cycle 2, and nothing after it.
    assert 0 < manifest["readings"] < len(read_dataset(simulated).patients[1].samples)
    assert manifest["worth_draws"] > 10


def test_another_course_than_the_patient_was_given_is_refused(simulated, tmp_path):
    names = [patient.id for patient in read_dataset(simulated).patients]
    args = ("--patient", simulated, "--out", tmp_path / "out")
    several = typed("optimise", early(tmp_path), *args)
    assert several.exit_code == 2
    assert "--id" in several.output
    other = early(tmp_path, "szcart01-no-ftc")
    wrong = typed("optimise", other, *args, "--id", names[0])
    assert wrong.exit_code == 2
    assert "was given" in wrong.output


POSTERIOR = """\
name = "posterior"
title = "Two FTC under one budget, over a posterior"
follow_d = 109
[population]
source = "fit"
people = 6
weight_kg = 60
[course]
protocol = "szcart01-medium"
repeated = { cycles = 2 }
[[open]]
product = "FTC"
cycle = 2
infusions = 2
to_day = 22
most_cells_per_kg = 5e6
[budget]
product = "FTC"
cells_per_kg = 6.5e6
[outcomes.exposure]
metric = "AUC"
of = "car_cells_per_ul"
[[utility]]
outcome = "exposure"
weight = 1.0
scale = "log2"
[grid]
cells_per_kg = [3.25e6]
[search]
starts = 2
steps = 20
"""


@pytest.mark.slow
def test_the_best_schedule_over_the_posterior_of_a_fit(tmp_path):
    """The flagship model, fitted to the bundled synthetic cohort by MAP and Laplace."""
    few = ("--method", "map", "--cycles", 1, "--chains", 2, "--draws", 20)
    fewer = ("--estimate", "division_rate", "--vary", "division_rate")
    args = ("fit", "szcart01_synthetic", "--model", "feeding_szcart01")
    fitted = typed(*args, *few, *fewer, "--out", tmp_path / "fit")
    assert fitted.exit_code in (0, 1), fitted.output
    file = tmp_path / "posterior.toml"
    file.write_text(POSTERIOR, encoding="utf-8")
    missing = typed("optimise", file, "--out", tmp_path / "out")
    assert missing.exit_code == 2
    assert "--fit FOLDER" in missing.output
    result = typed(
        "optimise", file, "--fit", tmp_path / "fit", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert "the posterior of feeding_szcart01" in result.output
    assert "SYNTHETIC" in result.output
    rows = {row["schedule"]: row for row in rows_of(tmp_path / "out" / "schedules.csv")}
    assert rows["optimised"]["feasible"] == "True"
    assert float(rows["optimised"]["utility"]) >= float(rows["grid"]["utility"]) - 0.01
    assert float(rows["optimised"]["utility"]) > float(rows["least"]["utility"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["synthetic_data"] is True
    assert manifest["uncertainty"] == ["posterior", "between-patient"]
