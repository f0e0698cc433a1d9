"""The NumPyro density against one written by hand, and what must not change it."""

import dataclasses
import math

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from toys import QPCR, Share, dataset, made, patient, sample

from ckin.inference.density import make_density
from ckin.inference.individual import patient_log_likelihoods
from ckin.population import CensoredReading, CovariateEffect, pack, population
from ckin.solve import Solver


PATIENTS = (
    patient(
        "a",
        [sample(1.0, 130.0), sample(5.0, 90.0), sample(9.0, 40.0, below=True)],
        WT=50.0,
        ARM="high",
    ),
    patient("b", [sample(2.0, 60.0), sample(4.0, 200.0, below=True)], ARM="low"),
    patient("c", [sample(3.0, 500.0)], WT=80.0, ARM="high"),
)
EFFECTS = (
    CovariateEffect("level", "WT", center=60.0),
    CovariateEffect("share", "ARM", level="high"),
)
POP = population(made(Share), QPCR, vary=("slope", "level"), covariates=EFFECTS)
NAMES = (
    *("level", "share", "slope", "omega_slope", "omega_level"),
    *("beta_level_WT", "beta_share_ARM_high", "sigma_qpcr"),
)


@pytest.fixture(scope="module")
def density():
    return make_density(POP, pack(dataset(PATIENTS), POP))


@eqx.filter_jit
def value_and_slopes(density, u, eta):
    return jax.value_and_grad(lambda x: density.log_density(*x))((u, eta))


@eqx.filter_jit
def each_likelihood(density, u, eta):
    phi = density.patient_phi(u, eta)
    return patient_log_likelihoods(density, phi, density.hyper(u).sigma[None])


def points(density, n=5):
    rng = np.random.default_rng(3)
    for _ in range(n):
        yield (
            jnp.asarray(density.start + 0.7 * rng.normal(size=density.n_hyper)),
            jnp.asarray(rng.normal(size=density.eta_shape)),
        )


def by_hand(u, eta, patients=PATIENTS) -> tuple[float, list[float]]:
    """Log prior on the unconstrained scale, and each patient's log likelihood.

    A parameter that is log-normal is normal in its logarithm, u: the Jacobian of the
    exponential is what turns the one density into the other. Likewise the logit.
    """
    log_level, logit_share, slope, log_om_slope, log_om_level, b_wt, b_arm, log_s = u
    normal = stats.norm.logpdf
    prior = (
        normal(log_level, math.log(400.0), 0.7)
        + normal(logit_share, math.log(0.25 / 0.75), 0.8)
        + normal(slope, -0.02, 0.1)
        + normal(log_om_slope, math.log(0.03), 0.5)
        + normal(log_om_level, math.log(0.5), 0.5)
        + normal(b_wt, 0.0, 0.5)
        + normal(b_arm, 0.0, 0.5)
        + normal(log_s, math.log(0.5), 0.3)
        + normal(eta).sum()
    )
    each = []
    for person, (eta_slope, eta_level) in zip(patients, eta, strict=True):
        weight = person.covariates["WT"]
        level = math.exp(log_level + math.exp(log_om_level) * eta_level)
        level *= (weight / 60.0) ** b_wt
        share = special.expit(
            logit_share + b_arm * (person.covariates["ARM"] == "high")
        )
        own_slope = slope + math.exp(log_om_slope) * eta_slope
        total = 0.0
        for row in person.samples:
            reading = level * share * weight / 60.0 * math.exp(own_slope * row.time_d)
            law = stats.norm.logcdf if row.below else stats.norm.logpdf
            total += law(math.log(row.value), math.log(reading), math.exp(log_s))
        each.append(float(total))
    return float(prior), each


def test_parameters_have_their_documented_names_in_order(density):
    assert density.names == NAMES
    assert density.eta_shape == (3, 2)


def test_the_log_density_is_the_one_written_by_hand(density):
    for u, eta in points(density):
        prior, each = by_hand(np.asarray(u), np.asarray(eta))
        value, _ = value_and_slopes(density, u, eta)
        # Sums of some twenty terms of size 10, in double precision.
        assert float(value) == pytest.approx(prior + sum(each), abs=1e-9)
        np.testing.assert_allclose(each_likelihood(density, u, eta), each, atol=1e-9)


