"""How far a reading may lie from the truth, and how likely what was read is.

An error law takes the natural log of the error-free reading and σ, the SD of the
natural log between samples that read the same (handling, extraction, and what the
model lacks). A reading below its limit contributes the probability of lying there:
left-censored, the M3 method of pharmacometrics.

Readings that are counts (cells in a gate, copies in a tube, positive partitions)
scatter besides by how few were counted. There σ becomes a gamma, or beta, scatter of
the expected count with the same coefficient of variation, √(exp(σ²) - 1):

    count ~ negative binomial, mean μ, variance μ + μ² (exp(σ²) - 1)

(μ is the mean of the counts, not their median), which is Poisson at σ = 0 and has a
coefficient of variation of its own, not 1/√μ, where much was counted. Nothing counted
is "below one": an ordinary censored reading.
"""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, gammaln, log_ndtr

from ckin._types import Array, ArrayLike, Float
from ckin.assay.student_t import student_t_log_cdf, student_t_log_density
from ckin.ct.likelihood import SampleWells


# A reading of nothing at all has no logarithm. 1e-12 of any unit is below any detection
# limit by five decades at least, so the floor never changes a likelihood.
FLOOR = 1e-12

# Tails for the Student-t error: 4 keeps a finite variance and forgives an outlier.
DEFAULT_NU = 4

# A limit of up to so many counts is taken exactly, as the sum over fewer. One of more
# is taken on the log scale, where the scatter of counting is under 22% and adds to σ.
EXACT_COUNTS = 20

# Copies per partition under which a positive one is not looked for: keeps the gamma
# functions in the digits of a float.
LEAST_OCCUPANCY = 1e-9


# What a law needs that no column holds: the wells of a sample.
WELLS = "WELLS"


class Curves(eqx.Module):
    """What the wells of samples are read by; arrays that broadcast against readings.

    Attributes:
        intercept: Ct of one copy on the plate of each sample.
        slope: cycles per decade there.
        tau: SD of a well, cycles.
    """

    intercept: Float[Array, "*samples"]
    slope: Float[Array, "*samples"]
    tau: Float[Array, "*#samples"]


class Sampled(eqx.Module):
    """What a sample was, besides its reading; arrays that broadcast against readings.

    Attributes:
        examined: what value times this is a count: µg of DNA, µL of blood, ABL1 copies
            (hundredths of them for a ratio in %). 1 where nobody counts.
        partitions: partitions of a ddPCR reaction; 1 where there are none.
        wells: what qPCR samples were read from; `None` where no one asks.
        curves: what the wells are read by, when that is known.
        additive: additive part of a combined error, in the unit of the assay, when that
            is known.
    """

    examined: Float[ArrayLike, "*samples"] = 1.0
    partitions: Float[ArrayLike, "*samples"] = 1.0
    wells: SampleWells | None = None
    curves: Curves | None = None
    additive: Float[ArrayLike, "*#samples"] | None = None


NOT_COUNTED = Sampled()


class AbstractError(eqx.Module):
    """An error law.

    Attributes of the class:
        name: what options and manifests call it.
        needs: columns of the data that a sample must fill in.
        heavy_tails: the log likelihood of a reading is not concave in its prediction.
        takes_zero: a reading may be 0.
        sigma_unit: what σ is in; "" for the unit of the assay.
        has_additive: beside σ there is an additive part (`Sampled.additive`).
    """

    name: eqx.AbstractClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    heavy_tails: ClassVar[bool] = False
    takes_zero: ClassVar[bool] = False
    sigma_unit: ClassVar[str] = "SD of log"
    has_additive: ClassVar[bool] = False

    @abc.abstractmethod
    def log_likelihood(
        self,
        log_prediction: Float[ArrayLike, "*samples"],
        log_value: Float[ArrayLike, "*samples"],
        below: ArrayLike,
        sigma: ArrayLike,
        sampled: Sampled,
    ) -> Float[Array, "*samples"]:
        """Log likelihood of each reading; see `Assay.log_likelihood`."""

    @abc.abstractmethod
    def draw(
        self, key: Array, log_prediction: Array, sigma: ArrayLike, sampled: Sampled
    ) -> Array:
        """Natural log of readings with error, before any limit."""

    def information(
        self, log_prediction: Array, sigma: ArrayLike, sampled: Sampled
    ) -> Array | None:
        """What a reading is expected to say of its log prediction.

        `None` where the curvature of its log likelihood serves, which is not below 0.
        """
        del log_prediction, sigma, sampled

    def residual(
        self,
        log_prediction: Array,
        log_value: Array,
        sigma: ArrayLike,
        sampled: Sampled,
    ) -> Array:
        """How many SDs a reading is off: of its natural log, unless a law says else."""
        del sampled
        return (log_value - log_prediction) / sigma


