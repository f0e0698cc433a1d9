"""How well a design tells one model from another, before anyone is fitted.

Both are linearised at their typical patient: readings of patient i are normal with mean
m_i and covariance V_i = J Ω Jᵀ + R. Model B is first brought as near to A as it comes:
its typical values are moved (their priors hold them) until B's likelihood of what A
predicts is largest. What is left over is the divergence

    KL = ½ Σ_i [ tr(V_B⁻¹ V_A) - n_i + ln |V_B| / |V_A| + rᵀ V_B⁻¹ r ],  r = m_A - m_B

which is the expected log score (elpd) that A wins over B, leaving patients out one at a
time, if A is true; and its standard error over cohorts drawn from A says whether a
comparison by LOO will see it.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Bool, Float
from ckin.design.days import Criterion
from ckin.design.information import (
    check_plain,
    point,
    prior_sd,
    reading_information,
)
from ckin.design.sensitivity import sensitivities
from ckin.inference.density import Density


# Gauss-Newton steps that bring B near A, and how often a step is halved.
STEPS, HALVINGS = 12, 6
# Longest step, in prior SDs, and a gain (of log likelihood) that ends the search.
LONGEST, ENOUGH = 2.0, 1e-4
# A reading that tells less than this share of a normal one is left out: it lies under
# its limit, and a normal approximation of it has no covariance.
LEAST_TOLD = 0.02
# Nats that are nothing but rounding.
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Separation:
    """What a comparison of B with A is expected to show when A is true.

    Attributes:
        truth: name of A.
        other: name of B.
        elpd_difference: expected advantage of A in log score, all patients together.
        standard_error: SD of it between cohorts.
        chance: probability that A comes out ahead.
        nearest: typical values of B at its nearest to A, by name, each in its own unit.
        largest_gap_day: day of the reading that B misses by most.
    """

    truth: str
    other: str
    elpd_difference: float
    standard_error: float
    chance: float
    nearest: Mapping[str, float]
    largest_gap_day: float

    @property
    def separable(self) -> bool:
        """Whether the expected advantage is above twice its standard error."""
        # Of a law and itself both are rounding errors.
        return self.elpd_difference > max(2.0 * self.standard_error, ROUNDING)


class Marginal(eqx.Module):
    """Everyone's readings, linearised at the typical patient.

    Attributes:
        mean: natural log.
        by_u: derivative by the population parameters.
        varying: J Ω^½, so that readings covary by `varying varyingᵀ`.
        solved: who was solved.
    """

    mean: Float[Array, "patients samples"]
    by_u: Float[Array, "patients samples hyper"]
    varying: Float[Array, "patients samples varying"]
    solved: Bool[Array, " patients"]


@eqx.filter_jit
def marginal(density: Density, u: Float[Array, " hyper"]) -> Marginal:
    """Linearised readings of a design at these population parameters."""
    check_plain(density.population)
    hyper = density.hyper(u)
    sens = sensitivities(density.population, density.data, hyper.centre)
    vary = jnp.array(density.population.vary_index, dtype=int)
    centre_by_u = jax.jacfwd(lambda u: density.hyper(u).centre)(u)
    return Marginal(
        mean=sens.log_reading,
        by_u=jnp.einsum("nie,neu->niu", sens.jacobian, centre_by_u),
        varying=sens.jacobian[:, :, vary] * hyper.omega,
        solved=sens.solved,
    )


def _whitened(varying, told, *columns):
    """Columns as V^-½ sees them: products of two are x V⁻¹ y, patient by patient.

    V = varying varyingᵀ + 1/told by Woodbury, so that `told` may be 0.
    """
    root = jnp.sqrt(jnp.where(told > 0, told, 1.0)) * (told > 0)
    half = root[..., None] * varying
    size = varying.shape[-1]
    precision = jnp.eye(size) + jnp.einsum("nik,nil->nkl", half, half)
    factor = jnp.linalg.cholesky(precision)

    def product(x, y):
        x, y = (root[..., None] * each for each in (x, y))
        seen_x, seen_y = (
            jax.scipy.linalg.solve_triangular(
                factor, jnp.einsum("nik,nia->nka", half, each), lower=True
            )
            for each in (x, y)
        )
        own = jnp.einsum("nia,nib->nab", x, y)
        return own - jnp.einsum("nka,nkb->nab", seen_x, seen_y)

    return [
        product(columns[i], columns[j])
        for i in range(len(columns))
        for j in range(i + 1)
    ]


class Nearest(eqx.Module):
    """B as near to A as it comes, on one design.

    Attributes:
        u: population parameters of B there.
        gap: what B misses of A's mean readings.
        a: A's readings.
        b: B's.
        told: what each reading tells of its log prediction; 0 where nothing.
        held: precision of B's priors.
    """

    u: Float[Array, " hyper"]
    gap: Float[Array, "patients samples"]
    a: Marginal
    b: Marginal
    told: Float[Array, "patients samples"]
    held: Float[Array, " hyper"]


@eqx.filter_jit
def _step(u, start, held, mean, b: Marginal, told):
    """Loss at u, and Gauss-Newton's way from there."""
    gap = ((mean - b.mean) * (told > 0))[..., None]
    same, across, bend = _whitened(b.varying, told, gap, b.by_u)
    loss = 0.5 * jnp.sum(same) + 0.5 * jnp.sum(held * (u - start) ** 2)
    slope = jnp.sum(across, axis=0)[:, 0] - held * (u - start)
    step = jnp.linalg.solve(jnp.sum(bend, axis=0) + jnp.diag(held), slope)
    return loss, step * jnp.minimum(1.0, LONGEST / jnp.max(jnp.abs(step) * held**0.5))


