"""Student-t distributions of even degrees of freedom, in closed form."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from ckin._types import Array, ArrayLike


# Far tail of the Student-t distribution function: a series serves it, from where the
# elementary form has lost these many digits, to this relative error.
TAIL_CANCELS, TAIL_ERROR = 1e-4, 1e-13


def student_t_log_density(z: ArrayLike, nu: int) -> Array:
    """Log density of the Student-t distribution at `z`."""
    half = 0.5 * (nu + 1.0)
    constant = math.lgamma(half) - math.lgamma(0.5 * nu)
    constant -= 0.5 * math.log(nu * math.pi)
    return constant - half * jnp.log1p(jnp.asarray(z) ** 2 / nu)


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
    slope = jnp.exp(student_t_log_density(z, nu) - value)
    return value, slope * tangents[0]
