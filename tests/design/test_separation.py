"""Telling models apart: closed forms, laws, and cohorts that are drawn and scored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from toys import QPCR, Line, made

from ckin.design import (
    best_days,
    gains,
    gap_between,
    nearest,
    point,
    precision_of,
    prior_sd,
    sensitivities,
    separation,
    what_is_told,
)
from ckin.inference.density import make_density
from ckin.population import population
from tests.design.test_information import DAYS, OMEGA, SIGMA, posed


KEY = jax.random.key(0)


def line(days=DAYS, n=6, **values):
    """The line at other values, held there by a narrow prior if `held`."""
    held = values.pop("held", False)
    density = posed(days, n)
    model = made(Line).with_values(**values)
    priors = {"a": dist.Normal(values["a"], 1e-6)} if held else None
    whole = population(
        model, QPCR, priors=priors, omega=OMEGA, omega_sd_log={"a": 1e-6, "b": 1e-6}
    )
    return make_density(whole, density.data)


def test_a_model_cannot_be_told_from_itself():
    found = separation(line(), line(), ("one", "the other"), sigma=SIGMA, key=KEY)
    assert found.elpd_difference == pytest.approx(0.0, abs=1e-9)
    assert not found.separable
    # Nor where rounding leaves a difference of many rounded standard errors.
    rounded = {"elpd_difference": 5e-15, "standard_error": 7e-16}
    assert not dataclasses.replace(found, **rounded).separable


def test_a_shift_that_the_other_can_follow_is_no_difference():
    found = separation(line(a=5.0), line(), ("low", "usual"), sigma=SIGMA, key=KEY)
    # The prior of `a` (SD 2) holds it back by a hair.
    assert found.nearest["a"] == pytest.approx(5.0, abs=0.05)
    assert found.elpd_difference < 0.01


def test_a_shift_that_it_cannot_follow_is_the_divergence_of_two_normals():
    low, held = line(a=5.5), line(a=6.0, held=True)
    # b could make up for a part of it: hold it in the reckoning below by moving both.
    found = separation(low, held, ("low", "held"), sigma=SIGMA, key=KEY)
    near = nearest(low, held, SIGMA, KEY)
    design = np.column_stack([np.ones(len(DAYS)), DAYS])
    v = design @ np.diag([0.8**2, 0.1**2]) @ design.T + 0.4**2 * np.eye(len(DAYS))
    gap = np.asarray(near.gap[0])
    distance = gap @ np.linalg.solve(v, gap)
    assert found.elpd_difference == pytest.approx(6 * 0.5 * distance, rel=1e-6)
    # The log ratio of two normals with one covariance has twice the divergence as its
    # variance.
    expected = np.sqrt(2 * found.elpd_difference)
    assert found.standard_error == pytest.approx(expected, rel=1e-6)


def test_more_patients_separate_as_the_root_of_their_number():
    few, many = (
        separation(
            line(n=n, a=5.5), line(n=n, a=6.0, held=True), ("a", "b"),
            sigma=SIGMA, scale=scale, key=KEY,
        )
        for n, scale in ((6, 4.0), (24, 1.0))
    )  # fmt: skip
    assert few.elpd_difference == pytest.approx(many.elpd_difference, rel=1e-6)
    assert few.standard_error == pytest.approx(many.standard_error, rel=1e-6)


def test_cohorts_that_are_drawn_score_as_expected():
    """Log ratios of 4,000 drawn cohorts: their mean and SD are those foretold."""
    low, held = line(a=5.5), line(a=6.0, held=True)
    found = separation(low, held, ("low", "held"), sigma=SIGMA, key=KEY)
    near = nearest(low, held, SIGMA, KEY)
    v = np.asarray(near.a.varying[0] @ near.a.varying[0].T) + 0.4**2 * np.eye(len(DAYS))
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(np.zeros(len(DAYS)), v, size=(4000, 6))
    inverse, gap = np.linalg.inv(v), np.asarray(near.gap[0])
    square = lambda x: np.einsum("cni,ij,cnj->c", x, inverse, x)
    ratio = 0.5 * (square(drawn + gap) - square(drawn))
    assert ratio.mean() == pytest.approx(found.elpd_difference, rel=0.05)
    assert ratio.std() == pytest.approx(found.standard_error, rel=0.05)
    assert (ratio > 0).mean() == pytest.approx(found.chance, abs=0.02)


def test_days_of_a_line_are_its_ends():
    """Least squares of a line is D-optimal at the ends of its range."""
    days = tuple(float(d) for d in range(1, 29))
    density = posed(days, n=1)
    u = point(density, omega={"a": 1e-3, "b": 1e-3}, sigma=SIGMA)
    told = what_is_told(density, u, KEY)
    wide = np.full(len(density.names), 1e3)
    wanted = [density.names.index(name) for name in ("a", "b")]
    criterion = precision_of(told, wide, wanted, 1.0)
    found = best_days(criterion, len(days), 4, KEY)
    assert set(found.chosen) == {0, 1, 26, 27}
    every = [
        float(criterion(jnp.zeros(28).at[jnp.array(pick)].set(1.0)))
        for pick in ((0, 9, 18, 27), (0, 1, 2, 27), (12, 13, 14, 15))
    ]
    assert found.value > max(every)


@pytest.mark.slow
def test_the_gradient_finds_what_trying_every_pair_finds():
    days = (1.0, 4.0, 9.0, 12.0, 20.0, 28.0)
    density = posed(days, n=2)
    told = what_is_told(density, point(density, omega=OMEGA, sigma=SIGMA), KEY)
    wanted = range(len(density.names))
    criterion = precision_of(told, prior_sd(density), wanted, 3.0)
    found = best_days(criterion, len(days), 3, KEY)
    tried = {
        (i, j, k): float(criterion(jnp.zeros(6).at[jnp.array([i, j, k])].set(1.0)))
        for i in range(6)
        for j in range(i + 1, 6)
        for k in range(j + 1, 6)
    }
    assert found.chosen == max(tried, key=lambda pick: tried[pick])
    more = gains(criterion, found.chosen, len(days))
    assert (more >= 0.0).all()


def test_days_that_tell_two_models_apart_are_where_they_differ():
    """Nothing may move: a gap counts for its square over the variance of its day."""
    days = (1.0, 2.0, 3.0, 60.0)
    near = nearest(line(days), line(days), SIGMA, KEY)
    gap = jnp.zeros_like(near.gap).at[:, 0].set(0.5).at[:, 3].set(2.0)
    stiff = jnp.full_like(near.held, 1e12)
    criterion = gap_between(
        type(near)(near.u, gap, near.a, near.b, near.told, stiff), 1.0
    )
    variance = 0.8**2 + (0.1 * np.array(days)) ** 2 + 0.4**2
    for day, moved in ((0, 0.5), (3, 2.0)):
        alone = float(criterion(jnp.zeros(4).at[day].set(1.0)))
        assert alone == pytest.approx(6 * 0.5 * moved**2 / variance[day], rel=1e-6)
    assert best_days(criterion, 4, 1, KEY).chosen == (0,)


def test_more_samples_than_days_is_an_error():
    with pytest.raises(ValueError, match="5 samples cannot be chosen out of 3 days"):
        best_days(lambda weights: weights.sum(), 3, 5, KEY)


def test_forward_sensitivities_on_the_grid_are_those_of_differences():
    from toys import Hunt

    whole = population(made(Hunt), QPCR)
    density = posed((0.5, 2.0, 5.0, 9.0), n=2, model=Hunt)
    phi = jnp.tile(whole.typical_phi(), (2, 1))
    found = sensitivities(whole, density.data, phi)
    step = 1e-5
    for k in range(phi.shape[1]):
        moved = [
            sensitivities(whole, density.data, phi.at[:, k].add(s)).log_reading
            for s in (step, -step)
        ]
        numeric = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(
            found.jacobian[..., k], numeric, rtol=1e-6, atol=1e-8
        )
