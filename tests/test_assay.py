"""Laws of the one likelihood: densities, censoring, tails, draws."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from toys import HEAVY, QPCR, Level, Line, made

from ckin.assay import DEFAULT_NU, FLOOR, Assay, qpcr, student_t_log_cdf


BOTH = pytest.mark.parametrize("assay", [QPCR, HEAVY], ids=["normal", "student_t"])
# Standardised residuals into tails that no reading has: 40 SD on either side.
Z = np.concatenate([np.linspace(-40.0, 40.0, 161), [-0.01, 0.0, 0.01]])
SIGMA = 0.6
# Two ways to the same double: rounding of z, and of the cancelling forms near zero.
SAME = 1e-10


def law(assay: Assay) -> Any:
    return stats.norm() if assay.error.name == "normal" else stats.t(DEFAULT_NU)


def likelihood(assay: Assay, z, below, sigma=SIGMA):
    z = jnp.asarray(z, dtype=float)
    return assay.log_likelihood(3.0, 3.0 + sigma * z, below, sigma)


@BOTH
def test_a_reading_has_the_density_of_its_logarithm(assay):
    found = likelihood(assay, Z, False)
    expected = law(assay).logpdf(Z) - math.log(SIGMA)
    np.testing.assert_allclose(found, expected, rtol=SAME, atol=SAME)


@BOTH
def test_a_reading_below_its_limit_has_the_probability_of_lying_there(assay):
    found = likelihood(assay, Z, True)
    expected = law(assay).logcdf(Z)
    # scipy's Student-t logcdf is the log of a double: good to rounding of 1 above 0.
    np.testing.assert_allclose(found, expected, rtol=SAME, atol=1e-15)


@BOTH
def test_density_integrates_to_the_probability_below_the_limit(assay):
    density = lambda value: float(
        jnp.exp(assay.log_likelihood(3.0, value, False, SIGMA))
    )
    area, _ = integrate.quad(density, -np.inf, 2.5, epsabs=1e-12)
    tail = assay.log_likelihood(3.0, 2.5, True, SIGMA)
    assert jnp.exp(tail) == pytest.approx(area, abs=1e-9)


@pytest.mark.parametrize("nu", [2, 4, 10, 20, 30, 100])
def test_student_t_distribution_function_is_scipys_for_every_even_nu(nu):
    z = np.linspace(-60.0, 60.0, 2401)
    lower = 0.5 * special.betainc(nu / 2, 0.5, nu / (nu + z**2))
    expected = np.where(z < 0, np.log(lower), np.log1p(-lower))
    found = jax.jit(student_t_log_cdf, static_argnums=1)(z, nu)
    # Where the elementary form hands over to the series it has lost four digits.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@BOTH
@pytest.mark.parametrize("below", [False, True])
def test_gradients_are_those_of_finite_differences_into_the_tails(assay, below):
    def at(prediction, log_sigma, value):
        return assay.log_likelihood(prediction, value, below, jnp.exp(log_sigma))

    step, values, slopes = 1e-5, jax.jit(at), jax.jit(jax.grad(at, (0, 1)))
    for z in (-30.0, -8.0, -3.0, -1.0, 0.0, 0.3, 2.0, 5.0):
        value = 3.0 + SIGMA * z
        point = (3.0, math.log(SIGMA))
        found = slopes(*point, value)
        for index in range(2):
            up, down = list(point), list(point)
            up[index] += step
            down[index] -= step
            slope = float(values(*up, value) - values(*down, value)) / (2 * step)
            # Central difference: error step² times a third derivative, and rounding
            # of a value of some hundreds divided by the step.
            assert float(found[index]) == pytest.approx(slope, rel=1e-6, abs=1e-6), z


@BOTH
@pytest.mark.parametrize("below", [False, True])
def test_no_reading_is_so_far_out_that_gradient_or_curvature_is_lost(assay, below):
    def at(z):
        return assay.log_likelihood(0.0, z, below, 0.05)

    for z in (-50.0, -20.0, -1.0, 0.0, 1.0, 20.0, 50.0):  # times 1 / 0.05
        for value in (at(z), jax.grad(at)(z), jax.grad(jax.grad(at))(z)):
            assert np.isfinite(value), z
    assert jax.grad(at)(-50.0) > 0, "a reading far below must still pull"


@BOTH
def test_what_is_not_censored_does_not_look_at_the_other_branch(assay):
    z = np.array([-45.0, 0.5, 45.0])
    both = likelihood(assay, z, np.array([True, False, True]))
    apart = [likelihood(assay, z[i], below) for i, below in enumerate([1, 0, 1])]
    np.testing.assert_array_equal(both, np.array(apart).ravel())


@pytest.mark.parametrize("nu", [3, 1, 0, -2])
def test_degrees_of_freedom_that_have_no_elementary_tail_are_refused(nu):
    with pytest.raises(ValueError, match=f"nu={nu}"):
        qpcr(error="student_t", nu=nu)


def test_an_error_that_is_unknown_is_refused():
    with pytest.raises((ValueError, TypeError)):
        qpcr(error="cauchy")  # pyright: ignore[reportArgumentType]


def test_an_assay_of_a_quantity_the_model_lacks_names_those_it_has():
    with pytest.raises(ValueError, match="copies_per_ug_backbone.*it has copies"):
        qpcr(target="backbone").predict(made(Line), Level(jnp.ones(())))


@pytest.fixture(scope="module", params=[QPCR, HEAVY], ids=["normal", "student_t"])
def draws(request):
    """An assay and many of its readings of one sample."""
    key = jax.random.key(20190714)
    return request.param, np.asarray(
        request.param.draw(key, jnp.full(20_000, 2.0), 0.5)
    )


def test_draws_have_the_median_and_the_scale_of_the_error(draws):
    assay, drawn = draws
    n = drawn.size
    # 5 standard errors: of a median 1.25 SD/√n, of an SD (normal) 0.71 SD/√n.
    assert np.median(drawn) == pytest.approx(2.0, abs=5 * 1.3 * 0.5 / math.sqrt(n))
    spread = np.quantile(drawn, 0.84134) - np.quantile(drawn, 0.15866)
    expected = 0.5 * (law(assay).ppf(0.84134) - law(assay).ppf(0.15866))
    assert spread == pytest.approx(expected, rel=0.05)
    if assay.error.name == "normal":
        assert np.std(drawn) == pytest.approx(0.5, rel=5 * 0.71 / math.sqrt(n))


def test_draws_follow_the_likelihood(draws):
    assay, drawn = draws
    # A law test at a fixed seed: p is one number, and not a rare one.
    assert stats.kstest((drawn[:2000] - 2.0) / 0.5, law(assay).cdf).pvalue > 0.01


def test_a_prediction_of_nothing_is_floored_and_has_a_gradient():
    assert QPCR.predict(made(Line), Level(jnp.zeros(()))) == math.log(FLOOR)
    slope = jax.grad(lambda v: QPCR.predict(made(Line), Level(v)))(jnp.zeros(()))
    assert np.isfinite(slope)


@given(level=st.floats(1e-5, 1e12))
def test_a_prediction_is_the_logarithm_of_its_quantity(level):
    found = QPCR.predict(made(Line), Level(jnp.asarray(level)))
    assert found == pytest.approx(math.log(level), rel=1e-14, abs=1e-14)