def test_the_start_is_the_prior_median_and_constrain_gives_units(density):
    values = density.constrain(density.start)
    expected = (400.0, 0.25, -0.02, 0.03, 0.5, 0.0, 0.0, 0.5)
    np.testing.assert_allclose([values[name] for name in NAMES], expected, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences(density):
    u, eta = next(points(density))
    _, (slope, _) = value_and_slopes(density, u, eta)
    step = 1e-5
    for index in range(density.n_hyper):
        up, down = (
            by_hand(np.asarray(u.at[index].add(sign * step)), np.asarray(eta))
            for sign in (1, -1)
        )
        difference = (up[0] + sum(up[1]) - down[0] - sum(down[1])) / (2 * step)
        # step² times a third derivative of some hundreds.
        assert float(slope[index]) == pytest.approx(difference, rel=1e-6, abs=1e-5)


def test_padding_changes_no_density(density):
    data = density.data
    wider = lambda rows: jnp.pad(rows, ((0, 0), (0, 2)), mode="edge")
    padded = dataclasses.replace(
        data,
        time_d=wider(data.time_d),
        after=wider(data.after),
        log_value=wider(data.log_value),
        below=wider(data.below),
        present=jnp.pad(data.present, ((0, 0), (0, 2))),
        which=wider(data.which),
        sampled=jax.tree.map(wider, data.sampled),
    )
    other = dataclasses.replace(density, data=padded)
    u, eta = next(points(density))
    value, slopes = value_and_slopes(density, u, eta)
    found, found_slopes = value_and_slopes(other, u, eta)
    assert float(found) == pytest.approx(float(value), rel=1e-14)
    for one, two in zip(found_slopes, slopes, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)


def test_patients_in_another_order_have_the_same_contributions(density):
    order = np.array([2, 0, 1])
    turned = dataset([PATIENTS[i] for i in order])
    other = dataclasses.replace(density, data=pack(turned, POP))
    u, eta = next(points(density))
    np.testing.assert_allclose(
        each_likelihood(other, u, eta[order]),
        each_likelihood(density, u, eta)[order],
        rtol=1e-14,
    )
    assert float(value_and_slopes(other, u, eta[order])[0]) == pytest.approx(
        float(value_and_slopes(density, u, eta)[0]), rel=1e-14
    )


def test_readings_drawn_around_a_prediction_have_its_error(key):
    prediction = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    below = jnp.array([[False, True], [False, False]])
    solved = jnp.array([[True], [False]])
    law = CensoredReading(QPCR, prediction, jnp.asarray(0.3), below, solved)
    drawn = law.sample(key, (4000,))
    assert drawn.shape == (4000, 2, 2)
    # 5 standard errors.
    np.testing.assert_allclose(drawn.mean(0), prediction, atol=5 * 0.3 / 4000**0.5)
    np.testing.assert_allclose(drawn.std(0), 0.3, rtol=5 * 0.71 / 4000**0.5)
    found = law.log_prob(jnp.full((2, 2), 1.5))
    expected = [stats.norm.logpdf(1.5, 1.0, 0.3), stats.norm.logcdf(1.5, 2.0, 0.3)]
    np.testing.assert_allclose(found[0], expected)
    assert np.isneginf(found[1]).all()


class Wave(Share):
    """Beats the faster the larger its slope is: few steps cannot follow."""

    def vector_field(self, t, y, inputs):
        beat = 100.0 * self.slope * jnp.cos(200.0 * self.slope * t)
        return type(y)(beat * y.level)

    def closed_form(self, time_d):
        return None


def test_a_patient_who_is_not_solved_has_likelihood_zero_and_leaves_others_alone():
    pop = population(made(Wave), QPCR, estimate=("slope",), vary=("slope",))
    data = pack(dataset(PATIENTS[:2]), pop)
    density = make_density(pop, data, Solver(method=dfx.Tsit5(), max_steps=16))
    u = density.start.at[0].set(0.0)
    eta = jnp.array([[100.0], [1e-3]])

    @eqx.filter_jit
    def each(density, u, eta):
        def finite(eta):
            phi = density.patient_phi(u, eta)
            found = patient_log_likelihoods(density, phi, density.hyper(u).sigma[None])
            return jnp.sum(jnp.where(jnp.isfinite(found), found, 0.0)), found

        return jax.grad(finite, has_aux=True)(eta)

    slope, found = each(density, u, eta)
    assert np.isneginf(found[0])
    assert slope[0, 0] == 0.0
    assert np.isfinite(found[1])
    assert np.isfinite(slope[1, 0])
    assert slope[1, 0] != 0.0
