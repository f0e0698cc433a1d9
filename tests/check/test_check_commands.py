"""Checks from the command line: what is written, and what is said first."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from replicated import short_fit
from typed import typed

from ckin.dataset import read_dataset
from ckin.errors import InputError
from ckin.scoring import score


def run(*words):
    result = typed(*words)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def not_converged(fit_folder, folder):
    """The same fit as one that did not converge."""
    shutil.copytree(fit_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"converged": False, "reasons": ["R-hat of cmax is 1.2: the chains"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


# A fit, its figures and all checks compile for half a minute.
@pytest.fixture(scope="module")
def diagnosed(fit_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("checks")
    few = ("--draws", "60", "--replicates", "200", "--seed", "3")
    return out, run("diagnose", fit_folder, "--out", out, *few)


@pytest.mark.slow
def test_diagnose_writes_tables_and_figures_and_says_what_they_are_of(diagnosed):
    out, result = diagnosed
    assert result.exit_code == 0, result.output
    told = json.loads((out / "checks.json").read_text())
    assert told["synthetic_data"]
    assert result.stdout.startswith("SYNTHETIC DATA")
    assert told["converged"]
    for line in told["findings"]:
        assert line in result.output
    for name in ("vpc", "pcvpc", "residuals", "observed_predicted"):
        assert (out / f"{name}_qpcr.png").stat().st_size > 10_000
    table = pd.read_csv(out / "predictions.csv")
    assert told["npde"]["qpcr"]["n"] == len(table)
    assert np.isfinite(table["NPDE"].to_numpy()).all()
    assert set(table["DVID"]) == {"qpcr"}
    check = pd.read_csv(out / "vpc_qpcr.csv")
    assert check.query("statistic == 'q50'")["samples"].to_numpy().sum() == len(table)


@pytest.mark.slow
def test_a_fit_that_did_not_converge_says_so_first_and_exits_1(fit_folder, tmp_path):
    folder = not_converged(fit_folder, tmp_path / "fit")
    few = ("--draws", "60", "--replicates", "200")
    result = run("diagnose", folder, *few)
    assert result.exit_code == 1
    first, second, *_ = result.stdout.splitlines()
    assert "DID NOT CONVERGE" in first
    assert "R-hat of cmax is 1.2" in second
    told = json.loads((folder / "checks" / "checks.json").read_text())
    assert told["findings"][0].startswith("THE FIT DID NOT CONVERGE")
    assert not told["converged"]


def test_what_is_no_fit_folder_is_refused(tmp_path):
    result = run("diagnose", tmp_path)
    assert result.exit_code == 2
    assert "is not a fit folder" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("by", ["patient", "reading", "future"])
def test_loo_scores_and_compares_and_writes_every_score(fit_folder, tmp_path, by):
    other = tmp_path / "other"
    shutil.copytree(fit_folder, other)
    scores = tmp_path / "scores.csv"
    few = ("--draws", "60", "--by", by, "--day", "10", "--until", "20")
    result = run("loo", fit_folder, other, *few, "--out", scores)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("SYNTHETIC DATA")
    table = pd.read_csv(scores)
    assert set(table["fit"]) == {"fit", "other"}
    left_out = {"patient": 16, "reading": 96, "future": 16}[by]
    assert len(table) == 2 * left_out
    # The same fit twice: equal scores, and neither is ahead.
    one, two = (table.query("fit == @n", local_dict={"n": n}) for n in ("fit", "other"))
    np.testing.assert_allclose(one["elpd"], two["elpd"])
    assert f"{left_out} left out" in result.stdout


@pytest.mark.slow
def test_fits_of_other_readings_are_not_compared(fit_folder, tmp_path):
    data = read_dataset(fit_folder / "fitted_data.csv")
    fewer = dataclasses.replace(data, patients=data.patients[:-2])
    other = short_fit(tmp_path, fewer)
    result = run("loo", fit_folder, other, "--draws", "60")
    assert result.exit_code == 2
    assert "other readings (96 of 16 patients, 84 of 14)" in result.output


@pytest.mark.slow
def test_a_comparison_with_a_fit_that_did_not_converge_says_so_first(
    fit_folder, tmp_path
):
    other = not_converged(fit_folder, tmp_path / "other")
    result = run("loo", fit_folder, other, "--draws", "60")
    assert result.exit_code == 1
    assert "other DID NOT CONVERGE" in result.stdout.splitlines()[0]


def test_an_unknown_way_of_leaving_out_is_refused():
    with pytest.raises(InputError, match="did you mean patient"):
        score([], "patients")