def nearest(
    truth: Density, other: Density, sigma: Mapping[str, float] | None, key: Array
) -> Nearest:
    """Move the typical values of `other` to where it predicts most like `truth`."""
    u_true, start = point(truth, sigma=sigma), point(other, sigma=sigma)
    a = marginal(truth, u_true)
    hyper = truth.hyper(u_true)
    told = reading_information(truth.population, truth.data, a.mean, hyper.sigma, key)
    most = jnp.max(told, axis=1, keepdims=True)
    told = jnp.where((told > LEAST_TOLD * most) & a.solved[:, None], told, 0.0)
    held = jnp.asarray(prior_sd(other)) ** -2.0
    u, b = start, marginal(other, start)
    best, step = _step(u, start, held, a.mean, b, told)
    for _ in range(STEPS):
        for halving in range(HALVINGS):
            moved = u + step * 0.5**halving
            tried = marginal(other, moved)
            loss, onward = _step(moved, start, held, a.mean, tried, told)
            if bool(jnp.all(tried.solved)) and bool(loss < best):
                break
        else:
            break
        gained = float(best - loss)
        u, b, best, step = moved, tried, loss, onward
        if gained < ENOUGH * (1.0 + abs(float(best))):
            break
    return Nearest(u, (a.mean - b.mean) * (told > 0), a, b, told, held)


def separation(
    truth: Density,
    other: Density,
    names: tuple[str, str],
    *,
    sigma: Mapping[str, float] | None = None,
    scale: float = 1.0,
    key: Array,
) -> Separation:
    """Expected comparison of two models on one design, the first being true.

    Args:
        truth: A, on the design (`as_design`); its model's own values are taken as true.
        other: B, on the same samples.
        names: what to call them.
        sigma: error SD of each assay, else the prior medians.
        scale: patients of the trial for each of those in the design.
        key: of the readings that say what one tells.
    """
    near = nearest(truth, other, sigma, key)
    each, scatter = _divergence(near)
    advantage = scale * float(jnp.sum(each))
    error = float(jnp.sqrt(scale * jnp.sum(scatter)))
    strength = jnp.abs(near.gap) * jnp.sqrt(near.told)
    worst = np.unravel_index(int(jnp.argmax(strength)), strength.shape)
    values = other.constrain(near.u)
    return Separation(
        truth=names[0],
        other=names[1],
        elpd_difference=advantage,
        standard_error=error,
        chance=float(jax.scipy.stats.norm.cdf(advantage / max(error, 1e-12))),
        nearest={name: float(values[name]) for name in other.population.estimate},
        largest_gap_day=float(truth.data.time_d[worst]),
    )


@eqx.filter_jit
def _divergence(near: Nearest):
    """KL of each patient, and the variance of its log ratio under A."""
    seen = near.told > 0
    own = jax.vmap(jnp.diag)(
        jnp.where(seen, 1.0 / jnp.where(seen, near.told, 1.0), 1.0)
    )

    def covariance(varying):
        varying = varying * seen[..., None]
        return jnp.einsum("nik,njk->nij", varying, varying) + own

    a, b = covariance(near.a.varying), covariance(near.b.varying)
    ratio = jnp.linalg.solve(b, a)
    pulled = jnp.linalg.solve(b, near.gap[..., None])[..., 0]
    size = near.gap.shape[1]
    trace = jnp.trace(ratio, axis1=1, axis2=2) - size
    volume = jnp.linalg.slogdet(b)[1] - jnp.linalg.slogdet(a)[1]
    each = 0.5 * (trace + volume + jnp.sum(near.gap * pulled, axis=1))
    off = ratio - jnp.eye(size)
    scatter = jnp.einsum("ni,nij,nj->n", pulled, a, pulled)
    return each, scatter + 0.5 * jnp.einsum("nij,nji->n", off, off)


def gap_between(near: Nearest, scale: float) -> Criterion:
    """Expected log score that the means alone win for A, by what is sampled.

    B may move its typical values once more for each choice of days. Covariances, which
    a choice of days changes little, are left out.

    Args:
        near: from `nearest`, on the candidate days.
        scale: patients of the trial for each of those in it.
    """

    def criterion(weights):
        told = near.told * weights[None, :]
        gap = near.gap[..., None]
        same, across, bend = (
            scale * jnp.sum(each, axis=0)
            for each in _whitened(near.b.varying, told, gap, near.b.by_u)
        )
        slope = across[:, 0]
        taken = jnp.linalg.solve(bend + jnp.diag(near.held), slope)
        return 0.5 * (same[0, 0] - slope @ taken)

    return criterion