class Normal(AbstractError):
    """Normal error of the natural log: a constant coefficient of variation."""

    name: ClassVar[str] = "normal"

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Normal density of the log; its distribution function below the limit."""
        del sampled
        z = (log_value - log_prediction) / sigma
        density = -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)
        return jnp.where(below, log_ndtr(z), density - jnp.log(sigma))

    def draw(self, key, log_prediction, sigma, sampled):
        """Normal noise of SD σ."""
        del sampled
        return log_prediction + sigma * jax.random.normal(key, log_prediction.shape)


class StudentT(AbstractError):
    """Student-t error of the natural log, of scale σ: forgives outliers.

    Attributes:
        nu: degrees of freedom, an even number.
    """

    nu: int = eqx.field(static=True, default=DEFAULT_NU)
    name: ClassVar[str] = "student_t"
    heavy_tails: ClassVar[bool] = True

    def __check_init__(self):
        if self.nu < 2 or self.nu % 2:
            raise ValueError(f"nu={self.nu}: degrees of freedom are 2, 4, 6, ... here")

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Student-t density of the log; its distribution function below the limit."""
        del sampled
        z = (log_value - log_prediction) / sigma
        density = student_t_log_density(z, self.nu) - jnp.log(sigma)
        return jnp.where(below, student_t_log_cdf(z, self.nu), density)

    def draw(self, key, log_prediction, sigma, sampled):
        """Student-t noise of scale σ."""
        del sampled
        return log_prediction + sigma * jax.random.t(key, self.nu, log_prediction.shape)


class Counts(AbstractError):
    """Counts of a known amount: negative binomial, Poisson at σ = 0."""

    name: ClassVar[str] = "counts"
    needs: ClassVar[tuple[str, ...]] = ("EXAMINED",)

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Probability of the count; of fewer than the limit, below it."""
        log_prediction, log_value = jnp.broadcast_arrays(log_prediction, log_value)
        shape = 1.0 / jnp.expm1(jnp.square(sigma))
        log_mean = log_prediction + jnp.log(sampled.examined)
        # log of μ/(μ + shape) and of shape/(μ + shape), which never overflow.
        gap = log_mean - jnp.log(shape)
        log_hit, log_miss = -jnp.logaddexp(0.0, -gap), -jnp.logaddexp(0.0, gap)
        amount = jnp.exp(log_value) * sampled.examined
        limit, count = _as_limit(amount), jnp.round(amount)
        j = _each_fewer(limit)
        steps = jnp.log((j + shape) / (j + 1.0)) + log_hit
        few = _log_probability_of_fewer(limit, shape * log_miss, steps)
        many = _log_probability_below(log_prediction, log_value, sigma, limit)
        tail = jnp.where(limit <= EXACT_COUNTS, few, many)
        mass = gammaln(count + shape) - gammaln(shape) - gammaln(count + 1.0)
        return jnp.where(below, tail, mass + shape * log_miss + count * log_hit)

    def residual(self, log_prediction, log_value, sigma, sampled):
        """Pearson's: the count less its mean, in SDs."""
        mean = jnp.exp(log_prediction) * sampled.examined
        count = jnp.exp(log_value) * sampled.examined
        return (count - mean) / jnp.sqrt(mean + mean**2 * jnp.expm1(sigma**2))

    def draw(self, key, log_prediction, sigma, sampled):
        """Poisson counts of a gamma-scattered mean."""
        scatter, count = jax.random.split(key)
        shape = 1.0 / jnp.expm1(jnp.square(jnp.asarray(sigma, dtype=float)))
        shape = jnp.broadcast_to(shape, log_prediction.shape)
        mean = jnp.exp(log_prediction) * sampled.examined
        # At σ = 0 the shape is infinite and nothing scatters but the count.
        exact = ~jnp.isfinite(shape)
        drawn = jax.random.gamma(scatter, jnp.where(exact, 1.0, shape)) / shape
        counts = jax.random.poisson(count, jnp.where(exact, mean, mean * drawn))
        return _log_reading(counts, sampled.examined)


