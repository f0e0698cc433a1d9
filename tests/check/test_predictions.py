"""Residuals in closed form, and a table with every reading."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ckin.check import (
    individual_residuals,
    observed,
    prediction_errors,
    prediction_table,
    replicate,
)


SIGMA = 0.37


@pytest.fixture(scope="module")
def line(fitted_line):
    """Dataset, density, u with σ = 0.37, and some η."""
    data, density = fitted_line
    u = np.array(density.start)
    u[list(density.names).index("sigma_qpcr")] = np.log(SIGMA)
    eta = np.random.default_rng(0).normal(size=density.eta_shape)
    return data, density, u, eta


def residuals_by_hand(density, u, eta):
    """(ln y - a - b t) / σ of a straight line, ω of a 0.8 and of b 0.1."""
    values = {k: float(v) for k, v in density.constrain(jnp.asarray(u)).items()}
    a = values["a"] + values["omega_a"] * eta[:, 0]
    b = values["b"] + values["omega_b"] * eta[:, 1]
    time_d = np.asarray(density.data.time_d)
    line = a[:, None] + b[:, None] * time_d
    return (np.asarray(density.data.log_value) - line) / SIGMA


def test_residuals_of_a_line_are_what_they_are_on_paper(line):
    _, density, u, eta = line
    expected = residuals_by_hand(density, u, eta)
    np.testing.assert_allclose(
        individual_residuals(density, u, eta), expected, rtol=1e-9, atol=1e-9
    )


def test_a_reading_below_its_limit_has_a_residual_below_its_limits(line):
    _, density, u, eta = line
    below = jnp.zeros_like(density.data.below).at[:, ::2].set(True)
    there = eqx.tree_at(lambda d: d.data.below, density, below)
    at_limit = residuals_by_hand(density, u, eta)
    drawn = np.stack([individual_residuals(there, u, eta, seed=s) for s in range(50)])
    assert (drawn[:, :, ::2] < at_limit[:, ::2]).all()
    np.testing.assert_allclose(
        drawn[:, :, 1::2], np.broadcast_to(at_limit[:, 1::2], drawn[:, :, 1::2].shape)
    )
    # Their places under the limit are uniform.
    share = stats.norm.cdf(drawn[:, :, ::2]) / stats.norm.cdf(at_limit[:, ::2])
    assert stats.kstest(share.ravel(), "uniform").pvalue > 0.01


def test_the_table_has_every_reading_once_beside_its_row(line):
    data, density, u, eta = line
    seen = observed(density, data)
    draws = np.tile(u, (200, 1)), np.tile(eta, (200, 1, 1))
    keys = jax.random.split(jax.random.key(0))
    errors = prediction_errors(seen, replicate(density, draws[0], keys[0]))
    table = prediction_table(density, data, seen, draws, errors, keys[1])
    values = [s.value for p in data.patients for s in p.samples]
    np.testing.assert_allclose(table["observed"], values)
    assert len(set(table["ID"])) == 12
    own = residuals_by_hand(density, u, eta)
    np.testing.assert_allclose(
        np.log(table["observed"] / table["IPRED"]), SIGMA * own.ravel(), atol=1e-9
    )
    # All draws are one: the curve has no width, and a reading again that of its error.
    np.testing.assert_allclose(table["IPRED_q05"], table["IPRED_q95"])
    width = np.log((table["again_q95"] / table["again_q05"]).to_numpy())
    assert float(np.mean(width)) == pytest.approx(2 * 1.645 * SIGMA, rel=0.05)


def test_a_limit_that_is_not_told_is_the_usual_one_and_said(cohort, density):
    patients = list(cohort.patients)
    samples = patients[0].samples
    untold = dataclasses.replace(samples[0], limit=None)
    patients[0] = dataclasses.replace(patients[0], samples=(untold, *samples[1:]))
    told = observed(density, dataclasses.replace(cohort, patients=tuple(patients)))
    assert told.log_limit[0, 0] == pytest.approx(np.log(200.0))
    assert "1 quantified samples have no limit" in told.notes[0]
