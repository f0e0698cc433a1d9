"""The referee: do the draws hold when the equations are solved without a grid?

A fit moves on a grid laid beforehand (`ckin.solve.grid`), because that is quick. Some
of its draws are solved again by an adaptive solver of known tolerance, and the log
density of each changes by Δ. Draws of the one posterior with weights exp Δ are draws of
the other (importance sampling: Timonen et al. 2023, Stat 12:e614), smoothed as Vehtari
et al. 2024 (JMLR 25:72) smooth them. Their Pareto k-hat tells whether that works: over
0.7 the two posteriors are too far apart, and the grid is to be made finer.
"""

import dataclasses
from collections.abc import Callable

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from arviz_stats.base.array import array_stats
from scipy.special import softmax

from ckin._types import ArrayLike, Float
from ckin.inference.density import Density
from ckin.inference.predict import sample_log_likelihoods
from ckin.population import chunks_of
from ckin.solve import Solver


# The fewest whose largest weights still tell a shape. The flagship (34 patients, 3
# cycles, one core) takes 0.23 s for each, so a fit waits half a minute.
DRAWS = 100
# Draws solved at a time: progress is told between them.
CHUNK = 10
# A judge has to be more exact than the judged. Cells that are nearly gone and grow back
# multiply their error, so it is the absolute tolerance that counts: with 1e-8 for both
# the flagship's log densities err by up to 0.1, ten times the grid's error, and with
# these by 5e-5, in the same time.
RTOL, ATOL = 1e-7, 1e-11
# Nats. Weights that differ by less are equal but for rounding and have no tail.
ROUNDING = 1e-6
# Fewer weights than this have no tail of 5, which the fit of its shape needs.
LEAST_DRAWS = 25

# What stands in `Referee.method`.
CLOSED_FORM = "closed form"
ADAPTIVE = "adaptive"

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Referee:
    """What the adaptive solver says of a fit's draws.

    Attributes:
        method: "adaptive", or "closed form" for a model that is not solved at all: its
            draws need no referee, and all that follows is empty.
        rows: which draws were judged, indices into the flattened draws.
        delta: log density by the adaptive solver less that of the fit, (judged,); NaN
            where either could not solve a patient.
        weights: smoothed importance weights, (judged,), of sum 1; 0 where Δ is NaN.
        khat: Pareto k-hat of the weights; 0 if they are equal but for rounding, inf
            if one or two draws carry all weight, NaN for fewer than 25 draws.
        by_patient: largest |Δ| of each patient's log likelihood, by identifier.
        unsolved: draws that no adaptive solver could solve, by patient; only those
            patients that have any.
        rescued: (draw, patient) pairs that only the implicit solver could solve.
    """

    method: str
    rows: np.ndarray
    delta: np.ndarray
    weights: np.ndarray
    khat: float
    by_patient: dict[str, float]
    unsolved: dict[str, int]
    rescued: int = 0

    @property
    def max_abs_delta(self) -> float:
        """Largest |Δ| of a draw, in nats; 0 if there is none."""
        known = np.abs(self.delta[np.isfinite(self.delta)])
        return float(known.max(initial=0.0))

    @property
    def spread(self) -> float:
        """Largest less smallest Δ, in nats; 0 if there is none."""
        known = self.delta[np.isfinite(self.delta)]
        return float(np.ptp(known)) if known.size else 0.0

    @property
    def ess(self) -> float:
        """Effective number of the judged draws under the weights, 1/Σw²."""
        total = float(np.sum(self.weights**2))
        return 1.0 / total if total else 0.0

    @property
    def worst_patient(self) -> str | None:
        """Identifier of the patient whose likelihood changes most, if any does."""
        if not self.by_patient:
            return None
        return max(self.by_patient, key=lambda name: self.by_patient[name])

    def told(self) -> dict[str, object]:
        """What the manifest keeps; numbers that do not exist are None."""
        if self.method == CLOSED_FORM:
            return {"method": CLOSED_FORM, "draws": 0}
        worst = self.worst_patient
        return {
            "method": self.method,
            "solver": f"Tsit5, Kvaerno5 where it fails, rtol {RTOL:g}, atol {ATOL:g}",
            "draws": len(self.rows),
            "max_abs_delta": self.max_abs_delta,
            "spread_of_delta": self.spread,
            "ess_of_weights": round(self.ess, 2),
            "worst_patient": worst,
            "worst_patient_abs_delta": self.by_patient.get(worst or ""),
            "unsolved": sum(self.unsolved.values()),
            "rescued_by_kvaerno5": self.rescued,
        }


