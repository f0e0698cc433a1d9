"""MAP of each patient, and how much each patient's data say: a quadratic per patient.

With the population parameters fixed, patients are independent: all are optimised at
once by Adam (optax), each from the best of several draws of its own prior. Near there
the log likelihood of patient i is taken as

    ℓ_i(x) ≈ value + gradient·δ - ½ δᵀ H δ ,   x = (φ, log σ), δ = x - x̂_i

The error SD σ is one more coordinate, the same for all patients. Predictions are made
linear in φ by their change over ±1 SD of the patient's own posterior (sigma points),
not by a derivative: the peak day of a piecewise model often sits on a cusp of the
likelihood, where a derivative says nothing about the width. A patient without
information has H ≈ 0, a rich one a large H; everything that uses these quadratics
(starts, geometry) therefore treats each as its data deserve.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax

from ckin._types import Array, Float
from ckin.inference.density import Density, Hyper
from ckin.population import log_readings
from ckin.population.model import patient_phi


CANDIDATES = 48
MAP_STEPS = 60

# Half-width of the expansion along a coordinate that patients share (a typical value
# without variation, log σ): about its posterior SD in a cohort of tens.
SHARED_WIDTH = 0.1


class Quadratics(eqx.Module):
    """Log likelihood of each patient to second order; see the module's docstring.

    The coordinates are φ of the estimated parameters, then log σ.

    Attributes:
        at: expansion point, (patients, coordinates).
        value: log likelihood there, (patients,).
        gradient: (patients, coordinates).
        hessian: minus the mean second derivative, made positive semi-definite,
            (patients, coordinates, coordinates).
    """

    at: Float[Array, "patients coordinates"]
    value: Float[Array, " patients"]
    gradient: Float[Array, "patients coordinates"]
    hessian: Float[Array, "patients coordinates coordinates"]


class PatientMaps(eqx.Module):
    """MAP of each patient given the population.

    Attributes:
        eta: (patients, varying).
        log_posterior: of each patient, up to a constant.
        gain: what the second half of the optimisation still gained.
    """

    eta: Float[Array, "patients varying"]
    log_posterior: Float[Array, " patients"]
    gain: Float[Array, " patients"]


def patient_log_likelihoods(
    density: Density,
    phi: Float[Array, "patients estimated"],
    sigma: Float[Array, " #patients"],
) -> Float[Array, " patients"]:
    """Log likelihood of each patient; -inf with zero gradient if it is not solved."""
    data = density.data
    prediction, solved = log_readings(density.population, phi, data, density.solver)
    each = density.population.assay.log_likelihood(
        prediction, data.log_value, data.below, sigma[:, None]
    )
    total = jnp.sum(jnp.where(data.present, each, 0.0), axis=1)
    return jnp.where(solved, total, -jnp.inf)


def _log_posteriors(density: Density, hyper: Hyper, eta: Array) -> Array:
    """Log posterior of each patient given the population, up to a constant."""
    phi = patient_phi(density.population, hyper.centre, hyper.omega, eta)
    likelihood = patient_log_likelihoods(density, phi, hyper.sigma[None])
    return likelihood - 0.5 * jnp.sum(eta**2, axis=1)


@eqx.filter_jit
def best_candidates(density: Density, hyper: Hyper, key: Array) -> Array:
    """For each patient the best of `CANDIDATES` draws of η, zero among them."""
    draws = jax.random.normal(key, (CANDIDATES, *density.eta_shape)).at[0].set(0.0)
    scores = lax.map(lambda eta: _log_posteriors(density, hyper, eta), draws)
    return draws[jnp.argmax(scores, axis=0), jnp.arange(scores.shape[1])]


@eqx.filter_jit
def patient_maps(density: Density, hyper: Hyper, start: Array) -> PatientMaps:
    """MAP of every patient by Adam, patients side by side.

    Args:
        density: the posterior.
        hyper: population parameters, held fixed.
        start: η to start from, (patients, varying).
    """
    schedule = optax.cosine_decay_schedule(0.1, MAP_STEPS, alpha=0.02)
    # A patient that fails to solve has a gradient of zero there and stays put.
    optimiser = optax.chain(optax.zero_nans(), optax.adam(schedule))

    def loss(eta):
        scores = _log_posteriors(density, hyper, eta)
        return -jnp.sum(jnp.where(jnp.isfinite(scores), scores, 0.0)), scores

    def step(carry, _):
        eta, state, best, best_score = carry
        (_, scores), slope = jax.value_and_grad(loss, has_aux=True)(eta)
        better = scores > best_score
        best = jnp.where(better[:, None], eta, best)
        best_score = jnp.where(better, scores, best_score)
        change, state = optimiser.update(slope, state)
        return (optax.apply_updates(eta, change), state, best, best_score), best_score

    worst = jnp.full(start.shape[0], -jnp.inf)
    carry = (start, optimiser.init(start), start, worst)
    (_, _, best, score), history = lax.scan(step, carry, length=MAP_STEPS)
    return PatientMaps(best, score, score - history[MAP_STEPS // 2])


@eqx.filter_jit
def quadratics(density: Density, at: Array, widths: Array) -> Quadratics:
    """Expand every patient's log likelihood over its sigma points.

    The second derivative is Gauss-Newton's, so gradient and H belong to one linear
    model of the readings and no direction has a pull without a stiffness. A patient
    whose predictions are not finite gets no information (zeros), which leaves it to
    its prior.

    Args:
        density: the posterior.
        at: centre of the expansion, (patients, coordinates).
        widths: one-SD steps of φ as columns, (patients, estimated, estimated).
    """
    data = density.data
    phi, log_sigma = at[:, :-1], at[:, -1:]
    size = phi.shape[1]
    signs = jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size), -jnp.eye(size)])
    readings, solved = lax.map(
        lambda sign: log_readings(
            density.population, phi + widths @ sign, data, density.solver
        ),
        signs,
    )
    good = jnp.all(solved, axis=0)
    change = 0.5 * (readings[1 : 1 + size] - readings[1 + size :])
    # change = J widths, with J the derivative of readings (patients, samples, φ).
    jacobian = jnp.linalg.solve(
        jnp.swapaxes(widths, 1, 2), jnp.moveaxis(change, 0, 2).swapaxes(1, 2)
    ).swapaxes(1, 2)

    def each(reading, log_sigma):
        assay = density.population.assay
        sigma = jnp.exp(log_sigma)
        value = assay.log_likelihood(reading, data.log_value, data.below, sigma)
        return jnp.where(data.present & good[:, None], value, 0.0)

    def slope(argument):
        return jax.grad(lambda *x: jnp.sum(each(*x)), argument)

    centre = jnp.broadcast_to(log_sigma, readings[0].shape)
    ones = jnp.ones_like(centre)

    def slope_and_stiffness(argument):
        along = (ones, jnp.zeros_like(ones)) if argument == 0 else (0.0 * ones, ones)
        first, second = jax.jvp(slope(argument), (readings[0], centre), along)
        return first, jnp.maximum(-second, 0.0)

    pull, weight = slope_and_stiffness(0)
    # A heavy-tailed error has negative curvature at an outlier; the weight of the
    # normal reading that would pull as hard is positive (iterated reweighting).
    gap = data.log_value - readings[0]
    far = ~data.below & (jnp.abs(gap) > 1e-3)
    weight = jnp.where(far, pull / jnp.where(far, gap, 1.0), weight)
    pull_sigma, weight_sigma = slope_and_stiffness(1)
    # Expected information on log σ is 2 per reading: with less curvature than that,
    # a step from far above the best σ would overshoot.
    n_read = jnp.sum(data.present & ~data.below & good[:, None], axis=1)
    stiffness = jnp.maximum(jnp.sum(weight_sigma, axis=1), 2.0 * n_read)
    hessian = jnp.zeros((at.shape[0], size + 1, size + 1))
    hessian = hessian.at[:, :size, :size].set(
        jnp.einsum("nti,nt,ntj->nij", jacobian, weight, jacobian)
    )
    return Quadratics(
        at=at,
        value=jnp.sum(each(readings[0], centre), axis=1),
        gradient=jnp.concatenate(
            [
                jnp.einsum("nti,nt->ni", jacobian, pull),
                jnp.sum(pull_sigma, axis=1, keepdims=True),
            ],
            axis=1,
        ),
        hessian=hessian.at[:, size, size].set(stiffness),
    )
