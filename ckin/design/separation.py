"""How well a design tells one model from another, before anyone is fitted.

Both are linearised at their typical patient: readings of patient i are normal with mean
m_i and covariance V_i = J Ω Jᵀ + R. Model B is first brought as near to A as it comes:
its typical values are moved (their priors hold them) until B's likelihood of what A
predicts is largest. What is left over is the divergence

    KL = ½ Σ_i [ tr(V_B⁻¹ V_A) - n_i + ln |V_B| / |V_A| + r_iᵀ V_B⁻¹ r_i ],   r = m_A - m_B

which is the expected log score (elpd) that A wins over B, leaving patients out one at a
time, if A is true; and its standard error over cohorts drawn from A says whether a
comparison by LOO will see it.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.design.information import point, prior_sd, reading_information
from ckin.design.sensitivity import sensitivities
from ckin.inference.density import Density


# Gauss-Newton steps that bring B near A, and how often a step is halved.
STEPS, HALVINGS = 12, 6
# A reading that tells less than this share of a normal one is left out: it lies under
# its limit, and a normal approximation of it has no covariance.
LEAST_TOLD = 0.02


@dataclasses.dataclass(frozen=True)
class Separation:
    """What a comparison of B with A is expected to show when A is true.

    Attributes:
        truth: name of A.
        other: name of B.
        elpd_difference: expected advantage of A in log score, all patients together.
        standard_error: SD of it between cohorts.
        chance: probability that A comes out ahead.
        moved: typical values of B at its nearest to A, by name, each in its own unit.
        largest_gap_day: day of the reading that B misses by most, in its own SDs.
    """

    truth: str
    other: str
    elpd_difference: float
    standard_error: float
    chance: float
    moved: dict[str, float]
    largest_gap_day: float

    @property
    def separable(self) -> bool:
        """Whether the expected advantage is above twice its standard error."""
        return self.elpd_difference > 2.0 * self.standard_error


@eqx.filter_jit
def _marginal(density: Density, u: Float[Array, " hyper"]):
    """Mean, J and J Ω Jᵀ of everyone's readings at η = 0, and who was solved."""
    hyper = density.hyper(u)
    sens = sensitivities(density.population, density.data, hyper.centre)
    vary = jnp.array(density.population.vary_index, dtype=int)
    varying = sens.jacobian[:, :, vary] * hyper.omega
    between = jnp.einsum("nik,njk->nij", varying, varying)
    by_u = jax.jacfwd(lambda u: density.hyper(u).centre)(u)
    return (
        sens.log_reading,
        jnp.einsum("nie,neu->niu", sens.jacobian, by_u),
        between,
        sens.solved,
    )


def _misfit(gap, between, noise, seen):
    """½ r' V⁻¹ r of everyone, and V⁻¹ r; what is not seen has no covariance."""
    both = seen[:, :, None] & seen[:, None, :]
    covariance = jnp.where(both, between, 0.0) + jax.vmap(jnp.diag)(noise)
    pulled = jnp.linalg.solve(covariance, (gap * seen)[..., None])[..., 0]
    return 0.5 * jnp.sum(gap * seen * pulled), covariance


def separation(
    truth: Density,
    other: Density,
    names: tuple[str, str],
    *,
    sigma: dict[str, float] | None = None,
    key: Array,
) -> Separation:
    """Expected comparison of two models on one design, the first being true.

    Args:
        truth: A, on the design (`as_design`); its model's own values are taken as true.
        other: B, on the same samples.
        names: what to call them.
        sigma: error SD of each assay, else the prior medians.
        key: of the readings that say what one tells.
    """
    u_true, u = point(truth, sigma=sigma), point(other, sigma=sigma)
    mean, _, between, solved = _marginal(truth, u_true)
    hyper = truth.hyper(u_true)
    told = reading_information(truth.population, truth.data, mean, hyper.sigma, key)
    most = jnp.max(told, axis=1, keepdims=True)
    seen = (told > LEAST_TOLD * most) & truth.data.present & solved[:, None]
    noise = 1.0 / jnp.where(seen, told, 1.0)
    start, spread = u, jnp.asarray(prior_sd(other))
    held = spread**-2.0

    def loss(u, parts):
        value, covariance = _misfit(mean - parts[0], parts[2], noise, seen)
        return value + 0.5 * jnp.sum(held * (u - start) ** 2), covariance

    parts = _marginal(other, u)
    best, covariance = loss(u, parts)
    for _ in range(STEPS):
        gap = (mean - parts[0]) * seen
        by_u = parts[1] * seen[..., None]
        weighted = jnp.linalg.solve(covariance, by_u)
        slope = jnp.einsum("niu,ni->u", weighted, gap) - held * (u - start)
        bend = jnp.einsum("niu,niv->uv", weighted, by_u) + jnp.diag(held)
        step = jnp.linalg.solve(bend, slope)
        step = step * jnp.minimum(1.0, 2.0 / jnp.max(jnp.abs(step / spread)))
        for halving in range(HALVINGS):
            moved = u + step * 0.5**halving
            tried = _marginal(other, moved)
            value, tried_covariance = loss(moved, tried)
            if bool(jnp.all(tried[3])) and value < best:
                break
        else:
            break
        gained = float(best - value)
        u, parts, best, covariance = moved, tried, value, tried_covariance
        if gained < 1e-4 * abs(float(best)) + 1e-6:
            break
    gap = (mean - parts[0]) * seen
    each, scatter = _divergence(gap, between, parts[2], noise, seen)
    advantage, error = float(jnp.sum(each)), float(jnp.sqrt(jnp.sum(scatter)))
    worst = np.unravel_index(
        int(jnp.argmax(jnp.abs(gap) / jnp.sqrt(noise))), gap.shape
    )
    values = other.constrain(u)
    return Separation(
        truth=names[0],
        other=names[1],
        elpd_difference=advantage,
        standard_error=error,
        chance=float(jax.scipy.stats.norm.cdf(advantage / max(error, 1e-12))),
        moved={name: float(values[name]) for name in other.population.estimate},
        largest_gap_day=float(truth.data.time_d[worst]),
    )


@eqx.filter_jit
def _divergence(gap, between_a, between_b, noise, seen):
    """KL of each patient, and the variance of its log ratio under A."""
    both = seen[:, :, None] & seen[:, None, :]
    own = jax.vmap(jnp.diag)(noise)
    a = jnp.where(both, between_a, 0.0) + own
    b = jnp.where(both, between_b, 0.0) + own
    ratio = jnp.linalg.solve(b, a)
    pulled = jnp.linalg.solve(b, gap[..., None])[..., 0]
    size = gap.shape[1]
    trace = jnp.trace(ratio, axis1=1, axis2=2) - size
    volume = jnp.linalg.slogdet(b)[1] - jnp.linalg.slogdet(a)[1]
    each = 0.5 * (trace + volume + jnp.sum(gap * pulled, axis=1))
    off = ratio - jnp.eye(size)
    scatter = jnp.einsum("ni,nij,nj->n", pulled, a, pulled)
    return each, scatter + 0.5 * jnp.einsum("nij,nji->n", off, off)