def referee(
    density: Density,
    u: Float[ArrayLike, "draws hyper"],
    eta: Float[ArrayLike, "draws patients varying"],
    *,
    fitted: tuple[ArrayLike, ArrayLike] | None = None,
    draws: int = DRAWS,
    report: Progress = lambda *_: None,
) -> Referee:
    """Solve some of the draws again, adaptively, and weigh them by how they change.

    Args:
        density: the posterior that was fitted.
        u: its population draws.
        eta: the patients' variation in the same draws.
        fitted: `sample_log_likelihoods(density, u, eta)`, where it is at hand.
        draws: how many to judge, evenly spaced; all if there are fewer.
        report: called with (draws done, draws in all).

    Raises:
        ValueError: there is no draw, or `draws` is below 1.
    """
    u, eta = np.asarray(u), np.asarray(eta)
    if draws < 1 or len(u) < 1:
        raise ValueError(f"draws={draws} of {len(u)}: there must be at least 1")
    if _has_closed_form(density):
        none = np.zeros(0)
        return Referee(CLOSED_FORM, none.astype(int), none, none, 0.0, {}, {})
    rows = np.linspace(0, len(u) - 1, min(draws, len(u))).astype(int)
    u, eta = u[rows], eta[rows]
    if fitted is None:
        fitted = sample_log_likelihoods(density, jnp.asarray(u), jnp.asarray(eta))
        of_fit, solved = (np.asarray(each) for each in fitted)
    else:
        of_fit, solved = (np.asarray(each)[rows] for each in fitted)
    again, found, rescued = _adaptive(density, u, eta, report)
    return _judged(
        density.data.ids, rows, of_fit.sum(-1), solved, again, found, rescued
    )


def weigh(
    delta: Float[np.ndarray, " draws"],
) -> tuple[Float[np.ndarray, " draws"], float]:
    """Smoothed weights of sum 1, proportional to exp Δ, and their Pareto k-hat.

    Args:
        delta: log density ratio of each draw; its level is of no matter. NaN leaves a
            draw out (weight 0).

    Returns:
        The weights, and k-hat: 0 if the weights of the tail are equal but for
        rounding, inf if too few draws carry weight for a tail to be fitted, NaN for
        fewer than 25 draws (the weights are then not smoothed).
    """
    known = np.isfinite(delta)
    weights, ratios = np.zeros(delta.shape), delta[known]
    if not ratios.size:
        return weights, float("nan")
    weights[known] = softmax(ratios)
    if np.ptp(ratios) < ROUNDING:
        return weights, 0.0
    if ratios.size < LEAST_DRAWS:
        return weights, float("nan")
    # As many as psislw takes for the tail; it refuses a tail of equal weights.
    largest = int(min(ratios.size / 5, 3 * np.sqrt(ratios.size)))
    if np.ptp(np.sort(ratios)[-largest:]) < ROUNDING:
        return weights, 0.0
    # Weights too small for a float make the fit divide by 0; its NaN is taken below.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        smoothed, khat = array_stats.psislw(-ratios)
    if not (np.isfinite(khat) and np.isfinite(smoothed).all()):
        return weights, float("inf")
    weights[known] = softmax(smoothed)
    return weights, float(khat)


def _has_closed_form(density: Density) -> bool:
    """Whether the fit evaluated a formula instead of solving equations."""
    if density.solver.method is not None:
        return False
    return density.population.model.closed_form(density.data.time_d[0]) is not None


def _solved_with(density: Density, method: dfx.AbstractSolver) -> Density:
    solver = Solver(method=method, rtol=RTOL, atol=ATOL)
    return eqx.tree_at(lambda d: d.solver, density, solver)


def _adaptive(
    density: Density, u: np.ndarray, eta: np.ndarray, report: Progress
) -> tuple[np.ndarray, np.ndarray, int]:
    """Log likelihoods (draws, patients), who was solved, and pairs Tsit5 left over."""
    explicit = _solved_with(density, dfx.Tsit5())
    values, solved = _in_chunks(explicit, u, eta, report)
    left = np.flatnonzero(~solved.all(axis=1))
    if not left.size:
        return values, solved, 0
    # Stiff draws: an implicit solver takes longer, so it gets these alone.
    implicit = _solved_with(density, dfx.Kvaerno5())
    more, found = _in_chunks(implicit, u[left], eta[left], lambda *_: None)
    gained = found & ~solved[left]
    values[left] = np.where(gained, more, values[left])
    solved[left] |= gained
    return values, solved, int(gained.sum())


def _in_chunks(
    density: Density, u: np.ndarray, eta: np.ndarray, report: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihoods (draws, patients) and who was solved, a chunk at a time."""
    total = len(u)
    values, solved = [], []
    report(0, total)
    for chunk in chunks_of(np.arange(total), CHUNK):
        each, ok = sample_log_likelihoods(
            density, jnp.asarray(u[chunk]), jnp.asarray(eta[chunk])
        )
        values.append(np.asarray(each).sum(-1))
        solved.append(np.asarray(ok))
        report(min(len(values) * CHUNK, total), total)
    return np.concatenate(values)[:total], np.concatenate(solved)[:total]


def _judged(
    ids: tuple[str, ...],
    rows: np.ndarray,
    of_fit: np.ndarray,
    solved: np.ndarray,
    again: np.ndarray,
    found: np.ndarray,
    rescued: int,
) -> Referee:
    """Differences of log likelihoods, (draws, patients), as a verdict on the draws."""
    both = solved & found
    change = np.where(both, again, 0.0) - np.where(both, of_fit, 0.0)
    # Only the likelihood is solved for: prior and η are the same on both sides.
    delta = np.where(both.all(axis=1), change.sum(axis=1), np.nan)
    weights, khat = weigh(delta)
    largest, lost = np.abs(change).max(axis=0), (~found).sum(axis=0)
    return Referee(
        ADAPTIVE,
        rows,
        delta,
        weights,
        khat,
        by_patient={n: float(x) for n, x in zip(ids, largest, strict=True)},
        unsolved={n: int(x) for n, x in zip(ids, lost, strict=True) if x},
        rescued=rescued,
    )