class Partitions(AbstractError):
    """Positive partitions of a ddPCR reaction: beta-binomial, binomial at σ = 0.

    A partition is positive unless none of the copies fell into it (Poisson): with μ
    copies in n partitions, with probability p = 1 - exp(-μ/n). A reading is the copies
    that so many positives stand for, -n log(1 - positives/n).
    """

    name: ClassVar[str] = "partitions"
    needs: ClassVar[tuple[str, ...]] = ("EXAMINED", "PARTITIONS")

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Probability of the positives; of fewer than the limit's, below it."""
        log_prediction, log_value = jnp.broadcast_arrays(log_prediction, log_value)
        a, b = self._beta(log_prediction, sigma, sampled)
        n = jnp.asarray(sampled.partitions)
        copies = jnp.exp(log_value) * sampled.examined
        positives = jnp.minimum(-n * jnp.expm1(-copies / n), n)
        limit, count = _as_limit(positives), jnp.round(positives)
        j = _each_fewer(limit)
        steps = jnp.log((a + j) / (j + 1.0))
        steps += jnp.log(jnp.maximum(n - j, 1e-300) / (b + jnp.maximum(n - j - 1, 0.0)))
        none = betaln(a, b + n) - betaln(a, b)
        few = _log_probability_of_fewer(limit, none, steps)
        many = _log_probability_below(log_prediction, log_value, sigma, limit)
        tail = jnp.where(limit <= EXACT_COUNTS, few, many)
        ways = gammaln(n + 1.0) - gammaln(count + 1.0) - gammaln(n - count + 1.0)
        mass = ways + betaln(a + count, b + n - count) - betaln(a, b)
        return jnp.where(below, tail, mass)

    def _beta(self, log_prediction, sigma, sampled: Sampled) -> tuple[Array, Array]:
        """Parameters of the beta that scatters the share of positives."""
        copies = jnp.exp(log_prediction) * sampled.examined
        occupancy = jnp.maximum(copies / sampled.partitions, LEAST_OCCUPANCY)
        positive = -jnp.expm1(-occupancy)
        # Var p = (dp/dλ · λ · CV)² for a scatter of λ with this CV, as far as p(1-p)
        # leaves room.
        spread = jnp.square(occupancy) * jnp.expm1(jnp.square(sigma))
        concentration = jnp.expm1(occupancy) / spread
        return positive * concentration, jnp.exp(-occupancy) * concentration

    def residual(self, log_prediction, log_value, sigma, sampled):
        """Pearson's: the positives less their mean, in SDs."""
        a, b = self._beta(log_prediction, jnp.maximum(sigma, 1e-6), sampled)
        n = jnp.asarray(sampled.partitions)
        positives = -n * jnp.expm1(-jnp.exp(log_value) * sampled.examined / n)
        variance = n * a * b * (a + b + n) / ((a + b) ** 2 * (a + b + 1.0))
        return (positives - n * a / (a + b)) / jnp.sqrt(variance)

    def draw(self, key, log_prediction, sigma, sampled):
        """Binomial counts of a beta-scattered share, as the copies they stand for."""
        scatter, count = jax.random.split(key)
        n = jnp.broadcast_to(jnp.asarray(sampled.partitions), log_prediction.shape)
        copies = jnp.exp(log_prediction) * sampled.examined
        exact = jnp.broadcast_to(jnp.asarray(sigma) == 0.0, log_prediction.shape)
        a, b = self._beta(log_prediction, jnp.where(exact, 1.0, sigma), sampled)
        share = jax.random.beta(scatter, a, b)
        share = jnp.where(exact, -jnp.expm1(-copies / n), share)
        hits = jax.random.binomial(count, n, share)
        # All positive says only that there were more: read as all but a half.
        return _log_reading(
            -n * jnp.log1p(-jnp.minimum(hits, n - 0.5) / n), sampled.examined
        )


