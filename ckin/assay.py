"""What a laboratory sees of a trajectory, and how likely what it saw is.

There is one likelihood, `log_likelihood`, and everything uses it: MAP, NUTS, LOO,
predictive checks and simulation. Errors are on the natural-log scale (qPCR error is
multiplicative over five decades). A sample below its own detection limit contributes
the probability of lying below it: left-censored, the M3 method of pharmacometrics.
"""

import math
from functools import partial
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr

from ckin._types import Array, ArrayLike, Float
from ckin.model import AbstractModel, log_normal, name_of


# A prediction of nothing at all has no logarithm. 1e-6 copies/µg (or cells/µL) is
# seven decades under any detection limit, so the floor never changes a likelihood.
FLOOR = 1e-6

# Tails for the Student-t error: 4 keeps a finite variance and forgives an outlier.
DEFAULT_NU = 4

# Far tail of the Student-t distribution function: a series serves it, from where the
# elementary form has lost these many digits, to this relative error.
TAIL_CANCELS, TAIL_ERROR = 1e-4, 1e-13

# Residual SD of the natural log: Stein 2019 found 0.56, model misfit included.
SIGMA_MEDIAN, SIGMA_SD_LOG = 0.5, 0.3

# Unit in which a model predicts each assay, by the name a data file gives it (DVID);
# `ckin.dataset.ASSAYS` holds the units in which files may report it.
ASSAY_UNITS = {
    "qpcr": "copies/ug",
    "ddpcr": "copies/ug",
    "flow": "cells/uL",
    "bcell": "cells/uL",
    "wbc": "cells/uL",
    "bcrabl": "ratio",
    "il6": "pg/mL",
}


class Assay(eqx.Module):
    """A measurement of one quantity of a model, with its error.

    Attributes:
        name: name of the assay in data (DVID).
        quantity: the model's quantity that it measures (`AbstractModel.units`).
        error: "normal" or "student_t", of the natural logarithm.
        nu: degrees of freedom of the Student-t error, an even number.
        sigma_median: prior median of the error SD σ (of the natural logarithm).
        sigma_sd_log: prior SD of log σ.
    """

    name: str = eqx.field(static=True)
    quantity: str = eqx.field(static=True)
    error: Literal["normal", "student_t"] = eqx.field(static=True, default="normal")
    nu: int = eqx.field(static=True, default=DEFAULT_NU)
    sigma_median: float = eqx.field(static=True, default=SIGMA_MEDIAN)
    sigma_sd_log: float = eqx.field(static=True, default=SIGMA_SD_LOG)

    def __check_init__(self):
        if self.error not in ("normal", "student_t"):
            raise ValueError(f"error={self.error!r} is not 'normal' or 'student_t'")
        if self.nu < 2 or self.nu % 2:
            raise ValueError(f"nu={self.nu}: degrees of freedom are 2, 4, 6, ... here")

    @property
    def sigma_prior(self) -> dist.Distribution:
        """Prior of σ."""
        return log_normal(self.sigma_median, self.sigma_sd_log)

    def predict(self, model: AbstractModel, states) -> Array:
        """Natural log of what an error-free assay reads of `states`."""
        # A model describes one patient at one time: the axes of samples are ours.
        quantities_at = model.quantities
        for _ in range(jnp.ndim(states[0])):
            quantities_at = jax.vmap(quantities_at)
        quantities = quantities_at(states)
        if self.quantity not in quantities:
            known = ", ".join(model.units)
            raise ValueError(
                f"{name_of(model)} has no {self.quantity} for assay {self.name}; "
                f"it has {known}"
            )
        return jnp.log(jnp.maximum(quantities[self.quantity], FLOOR))

    def log_likelihood(
        self,
        log_prediction: Float[ArrayLike, "*samples"],
        log_value: Float[ArrayLike, "*samples"],
        below: ArrayLike,
        sigma: ArrayLike,
    ) -> Float[Array, "*samples"]:
        """Log likelihood of each sample.

        Args:
            log_prediction: natural log of the error-free reading.
            log_value: natural log of the reading; of the limit where `below`.
            below: True where the sample is below its detection limit (M3).
            sigma: SD (scale, for Student-t) of the error on the log scale, for all or
                broadcast against the samples.
        """
        z = (log_value - log_prediction) / sigma
        if self.error == "normal":
            density = -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)
            tail = log_ndtr(z)
        else:
            density = _student_t_log_density(z, self.nu)
            tail = student_t_log_cdf(z, self.nu)
        return jnp.where(below, tail, density - jnp.log(sigma))

    def draw(
        self, key: Array, log_prediction: Float[Array, "*samples"], sigma: ArrayLike
    ) -> Float[Array, "*samples"]:
        """Natural log of readings with error, before any limit is applied."""
        noise = (
            dist.Normal(0.0, 1.0)
            if self.error == "normal"
            else dist.StudentT(self.nu, 0.0, 1.0)
        )
        return log_prediction + sigma * noise.sample(key, log_prediction.shape)


