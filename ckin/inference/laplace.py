"""The population by Laplace: patients integrated out of their quadratics.

Given the population parameters, a quadratic log likelihood and the normal prior of η
make a normal conditional for every patient, in closed form: `conditional`. It serves
twice. Summed over patients it is the marginal likelihood of the population parameters
(maximised here: the start of every sampler, and the `map` method); and its mean and
Cholesky factor are the coordinates in which NUTS moves (`geometry`).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import optimize

from ckin._types import Array, Float
from ckin.inference.density import Density, Hyper
from ckin.inference.individual import (
    SHARED_WIDTH,
    PatientMaps,
    Quadratics,
    best_candidates,
    patient_maps,
    quadratics,
)
from ckin.population.groups import BLOCK
from ckin.population.hyper import patient_phi
from ckin.population.variation import FARTHEST, Spread


# The first look at patients is under a wide population, so that rich patients go
# where their data are and not where the prior of the population is.
WIDE_OMEGA = 0.75

# Central difference of exact gradients of an analytic function.
CURVATURE_STEP = 1e-4

# Slope at which a search for the mode ends, nats for each SD.
MODE_TOLERANCE = 1e-3

# SD of a direction that the marginal says nothing of.
WIDEST = 2.0
# Loss where the marginal is not finite: its slope is 0, and a search stands still.
NOWHERE = 1e30

# Rounds of (patients given population, population given patients) end when no
# population parameter moves by more than this share of its own SD.
ROUND_TOLERANCE = 0.1
MAX_ROUNDS = 15

# After this many rounds steps are halved: two readings of a patient may take turns.
FREE_ROUNDS = 4

# Steps towards the η of a heavy-tailed patient, whose deviation is not linear in it.
HEAVY_STEPS = 4

# Expansions of the patients in each round.
REFINEMENTS = 2


class Conditional(NamedTuple):
    """Normal conditional of η given the population, and its log normaliser.

    Attributes:
        mean: (varying, patients).
        factor: lower-triangular L with precision L Lᵀ, (varying, varying, patients).
        log_marginal: log ∫ likelihood × prior dη of each patient.
    """

    mean: Float[Array, "varying patients"]
    factor: Float[Array, "varying varying patients"]
    log_marginal: Float[Array, " patients"]


class PopulationLaplace(eqx.Module):
    """Laplace approximation of the posterior.

    Attributes:
        u: mode of the population parameters.
        factor: Cholesky factor of their covariance.
        quadratics: patients' quadratics at the mode.
        maps: MAP of each patient at the mode.
        rounds: rounds taken.
        converged: whether the rounds settled.
    """

    u: Float[Array, " hyper"]
    factor: Float[Array, "hyper hyper"]
    quadratics: Quadratics
    maps: PatientMaps
    rounds: int
    converged: bool


def conditional(
    hyper: Hyper, quads: Quadratics, vary_index: tuple[int, ...]
) -> Conditional:
    """Normal approximation of every patient's η given the population."""
    louder = jnp.log(hyper.sigma) - quads.log_sigma
    # Data say less of φ the larger σ is: as 1/σ², exactly so for normal readings.
    share = jnp.exp(-quads.fading * louder)
    gradient = jnp.einsum("na,nai->ni", share, quads.gradient)
    hessian = jnp.einsum("na,naij->nij", share, quads.stiffness)
    shift = hyper.centre - quads.phi
    pull = jnp.einsum("nij,nj->ni", hessian, shift)
    value = quads.value + jnp.sum(shift * (gradient - 0.5 * pull), axis=1)
    bend = quads.gradient_sigma - 0.5 * quads.stiffness_sigma * louder
    # share - 1 to more than first order, which the gradient in log σ holds already.
    missed = quads.misfit * (share - 1.0 + quads.fading * louder)
    value = value + jnp.sum(louder * bend - missed, axis=1)
    index, omega = np.array(vary_index, dtype=int), hyper.omega
    slope = (gradient - pull)[:, index].T
    stiffness = jnp.moveaxis(hessian[:, index][:, :, index], 0, 2)
    if not hyper.spread.plain:
        toward = (quads.phi - hyper.centre)[:, index]
        return _by_spread(hyper.spread, value, slope, stiffness, toward)
    precision = (omega[:, None] * omega)[:, :, None] * stiffness
    factor = cholesky(precision + jnp.eye(len(index))[:, :, None])
    half = solve_lower(factor, omega[:, None] * slope)
    log_det = jnp.sum(jnp.log(jnp.einsum("iin->in", factor)), axis=0)
    return Conditional(
        mean=solve_upper(factor, half),
        factor=factor,
        log_marginal=value + 0.5 * jnp.sum(half**2, axis=0) - log_det,
    )


