"""MAP of each patient, and how much each patient's data say: a quadratic per patient.

With the population parameters fixed, patients are independent: all are optimised at
once by Adam (optax), each from the best of several draws of its own prior. Near there
the log likelihood of patient i is taken as

    ℓ_i(x) ≈ value + gradient·δ - ½ δᵀ H δ ,   x = (φ, log σ), δ = x - x̂_i

The error SD σ of each assay is one more coordinate, the same for all patients, and what
the readings of an assay say of φ is kept apart: it fades as its σ grows, and so does
what they miss by. (What is gained by following readings closer must never grow faster
with 1/σ than what is lost on those that are missed, or σ = 0 would be the best.)
Predictions are made linear in φ by their change over ±1 SD of the patient's own
posterior (sigma points), not by a derivative: the peak day of a piecewise model often
sits on a cusp of the likelihood, where a derivative says nothing about the width. A
patient without information has H ≈ 0, a rich one a large H; everything that uses these
quadratics (starts, geometry) therefore treats each as its data deserve.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ckin._types import Array, Float
from ckin.inference.density import Density, Hyper
from ckin.population import (
    Packed,
    Population,
    by_sample,
    completed,
    draws_together,
    log_readings,
    reading_log_likelihoods,
)
from ckin.population import patient_log_likelihoods as of_patients
from ckin.population.hyper import patient_phi
from ckin.population.wells import change_by_curves, wells_assay


CANDIDATES = 48
MAP_STEPS = 60

# Half-width of the expansion along a coordinate that patients share (a typical value
# without variation, log σ): about its posterior SD in a cohort of tens.
SHARED_WIDTH = 0.1

# Step in log σ for how what readings say fades with it.
SIGMA_STEP = 0.05


class Quadratics(eqx.Module):
    """Log likelihood of each patient to second order; see the module's docstring.

    Stiffness is minus the mean second derivative, made positive semi-definite.

    Attributes:
        phi: φ at the expansion point.
        log_sigma: log of σ there, all of `Hyper.sigma`.
        value: log likelihood there.
        gradient: of the readings of each assay, in φ.
        stiffness: likewise.
        fading: power of 1/σ with which they fall as σ grows: 2 for normal readings,
            0 where nothing but counting scatters.
        gradient_sigma: in log σ of each assay.
        misfit: half the squared misses of its readings, in their SDs; fades likewise.
        stiffness_sigma: in log σ of each assay, what the misfit does not account for.
    """

    phi: Float[Array, "patients estimated"]
    log_sigma: Float[Array, "patients assays"]
    value: Float[Array, " patients"]
    gradient: Float[Array, "patients assays estimated"]
    stiffness: Float[Array, "patients assays estimated estimated"]
    fading: Float[Array, "patients assays"]
    gradient_sigma: Float[Array, "patients assays"]
    misfit: Float[Array, "patients assays"]
    stiffness_sigma: Float[Array, "patients assays"]


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
    sigma: Float[Array, "*#patients errors"],
) -> Float[Array, " patients"]:
    """Log likelihood of each patient; -inf with zero gradient if it is not solved."""
    return of_patients(density.population, density.data, phi, sigma, density.solver)


def log_posteriors(density: Density, hyper: Hyper, eta: Array) -> Array:
    """Log posterior of each patient given the population, up to a constant."""
    phi = patient_phi(density.population, hyper.centre, hyper.spread, eta)
    likelihood = patient_log_likelihoods(density, phi, hyper.sigma)
    return likelihood - 0.5 * jnp.sum(eta**2, axis=1)


@eqx.filter_jit
def best_candidates(density: Density, hyper: Hyper, key: Array) -> Array:
    """For each patient the best of `CANDIDATES` draws of η, zero among them."""
    draws = jax.random.normal(key, (CANDIDATES, *density.eta_shape)).at[0].set(0.0)
    scores = lax.map(
        lambda eta: log_posteriors(density, hyper, eta),
        draws,
        batch_size=draws_together(CANDIDATES, draws.shape[1]),
    )
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
        scores = log_posteriors(density, hyper, eta)
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
def quadratics(
    density: Density,
    phi: Float[Array, "patients estimated"],
    log_sigma: Float[Array, "patients assays"],
    widths: Float[Array, "patients estimated estimated"],
) -> Quadratics:
    """Expand every patient's log likelihood over its sigma points.

    Curves of plates move a prediction by a known amount, and need no solving. What
    wells say of their own SD τ is one more coordinate beside log σ.

    The second derivative is Gauss-Newton's, so gradient and stiffness belong to one
    linear model of the readings and no direction has a pull without a stiffness. A
    patient whose predictions are not finite gets no information (zeros), which leaves
    it to its prior.

    Args:
        density: the posterior.
        phi: centre of the expansion.
        log_sigma: log of the error SDs there.
        widths: one-SD steps of φ as columns.
    """
    data = completed(density.population, density.data, phi, jnp.exp(log_sigma))
    readings, jacobian, good = _linearised(density, phi, widths)
    data = eqx.tree_at(lambda d: d.present, data, data.present & good[:, None])
    if data.standards is not None:
        plates = len(data.standards.plates)
        by_curves = change_by_curves(data.sampled, readings, plates)
        jacobian = jnp.concatenate([jacobian, by_curves], axis=2)
    centre = jnp.broadcast_to(by_sample(log_sigma, data.which), readings.shape)
    laws = jax.vmap(
        lambda step: _laws(density.population, data, readings, centre + step)
    )(jnp.array([0.0, SIGMA_STEP, -SIGMA_STEP]))
    value, pull, weight, pull_sigma, weight_sigma = (each[0] for each in laws)
    # An assay's own samples: (patients, samples, assays).
    own = jax.nn.one_hot(data.which, log_sigma.shape[1]) * data.present[..., None]
    n_read = jnp.sum(own * ~data.below[..., None], axis=1)
    by_assay = lambda each: jnp.einsum("nt,nta->na", each, own)
    weaker, stronger = (by_assay(each) for each in laws[2][1:])
    known = weaker > 0
    ratio = jnp.where(known, stronger, 1.0) / jnp.where(known, weaker, 1.0)
    fading = jnp.where(known, jnp.log(ratio) / (2.0 * SIGMA_STEP), 2.0)
    fading = jnp.clip(fading, 0.0, 2.0)
    misfit = 0.5 * by_assay(jnp.where(weight > 0, pull**2 / weight, 0.0))
    # Normal readings have no curvature but their misfit's. Of others the expected
    # information on log σ is at most 2 per reading: with less curvature than that, a
    # step from far above the best σ would overshoot.
    least = jnp.maximum(by_assay(weight_sigma), (2.0 - fading) * n_read)
    gradient_sigma = by_assay(pull_sigma)
    stiffness_sigma = jnp.maximum(least - fading**2 * misfit, 0.0)
    gradient = jnp.einsum("nti,nt,nta->nai", jacobian, pull, own)
    if data.standards is not None:
        size, reader = density.population.n_phi, wells_assay(density.population)
        there = eqx.tree_at(lambda d: d.data, density, data)
        of_curves, of_tau, bend = _of_curves(there, phi, log_sigma, readings)
        gradient = gradient.at[:, reader, size:].set(of_curves[:, size:])
        gradient_sigma = gradient_sigma.at[:, -1].set(of_tau)
        stiffness_sigma = stiffness_sigma.at[:, -1].set(bend)
    for column in range(len(density.population.two_part)):
        place = len(density.population.assays) + column
        of_part, bend = _of_additive(density, phi, log_sigma, readings, place)
        solved = jnp.where(good, 1.0, 0.0)
        gradient_sigma = gradient_sigma.at[:, place].set(solved * of_part)
        stiffness_sigma = stiffness_sigma.at[:, place].set(solved * bend)
    return Quadratics(
        phi=phi,
        log_sigma=log_sigma,
        value=jnp.sum(value, axis=1),
        gradient=gradient,
        stiffness=jnp.einsum("nti,nt,nta,ntj->naij", jacobian, weight, own, jacobian),
        fading=fading,
        gradient_sigma=gradient_sigma,
        misfit=misfit,
        stiffness_sigma=stiffness_sigma,
    )


def _linearised(density: Density, phi: Array, widths: Array):
    """Readings, their derivative in φ over ±1 SD, and who was solved at all points."""
    size = density.population.n_phi
    widths, others = widths[:, :size, :size], phi[:, size:]
    phi = phi[:, :size]
    signs = jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size), -jnp.eye(size)])
    readings, solved = lax.map(
        lambda sign: log_readings(
            density.population,
            jnp.concatenate([phi + widths @ sign, others], axis=1),
            density.data,
            density.solver,
        ),
        signs,
    )
    change = 0.5 * (readings[1 : 1 + size] - readings[1 + size :])
    # change = J widths, with J the derivative of readings (patients, samples, φ).
    jacobian = jnp.linalg.solve(
        jnp.swapaxes(widths, 1, 2), jnp.moveaxis(change, 0, 2).swapaxes(1, 2)
    ).swapaxes(1, 2)
    return readings[0], jacobian, jnp.all(solved, axis=0)


def _of_curves(density: Density, phi: Array, log_sigma: Array, readings: Array):
    """What wells say of their curves, given the readings.

    Returns:
        Slope of each patient's log likelihood in φ, of which only the curves' part is
        not 0; slope in log τ, and minus its curvature.
    """

    def total(phi, log_tau):
        sigma = jnp.exp(log_sigma.at[:, -1].set(log_tau))
        data = completed(density.population, density.data, phi, sigma)
        each = by_sample(sigma, data.which)
        return jnp.sum(
            reading_log_likelihoods(density.population, readings, data, each)
        )

    log_tau = log_sigma[:, -1]
    of_tau = lambda log_tau: jax.grad(total, 1)(phi, log_tau)
    slope, change = jax.jvp(of_tau, (log_tau,), (jnp.ones_like(log_tau),))
    return jax.grad(total)(phi, log_tau), slope, jnp.maximum(-change, 0.0)


def _of_additive(
    density: Density, phi: Array, log_sigma: Array, readings: Array, place: int
) -> tuple[Array, Array]:
    """What readings say of the log of an additive part: slope, and minus curvature."""

    def total(log_part):
        sigma = jnp.exp(log_sigma.at[:, place].set(log_part))
        data = completed(density.population, density.data, phi, sigma)
        each = by_sample(sigma, data.which)
        return jnp.sum(
            reading_log_likelihoods(density.population, readings, data, each)
        )

    log_part = log_sigma[:, place]
    slope, change = jax.jvp(jax.grad(total), (log_part,), (jnp.ones_like(log_part),))
    # A step of more than 2 in the logarithm is too far for any quadratic.
    return slope, jnp.maximum(-change, 0.5 * jnp.abs(slope))


def _laws(population: Population, data: Packed, readings: Array, log_sigma: Array):
    """Log likelihood of each sample, its slopes and what is left of its curvatures.

    Args:
        population: says which assays there are.
        data: what was read.
        readings: predictions of the samples.
        log_sigma: of the assay of each sample.

    Returns:
        Value; slope and stiffness in the prediction; slope and stiffness in log σ.
    """

    def each(reading, log_sigma):
        return reading_log_likelihoods(population, reading, data, jnp.exp(log_sigma))

    def slope_and_stiffness(argument):
        slope = jax.grad(lambda *x: jnp.sum(each(*x)), argument)
        ones, none = jnp.ones_like(readings), jnp.zeros_like(readings)
        along = (ones, none) if argument == 0 else (none, ones)
        first, second = jax.jvp(slope, (readings, log_sigma), along)
        return first, jnp.maximum(-second, 0.0)

    pull, weight = slope_and_stiffness(0)
    # A heavy-tailed error has negative curvature at an outlier; the weight of the
    # normal reading that would pull as hard is positive (iterated reweighting). One
    # below its limit is an outlier where far more than the limit is predicted.
    heavy = np.array([assay.error.heavy_tails for assay in population.assays])
    gap = data.log_value - readings
    far = jnp.where(data.below, gap < -jnp.exp(log_sigma), jnp.abs(gap) > 1e-3)
    far = far & jnp.asarray(heavy)[data.which]
    weight = jnp.where(far, pull / jnp.where(far, gap, 1.0), weight)
    for place, assay in enumerate(population.assays):
        known = assay.error.information(readings, jnp.exp(log_sigma), data.sampled)
        if known is not None:
            mine = (data.which == place) & ~data.below
            weight = jnp.where(mine, known, weight)
    return each(readings, log_sigma), pull, weight, *slope_and_stiffness(1)