class RawCt(AbstractError):
    """Normal error of the natural log, seen through the wells of a qPCR plate.

    The reading and its limit are passed over: the wells say more (`ckin.ct`).
    """

    name: ClassVar[str] = "wells"
    needs: ClassVar[tuple[str, ...]] = (WELLS,)

    def log_likelihood(self, log_prediction, log_value, below, sigma, sampled):
        """Density of the Ct of all wells of a sample, and chance of those without."""
        del log_value, below
        if sampled.wells is None or sampled.curves is None:
            raise ValueError("a sample without wells, or wells without their curves")
        curves = sampled.curves
        return sampled.wells.log_likelihood(
            log_prediction, curves.intercept, curves.slope, curves.tau, sigma
        )

    def residual(self, log_prediction, log_value, sigma, sampled):
        """None: several wells say together what one sample holds."""
        del log_value, sigma, sampled
        return jnp.full_like(log_prediction, jnp.nan)

    def draw(self, key, log_prediction, sigma, sampled):
        """What the sample holds: normal noise of SD σ, before any well is filled."""
        return Normal().draw(key, log_prediction, sigma, sampled)


def _as_limit(count: Array) -> Array:
    """A limit as "fewer than so many": from 1 on."""
    # A limit of one copy in 3 µL, times 3, may come out as 1 + 1e-16.
    return jnp.maximum(jnp.ceil(count - 1e-6), 1.0)


def _each_fewer(limit: Array) -> Array:
    """0, 1, 2, ... EXACT_COUNTS - 2 on a new first axis."""
    return jnp.arange(EXACT_COUNTS - 1.0).reshape(-1, *(1,) * jnp.ndim(limit))


def _log_probability_of_fewer(limit: Array, none: Array, steps: Array) -> Array:
    """Log of the probability of a count below `limit`.

    Args:
        limit: from 1 on.
        none: log probability of no count.
        steps: log ratio of the probabilities of j + 1 and j, j on the first axis.
    """
    steps = jnp.broadcast_to(
        steps,
        (
            EXACT_COUNTS - 1,
            *jnp.broadcast_shapes(jnp.shape(none), jnp.shape(limit), steps.shape[1:]),
        ),
    )
    relative = jnp.cumsum(steps, axis=0)
    counted = jnp.arange(1, EXACT_COUNTS).reshape(-1, *(1,) * (steps.ndim - 1)) < limit
    others = jnp.where(counted, relative, -jnp.inf)
    top = jnp.maximum(jnp.max(others, axis=0), 0.0)
    total = jnp.exp(-top) + jnp.sum(jnp.exp(others - top), axis=0)
    return none + top + jnp.log(total)


def _log_probability_below(log_prediction, log_value, sigma, limit) -> Array:
    """The same of a limit of many counts: normal on the log scale.

    With the mean and the variance of the log of a gamma of the same CV (its digamma and
    trigamma functions to third order), to 0.05 of a probability up to σ = 0.5.
    """
    spread = jnp.expm1(jnp.square(sigma)) + 1.0 / limit
    centre = -spread / 2.0 - spread**2 / 12.0
    sd = jnp.sqrt(spread + spread**2 / 2.0 + spread**3 / 6.0)
    # The largest count below is half way to the limit's own from the next.
    log_value = log_value + jnp.log1p(-0.5 / limit)
    return log_ndtr((log_value - log_prediction - centre) / sd)


def _log_reading(count: Array, examined: ArrayLike) -> Array:
    return jnp.log(jnp.maximum(count / examined, FLOOR))