_conditional = eqx.filter_jit(conditional)


def _by_spread(
    spread: Spread, value: Array, slope: Array, stiffness: Array, toward: Array
) -> Conditional:
    """The conditional where deviations d of φ are not ω η.

    The log likelihood is value + slope·d - ½ dᵀ stiffness d. Correlated deviations are
    linear in η. Heavy-tailed ones are made so at the patient's own η, sought by a few
    steps of Gauss and Newton from `toward`, where the data alone would have it.

    Args:
        spread: of patients.
        value: (patients,).
        slope: (varying, patients).
        stiffness: (varying, varying, patients).
        toward: deviations, (patients, varying).
    """
    linear = spread.n_heavy == 0
    eta = jnp.zeros_like(toward) if linear else spread.etas(toward)
    for _ in range(1 if linear else HEAVY_STEPS):
        eta = jnp.clip(eta, -FARTHEST, FARTHEST)
        by_eta = jnp.moveaxis(spread.slopes(eta), 0, 2)
        offset = spread.deviations(eta).T - jnp.einsum("ian,na->in", by_eta, eta)
        push = slope - jnp.einsum("ijn,jn->in", stiffness, offset)
        bent = jnp.einsum("ijn,jbn->ibn", stiffness, by_eta)
        precision = jnp.einsum("ian,ibn->abn", by_eta, bent)
        factor = cholesky(precision + jnp.eye(eta.shape[1])[:, :, None])
        half = solve_lower(factor, jnp.einsum("ian,in->an", by_eta, push))
        eta = solve_upper(factor, half).T
    gone = spread.deviations(jnp.clip(eta, -FARTHEST, FARTHEST)).T
    bend = jnp.einsum("ijn,jn->in", stiffness, gone)
    log_det = jnp.sum(jnp.log(jnp.einsum("iin->in", factor)), axis=0)
    return Conditional(
        mean=eta.T,
        factor=factor,
        log_marginal=value
        + jnp.sum(gone * (slope - 0.5 * bend), axis=0)
        - 0.5 * jnp.sum(eta**2, axis=1)
        - log_det,
    )


# Many small systems at once, the patient as the last axis: whole rows of plain
# arithmetic, which XLA fuses. A batched library call costs more than its arithmetic.


def cholesky(matrix: Float[Array, "d d patients"]) -> Float[Array, "d d patients"]:
    """Lower Cholesky factor of each matrix, by outer products."""
    size = matrix.shape[0]
    columns = []
    for j in range(size):
        column = matrix[:, j] / jnp.sqrt(matrix[j, j])
        column = jnp.where(np.arange(size)[:, None] >= j, column, 0.0)
        matrix = matrix - column[:, None] * column[None, :]
        columns.append(column)
    return jnp.stack(columns, axis=1) if columns else matrix


def solve_lower(
    factor: Float[Array, "d d patients"], right: Float[Array, "d patients"]
) -> Float[Array, "d patients"]:
    """X of L x = b."""
    x = []
    for j in range(right.shape[0]):
        x.append(right[j] / factor[j, j])
        right = right - factor[:, j] * x[j]
    return jnp.stack(x) if x else right


def solve_upper(
    factor: Float[Array, "d d patients"], right: Float[Array, "d patients"]
) -> Float[Array, "d patients"]:
    """X of Lᵀ x = b."""
    flipped = jnp.swapaxes(factor[::-1, ::-1], 0, 1)
    return solve_lower(flipped, right[::-1])[::-1]


