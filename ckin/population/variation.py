"""From η, standard normal, to how far a patient is from the typical one.

Every engine sees η as independent standard normal numbers. What a population assumes of
its patients is a transformation of them,

    deviation = ω T(L η)

with L the Cholesky factor of correlations and T either nothing or the map that turns a
standard normal number into one of Student's t with 4 degrees of freedom. Each deviation
is then ω times a t, and two of them have the Gaussian copula of L.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import erf, log_ndtr, ndtri

from ckin._types import Array, Float


# Degrees of freedom of heavy-tailed patients: few enough that one patient far out does
# not widen ω for all, and as few as have a finite variance and a closed quantile.
HEAVY_DF = 4

# Normal scores are not sought further out than this.
FARTHEST = 6.0


def student_t(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The t number (4 degrees of freedom) that is as far out as a standard normal z.

    Shaw's closed quantile (2006, J. Comput. Finance 9:37) with p = Φ(z), by angles, so
    that neither the tails nor the middle lose digits: with cos 3θ = √(4p(1-p)) and
    sin 3θ = 2p - 1 it is 4 sin θ √(cos θ / cos 3θ).
    """
    cosine = jnp.exp(0.5 * (log_ndtr(z) + log_ndtr(-z)) + jnp.log(2.0))
    theta = jnp.arctan2(erf(z / jnp.sqrt(2.0)), cosine) / 3.0
    return 4.0 * jnp.sin(theta) * jnp.sqrt(jnp.cos(theta) / cosine)


def normal_score(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Inverse of `student_t`, within ±`FARTHEST`."""
    square = 1.0 + 0.25 * t**2
    p = 0.5 + 0.375 * t / jnp.sqrt(square) * (1.0 - t**2 / (12.0 * square))
    return jnp.clip(ndtri(jnp.clip(p, 1e-9, 1.0 - 1e-9)), -FARTHEST, FARTHEST)


class Spread(eqx.Module):
    """How patients, and their cycles, differ: η to deviations of φ.

    Attributes:
        omega: SD of each column of η on the φ scale; the scale of a heavy-tailed one.
        mixing: lower Cholesky factor of the correlations; `None` where there are none.
        n_heavy: so many of the first columns are Student's t.
    """

    omega: Float[Array, " columns"]
    mixing: Float[Array, "columns columns"] | None = None
    n_heavy: int = eqx.field(static=True, default=0)

    @property
    def plain(self) -> bool:
        """Whether deviations are ω η."""
        return self.mixing is None and not self.n_heavy

    def scores(self, eta: Float[Array, "*batch columns"]) -> Array:
        """Correlated standard normal numbers: L η."""
        return eta if self.mixing is None else eta @ self.mixing.T

    def deviations(self, eta: Float[Array, "*batch columns"]) -> Array:
        """Of φ, from η."""
        return self.omega * self._tailed(self.scores(eta))

    def etas(self, deviations: Float[Array, "*batch columns"]) -> Array:
        """Inverse of `deviations`; heavy-tailed ones within ±`FARTHEST` SDs."""
        z, n = deviations / self.omega, self.n_heavy
        if n:
            z = jnp.concatenate([normal_score(z[..., :n]), z[..., n:]], axis=-1)
        if self.mixing is None:
            return z
        flat = z.reshape(-1, z.shape[-1]).T
        solved = jax.scipy.linalg.solve_triangular(self.mixing, flat, lower=True)
        return solved.T.reshape(z.shape)

    def slopes(self, eta: Float[Array, "patients columns"]) -> Array:
        """Derivative of deviations by η, (patients, columns, columns)."""
        size = self.omega.shape[0]
        mixing = jnp.eye(size) if self.mixing is None else self.mixing
        steep = jnp.ones_like(eta)
        if self.n_heavy:
            z = self.scores(eta)
            _, steep = jax.jvp(self._tailed, (z,), (jnp.ones_like(z),))
        return (self.omega * steep)[..., None] * mixing

    def _tailed(self, z: Array) -> Array:
        n = self.n_heavy
        if not n:
            return z
        return jnp.concatenate([student_t(z[..., :n]), z[..., n:]], axis=-1)
