"""Maximum likelihood of the population: the peak of the Laplace marginal.

No prior of a population parameter counts here (those of the model file are where the
search starts from). BFGS goes up the marginal by its exact gradient, in coordinates in
which the starting approximation is round; Newton steps on the curvature, which is the
difference of gradients, finish. Patients' modes are followed from point to point, and
at the end sought again from elsewhere: where one is found that is higher, the search
goes on from there.
"""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from ckin._types import Array
from ckin.inference.density import Density
from ckin.inference.laplace import PopulationLaplace
from ckin.inference.marginal import Modes, smooth
from ckin.inference.surface import Surface


# The peak is reached when a Newton step would gain less than this, in nats.
GAIN_LEFT = 1e-5
# Slope at which BFGS hands over to Newton, in SDs of the starting approximation.
BFGS_SLOPE = 1e-2
BFGS_STEPS = 200
NEWTON_STEPS = 6
# Step of the difference of gradients, in SDs of the starting approximation.
DIFFERENCE = 1e-3
# Curvatures below this share of the largest are none: the data do not determine it. Nor
# where an estimate's standard error is a hundred SDs of the starting approximation: a
# likelihood that only ever flattens has such an end, and no peak.
FLAT, FLATTENED = 1e-7, 1e-4
# Rounds of (search, look for higher modes of patients).
ROUNDS = 4
# √(gᵀH⁻¹g) above which a patient's mode is none, in SDs.
AT_MODE = 1e-4
# ω that is taken for none, and the nats by which that may be worse.
NO_OMEGA, NO_LOSS = 1e-5, 1e-3


@dataclasses.dataclass(frozen=True)
class Maximum:
    """The peak of the likelihood.

    Attributes:
        u: population parameters there.
        covariance: of `u`, minus the inverse curvature; 0 in rows of `at_zero`.
        modes: of every patient there.
        each: log likelihood of each patient, patients integrated out.
        at_zero: ω whose best value is none.
        undetermined: parameters that the data do not determine.
        astray: patients without a mode that is one.
        gain_left: nats that a Newton step would still gain; NaN if there is no peak.
        steps: evaluations of the marginal.
        width: a square root of the covariance of the approximation that the search
            started from, priors in it.
    """

    u: np.ndarray
    covariance: np.ndarray
    modes: Modes
    each: np.ndarray
    at_zero: tuple[str, ...]
    undetermined: tuple[str, ...]
    astray: tuple[str, ...]
    gain_left: float
    steps: int
    width: np.ndarray

    @property
    def log_likelihood(self) -> float:
        """Of all patients."""
        return float(self.each.sum())

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against it, one sentence each; none if it is a maximum."""
        found = []
        if self.undetermined:
            found.append(
                f"the data do not determine {', '.join(self.undetermined)}: the "
                "likelihood has no peak there; estimate fewer parameters (--estimate, "
                "--vary), or use priors (--method nuts)"
            )
        elif not self.gain_left < GAIN_LEFT:
            found.append(
                f"the search stopped before the peak ({self.gain_left:.2g} nats below "
                f"it after {self.steps} steps): the estimates are not the best ones"
            )
        if self.astray:
            found.append(
                f"the likelihood of {len(self.astray)} patients (first: "
                f"{self.astray[0]}) has a kink where it is highest, and no curvature "
                "to integrate by; take a smooth model, or --method nuts"
            )
        return tuple(found)


def maximise(
    density: Density, start: PopulationLaplace, key: Array, report=lambda *_: None
) -> Maximum:
    """Maximum likelihood, from an approximation of the posterior.

    Args:
        density: what is fitted to what.
        start: where to start, and how wide it is there.
        key: for fresh starts of the patients' modes.
        report: called with (round, at most) as it goes.
    """
    size = len(density.names)
    width = np.asarray(start.factor, dtype=float)
    if not np.isfinite(width).all():
        width = np.eye(size)
    surface = Surface(smooth(density), start.maps.eta)
    u = np.asarray(start.u, dtype=float)
    if not (np.isfinite(u).all() and np.isfinite(surface.at(u)[0])):
        u = np.asarray(density.start, dtype=float)
    for round_, fresh in enumerate(jax.random.split(key, ROUNDS)):
        report(round_, ROUNDS)
        u = _searched(surface, width, u)
        if not surface.higher_modes(u, fresh):
            break
    report(ROUNDS, ROUNDS)
    u, at_zero = _at_zero(surface, u)
    free = np.array([name not in at_zero for name in density.names])
    u, covariance, gain_left, flat = _polished(surface, width, u, free)
    modes, each = surface.whole(u)
    lost = np.asarray(~(modes.decrement < AT_MODE))
    return Maximum(
        u=u,
        covariance=covariance,
        modes=modes,
        each=each,
        at_zero=at_zero,
        undetermined=tuple(np.array(density.names)[flat].tolist()),
        astray=tuple(np.array(density.data.ids)[lost].tolist()),
        gain_left=gain_left,
        steps=surface.steps,
        width=width,
    )


def _searched(surface: Surface, width: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Up the marginal by BFGS."""

    def loss(w):
        value, slope = surface.at(start + width @ w)
        if not np.isfinite(value):
            return 1e30, np.zeros_like(w)
        return -value, -width.T @ slope

    found = optimize.minimize(
        loss,
        np.zeros_like(start),
        jac=True,
        method="BFGS",
        options={"gtol": BFGS_SLOPE, "maxiter": BFGS_STEPS},
    )
    return start + width @ found.x


