"""Draws of one patient's posterior, beside the posterior that paper knows."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import QPCR, Line, line_cohort, made

from ckin.errors import InputError
from ckin.inference.density import make_density
from ckin.population import pack, population
from ckin.schedule import patient_draws


KEY = jax.random.key(0)
N = 400


@pytest.fixture(scope="module")
def whole():
    return population(made(Line), QPCR)


def exact(whole, data, hyper=None):
    """Mean and SD of (a, b): a straight line with normal errors and normal priors."""
    density = make_density(whole, pack(data, whole))
    hyper = density.hyper(density.start) if hyper is None else hyper
    (patient,) = data.patients
    time_d = np.array([s.time_d for s in patient.samples])
    value = np.log([s.value for s in patient.samples])
    design = np.stack([np.ones_like(time_d), time_d], axis=1)
    mixing = np.eye(2) if hyper.mixing is None else np.asarray(hyper.mixing)
    factor = np.asarray(hyper.omega)[:, None] * mixing
    prior = np.linalg.inv(factor @ factor.T)
    precision = design.T @ design / float(hyper.sigma[0]) ** 2 + prior
    centre = np.asarray(hyper.centre[0])
    pull = design.T @ value / float(hyper.sigma[0]) ** 2 + prior @ centre
    return np.linalg.solve(precision, pull), np.sqrt(np.diag(np.linalg.inv(precision)))


@pytest.mark.parametrize("samples", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_a_straight_line_has_the_posterior_of_a_regression(whole, samples):
    data = line_cohort(1, [samples], seed=4)
    drawn = patient_draws(KEY, whole, data, N)
    mean, sd = exact(whole, data)
    # Picked from 8 times as many, weighted: four Monte Carlo SDs of 400 draws.
    off = np.abs(np.mean(np.asarray(drawn.phi), axis=0) - mean)
    assert np.all(off < 4 * sd / np.sqrt(N))
    np.testing.assert_allclose(np.std(np.asarray(drawn.phi), axis=0), sd, rtol=0.15)
    assert drawn.ess > N
    people: Any = drawn.people
    assert people.a.shape == (N,)
    np.testing.assert_allclose(people.a, drawn.phi[:, 0])


def test_two_patients_are_refused(whole):
    with pytest.raises(InputError, match="2 patients, not one"):
        patient_draws(KEY, whole, line_cohort(2, [3]), 10)


@pytest.mark.slow
def test_a_correlated_patient_has_the_posterior_of_a_regression():
    whole = population(made(Line), QPCR, correlate=[("a", "b")])
    data = line_cohort(1, [2], seed=4)
    density = make_density(whole, pack(data, whole))
    mixing = np.linalg.cholesky(np.array([[1.0, -0.8], [-0.8, 1.0]]))
    hyper = replace(density.hyper(density.start), mixing=jnp.asarray(mixing))
    drawn = patient_draws(KEY, whole, data, N, hyper=hyper)
    mean, sd = exact(whole, data, hyper)
    phi = np.asarray(drawn.phi)
    assert np.all(np.abs(phi.mean(axis=0) - mean) < 4 * sd / np.sqrt(N))
    np.testing.assert_allclose(phi.std(axis=0), sd, rtol=0.15)
