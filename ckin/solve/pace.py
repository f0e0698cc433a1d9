"""The pace of a patient's grid, taken from an adaptive solve of the same model.

RK4 with step doubling (diffrax's `HalfSolver`) chooses its steps where the trajectory
bends and where it is stiff; a grid with as many steps per day is then as good
everywhere. Several trajectories of a patient, of several parameter values, are merged
by the shortest steps of any.
"""

from collections.abc import Iterable, Sequence

import diffrax as dfx
import numpy as np

from ckin.solve.adaptive import Solver
from ckin.solve.grid import Pace, usual_pace
from ckin.solve.rk4 import RK4


# Local error that steps are chosen for, of log states and scaled cells: what the two
# half steps leave is 1/15 of it.
PACE_TOLERANCE = 1e-3

# Longest step, days: a state that has died out bends nowhere.
LONGEST_D = 20.0


# The grid's solver made adaptive: `ckin.solve.step_times` tells its steps.
PACE_SOLVER = Solver(
    method=dfx.HalfSolver(RK4()),
    rtol=PACE_TOLERANCE,
    atol=PACE_TOLERANCE,
    max_steps=1024,
    adjoint=dfx.DirectAdjoint(),
    first_step_d=0.1,
)


def merged_pace(step_ends_d: Iterable[np.ndarray], event_d: np.ndarray) -> Pace:
    """Pace of a patient from the steps of several adaptive solves.

    Args:
        step_ends_d: of each solve, the days at which its steps end, padded with inf.
        event_d: days of the patient's events; the solves began at the first.

    Returns:
        As many steps per day as the solve that took most there (each of its steps is
        two of RK4); the usual pace if there was no solve.
    """
    walks = []
    for ends in step_ends_d:
        days = np.unique(np.append(ends[np.isfinite(ends)], event_d[0]))
        if days.size > 1:
            walks.append(days)
    if not walks:
        return usual_pace(event_d)
    knots = np.unique(np.concatenate(walks))[:-1]
    per_day = np.full(knots.size, 1.0 / LONGEST_D)
    for days in walks:
        step = np.clip(np.searchsorted(days, knots, side="right") - 1, 0, days.size - 2)
        lengths = np.maximum(np.diff(days), 1e-6)
        per_day = np.maximum(per_day, (2.0 / lengths)[step])
    return Pace(knots, per_day)


def quickest(paces: Sequence[Pace]) -> Pace:
    """The pace that is as quick as the quickest of these, everywhere."""
    knots = np.unique(np.concatenate([pace.knot_d for pace in paces]))
    each = [
        pace.per_day[np.maximum(np.searchsorted(pace.knot_d, knots, "right") - 1, 0)]
        for pace in paces
    ]
    return Pace(knots, np.max(each, axis=0))


def scaled(pace: Pace, factor: float) -> Pace:
    """The same pace, that many times quicker."""
    return Pace(pace.knot_d, pace.per_day * factor)
