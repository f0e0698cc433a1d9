"""The likelihood with patients integrated out: against closed forms and quadrature."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from toys import QPCR, Hunt, Line, Share, dataset, line_cohort, made, patient, sample

from ckin.assay import Assay, Combined
from ckin.inference.density import Density, make_density
from ckin.inference.marginal import (
    by_quadrature,
    find_modes,
    smooth,
    value_and_slope,
)
from ckin.population import CovariateEffect, pack, population
from ckin.protocol import Dose


def line_density(data) -> Density:
    whole = population(made(Line), QPCR)
    return smooth(make_density(whole, pack(data, whole)))


def log_likelihood(density: Density, u, eta=None) -> float:
    start = jnp.zeros(density.eta_shape) if eta is None else eta
    each, _ = value_and_slope(density, u, find_modes(density, u, start))
    return float(jnp.sum(each))


LINES = line_cohort(6, [3, 5, 8])


@pytest.fixture(scope="module")
def line() -> Density:
    return line_density(LINES)


def exact_line(density: Density, u) -> np.ndarray:
    """Of a linear model with normal errors: y ~ N(X c, X Ω X' + σ² I)."""
    hyper = density.hyper(u)
    spread, sigma = np.diag(np.asarray(hyper.omega) ** 2), float(hyper.sigma[0])
    each = []
    for centre, person in zip(np.asarray(hyper.centre), LINES.patients, strict=True):
        t = np.array([s.time_d for s in person.samples])
        y = np.log([s.value for s in person.samples])
        x = np.stack([np.ones_like(t), t], axis=1)
        cov: Any = x @ spread @ x.T + sigma**2 * np.eye(t.size)
        each.append(stats.multivariate_normal.logpdf(y, x @ centre, cov))
    return np.array(each)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.5])
def test_laplace_is_exact_for_a_linear_model_with_normal_errors(line, shift):
    u = line.start + shift
    modes = find_modes(line, u, jnp.ones(line.eta_shape))
    each, slope = value_and_slope(line, u, modes)
    np.testing.assert_allclose(each, exact_line(line, u), rtol=1e-9)
    # Its gradient, by differences of the closed form (4th-order error of a step 1e-3).
    steps = 1e-3 * np.eye(u.size)
    total = lambda u: exact_line(line, u).sum()
    expected = [
        (8 * (total(u + h) - total(u - h)) - total(u + 2 * h) + total(u - 2 * h))
        / 12e-3
        for h in steps
    ]
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


def test_quadrature_is_exact_there_too(line):
    u = line.start
    modes = find_modes(line, u, jnp.zeros(line.eta_shape))
    np.testing.assert_allclose(
        np.asarray(by_quadrature(line, u, modes)), exact_line(line, u), rtol=1e-9
    )


def test_the_order_of_patients_changes_nothing(line):
    backwards = dataclasses.replace(LINES, patients=LINES.patients[::-1])
    other = line_density(backwards)
    u = line.start + 0.2
    assert log_likelihood(other, u) == pytest.approx(log_likelihood(line, u), rel=1e-12)


@pytest.fixture(scope="module")
def hunters() -> Density:
    """Patients of a model solved on a grid: two doses, limits, a covariate."""
    rng = np.random.default_rng(3)
    people = []
    for number in range(3):
        times = [1.0, 2.0 + number, 5.0, 9.0, 13.0][: 5 - number]
        values = np.exp(rng.normal(2.0, 1.0, 5)).tolist()
        rows = [
            sample(t, max(v, 4.0), below=v < 4.0)
            for t, v in zip(times, values, strict=False)
        ]
        doses = [Dose(0.0, "CART", cells=3.0), Dose(3.0, "CART", cells=2.0)]
        age = 20.0 + 15.0 * number
        people.append(patient(f"H{number}", rows, doses=doses, AGE=age))
    data = dataset(people)
    whole = population(
        made(Hunt),
        Assay("qpcr", "copies_per_ug", Combined(), additive_median=1.0),
        vary=("growth", "prey_0"),
        covariates=[CovariateEffect("growth", "AGE", center=35.0)],
    )
    return smooth(make_density(whole, pack(data, whole)))


def test_the_gradient_is_that_of_the_marginal_modes_moving_along(hunters):
    density = hunters
    assert density.names[-1] == "sigma_add_qpcr"
    u = density.start + 0.1 * jnp.cos(jnp.arange(density.n_hyper))
    modes = find_modes(density, u, jnp.zeros(density.eta_shape))
    assert float(jnp.max(modes.decrement)) < 1e-8
    _, slope = value_and_slope(density, u, modes)
    steps = 1e-4 * np.eye(density.n_hyper)
    total = lambda u: log_likelihood(density, u, modes.eta)
    expected = [(total(u + h) - total(u - h)) / 2e-4 for h in steps]
    # Differences of a step 1e-4 err by about 1e-8 times third derivatives.
    np.testing.assert_allclose(slope, expected, rtol=2e-5, atol=2e-5)


def test_a_mode_is_found_from_far_away(hunters):
    density = hunters
    near = find_modes(density, density.start, jnp.zeros(density.eta_shape))
    for key in range(3):
        far = 2.0 * jax.random.normal(jax.random.key(key), density.eta_shape)
        found = find_modes(density, density.start, far)
        np.testing.assert_allclose(found.value, near.value, rtol=1e-8)


def test_quadrature_agrees_with_an_independent_integral_where_laplace_is_off():
    """One patient, three readings, and a patient below the limit throughout."""
    rows = [sample(1.0, 300.0), sample(5.0, 80.0), sample(9.0, 20.0)]
    low = [sample(t, 10.0, below=True) for t in (1.0, 5.0)]
    data = dataset([patient("A", rows), patient("B", low)])
    whole = population(made(Share), QPCR, estimate=("level",), vary=("share",))
    density = smooth(make_density(whole, pack(data, whole)))
    u = density.start
    values = {k: float(v) for k, v in density.constrain(u).items()}

    def height(eta, person):
        logit = np.log(values["share"] / (1 - values["share"]))
        share = 1.0 / (1.0 + np.exp(-logit - values["omega_share"] * eta))
        f = [values["level"] * share * np.exp(-0.05 * s.time_d) for s in person]
        z = [np.log(s.value / r) for s, r in zip(person, f, strict=True)]
        seen = stats.norm.logpdf(z, scale=values["sigma_qpcr"])
        hidden = stats.norm.logcdf(z, scale=values["sigma_qpcr"])
        below = np.array([s.below for s in person])
        return np.exp(np.where(below, hidden, seen).sum() + stats.norm.logpdf(eta))

    expected = [
        np.log(integrate.quad(height, -9, 9, args=(person,), epsabs=0, limit=200)[0])
        for person in (rows, low)
    ]
    modes = find_modes(density, u, jnp.zeros(density.eta_shape))
    found = np.asarray(by_quadrature(density, u, modes))
    # 15 nodes on a bent integrand; Laplace is off by a hundred times as much.
    np.testing.assert_allclose(found, expected, atol=2e-4)
    laplace, _ = value_and_slope(density, u, modes)
    np.testing.assert_allclose(laplace, expected, atol=0.1)
