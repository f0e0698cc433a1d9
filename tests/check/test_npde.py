"""Prediction errors are standard normal if and only if the model is right."""

import jax
import numpy as np
import pytest
from replicated import LIMIT, read_as
from scipy import stats

from ckin.check import normality, prediction_errors, replicate, table_of_tests
from ckin.check.npde import Errors


OTHERS = 20


@pytest.fixture(scope="module")
def others(density, truth):
    """Cohorts drawn from the same population, to be judged: (cohorts, ...)."""
    return replicate(density, np.tile(truth, (OTHERS, 1)), jax.random.key(2))


def errors_of(seen, others, replicates, limit) -> list[Errors]:
    return [
        prediction_errors(read_as(seen, own, limit), replicates, seed=row)
        for row, own in enumerate(others)
    ]


@pytest.mark.parametrize("limit", [0.0, 150.0, 600.0], ids=["none", "some", "most"])
def test_errors_of_the_models_own_data_are_standard_normal(
    seen, others, replicates, limit
):
    below = np.mean(others < np.log(max(limit, 1e-9)))
    assert below == pytest.approx({0.0: 0, 150.0: 0.27, 600.0: 0.66}[limit], abs=0.03)
    every = errors_of(seen, others, replicates, limit)
    # 20 cohorts of 180 readings: Kolmogorov and Smirnov at 1%.
    for kind in ("npde", "npd"):
        values = np.concatenate([getattr(own, kind).ravel() for own in every])
        if kind == "npde":
            assert stats.kstest(values, "norm").pvalue > 0.01
        assert abs(values.mean()) < 4 / np.sqrt(values.size) * (
            6 if kind == "npd" else 1
        )
    # Decorrelated: no two of a patient's six go together (0.05: 2 SE of 600 pairs
    # is 0.08; the largest of 15 pairs is allowed 3 SE).
    each = np.concatenate([own.npde for own in every])
    pairs = np.corrcoef(each, rowvar=False)[np.triu_indices(6, 1)]
    assert np.abs(pairs).max() < 3.5 / np.sqrt(len(each))


def test_p_values_are_uniform_when_the_model_is_right(seen, others, replicates):
    every = errors_of(seen, others, replicates, LIMIT)
    p = [normality(own.npde) for own in every]
    # Of 20 cohorts at 5%: more than 4 has a chance below 0.3%.
    for name in ("p_mean", "p_variance", "p_normal"):
        assert sum(each[name] < 0.05 for each in p) <= 4


@pytest.mark.parametrize("limit", [0.0, LIMIT], ids=["none", "some"])
def test_a_wrong_model_is_found(seen, others, replicates, limit):
    wrong = {
        "level": others[0] + 2.0,
        "spread": seen_spread(others[0], 2.0),
        "shape": others[0] + 1.5 * np.cos(np.linspace(0.0, 2.0 * np.pi, 6)),
    }
    for name, own in wrong.items():
        errors = prediction_errors(read_as(seen, own, limit), replicates)
        assert normality(errors.npde)["p_all"] < 0.01, name


def seen_spread(log_value: np.ndarray, factor: float) -> np.ndarray:
    """The same cohort with its patients so many times as different."""
    middle = log_value.mean(axis=0)
    return middle + factor * (log_value - middle)


def test_errors_by_themselves_keep_the_order_of_readings(seen, others, replicates):
    errors = prediction_errors(read_as(seen, others[0], 0.0), replicates)
    # All patients are alike here: on each day ranks go as readings, but for the
    # replicates' own noise.
    for column in range(6):
        ranks = [stats.rankdata(each[:, column]) for each in (errors.npd, others[0])]
        rho = np.corrcoef(ranks)[0, 1]
        assert rho > 0.99


def test_there_is_a_row_of_tests_for_the_assay(seen, others, replicates):
    own = read_as(seen, others[0])
    table = table_of_tests(own, prediction_errors(own, replicates))
    assert list(table["assay"]) == ["qpcr"]
    assert table["n"].tolist() == [180]


def test_too_few_replicates_are_refused(seen, others, replicates):
    with pytest.raises(ValueError, match="30 are needed"):
        prediction_errors(read_as(seen, others[0]), replicates[:20])
