"""Draws of one patient's posterior, beside the posterior that paper knows."""

from typing import Any

import jax
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


def exact(whole, data):
    """Mean and SD of (a, b): a straight line with normal errors and normal priors."""
    density = make_density(whole, pack(data, whole))
    hyper = density.hyper(density.start)
    (patient,) = data.patients
    time_d = np.array([s.time_d for s in patient.samples])
    value = np.log([s.value for s in patient.samples])
    design = np.stack([np.ones_like(time_d), time_d], axis=1)
    prior = np.diag(1.0 / np.asarray(hyper.omega) ** 2)
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
