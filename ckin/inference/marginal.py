"""The likelihood of the population with patients integrated out, by Laplace, exactly.

    log L(θ) = Σ_i [ h_i(η̂_i) - ½ log det H_i ] ,   H_i = -∂²h_i/∂η² at η̂_i

h_i is the log likelihood of patient i plus the log density of its η (standard normal,
so that factors of 2π cancel), and η̂_i its mode under θ. All derivatives are those of
the model itself (forward over forward mode), not of a quadratic around it: unlike
`laplace`, which serves starts and geometry, this is the number that people compare.

The gradient is exact: η̂ moves with θ as H⁻¹ ∂²h/∂η∂θ (implicit function theorem), and
takes log det H along.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, Float
from ckin.inference.density import Density, Hyper
from ckin.inference.individual import log_posteriors
from ckin.inference.laplace import cholesky, solve_lower, solve_upper


# A mode is found when a Newton step would gain less than half the square of this, in
# nats; the curvature of the marginal is a difference of gradients, and wants digits.
DECREMENT = 1e-9
MODE_STEPS = 60
# No step is longer than this, in SDs of the population.
LONGEST_STEP = 2.0
# Curvatures below this are taken for it while searching: the prior's alone is 1.
LEAST_CURVATURE = 0.05
# A step that did not gain is cut to a quarter, and given up below this.
LEAST_PACE = 1e-7


class Modes(NamedTuple):
    """The mode of each patient under a population.

    Attributes:
        eta: (patients, varying).
        value: h there, (patients,).
        curvature: H there, (varying, varying, patients).
        decrement: √(gᵀ H⁻¹ g): SDs left to go, (patients,); NaN where H is not that of
            a maximum.
    """

    eta: Float[Array, "patients varying"]
    value: Float[Array, " patients"]
    curvature: Float[Array, "varying varying patients"]
    decrement: Float[Array, " patients"]


def smooth(density: Density) -> Density:
    """The density with trajectories that may be differentiated more than once."""
    return eqx.tree_at(lambda d: d.solver, density, density.solver.smoothly())


def derivatives(density: Density, hyper: Hyper, eta: Array):
    """Of every patient h, its slope, and minus its curvature, in η.

    Returns:
        (patients,), (varying, patients), (varying, varying, patients).
    """
    value = lambda eta: log_posteriors(density, hyper, eta)
    size, patients = eta.shape[1], eta.shape[0]
    if size == 0:
        return value(eta), jnp.zeros((0, patients)), jnp.zeros((0, 0, patients))
    low = np.array([(i, j) for i in range(size) for j in range(i + 1)])

    # Patients do not touch each other: one tangent serves all of them. All derivatives
    # come from one walk, because each walk is compiled anew.
    def along(first, second):
        one = jnp.broadcast_to(jnp.eye(size)[first], eta.shape)
        other = jnp.broadcast_to(jnp.eye(size)[second], eta.shape)
        push = lambda eta: jax.jvp(value, (eta,), (one,))
        (h, slope), (_, bend) = jax.jvp(push, (eta,), (other,))
        return h, slope, bend

    h, slopes, bends = jax.vmap(along, out_axes=(None, 0, 0))(low[:, 0], low[:, 1])
    curvature = jnp.zeros((size, size, patients))
    curvature = curvature.at[low[:, 0], low[:, 1]].set(-bends)
    curvature = curvature.at[low[:, 1], low[:, 0]].set(-bends)
    # Pairs (k, k), in whose first direction the slope was taken.
    return h, slopes[np.flatnonzero(low[:, 0] == low[:, 1])], curvature


@eqx.filter_jit
def find_modes(density: Density, u: Array, start: Array) -> Modes:
    """Mode of every patient by damped Newton steps, patients side by side.

    A step is along the curvature where that is of a maximum, and away from saddles
    where it is not; one that does not gain is cut.

    Args:
        density: a `smooth` one.
        u: population parameters.
        start: η to start from, (patients, varying).
    """
    hyper = density.hyper(u)

    def better(state):
        eta, value, slope, curvature, pace, count = state
        step = _step(slope, curvature)
        trial = eta + pace[:, None] * step
        new_value, new_slope, new_curvature = derivatives(density, hyper, trial)
        # What is lost to rounding is no loss.
        slack = 1e-13 * (1.0 + jnp.abs(value))
        gains = new_value >= value - slack
        finite = jnp.all(jnp.isfinite(new_slope), axis=0)
        gains &= finite & jnp.all(jnp.isfinite(new_curvature), axis=(0, 1))
        pick = lambda new, old: jnp.where(gains, new, old)
        return (
            pick(trial.T, eta.T).T,
            pick(new_value, value),
            pick(new_slope, slope),
            pick(new_curvature, curvature),
            jnp.where(gains, jnp.minimum(1.0, 4.0 * pace), 0.25 * pace),
            count + 1,
        )

    def unfinished(state):
        _, _, slope, curvature, pace, count = state
        size = jnp.sqrt(jnp.sum(_step(slope, curvature).T * slope, axis=0))
        going = (size > DECREMENT) & (pace > LEAST_PACE)
        return jnp.any(going) & (count < MODE_STEPS)

    first = derivatives(density, hyper, start)
    state = (start, *first, jnp.ones(start.shape[0]), 0)
    eta, value, slope, curvature, *_ = lax.while_loop(unfinished, better, state)
    half = solve_lower(cholesky(curvature), slope)
    left = jnp.sqrt(jnp.sum(half**2, axis=0))
    # Nobody is at a mode who cannot be solved there.
    left = jnp.where(jnp.isfinite(value), left, jnp.nan)
    return Modes(eta, value, curvature, left)


def _step(slope: Array, curvature: Array) -> Float[Array, "patients varying"]:
    """Newton's step with curvatures made positive, and not too long."""
    whole = jnp.where(jnp.isfinite(curvature), curvature, 0.0)
    size, axis = jnp.linalg.eigh(jnp.moveaxis(whole, 2, 0))
    size = jnp.maximum(jnp.abs(size), LEAST_CURVATURE)
    slope = jnp.where(jnp.isfinite(slope), slope, 0.0)
    along = jnp.einsum("pij,ip->pj", axis, slope) / size
    step = jnp.einsum("pij,pj->pi", axis, along)
    length = jnp.sqrt(jnp.sum(step**2, axis=1, keepdims=True))
    return step * jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(length, 1e-30))


