"""Laws of readings that are counts, against scipy's discrete distributions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import special, stats

from ckin.assay import Counts, Partitions, Sampled
from ckin.assay.errors import EXACT_COUNTS


# Differences of gamma functions of up to 1e6 in double precision.
SAME = 1e-8
COUNTS, PARTITIONS = Counts(), Partitions()

means = st.floats(0.01, 3000.0)
sigmas = st.floats(0.05, 1.0)
amounts = st.floats(0.05, 500.0)


def counted(mean, count, below, sigma, examined=1.0):
    """Log probability of a count, told as a reading of what was examined."""
    log = lambda number: jnp.log(jnp.asarray(number, dtype=float) / examined)
    return _compiled(
        log(mean),
        log(count),
        jnp.asarray(below),
        jnp.asarray(sigma),
        Sampled(jnp.asarray(examined)),
    )


# A hundred examples are one program.
_compiled = jax.jit(COUNTS.log_likelihood)


def beta_binomial(n, a, b) -> Any:
    return stats.betabinom(n, a, b)


def poisson(mean) -> Any:
    return stats.poisson(mean)


def negative_binomial(mean, sigma) -> Any:
    shape = 1.0 / np.expm1(sigma**2)
    return stats.nbinom(shape, shape / (shape + mean))


@given(means, sigmas, st.integers(1, 3000), amounts)
def test_a_count_has_the_negative_binomial_probability(mean, sigma, count, examined):
    found = counted(mean, count, False, sigma, examined)
    expected = negative_binomial(mean, sigma).logpmf(count)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=SAME)


@given(means, sigmas, st.integers(1, EXACT_COUNTS), amounts)
def test_below_a_limit_are_all_smaller_counts(mean, sigma, limit, examined):
    found = counted(mean, limit, True, sigma, examined)
    each = negative_binomial(mean, sigma).logpmf(np.arange(limit))
    expected = float(np.asarray(special.logsumexp(each)))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=SAME)


@pytest.mark.parametrize("limit", [EXACT_COUNTS + 1, 50, 500])
@pytest.mark.parametrize("sigma", [0.2, 0.5])
def test_below_a_limit_of_many_counts_is_nearly_so(limit, sigma):
    # On the log scale a gamma scatter is not quite normal.
    mean = limit * np.exp(np.linspace(-1.0, 1.0, 9))
    found = counted(mean, limit, True, sigma)
    expected = negative_binomial(mean, sigma).cdf(limit - 1)
    assert np.abs(np.exp(found) - expected).max() < 0.05


def test_without_scatter_counts_are_poisson():
    count = np.arange(1, 40)
    found = counted(12.0, count, False, 1e-4)
    # Var / mean is 1 + 12e-8.
    np.testing.assert_allclose(found, poisson(12.0).logpmf(count), atol=1e-5)


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize(
    "law",
    [
        pytest.param(COUNTS, id="counts"),
        pytest.param(PARTITIONS, id="partitions"),
    ],
)
# A minute to compile.
@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(law, below):
    sampled = Sampled(2.0, 20_000.0)

    def total(log_prediction, log_sigma):
        return jnp.sum(
            law.log_likelihood(
                log_prediction, jnp.log(jnp.array([0.5, 4.0, 200.0])),
                jnp.asarray(below), jnp.exp(log_sigma), sampled,
            )
        )  # fmt: skip

    at = (jnp.array([0.3, 1.0, 5.0]), jnp.log(0.4))
    check_grads(jax.jit(total), at, order=2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("occupancy", [1e-4, 0.1, 1.5])
@pytest.mark.parametrize("sigma", [1e-3, 0.4])
def test_positive_partitions_are_beta_binomial(occupancy, sigma):
    n, examined = 20_000, 0.25
    positives = np.unique(stats.binom(n, -np.expm1(-occupancy)).ppf([0.2, 0.5, 0.9]))
    positives = positives[positives > 0]
    copies = -n * np.log1p(-positives / n)
    sampled = Sampled(examined, float(n))
    log_prediction = jnp.log(n * occupancy / examined)
    found = PARTITIONS.log_likelihood(
        log_prediction, jnp.log(copies / examined), jnp.asarray(False), sigma, sampled
    )
    p = -np.expm1(-occupancy)
    spread = (occupancy * np.exp(-occupancy)) ** 2 * np.expm1(sigma**2)
    size = p * (1 - p) / spread
    expected = beta_binomial(n, p * size, (1 - p) * size).logpmf(positives)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    none = PARTITIONS.log_likelihood(
        log_prediction, jnp.log(1 / examined), jnp.asarray(True), sigma, sampled
    )
    expected = beta_binomial(n, p * size, (1 - p) * size).logpmf(0)
    np.testing.assert_allclose(none, expected, rtol=1e-5, atol=1e-4)


def test_few_copies_in_many_partitions_are_just_counts():
    count = np.arange(1, 30)
    sampled = Sampled(1.0, 1e6)
    arguments = (jnp.log(9.0), jnp.log(count), jnp.asarray(False), 0.4, sampled)
    # Ten copies share a partition once in 1e5 reactions.
    np.testing.assert_allclose(
        PARTITIONS.log_likelihood(*arguments),
        COUNTS.log_likelihood(*arguments),
        atol=1e-3,
    )


@pytest.mark.parametrize("law", [COUNTS, PARTITIONS], ids=["counts", "partitions"])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_draws_have_the_mean_and_the_scatter_they_should(law, sigma):
    examined, level, n = 0.5, 60.0, 20_000
    log = law.draw(
        jax.random.key(1), jnp.full(n, jnp.log(level)), sigma, Sampled(examined, 2e4)
    )
    counts = np.exp(np.asarray(log)) * examined
    mean = level * examined
    variance = mean + mean**2 * np.expm1(sigma**2)
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
    assert counts.var() == pytest.approx(variance, rel=0.08)


def test_nothing_counted_reads_as_less_than_any_limit():
    log = COUNTS.draw(jax.random.key(0), jnp.full(50, -20.0), 0.3, Sampled(1.0))
    assert (np.exp(np.asarray(log)) < 1.0).all()
