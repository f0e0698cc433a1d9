"""A cohort's grid, as fine as its readings need.

The pace comes from adaptive solves of every patient at several draws of its
parameters (`ckin.solve.pace`). The error of a grid is then estimated by step doubling:
the readings of the grid against those of one with every step halved, of which RK4
leaves 16/15. Where that is above the target the grid is laid for further draws, or the
patient gets a quicker pace, until all are below it. Last, steps that would be
unstable for patients further out are made shorter, however right they are.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, Float
from ckin.model import states
from ckin.population.groups import chunks_of, share_of_padding, size_of_groups
from ckin.population.model import log_readings
from ckin.population.pack import Packed
from ckin.population.specification import Population
from ckin.runtime import usable_cores
from ckin.solve import (
    PACE_SOLVER,
    Grid,
    Pace,
    arriving,
    jacobians,
    make_grids,
    merged_pace,
    quickest,
    scaled,
    side_by_side,
    step_times,
    steps_for_stability,
)


# Largest error of a reading on log10 scale: a hundredth of a qPCR error.
GRID_ERROR = 1e-3

# Local error of the pace's solves, in units of the target: errors of single steps are
# smaller than what they add up to, and two half steps leave 1/15 of theirs.
LOCAL_SHARE = 3.0

MAX_ROUNDS = 6

# A grid is laid for so many draws; the others it is tried on, and laid for those too
# that it does not serve. Cells that come back after months come back on another day in
# each draw, and where the grid is coarse then, its reading is off by decades.
LAID = 8

# Grids are padded to a multiple of this, so that rounds share compiled functions.
BUCKET = 16

# Readings this far below a detection limit (natural log) weigh nothing, and may err.
UNSEEN = np.log(100.0)


class GridReport(NamedTuple):
    """What is known of a grid.

    Attributes:
        steps: of the longest patient.
        padded: share of the steps that are walked which are padding.
        error: estimated largest error of a reading, log10.
        rounds: grids tried.
    """

    steps: int
    padded: float
    error: float
    rounds: int


def refined(
    population: Population,
    data: Packed,
    phi: Float[Array, "draws patients estimated"],
    *,
    target: float = GRID_ERROR,
    wide: Float[Array, "wide patients estimated"] | None = None,
) -> tuple[Packed, GridReport]:
    """The same cohort on a grid whose readings err by less than `target`.

    Args:
        population: what is estimated.
        data: the cohort.
        phi: draws of every patient's parameters that the grid has to serve.
        target: largest error of a reading, log10.
        wide: draws from further out, for which steps have to be stable, if no more.

    Returns:
        The cohort with its grid, and what is known of it; look at `error`, which is
        above the target where rounds or draws did not suffice (inf if none solved).
    """
    walks = _Walks(population, data, phi, target)
    serves = np.zeros((len(phi), data.n_patients), dtype=bool)
    serves[:LAID] = True
    factor = np.ones(data.n_patients)
    rounds, worst = 0, np.inf
    while worst > target and rounds < MAX_ROUNDS:
        rounds += 1
        walked = walks.paces(serves)
        paces = [scaled(p, f) for p, f in zip(walked, factor, strict=True)]
        coarse = _laid(population, data, paces)
        fine = _laid(population, data, [scaled(p, 2.0) for p in paces])
        error = _errors(population, data, phi, coarse, fine)
        worst = float(error.max())
        # A draw that the grid was not laid for has steps of its own to add; where
        # there is none, all steps are too long.
        missed = (error > target) & ~serves
        again = (error > target).any(axis=0) & ~missed.any(axis=0)
        serves |= missed
        largest = error.max(axis=0)[again]
        factor[again] *= np.clip((largest / target) ** 0.25 * 1.1, 1.25, 4.0)
    if wide is not None and len(wide):
        finer = dataclasses.replace(data, grid=_bucketed(fine))
        paces = _stable(population, finer, paces, wide)
        coarse = _laid(population, data, paces)
    laid = laid_on(population, data, _bucketed(coarse))
    share = share_of_padding(coarse.read_at, laid.together)
    return laid, GridReport(coarse.start_d.shape[1], share, worst, rounds)


def laid_on(population: Population, data: Packed, grid: Grid) -> Packed:
    """The cohort on this grid, in groups that it is walked in best."""
    together = size_of_groups(grid.read_at, len(states(population.model)))
    return dataclasses.replace(data, grid=grid, together=together)


def _laid(population: Population, data: Packed, paces: list[Pace]) -> Grid:
    return make_grids(population.model, data.events, data.time_d, data.after, paces)


def _stable(
    population: Population, data: Packed, paces: list[Pace], wide: Array
) -> list[Pace]:
    """Paces at which the patients of `wide` are stable too.

    Args:
        population: what is estimated.
        data: the cohort on a grid on which nearly all of them are.
        paces: of each patient.
        wide: draws, (wide, patients, estimated).
    """
    start, length = np.asarray(data.grid.start_d), np.asarray(data.grid.length_d)
    of_draw = lambda draw: np.asarray(_steps_for_stability(population, data, draw))
    # Compiled by the first; the others on as many cores as there are.
    found = [of_draw(wide[0])]
    with ThreadPoolExecutor(usable_cores()) as cores:
        found += cores.map(of_draw, wide[1:])
    needed = np.repeat(np.max(found, axis=0), 2, axis=1)[:, : start.shape[1]]
    mended = []
    for patient, pace in enumerate(paces):
        real = length[patient] > 0
        rate = needed[patient, real]
        # A step lasts until the next, and what kills may have come by then.
        rate = np.maximum(rate, np.append(rate[1:], rate[-1:]))
        least = np.maximum(rate, pace.per_day.min())
        if rate.size:
            pace = quickest([pace, Pace(start[patient, real], least)])
        mended.append(pace)
    return mended


@eqx.filter_jit
def _steps_for_stability(population: Population, data: Packed, phi: Array):
    """Of every other step: what comes between lasts no longer than they."""

    def one(phi, known, grid):
        model = population.patient_model(phi, known)
        return steps_for_stability(jacobians(model, grid)[::2])

    return jax.vmap(one)(phi, data.known, data.grid)


class _Walks:
    """Adaptive solves of a cohort's draws, each made when it is first asked for."""

    def __init__(self, population: Population, data: Packed, phi, target: float):
        self._cohort = (population, data)
        self._phi = np.asarray(phi)
        self._tolerance = jnp.asarray(LOCAL_SHARE * target, dtype=float)
        events = arriving(population.model, data.events)
        self._event_d = np.asarray(events.time_d)
        # Ends of steps by draw, (patients, steps).
        self._ends: dict[int, np.ndarray] = {}

    def paces(self, serves: np.ndarray) -> list[Pace]:
        """Pace of each patient that serves these of its draws, (draws, patients)."""
        self._solve(np.flatnonzero(serves.any(axis=1)))
        return [
            merged_pace(
                [self._ends[draw][patient] for draw in np.flatnonzero(mine).tolist()],
                self._event_d[patient],
            )
            for patient, mine in enumerate(serves.T)
        ]

    def _solve(self, draws: np.ndarray) -> None:
        new = [draw for draw in draws.tolist() if draw not in self._ends]
        size = min(LAID, len(self._phi))
        for rows in chunks_of(np.array(new, dtype=int), size):
            found = _step_times(
                *self._cohort, jnp.asarray(self._phi[rows]), self._tolerance
            )
            # (draws, patients, pieces, steps); a solve that failed says nothing.
            ends, solved = map(np.asarray, found)
            ends = np.where(solved[..., None, None], ends, np.inf)
            flat = ends.reshape(*ends.shape[:2], -1)
            self._ends |= dict(zip(rows.tolist(), flat, strict=True))


