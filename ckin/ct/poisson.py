"""The logarithm of a Poisson number that is not zero: its mean and variance.

A well gets a whole number of copies; one that amplified got at least one. At 3 copies
on average the mean log is 0.10 below log 3, at 1 copy it is 0.35 above log 1, and a
standard curve through such wells is bent by that.
"""

import functools

import jax.numpy as jnp
import numpy as np
from scipy import stats

from ckin._types import Array


# From here on two terms of the expansions in 1/λ are right to 1e-8.
LARGE = 1e4
# SD to either side of λ that sums go over.
REACH = 12.0
# Table that JAX interpolates in: natural log of λ. Straight lines between entries are
# right to 1e-4. Below it N is 1; above it the expansions serve.
TABLE = np.linspace(-12.0, np.log(LARGE), 1200)


def positive_log_moments(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of ln N given N > 0, for N Poisson with these means."""
    moments = np.array([_moments(value) for value in mean]).reshape(-1, 2)
    return moments[:, 0], moments[:, 1]


def _moments(mean: float) -> tuple[float, float]:
    if mean > LARGE:
        first = np.log(mean) - 0.5 / mean - 5.0 / (12.0 * mean**2)
        return float(first), 1.0 / mean + 1.5 / mean**2
    reach = REACH * np.sqrt(mean) + REACH
    number = np.arange(max(1, int(mean - reach)), int(mean + reach) + 2)
    chance = stats.poisson.pmf(number, mean)
    chance = chance / chance.sum()
    first = float(chance @ np.log(number))
    return first, float(chance @ (np.log(number) - first) ** 2)


def interpolated_log_moments(log_mean: Array) -> tuple[Array, Array]:
    """As `positive_log_moments`, of ln λ, by a table: JAX can differentiate it."""
    first, second = _table()
    beyond = jnp.maximum(log_mean, TABLE[-1])
    large = log_mean > TABLE[-1]
    mean = jnp.where(
        large, beyond - 0.5 * jnp.exp(-beyond), jnp.interp(log_mean, TABLE, first)
    )
    variance = jnp.where(large, jnp.exp(-beyond), jnp.interp(log_mean, TABLE, second))
    return mean, variance


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    return positive_log_moments(np.exp(TABLE))