def log_marginal(density: Density, quads: Quadratics, u: Array) -> Array:
    """Log posterior of the population parameters with patients integrated out."""
    hyper = density.hyper(u)

    def total(rows):
        centre, own = rows
        own_hyper = eqx.tree_at(lambda h: h.centre, hyper, centre)
        index = density.population.vary_index
        return jnp.sum(conditional(own_hyper, own, index).log_marginal)

    rows, n = (hyper.centre, quads), hyper.centre.shape[0]
    cut = n - n % BLOCK
    likelihood = total(jax.tree.map(lambda x: x[cut:], rows))
    if cut:
        # Each again on the way back, so that nothing of it is kept.
        blocks = jax.tree.map(lambda x: x[:cut].reshape(-1, BLOCK, *x.shape[1:]), rows)
        likelihood += jnp.sum(lax.map(jax.checkpoint(total), blocks))
    return likelihood + density.log_prior(u)


@eqx.filter_jit
def _loss_and_slope(density, quads, u):
    return jax.value_and_grad(lambda u: -log_marginal(density, quads, u))(u)


def _population_mode(density: Density, quads: Quadratics, start: Array, about: Array):
    """Mode of the log marginal, the Cholesky factor of its covariance, and whether.

    Whether it is a mode: the search can stop short of one, or go where there is none.

    Args:
        density: the posterior.
        quads: of its patients.
        start: u to start from.
        about: Cholesky factor of about the covariance; the search is in its SDs.
    """

    def loss(u):
        value, slope = _loss_and_slope(density, quads, jnp.asarray(u))
        if not np.isfinite(value):
            return NOWHERE, np.zeros_like(u)
        return float(value), np.asarray(slope, dtype=float)

    def loss_in_sds(z):
        value, slope = loss(first + scale @ z)
        return value, scale.T @ slope

    first, scale = np.asarray(start), np.asarray(about)
    found = optimize.minimize(
        loss_in_sds,
        np.zeros_like(first),
        jac=True,
        method="BFGS",
        options={"gtol": MODE_TOLERANCE},
    )
    mode = first + scale @ found.x
    curvature = np.stack(
        [
            (loss(mode + step)[1] - loss(mode - step)[1]) / (2.0 * CURVATURE_STEP)
            for step in CURVATURE_STEP * np.eye(mode.size)
        ]
    )
    if loss(mode)[0] >= NOWHERE or not np.isfinite(curvature).all():
        # Past where anything is finite: no mode, and no shape to speak of.
        return jnp.asarray(mode), jnp.asarray(WIDEST * np.eye(mode.size)), False
    size, direction = np.linalg.eigh(0.5 * (curvature + curvature.T))
    # Never wider than the widest prior: a flat direction is left to the sampler.
    size = np.maximum(size, WIDEST**-2.0)
    # What is left to go, in SDs.
    left = np.abs(direction.T @ loss(mode)[1]) / np.sqrt(size)
    reached = bool(left.max() < ROUND_TOLERANCE)
    return jnp.asarray(mode), jnp.asarray(_lower(direction / np.sqrt(size))), reached


def _lower(half: np.ndarray) -> np.ndarray:
    """Cholesky factor of half halfᵀ, however far apart its directions' sizes are."""
    upper = np.linalg.qr(half.T, mode="r")
    return (np.sign(np.diag(upper))[:, None] * upper).T