@eqx.filter_jit
def _step_times(population: Population, data: Packed, phi: Array, tolerance: Array):
    solver = eqx.tree_at(
        lambda s: (s.rtol, s.atol), PACE_SOLVER, (tolerance, tolerance)
    )

    def one(phi, known, events, until):
        model = population.patient_model(phi, known)
        return step_times(model, events, until, solver)

    each = jax.vmap(one)
    until = data.time_d[:, -1]
    return lax.map(lambda draw: each(draw, data.known, data.events, until), phi)


def _bucketed(grid: Grid) -> Grid:
    return _padded(grid, -(-grid.start_d.shape[1] // BUCKET) * BUCKET)


def _padded(grid: Grid, n_steps: int) -> Grid:
    each = [
        jax.tree.map(lambda rows, i=i: np.asarray(rows)[i], grid)
        for i in range(grid.start_d.shape[0])
    ]
    return side_by_side(each, n_steps)


def _errors(population, data: Packed, phi, coarse: Grid, fine: Grid) -> np.ndarray:
    """Largest error of each draw's readings of each patient, log10."""
    # Both at the length of the finer, and of one slightly longer: one compiled function
    # serves, mostly in the next round too.
    steps = fine.start_d.shape[1]
    room = max(BUCKET, 2 ** (steps.bit_length() - 3))
    n_steps = -(-steps // room) * room
    (rough, ok), (better, sure) = (
        _readings(population, eqx.tree_at(lambda d: d.grid, data, grid), phi)
        for grid in (_padded(coarse, n_steps), _padded(fine, n_steps))
    )
    unseen = np.asarray(data.log_value) - UNSEEN
    floor = np.where(np.asarray(data.below), unseen, -np.inf)
    rough, better = (np.maximum(np.asarray(x), floor) for x in (rough, better))
    gap = np.where(np.asarray(data.present), np.abs(rough - better), 0.0)
    error = gap.max(axis=2) * (16.0 / 15.0) / np.log(10.0)
    # A draw that no grid solves says nothing; one that only the finer solves does.
    return np.where(np.asarray(ok), error, np.where(np.asarray(sure), np.inf, 0.0))


@eqx.filter_jit
def _readings(population: Population, data: Packed, phi: Array):
    return lax.map(lambda draw: log_readings(population, draw, data), phi)
