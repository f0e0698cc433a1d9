"""Errors on the scale of the readings themselves, as drug concentrations have them.

    y ~ Normal(f, sd²)      additive      sd = σ, in the unit of the assay
                            proportional  sd = σ f, σ a coefficient of variation
                            combined      sd² = σ² f² + a²

f is the error-free reading. One below its limit L contributes Φ((L - f) / sd) (M3). The
density is of the reading and not of its logarithm, so log likelihoods compare with
those of programs that fit concentrations, and not with those of laws of the log. A
reading may be 0.
"""

import abc
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from ckin._types import Array, ArrayLike
from ckin.assay.errors import FLOOR, AbstractError, Sampled


class AbstractNaturalError(AbstractError):
    """Normal error of the reading, of an SD that may depend on what is read."""

    takes_zero: ClassVar[bool] = True

    @abc.abstractmethod
    def sd(self, reading: Array, sigma: ArrayLike, sampled: Sampled) -> Array:
        """SD of a reading, in the unit of the assay."""

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Normal density of the reading; its distribution function below the limit."""
        reading = jnp.exp(log_prediction)
        sd = self.sd(reading, sigma, sampled)
        z = (jnp.exp(log_value) - reading) / sd
        density = -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi) - jnp.log(sd)
        return jnp.where(below, log_ndtr(z), density)

    def draw(self, key, log_prediction, sigma, sampled):
        """Normal noise; a reading below nothing reads nothing."""
        reading = jnp.exp(log_prediction)
        noise = jax.random.normal(key, log_prediction.shape)
        drawn = reading + self.sd(reading, sigma, sampled) * noise
        return jnp.log(jnp.maximum(drawn, FLOOR))

    def information(self, log_prediction, sigma, sampled):
        """Fisher's, of the log prediction: (f/sd)² + 2 (d log sd / d log f)²."""
        log_sd = lambda x: jnp.log(self.sd(jnp.exp(x), sigma, sampled))
        log_prediction = jnp.asarray(log_prediction)
        ones = jnp.ones_like(log_prediction)
        there, slope = jax.jvp(log_sd, (log_prediction,), (ones,))
        return jnp.exp(2.0 * (log_prediction - there)) + 2.0 * slope**2

    def residual(self, log_prediction, log_value, sigma, sampled):
        """(y - f) / sd."""
        reading = jnp.exp(log_prediction)
        sd = self.sd(reading, sigma, sampled)
        return (jnp.exp(log_value) - reading) / sd


class Additive(AbstractNaturalError):
    """The same SD whatever is read."""

    name: ClassVar[str] = "additive"
    sigma_unit: ClassVar[str] = ""

    def sd(self, reading, sigma, sampled):
        """σ."""
        del sampled
        return jnp.broadcast_to(jnp.asarray(sigma), reading.shape)


class Proportional(AbstractNaturalError):
    """An SD in proportion to what is read."""

    name: ClassVar[str] = "proportional"
    sigma_unit: ClassVar[str] = "CV"

    def sd(self, reading, sigma, sampled):
        """σ f."""
        del sampled
        return sigma * reading


class Combined(AbstractNaturalError):
    """Both, independent of each other: variances add up."""

    name: ClassVar[str] = "combined"
    sigma_unit: ClassVar[str] = "CV"
    has_additive: ClassVar[bool] = True

    def sd(self, reading, sigma, sampled):
        """√(σ² f² + a²)."""
        if sampled.additive is None:
            raise ValueError("a combined error without its additive part")
        return jnp.sqrt((sigma * reading) ** 2 + jnp.square(sampled.additive))
