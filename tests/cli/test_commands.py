"""The command line as its users meet it: exit codes, messages, files."""

import json
import subprocess
import sys

import arviz
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typed import typed


HEADER = "# unit qpcr copies/ug\nID,TIME,EVID,AMT,CMT,DV,DVID,CENS,LIMIT,WT\n"
DOSE = "P1,0,1,3e8,CART,.,.,.,.,60\n"
GOOD = HEADER + DOSE + "P1,7,0,.,.,900,qpcr,0,25,60\n"


# What a person may hand us, and words that the message must have. Rows are counted as
# an editor shows them: the unit line is row 1, the names are row 2.
MALFORMED = {
    "empty": ("", ["empty"]),
    "header only": (HEADER, ["row"]),
    "not a number": (GOOD + "P1,9,0,.,.,many,qpcr,0,25,60\n", ["row 5", "DV", "many"]),
    "negative concentration": (
        GOOD + "P1,9,0,.,.,-3,qpcr,0,25,60\n",
        ["row 5", "DV", "-3"],
    ),
    "time backwards": (GOOD + "P1,3,0,.,.,800,qpcr,0,25,60\n", ["row 5", "TIME"]),
    "duplicate row": (GOOD + "P1,7,0,.,.,900,qpcr,0,25,60\n", ["row 5"]),
    "unknown assay": (GOOD + "P1,9,0,.,.,9,qpcrr,0,25,60\n", ["row 5", "qpcr"]),
    "unknown product": (
        GOOD + "P1,9,1,1e8,CARTT,.,.,.,.,60\n",
        ["row 5", "CMT", "CART"],
    ),
    "no limit with CENS=1": (
        GOOD + "P1,9,0,.,.,0,qpcr,1,.,60\n",
        ["row 5", "LIMIT"],
    ),
    "no time": (GOOD + "P1,,0,.,.,900,qpcr,0,25,60\n", ["row 5", "TIME"]),
    "no patient": (GOOD + ",9,0,.,.,900,qpcr,0,25,60\n", ["row 5", "ID"]),
    "negative dose": (GOOD + "P1,9,1,-1e8,CART,.,.,.,.,60\n", ["row 5", "AMT"]),
    "a dose of nothing": (GOOD + "P1,9,1,.,CART,.,.,.,.,60\n", ["row 5", "AMT"]),
    "weight of zero": (
        HEADER + DOSE.replace(",60", ",0") + "P1,7,0,.,.,900,qpcr,0,25,0\n",
        ["row 3", "WT"],
    ),
    "unknown event": (GOOD + "P1,9,7,.,.,900,qpcr,0,25,60\n", ["row 5", "EVID"]),
    "a rate to be estimated": (
        GOOD.replace("WT", "WT,RATE").replace(",60\n", ",60,0\n")
        + "P1,9,1,1e8,CART,.,.,.,.,60,-2\n",
        ["row 5", "RATE"],
    ),
    "too few cells": (GOOD + "P1,9,0\n", ["row 5"]),
    "unit missing": (GOOD.removeprefix("# unit qpcr copies/ug\n"), ["unit", "qpcr"]),
    "wrong unit": (GOOD.replace("copies/ug", "copies/uL"), ["copies/uL"]),
    "unknown column": (GOOD.replace(",WT", ",WEIGHT"), ["row 2", "WEIGHT"]),
    "column twice": (GOOD.replace(",WT", ",DV"), ["row 2", "DV"]),
    "limit of zero": (GOOD + "P1,9,0,.,.,0,qpcr,1,0,60\n", ["row 5", "LIMIT"]),
    "not finite": (GOOD + "P1,9,0,.,.,inf,qpcr,0,25,60\n", ["row 5", "DV"]),
    "zero without a limit": (GOOD + "P1,9,0,.,.,0,qpcr,0,.,60\n", ["row 5", "DV"]),
}


@pytest.mark.parametrize("fault", MALFORMED)
@pytest.mark.parametrize("command", ["check", "fit"])
def test_a_malformed_file_ends_with_code_2_and_names_the_place(
    tmp_path, fault, command
):
    text, words = MALFORMED[fault]
    file = tmp_path / "trial.csv"
    file.write_text(text)
    more = ["--model", "phases_stein2019", "--out", tmp_path / "fit"]
    result = typed(command, file, *(more if command == "fit" else []))
    assert result.exit_code == 2, result.output
    for word in ["trial.csv", *words]:
        assert word in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "fit").exists()


def test_bytes_that_are_not_text_end_with_code_2(tmp_path):
    file = tmp_path / "trial.csv"
    file.write_bytes(GOOD.replace("P1", "Zoë").encode("latin-1"))
    result = typed("check", file)
    assert result.exit_code == 2
    assert "UTF-8" in result.output


def test_check_counts_what_is_in_a_good_file(tmp_path):
    file = tmp_path / "trial.csv"
    file.write_text(GOOD + "P1,9,0,.,.,0,qpcr,1,25,60\n")
    result = typed("check", file)
    assert result.exit_code == 0, result.output
    assert "samples_qpcr" in result.output


