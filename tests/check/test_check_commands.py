"""Checks from the command line: what is written, and what is said first."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ckin.cli import app


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


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
    folder = tmp_path / "fit"
    shutil.copytree(fit_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"converged": False, "reasons": ["R-hat of cmax is 1.2: the chains"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
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
