"""Scores of what is left out, against integrals and fits that have not seen it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from ckin.check import observed
from ckin.check.scores import (
    future_left_out,
    marginals,
    patients_left_out,
    readings_left_out,
)
from ckin.inference.by_patient import leave_patients_out
from ckin.inference.laplace import fit_laplace


DRAWS = 200


@pytest.fixture(scope="module")
def posterior(fitted_line):
    """Draws of the posterior of 12 lines: the Laplace approximation is exact here."""
    _, density = fitted_line
    laplace = fit_laplace(density, jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (DRAWS, density.n_hyper))
    u = np.asarray(laplace.u + z @ laplace.factor.T)
    mean, covariance = zip(*(conditional_of(density, own) for own in u), strict=True)
    rng = np.random.default_rng(2)
    root = np.linalg.cholesky(np.array(covariance))
    noise = rng.normal(size=np.array(mean).shape)
    eta = np.array(mean) + np.einsum("spij,spj->spi", root, noise)
    return laplace, u, eta


def parts(density, u):
    """Design, means and covariance of every patient's log readings, on paper."""
    v = {k: float(x) for k, x in density.constrain(jnp.asarray(u)).items()}
    time_d = np.asarray(density.data.time_d)
    design = np.stack([np.ones_like(time_d), time_d], axis=2)
    mean = v["a"] + v["b"] * time_d
    scaled = design * np.array([v["omega_a"], v["omega_b"]])
    noise = v["sigma_qpcr"] ** 2
    return scaled, mean, noise


def conditional_of(density, u):
    """Mean and covariance of η of every patient given its readings, on paper."""
    scaled, mean, noise = parts(density, u)
    precision = np.einsum("pti,ptj->pij", scaled, scaled) / noise + np.eye(2)
    off = np.asarray(density.data.log_value) - mean
    pull = np.einsum("pti,pt->pi", scaled, off) / noise
    covariance = np.linalg.inv(precision)
    return np.einsum("pij,pj->pi", covariance, pull), covariance


def log_marginal_of(density, u, keep):
    """Log likelihood of the readings `keep`, η integrated out, on paper."""
    scaled, mean, noise = parts(density, u)
    values = np.asarray(density.data.log_value)
    found = []
    for row in range(len(values)):
        own = keep[row]
        s = scaled[row, own]
        spread = s @ s.T + noise * np.eye(len(s))
        off = values[row, own] - mean[row, own]
        log_det = np.linalg.slogdet(2.0 * np.pi * spread)[1]
        found.append(-0.5 * (off @ np.linalg.solve(spread, off) + log_det))
    return np.array(found)


def test_patients_are_integrated_out_exactly(fitted_line, posterior):
    _, density = fitted_line
    _, u, eta = posterior
    found = marginals(density, u[:40], eta[:40], jax.random.key(3), each=64)
    every = np.ones(density.data.time_d.shape, bool)
    exact = np.stack([log_marginal_of(density, own, every) for own in u[:40]])
    # The approximation is exact, drawn 1.3 times too wide: weights of 64 draws vary by
    # a third, their mean by 0.05.
    np.testing.assert_allclose(found.log_marginal, exact, atol=0.35)
    assert np.abs(np.asarray(found.log_marginal) - exact).mean() < 0.06
    assert float(jnp.median(found.ess)) > 32


@pytest.mark.slow
def test_a_patient_left_out_by_weights_scores_as_one_left_out_in_earnest(
    fitted_line, posterior
):
    _, density = fitted_line
    laplace, u, eta = posterior
    found = patients_left_out(density, u, eta, jax.random.key(4))
    earnest = leave_patients_out(density, laplace, jax.random.key(5))
    good = ~found.anew
    assert good.sum() >= 9
    gap = np.abs(found.elpd_i - earnest.elpd_i)
    error = np.hypot(found.mc_error, earnest.mc_error)
    # Two Monte Carlo estimates, and draws of an approximation in one: another 0.1.
    assert (gap < 0.1 + 3.0 * error)[good].all()
    assert error[good].max() < 0.2
    assert found.elpd == pytest.approx(earnest.elpd, abs=1.0)


@pytest.mark.slow
def test_a_reading_left_out_scores_as_on_paper(fitted_line, posterior):
    data, density = fitted_line
    _, u, eta = posterior
    seen = observed(density, data)
    found = readings_left_out(density, seen, u, eta)
    table = found.table(("ID", "TIME", "DVID"))
    assert len(table) == 72
    # Given u: p(y) / p(y without it), weighed over u by its inverse.
    every = np.ones(density.data.time_d.shape, bool)
    for column in (0, 3):
        without = every.copy()
        without[:, column] = False
        gain = np.stack(
            [
                log_marginal_of(density, own, every)
                - log_marginal_of(density, own, without)
                for own in u
            ]
        )
        exact = -np.log(np.exp(-gain).mean(axis=0))
        own = found.elpd_i.reshape(12, 6)[:, column]
        good = found.khat.reshape(12, 6)[:, column] < 0.5
        assert good.sum() >= 6
        # 200 draws: 0.1 where weights are even.
        np.testing.assert_allclose(own[good], exact[good], atol=0.3)


def test_the_future_scores_as_on_paper_and_intervals_hold_it(fitted_line, posterior):
    data, density = fitted_line
    _, u, eta = posterior
    seen = observed(density, data)
    found = future_left_out(
        density, seen, u, eta, jax.random.key(7), day_d=10.0, until_d=17.0
    )
    time_d = seen.time_d
    early, upto = time_d <= 10.0, time_d <= 17.0
    every = np.ones(time_d.shape, bool)
    of = lambda keep: np.stack([log_marginal_of(density, own, keep) for own in u])
    log_early, log_upto, log_all = of(early), of(upto), of(every)
    weights = np.exp(log_early - log_all)
    weights /= weights.sum(axis=0)
    exact = np.log((weights * np.exp(log_upto - log_early)).sum(axis=0))
    good = found.patients["khat"].to_numpy() < 0.7
    assert good.sum() >= 8
    own = found.patients["elpd"].to_numpy()
    np.testing.assert_allclose(own[good], exact[good], atol=0.25)
    assert found.patients["early"].tolist() == early.sum(axis=1).tolist()
    assert len(found.readings) == int((upto & ~early).sum())
    # 24 readings of the model's own: fewer than 17 has a chance of 1 in 1000.
    assert found.coverage >= 0.7


def test_a_future_below_its_limit_is_foreseen_as_below(fitted_line, posterior):
    data, density = fitted_line
    _, u, eta = posterior
    seen = observed(density, data)
    high = dataclasses.replace(
        seen,
        below=np.ones_like(seen.below),
        log_value=np.full(seen.log_value.shape, 20.0),
    )
    found = future_left_out(
        density, high, u, eta, jax.random.key(7), day_d=10.0, until_d=17.0
    )
    assert found.coverage == 1.0
    assert isinstance(found.readings, pd.DataFrame)
