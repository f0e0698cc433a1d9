"""The marginal of the population as a surface that searches walk on.

It keeps the patients' modes of its best point so far: those of the next one are near.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.inference.density import Density
from ckin.inference.individual import best_candidates
from ckin.inference.marginal import Modes, find_modes, value_and_slope


# A patient's mode that is this much higher, in nats, is another one.
HIGHER = 1e-4
# Starts of each patient's mode when it is sought anew.
FRESH_STARTS = 2
# log ω is not followed below e^-12.
LOWEST = -12.0


class Surface:
    """The marginal log likelihood, with the patients' modes of its best point kept.

    Args:
        density: a `smooth` one.
        eta: where each patient's mode is sought first, (patients, varying).
    """

    def __init__(self, density: Density, eta: Array):
        self.density = density
        self.steps = 0
        # A patient of whom the start knows nothing starts as the typical one.
        self._eta = jnp.where(jnp.isfinite(eta), eta, 0.0)
        self._best = -math.inf
        self._is_omega = np.array(
            [name.startswith("omega_") for name in density.names], dtype=bool
        )

    def at(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and slope in u; -inf and nothing where there is none."""
        low = self._is_omega & (u < LOWEST)
        modes, each, slope = self._evaluated(np.where(low, LOWEST, u))
        value = float(each.sum())
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return -math.inf, np.zeros_like(u)
        if value > self._best:
            self._best, self._eta = value, modes.eta
        return value, np.where(low, 0.0, slope)

    def whole(self, u: np.ndarray) -> tuple[Modes, np.ndarray]:
        """Modes, and log likelihood of each patient."""
        modes, each, _ = self._evaluated(u)
        return modes, each

    def elsewhere(self) -> None:
        """The next point is followed from, however low it is."""
        self._best = -math.inf

    def _evaluated(self, u: np.ndarray):
        self.steps += 1
        modes = find_modes(self.density, jnp.asarray(u), self._eta)
        each, slope = value_and_slope(self.density, jnp.asarray(u), modes)
        return modes, np.asarray(each), np.asarray(slope)

    def higher_modes(self, u: np.ndarray, key: Array) -> bool:
        """Seek the patients' modes anew; whether any is higher, and now followed."""
        at = jnp.asarray(u)
        now = find_modes(self.density, at, self._eta)
        eta, value = now.eta, now.value
        hyper = self.density.hyper(at)
        starts = [jnp.zeros_like(eta)]
        keys = jax.random.split(key, FRESH_STARTS)
        starts += [best_candidates(self.density, hyper, each) for each in keys]
        for start in starts:
            found = find_modes(self.density, at, start)
            better = found.value > value + HIGHER
            eta = jnp.where(better[:, None], found.eta, eta)
            value = jnp.where(better, found.value, value)
        if not bool(jnp.any(value > now.value)):
            return False
        self._eta, self._best = eta, -math.inf
        return True
