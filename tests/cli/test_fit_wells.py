"""`ckin fit --wells`: from raw Ct to metrics, and what it refuses."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
from typed import typed


EXAMPLE = Path(__file__).parents[2] / "examples" / "fit_raw_ct.py"
PATIENTS, WELLS = "ct_patients_synthetic.csv", "ct_plates_synthetic.csv"
MODEL = ("--model", "phases_stein2019", "--method", "map", "--draws", "100")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the example wrote its files."""
    made = tmp_path_factory.mktemp("wells")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        runpy.run_path(str(EXAMPLE))
    return made


def run(folder, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return typed(*words, COLUMNS="200")


@pytest.mark.slow
def test_the_example_fits_its_curves_and_can_be_opened_again(folder):
    result = run(folder, "fit", PATIENTS, "--wells", WELLS, *MODEL, "--out", "fit")
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC" in result.output
    assert "no sample after the first infusion" not in result.output
    found = pd.read_csv(folder / "fit" / "summary.csv").set_index("parameter")
    for name, true in (
        ("ct_slope_A", -3.33),
        ("ct_slope_B", -3.45),
        ("ct_slope_C", -3.85),
        ("ct_intercept_C", 39.5),
        ("ct_tau", 0.2),
        ("sigma_qpcr", 0.4),
    ):
        # 4 SD: one in 10,000 for each of six, were the seed another.
        assert abs(found.loc[name, "mean"] - true) < 4.0 * found.loc[name, "sd"], name
    manifest = json.loads((folder / "fit" / "manifest.json").read_text())
    assert manifest["assays"]["qpcr"]["error"] == "wells"
    assert "34 patients" in run(folder, "check", "fit/fitted_data.csv").output
    metrics = run(folder, "metrics", "fit")
    assert metrics.exit_code == 0, metrics.output
    assert "CMAX" in metrics.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("szcart01_synthetic", "--wells", WELLS), "would be counted twice"),
        ((PATIENTS, "--wells", "nowhere.csv"), "nowhere.csv: found no such file"),
        ((PATIENTS, "--wells", WELLS, "--error", "student_t"), "has a normal error"),
        ((PATIENTS, "--wells", "alone.csv"), "no standard wells on plate '1'"),
        ((PATIENTS, "--wells", "stranger.csv"), "patient 'NOBODY' is not in"),
    ],
)
def test_what_cannot_be_fitted_ends_with_code_2_and_says_why(folder, words, told):
    lines = (folder / WELLS).read_text().splitlines(keepends=True)
    (folder / "stranger.csv").write_text(
        "".join(lines).replace(",S01,", ",NOBODY,").replace("S01-", "NOBODY-")
    )
    head = "TYPE,CT,SAMPLE,ID,TIME,DNA_NG\n"
    (folder / "alone.csv").write_text(head + "sample,25.1,a,S01,7,200\n")
    result = run(folder, "fit", *words, *MODEL, "--out", "other")
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.split())
    assert not (folder / "other").exists()
