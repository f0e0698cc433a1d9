"""`ckin identify`: the report, its files, and what is said of mistakes."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from typed import typed


PLAN = ("--model", "phases_stein2019", "--protocol", "szcart01-cart1", "--n", "10")


run = partial(typed, "identify")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identify") / "out"
    result = run(*PLAN, "--out", folder, "--samples", "6", "--for", "beta")
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_files_hold_what_is_said(report):
    folder, said = report
    assert "MODEL-BASED" in said
    parameters = pd.read_csv(folder / "parameters.csv").set_index("parameter")
    # A year of samples and 10 patients: the terminal slope is the last to be known.
    errors = parameters["se_readings"].to_dict()
    assert float(errors["beta"]) > float(errors["alpha"])
    contraction = np.asarray(parameters["contraction"], dtype=float)
    assert contraction.min() >= 0.0
    assert contraction.max() <= 1.0
    days = pd.read_csv(folder / "days.csv")
    assert np.count_nonzero(days["in_best"]) == 6
    # What tells of a terminal slope is drawn late.
    chosen = days["time_d"].to_numpy()[days["in_best"].to_numpy(bool)]
    assert chosen.max() > 180
    text = (folder / "report.md").read_text()
    assert "contraction" in text
    assert "MODEL-BASED" in text


def test_what_the_prior_foresees_is_told_as_a_prior(report):
    folder, said = report
    prior = pd.read_csv(folder / "prior.csv").set_index("metric")
    assert set(prior.index) == {"CMAX", "TMAX", "AUC028", "TLST"}
    quantiles = prior[["q05", "q50", "q95"]].to_numpy(float)
    assert (np.diff(quantiles, axis=1) >= 0.0).all()
    # Stein 2019: levels peak near day 10 in a typical patient.
    assert 5.0 < quantiles[list(prior.index).index("TMAX"), 1] < 15.0
    assert "PRIOR: 1000 persons under each law" in said
    assert "## What the prior foresees" in (folder / "report.md").read_text()


@pytest.mark.parametrize("name", ["prior.png", "parameters.png", "days.png"])
def test_figures_are_drawn(report, name):
    folder, _ = report
    assert (folder / name).stat().st_size > 8_000


def test_a_model_with_one_law_has_no_table_of_laws(report):
    folder, _ = report
    assert not (folder / "laws.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--law", "stimulation=michaelis"), "no parameter 'stimulation'"),
        (("--law", "beta"), "--law beta: expected NAME=VALUE"),
        (("--for", "gamma"), "--for gamma"),
        (("--assay", "smell"), "--assay smell: choose"),
        (("--estimate", "nothing"), "no parameter 'nothing'"),
        (("--samples", "5000"), "5000 samples"),
    ],
)
def test_a_mistake_ends_with_code_2_and_says_what_to_do(tmp_path, words, said):
    result = run(*PLAN, "--out", tmp_path / "out", *words)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert not (tmp_path / "out").exists()


def test_an_earlier_report_is_left_as_it_is(report):
    folder, _ = report
    result = run(*PLAN, "--out", folder)
    assert result.exit_code == 2
    assert "holds an earlier report" in result.output
