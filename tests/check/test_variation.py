"""η, shrinkage, and covariates that are there or not."""

import numpy as np
import pytest
from toys import dataset, patient, sample

from ckin.check import covariate_columns, eta_covariates, eta_table, shrinkage_table


IDS = tuple(f"P{i:02d}" for i in range(40))


@pytest.fixture(scope="module")
def eta():
    """Draws of two parameters: the first well known, the second not at all."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(40, 1))
    known = truth + 0.1 * rng.normal(size=(400, 40, 1))
    return np.concatenate([known, rng.normal(size=(400, 40, 1))], axis=2)


def test_shrinkage_is_none_where_known_and_all_where_not(eta):
    table = shrinkage_table(("k", "v"), eta).set_index("parameter")
    spread = eta[:, :, 0].mean(axis=0).std(ddof=1)
    assert table.loc["k", "shrinkage_pct"] == pytest.approx(100 * (1 - spread))
    # A mean of 400 standard normal draws has an SD of 1/20.
    assert table.loc["v", "shrinkage_pct"] == pytest.approx(95.0, abs=3.0)
    assert table["sd_of_draws"].to_numpy() == pytest.approx(1.0, abs=0.25)


def test_there_is_a_row_for_each_patient_and_parameter(eta):
    table = eta_table(IDS, ("k", "v"), eta)
    assert len(table) == 80
    own = table[(table["ID"] == "P03") & (table["parameter"] == "k")].iloc[0]
    assert own["mean"] == pytest.approx(eta[:, 3, 0].mean())


def test_a_covariate_that_goes_with_eta_is_found_and_noise_is_not(eta):
    rng = np.random.default_rng(5)
    columns = {
        "AGE": eta[:, :, 0].mean(axis=0) + 0.5 * rng.normal(size=40),
        "NOISE": rng.normal(size=40),
    }
    table = eta_covariates(("k", "v"), eta, columns)
    rows = table.set_index(["parameter", "covariate"])
    expected = np.corrcoef(columns["AGE"], eta[:, :, 0].mean(axis=0))[0, 1]
    assert rows.loc[("k", "AGE"), "r_q50"] == pytest.approx(expected, abs=0.03)
    assert rows.loc[("k", "AGE"), "r_q05"] > 0.5
    # Of what the data say nothing, no relation can be told, however large it is.
    low, high = rows.loc[("v", "AGE"), ["r_q05", "r_q95"]]
    assert low < 0 < high
    assert abs(rows.loc[("v", "NOISE"), "r_q50"]) < 0.1


def test_covariates_are_numbers_or_a_column_a_category():
    rows = [sample(1.0, 100.0)]
    arms = ["A", "B", "C", "C"] * 4
    made = [
        patient(f"P{i}", rows, ARM=arm, SEX="FM"[i % 2], AGE=30.0 + i)
        for i, arm in enumerate(arms)
    ]
    columns = covariate_columns(dataset(made))
    assert set(columns) == {"AGE", "ARM=A", "ARM=B", "ARM=C", "SEX=M"}
    assert columns["ARM=C"].sum() == 8