WRONG_OPTIONS = {
    "model": (["--model", "phases_stein2018"], "phases_stein2019"),
    "method": (["--model", "phases_stein2019", "--method", "saem"], "nuts"),
    "error": (["--model", "phases_stein2019", "--error", "cauchy"], "student_t"),
    "target": (["--model", "phases_stein2019", "--target", "backbone"], "copies_per"),
    "set": (["--model", "phases_stein2019", "--set", "cmaxx=3"], "cmax"),
    "set text": (["--model", "phases_stein2019", "--set", "cmax=big"], "a number"),
    "estimate": (["--model", "phases_stein2019", "--estimate", "gamma"], "gamma"),
    "covariate": (["--model", "phases_stein2019", "--covariate", "cmax"], "~"),
    "unknown covariate": (
        ["--model", "phases_stein2019", "--covariate", "cmax~HEIGHT"],
        "HEIGHT",
    ),
    "reading": (
        ["--model", "phases_stein2019", "--omega-reading", "CV"],
        "variance",
    ),
    "several cycles": (["--model", "phases_stein2019"], "--cycles 1"),
    "a profile of no likelihood": (
        ["--model", "phases_stein2019", "--profile", "alpha"],
        "add --method laplace",
    ),
    "a profile of no parameter": (
        ["--model", "phases_stein2019", "--cycles", "1", "--method", "ml"]
        + ["--profile", "alphaa"],
        "did you mean alpha? it estimates",
    ),
}


@pytest.mark.parametrize("case", WRONG_OPTIONS)
def test_a_wrong_option_ends_with_code_2_and_says_what_would_do(tmp_path, case):
    options, word = WRONG_OPTIONS[case]
    result = typed("fit", "szcart01_synthetic", *options, "--out", tmp_path / "fit")
    assert result.exit_code == 2, result.output
    assert word in result.output
    assert "Traceback" not in result.output


def test_models_lists_every_model_and_shows_a_card_with_units_and_sources():
    listed = typed("models")
    assert listed.exit_code == 0
    for name in ("phases_stein2019", "feeding_szcart01"):
        assert name in listed.output
        shown = typed("models", name).output
        for word in ("Parameters", "copies/ug", "prior", "Source"):
            assert word in shown


def test_an_unknown_model_card_is_a_user_error():
    result = typed("models", "feeding_szcart02")
    assert result.exit_code == 2
    assert "feeding_szcart01" in result.output


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A file that `simulate` wrote, and the folder that `fit` made of it."""
    folder = tmp_path_factory.mktemp("cli")
    file = folder / "virtual.csv"
    simulated = typed(
        *("simulate", "--model", "phases_stein2019", "--protocol", "szcart01-cart1"),
        *("--n", 6, "--seed", 3, "--horizon", 60, "--out", file),
    )
    assert simulated.exit_code == 0, simulated.output
    made = typed(
        *("fit", file, "--model", "phases_stein2019", "--method", "map"),
        *("--draws", 100, "--out", folder / "fit"),
    )
    return file, folder / "fit", made


def test_simulate_writes_a_file_that_says_it_is_synthetic(fitted):
    file, _, _ = fitted
    assert "SYNTHETIC" in file.read_text().splitlines()[0]
    checked = typed("check", file)
    assert checked.exit_code == 0, checked.output
    assert "SYNTHETIC" in checked.output


def test_simulate_streams_any_number_of_patients_to_netcdf(tmp_path):
    wanted = ("--model", "phases_stein2019", "--protocol", "szcart01-cart1")
    file = tmp_path / "many.nc"
    result = typed(
        "simulate", *wanted, "--n", 1500, "--horizon", 60, "--set", "tmax=8",
        "--out", file,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC" in result.output
    with xr.open_dataset(file, engine="h5netcdf") as made:
        assert made.sizes["patient"] == 1500
        assert made["time"][-1] <= 60
        assert np.isfinite(made["reading"]).all()
        # The median of 1,500 is within 5% of the typical value (omega 0.4 / sqrt 1500).
        assert float(made["tmax"].median()) == pytest.approx(8.0, rel=0.05)


def test_simulate_to_netcdf_refuses_what_it_cannot_do(tmp_path):
    wanted = ("--model", "phases_stein2019", "--out", tmp_path / "many.nc")
    several = typed("simulate", *wanted, "--protocol", "szcart01-high")
    assert several.exit_code == 2
    assert "one course" in several.output
    early = typed("simulate", *wanted, "--protocol", "szcart01-cart1", "--horizon", 0.1)
    assert early.exit_code == 2
    assert "--horizon" in early.output


def test_a_fit_folder_holds_what_the_contract_names(fitted):
    _, folder, made = fitted
    assert made.exit_code in (0, 1), made.output
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["converged"] == (made.exit_code == 0)
    for key in ("seed", "seconds", "divergences", "solver_failures", "environment"):
        assert key in manifest
    assert len(manifest["data"]["sha256"]) == 64
    summary = pd.read_csv(folder / "summary.csv")
    wanted = "parameter mean sd q05 q50 q95 r_hat ess_bulk ess_tail".split()
    assert set(wanted) <= set(summary.columns)
    names = set(summary["parameter"])
    assert {"cmax", "omega_cmax", "cv_pct_cmax", "sigma_qpcr"} <= names
    assert len(pd.read_csv(folder / "individual.csv")["ID"].unique()) == 6
    assert (folder / "figures" / "population.png").stat().st_size > 10_000
    assert (folder / "figures" / "individual_fits_1.png").stat().st_size > 10_000


def test_a_fit_of_synthetic_data_says_so(fitted):
    _, folder, made = fitted
    assert "SYNTHETIC" in made.output
    assert json.loads((folder / "manifest.json").read_text())["synthetic_data"]


def test_the_posterior_opens_with_arviz(fitted):
    _, folder, _ = fitted
    opened = arviz.from_netcdf(folder / "posterior.nc")
    assert opened["posterior"]["cmax"].shape == (4, 100)


def test_a_fit_is_not_written_over_an_earlier_one(fitted):
    file, folder, _ = fitted
    result = typed("fit", file, "--model", "phases_stein2019", "--out", folder)
    assert result.exit_code == 2
    assert "--force" in result.output


def test_the_command_answers_as_a_process():
    """Through the interpreter, so that nothing of the test's imports helps it."""
    done = subprocess.run(
        [sys.executable, "-m", "ckin.cli", "models"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "feeding_szcart01" in done.stdout