def fit_laplace(density: Density, key: Array, report=lambda *_: None):
    """Alternate patients and population until they agree.

    Args:
        density: the posterior.
        key: for the first candidates of each patient.
        report: called with (round, at most) as it goes.

    Returns:
        `PopulationLaplace`.
    """
    u = density.start
    hyper = density.hyper(u)
    wide = np.maximum(np.asarray(hyper.omega), WIDE_OMEGA)
    hyper = eqx.tree_at(lambda h: h.omega, hyper, jnp.asarray(wide))
    report(0, MAX_ROUNDS)
    start = best_candidates(density, hyper, key)
    maps = patient_maps(density, hyper, start)
    phi = _phi_of(density, hyper, maps.eta)
    quads, settled, done = None, False, 0
    factor = jnp.asarray(np.eye(u.size))
    while done < MAX_ROUNDS and not settled:
        pace = jnp.asarray(1.0 if done < FREE_ROUNDS else 0.5)
        for _ in range(REFINEMENTS):
            quads = _expanded(density, hyper, phi, quads)
            mean = _conditional(hyper, quads, density.population.vary_index).mean
            phi = _moved(density, hyper, mean, phi, pace)
        assert quads is not None
        before = u
        u, factor, reached = _population_mode(density, quads, u, factor)
        moved = _in_sds(u, before, factor)
        settled = reached and moved < ROUND_TOLERANCE
        hyper = density.hyper(u)
        done += 1
        report(done, MAX_ROUNDS)
    assert quads is not None
    maps = patient_maps(density, hyper, _eta_of(density, hyper, phi))
    return PopulationLaplace(u, factor, quads, maps, done, settled)


@eqx.filter_jit
def _moved(density: Density, hyper: Hyper, mean: Array, phi: Array, pace: Array):
    """φ moved by the share `pace` towards that of η = mean, (varying, patients)."""
    return phi + pace * (_phi_of(density, hyper, mean.T) - phi)


def _in_sds(u: Array, before: Array, factor: Array) -> float:
    """Largest change, in SDs of a covariance of this Cholesky factor."""
    spread = np.sqrt(np.sum(np.asarray(factor) ** 2, axis=1))
    return float(np.max(np.abs(np.asarray(u) - np.asarray(before)) / spread))


@eqx.filter_jit
def _phi_of(density: Density, hyper: Hyper, eta: Array) -> Array:
    return patient_phi(density.population, hyper.centre, hyper.spread, eta)


def _expanded(density: Density, hyper: Hyper, phi: Array, quads: Quadratics | None):
    """Quadratics around φ, as wide as each patient's conditional (prior at first)."""
    index = np.array(density.population.vary_index, dtype=int)
    shared = np.setdiff1d(np.arange(phi.shape[1]), index)
    moved = np.array(phi)
    moved[:, shared] = np.asarray(hyper.centre)[:, shared]
    given, eta = None, np.zeros(density.eta_shape)
    if quads is not None:
        given = _conditional(hyper, quads, density.population.vary_index)
        eta = np.asarray(given.mean).T
    return quadratics_about(density, hyper, jnp.asarray(moved), jnp.asarray(eta), given)


def quadratics_about(
    density: Density, hyper: Hyper, phi: Array, eta: Array, given: Conditional | None
) -> Quadratics:
    """Quadratics of patients around φ, as wide as the patients may be there.

    Args:
        density: of the patients.
        hyper: population parameters.
        phi: where, (patients, estimated).
        eta: at which a width of η is turned into one of φ, (patients, varying).
        given: conditionals whose widths are taken; half the prior's when `None`.
    """
    index = np.array(density.population.vary_index, dtype=int)
    n, size = phi.shape
    inner = 0.5 * np.tile(np.eye(index.size), (n, 1, 1))
    if given is not None:
        inner = np.linalg.inv(np.moveaxis(np.asarray(given.factor), 2, 0))
        inner = np.swapaxes(inner, 1, 2)
    widths = np.tile(SHARED_WIDTH * np.eye(size), (n, 1, 1))
    widths[:, index[:, None], index] = np.asarray(_slopes(hyper, eta)) @ inner
    log_sigma = np.tile(np.log(np.asarray(hyper.sigma)), (n, 1))
    return quadratics(density, phi, jnp.asarray(log_sigma), jnp.asarray(widths))


@eqx.filter_jit
def _slopes(hyper: Hyper, eta: Array) -> Array:
    """Derivative of what patients deviate by in φ, by their η."""
    return hyper.spread.slopes(eta)


@eqx.filter_jit
def _eta_of(density: Density, hyper: Hyper, phi: Array) -> Array:
    """η that put patients at φ under this population, kept within ±3."""
    index = np.array(density.population.vary_index, dtype=int)
    return jnp.clip(hyper.spread.etas((phi - hyper.centre)[:, index]), -3.0, 3.0)
