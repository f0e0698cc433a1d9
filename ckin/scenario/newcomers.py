"""Patients and cycles that nobody has seen: how far they are from what was fitted.

What is random about a new patient comes from keys of the patient and of what varies
alone, one key for each column of η: one more parameter, cycle or patient changes no
other's numbers. A new cycle of a fitted patient is another one in every draw, for its
draws are one patient whose future is not known.
"""

import dataclasses
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.cohort import normals
from ckin.population import Population
from ckin.population.variation import Spread
from ckin.protocol import runs
from ckin.reopen import Reopened


@dataclasses.dataclass(frozen=True)
class Spreads:
    """How patients, and their cycles, differ in each draw.

    Attributes:
        omega: of the parameters that vary between patients, on the φ scale.
        between: of those that differ between cycles.
        mixing: Cholesky factor of the correlations of the first; `None` without any.
    """

    omega: Float[np.ndarray, "draws varying"]
    between: Float[np.ndarray, "draws iov"]
    mixing: Float[np.ndarray, "draws varying varying"] | None = None

    @staticmethod
    def of(fit: Reopened) -> "Spreads":
        """Of the draws of a posterior."""
        between = fit.omega_iov
        if between is None:
            between = np.zeros((len(fit.omega), 0))
        return Spreads(fit.omega, between, fit.mixing)

    def middle(self) -> "Spreads":
        """Medians as one draw; of correlation matrices the mean, which is one too."""
        omega, between = (
            np.median(each, axis=0, keepdims=True)
            for each in (self.omega, self.between)
        )
        if self.mixing is None:
            return Spreads(omega, between)
        matrix = (self.mixing @ np.swapaxes(self.mixing, -1, -2)).mean(axis=0)
        return Spreads(omega, between, np.linalg.cholesky(matrix)[None])

    def deviations(
        self, whole: Population, eta: Float[np.ndarray, "patients columns"]
    ) -> Float[np.ndarray, "draws patients columns"]:
        """Of φ, of these patients in each draw.

        Args:
            whole: says what varies; its `occasions` are the cycles of `eta`.
            eta: standard normal, the same patients in every draw.
        """
        own, n = jnp.asarray(eta), eta.shape[1]
        omega = np.concatenate(
            [self.omega, np.repeat(self.between, whole.occasions, axis=1)], axis=1
        )
        mixing = None
        if self.mixing is not None:
            varying = self.omega.shape[1]
            mixing = np.tile(np.eye(n), (len(omega), 1, 1))
            mixing[:, :varying, :varying] = self.mixing
            mixing = jnp.asarray(mixing)

        def each(omega: Array, mixing: Array | None) -> Array:
            return Spread(omega, mixing, whole.n_heavy).deviations(own)

        return np.asarray(jax.vmap(each)(jnp.asarray(omega), mixing))


def new_eta(
    key: Array, whole: Population, index: Array
) -> Float[np.ndarray, "patients columns"]:
    """η of new patients, and of each of their cycles.

    Args:
        key: of all patients.
        whole: says what varies, and how many cycles there are.
        index: which patients.
    """
    eta = np.zeros((len(index), len(whole.eta_names)))
    for at, name in enumerate(whole.eta_names):
        eta[:, at] = np.asarray(normals(_key_of(key, name), index, ()))
    return eta


def _key_of(key: Array, name: str) -> Array:
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _of_draws(key: Array, n: int, index: Array) -> Array:
    """Standard normal numbers of patients, others in each of `n` draws."""
    keys = jax.vmap(lambda draw: jax.random.fold_in(key, draw))(jnp.arange(n))
    return jax.vmap(lambda own: normals(own, index, ()))(keys)


def on_cycles(
    key: Array | None, fit: Reopened, phi: np.ndarray, rows: list[int], cycles: int
) -> np.ndarray:
    """φ of fitted patients in so many cycles, those beyond the fitted ones anew.

    Args:
        key: of the new cycles; `None`: they are as the patient is on the whole.
        fit: where the patients are from.
        phi: of these patients, (draws, patients, estimated and fitted cycles).
        rows: their places in the fit.
        cycles: how many.

    Returns:
        (draws, patients, estimated and so many cycles), and what follows in φ.
    """
    whole = fit.population
    if not whole.iov:
        return phi
    n, had = len(whole.estimate), whole.occasions
    last = n + len(whole.iov) * had
    added = np.zeros((*phi.shape[:-1], len(whole.iov), cycles))
    fitted = phi[..., n:last].reshape(*phi.shape[:-1], len(whole.iov), had)
    added[..., : min(had, cycles)] = fitted[..., :cycles]
    if key is not None:
        between, index = Spreads.of(fit).between, jnp.array(rows)
        for at, name in enumerate(whole.iov):
            for cycle in range(had, cycles):
                its = _key_of(key, f"{name}@{cycle + 1}")
                eta = np.asarray(_of_draws(its, len(phi), index))
                added[..., at, cycle] = between[:, at, None] * eta
    added = added.reshape(*phi.shape[:-1], -1)
    return np.concatenate([phi[..., :n], added, phi[..., last:]], axis=-1)


def told_of_new(whole: Population) -> tuple[str, ...]:
    """What a reader must know of the cycles of new patients."""
    if not whole.iov:
        return ()
    return (
        f"differing between cycles, as in the fit: {', '.join(whole.iov)}; every cycle "
        "of a virtual patient is drawn anew",
    )


def told_of_fitted(
    fit: Reopened, rows: list[int], cycles: int, anew: bool
) -> tuple[str, ...]:
    """What a reader must know of cycles in which patients were not fitted.

    Args:
        fit: where the patients are from.
        rows: their places in it.
        cycles: of the longest arm.
        anew: new cycles are drawn; or are as the patient is on the whole.
    """
    if not fit.population.iov:
        return ()
    had = np.asarray(fit.data.n_occasions)[rows]
    lacking = [cycle for cycle in range(1, cycles + 1) if np.any(had < cycle)]
    if not lacking:
        return ()
    who = "no patient" if had.max() < lacking[0] else "not every patient"
    what = "drawn anew about the patient's own" if anew else "the patient's own"
    return (
        f"{who} had cycle {runs(lacking)} in the fit; in one that a patient has "
        f"not had, {', '.join(fit.population.iov)}: {what}",
    )