def _at_zero(surface: Surface, u: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """U without the ω without which the likelihood is as high, and their names."""
    value, _ = surface.at(u)
    found = []
    for index, name in enumerate(surface.density.names):
        if not name.startswith("omega_"):
            continue
        without = u.copy()
        without[index] = math.log(NO_OMEGA)
        if u[index] < math.log(0.1) and surface.at(without)[0] > value - NO_LOSS:
            u = without
            found.append(name)
    return u, tuple(found)


def _polished(surface: Surface, width: np.ndarray, u: np.ndarray, free: np.ndarray):
    """Newton steps to the peak.

    Args:
        surface: the marginal.
        width: a square root of the covariance of the starting approximation.
        u: near its peak.
        free: which parameters move; the others stay.

    Returns:
        u; its covariance; nats left to gain; which parameters are not determined.
    """
    # By the spread of each parameter, so that a step is one in all of them.
    scale = np.sqrt(np.sum(width**2, axis=1))[free]
    flat = np.zeros(free.size, dtype=bool)
    covariance, left = np.zeros((free.size, free.size)), math.inf
    value, slope = surface.at(u)
    for _ in range(NEWTON_STEPS):
        curvature = _curvature(surface, u, free, scale)
        size, axis = np.linalg.eigh(curvature)
        least = max(FLAT * size.max(), FLATTENED)
        if not size.min() > least:
            loose = np.abs(axis[:, size <= least]).max(axis=1)
            flat[np.flatnonzero(free)[loose > 0.5]] = True
            return u, covariance, math.nan, flat
        pull = scale * slope[free]
        step = axis @ ((axis.T @ pull) / size)
        inverse = scale[:, None] * (axis / size @ axis.T) * scale
        covariance[np.ix_(free, free)] = inverse
        left = 0.5 * float(pull @ step)
        if left < GAIN_LEFT:
            break
        pace = 1.0
        while pace > 1e-3:
            trial = u.copy()
            trial[free] += pace * scale * step
            new, new_slope = surface.at(trial)
            if new > value:
                break
            pace *= 0.5
        else:
            break
        u, value, slope = trial, new, new_slope
    return u, covariance, left, flat


def _curvature(
    surface: Surface, u: np.ndarray, free: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Minus the second derivative of the marginal in the free parameters, scaled."""
    rows = []
    for index, one in zip(np.flatnonzero(free), scale, strict=True):
        step = np.zeros_like(u)
        step[index] = DIFFERENCE * one
        above, below = surface.at(u + step)[1], surface.at(u - step)[1]
        rows.append(-(above - below)[free] / (2.0 * DIFFERENCE) * scale)
    curvature = np.stack(rows)
    return 0.5 * (curvature + curvature.T)


def spread_of(maximum: Maximum) -> np.ndarray:
    """A square root of the covariance of u."""
    size, axis = np.linalg.eigh(maximum.covariance)
    return axis * np.sqrt(np.maximum(size, 0.0))


def start_from(maximum: Maximum, start: PopulationLaplace) -> PopulationLaplace:
    """Where to start a second search: at the first one's end, as wide as it is there.

    Where it found no width, that is as `start` has it.
    """
    factor = start.factor
    if np.linalg.eigvalsh(maximum.covariance)[0] > 0:
        factor = jnp.asarray(np.linalg.cholesky(maximum.covariance))
    return eqx.tree_at(
        lambda laplace: (laplace.u, laplace.factor, laplace.maps.eta),
        start,
        (jnp.asarray(maximum.u), factor, maximum.modes.eta),
    )


@eqx.filter_jit
def _of_patients(curvature: Array, z: Array) -> Array:
    """Draws of η around its mode, in its own units: L⁻ᵀ z."""
    factor = jnp.linalg.cholesky(jnp.moveaxis(curvature, 2, 0))
    return jnp.linalg.solve(jnp.swapaxes(factor, 1, 2), z[..., None])[..., 0]


def draws_of(
    maximum: Maximum, key: Array, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of (u, η): u as its estimator is spread, η around its mode at the peak.

    Args:
        maximum: the peak.
        key: of the draws.
        shape: (chains, draws).
    """
    by_u, by_eta = jax.random.split(key)
    size = maximum.u.size
    z = np.asarray(jax.random.normal(by_u, (*shape, size)))
    u = maximum.u + z @ spread_of(maximum).T
    eta = np.asarray(maximum.modes.eta)
    if eta.shape[1] == 0:
        return u, np.zeros((*shape, *eta.shape))
    noise = jax.random.normal(by_eta, (*shape, *eta.shape))
    curvature = maximum.modes.curvature
    around = jax.vmap(jax.vmap(lambda z: _of_patients(curvature, z)))(noise)
    return u, eta + np.asarray(around)