def qpcr(
    *,
    target: Literal["car", "backbone"] = "car",
    error: Literal["normal", "student_t"] = "normal",
    nu: int = DEFAULT_NU,
    sigma_median: float = SIGMA_MEDIAN,
    sigma_sd_log: float = SIGMA_SD_LOG,
) -> Assay:
    """QPCR in copies/µg gDNA.

    Args:
        target: "car" amplifies the CAR alone; "backbone" amplifies a vector sequence
            that FTC carry too, and counts them.
        error: error of the natural logarithm.
        nu: degrees of freedom of the Student-t error, an even number.
        sigma_median: prior median of the error SD (of the natural logarithm).
        sigma_sd_log: prior SD of its logarithm.
    """
    quantity = {"car": "copies_per_ug", "backbone": "copies_per_ug_backbone"}
    if target not in quantity:
        raise ValueError(f"target={target!r} is not 'car' or 'backbone'")
    return Assay("qpcr", quantity[target], error, nu, sigma_median, sigma_sd_log)


def _student_t_log_density(z, nu):
    half = 0.5 * (nu + 1.0)
    constant = math.lgamma(half) - math.lgamma(0.5 * nu)
    constant -= 0.5 * math.log(nu * math.pi)
    return constant - half * jnp.log1p(z**2 / nu)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def student_t_log_cdf(z: ArrayLike, nu: int) -> Array:
    """Log of the Student-t distribution function for an even number `nu`.

    Half the incomplete beta function I_x(ν/2, 1/2) at x = ν/(ν+z²), which is
    elementary for even ν (Abramowitz & Stegun 26.7.4): much cheaper than the general
    function, whose derivative JAX lacks besides. A series serves the far tail, where
    the elementary form cancels.
    """
    z = jnp.asarray(z)
    x, a = nu / (nu + z**2), nu // 2
    # The tail is about x^a, and the series' terms fall as x^k.
    tail_below = max(0.1, TAIL_CANCELS ** (1.0 / a))
    terms = math.ceil(math.log(TAIL_ERROR) / math.log(tail_below))
    # (1/2)_k / k!, the coefficients of (1-x)^(-1/2).
    binomial = [math.comb(2 * k, k) / 4**k for k in range(max(a, terms))]
    near = 1.0 - jnp.sqrt(1.0 - x) * sum(binomial[k] * x**k for k in range(a))
    beta = math.exp(math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5))
    far = x**a / beta * sum(binomial[k] * x**k / (a + k) for k in range(terms))
    # The smaller tail is computed, the larger one is its complement.
    smaller = 0.5 * jnp.where(x < tail_below, far, near)
    return jnp.where(z < 0, jnp.log(smaller), jnp.log1p(-smaller))


@student_t_log_cdf.defjvp
def _student_t_log_cdf_jvp(nu, primals, tangents):
    (z,) = primals
    value = student_t_log_cdf(z, nu)
    slope = jnp.exp(_student_t_log_density(z, nu) - value)
    return value, slope * tangents[0]