# Nodes of a quadrature along each axis of η, by how many axes there are.
NODES = {1: 15, 2: 9, 3: 7, 4: 5}


@eqx.filter_jit
def by_quadrature(
    density: Density, u: Array, modes: Modes
) -> Float[Array, " patients"] | None:
    """Log likelihood of every patient by adaptive Gauss-Hermite quadrature.

    As good as exact where Laplace is good, and tells how good that is. `None` for more
    than four varying parameters: there would be too many nodes.
    """
    size = modes.eta.shape[1]
    hyper = density.hyper(u)
    if size == 0:
        return log_posteriors(density, hyper, modes.eta)
    if size not in NODES:
        return None
    x, weight = np.polynomial.hermite_e.hermegauss(NODES[size])
    nodes = np.stack(np.meshgrid(*[x] * size, indexing="ij"), axis=-1).reshape(-1, size)
    each = np.stack(np.meshgrid(*[np.log(weight)] * size, indexing="ij"), axis=-1)
    log_weight = each.reshape(-1, size).sum(axis=1) + 0.5 * np.sum(nodes**2, axis=1)
    factor = cholesky(modes.curvature)

    def at(node):
        z = jnp.broadcast_to(node[:, None], (size, modes.eta.shape[0]))
        eta = modes.eta + solve_upper(factor, z).T
        return log_posteriors(density, hyper, eta)

    heights = lax.map(at, jnp.asarray(nodes)) + jnp.asarray(log_weight)[:, None]
    log_det = jnp.sum(jnp.log(jnp.einsum("iin->in", factor)), axis=0)
    constant = 0.5 * size * np.log(2.0 * np.pi)
    return jax.scipy.special.logsumexp(heights, axis=0) - log_det - constant


@eqx.filter_jit
def value_and_slope(
    density: Density, u: Array, modes: Modes
) -> tuple[Float[Array, " patients"], Float[Array, " hyper"]]:
    """Log likelihood of each patient, patients integrated out, and the sum's slope.

    Args:
        density: a `smooth` one.
        u: population parameters.
        modes: of every patient under them.
    """
    hyper, pull_u = jax.vjp(density.hyper, u)

    def at(hyper, eta):
        h, _, curvature = derivatives(density, hyper, eta)
        diagonal = jnp.einsum("iin->in", cholesky(curvature))
        return h - jnp.sum(jnp.log(diagonal), axis=0)

    each, pull = jax.vjp(at, hyper, modes.eta)
    by_hyper, by_eta = pull(jnp.ones_like(each))
    if modes.eta.shape[1] == 0:
        return each, pull_u(by_hyper)[0]
    # The modes move with θ by H⁻¹ ∂²h/∂η∂θ, and what the marginal changes with them is
    # the slope of the log determinant: that of h is nothing there.
    factor = cholesky(modes.curvature)
    weight = solve_upper(factor, solve_lower(factor, by_eta.T)).T

    def along(hyper):
        value = lambda eta: log_posteriors(density, hyper, eta)
        return jnp.sum(jax.jvp(value, (modes.eta,), (weight,))[1])

    moved = jax.grad(along)(hyper)
    return each, pull_u(jax.tree.map(jnp.add, by_hyper, moved))[0]
