"""Along the ridge of a log likelihood: highest over all coordinates but one.

From a maximum outwards on one side: at each place of the coordinate the others go to
their best values, from where a straight line through the last two places foresees them.
How much the log likelihood falls between places sets the next step, and where it has
fallen by enough a root search ends the walk. The slope of the ridge is the slope of the
surface in that coordinate (the others have none there), which makes both exact.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize


# √(2 fall) between two places: about nine of them to a fall of 1.92.
PACE = 0.25
# A step is at most so many times the last one, and one that leads nowhere a quarter.
LONGER, SHORTER = 3.0, 0.25
# Halvings, quarterings and secants are given up after so many.
TRIES = 25
# The others are at their best when that slope is left, in their SDs, and so many nats.
SLOPE, GAIN_LEFT = 3e-4, 1e-4
# Nats by which a limit may miss the fall that was asked for.
CLOSE = 1e-4

Surface = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Place:
    """A point of the ridge.

    Attributes:
        u: all coordinates.
        value: log likelihood; -inf where there is none.
        slope: of the ridge along its coordinate.
        settled: whether the other coordinates are at their best.
    """

    u: np.ndarray
    value: float
    slope: float
    settled: bool


@dataclasses.dataclass(frozen=True)
class Side:
    """What a walk to one side found.

    Attributes:
        places: outwards, the limit last where there is one.
        found: whether the log likelihood fell by as much as was asked for.
        stopped: nothing could be evaluated past the last place.
    """

    places: tuple[Place, ...]
    found: bool
    stopped: bool = False


class Ridge:
    """The ridge over one coordinate.

    Args:
        surface: log likelihood and its slope in u; (-inf, anything) where none.
        index: of the coordinate.
        free: which other coordinates move, (coordinates,).
        covariance: of u around the maximum, positive definite: what one step is.
        elsewhere: called before each search, which goes on from lower ground.
    """

    def __init__(
        self,
        surface: Surface,
        index: int,
        free: np.ndarray,
        covariance: np.ndarray,
        elsewhere: Callable[[], None] = lambda: None,
    ):
        self._surface, self._elsewhere = surface, elsewhere
        self.index = index
        self.free = np.flatnonzero(free & (np.arange(free.size) != index))
        across = covariance[self.free, index]
        self.sd = math.sqrt(covariance[index, index])
        # The others given the coordinate: how they follow it, and how wide they are.
        self.lean = np.zeros(free.size)
        self.lean[self.free] = across / self.sd**2
        self.lean[index] = 1.0
        given = covariance[np.ix_(self.free, self.free)]
        given = given - np.outer(across, across) / self.sd**2
        self._width = np.linalg.cholesky(given)
        self._inverse = np.eye(self.free.size)

    def settle(self, guess: np.ndarray) -> Place:
        """The best of the other coordinates, from a guess; its own stays."""
        self._elsewhere()
        u = np.array(guess, dtype=float)
        if not np.isfinite(self._surface(u)[0]):
            return Place(u, -math.inf, math.nan, False)
        left = 0.0
        for _ in range(2 if self.free.size else 0):
            u, left = self._climbed(u)
            if left < GAIN_LEFT:
                break
            # What was learnt of the curvature elsewhere misleads here.
            self._inverse = np.eye(self.free.size)
        value, slope = self._surface(u)
        return Place(u, value, float(slope[self.index]), left < GAIN_LEFT)

    def _climbed(self, u: np.ndarray) -> tuple[np.ndarray, float]:
        """A search, and the nats that are left to gain by its own account."""

        def moved(w):
            there = u.copy()
            there[self.free] += self._width @ w
            return there

        def loss(w):
            value, slope = self._surface(moved(w))
            if not np.isfinite(value):
                return 1e30, np.zeros_like(w)
            return -value, -self._width.T @ slope[self.free]

        found = optimize.minimize(
            loss,
            np.zeros(self.free.size),
            jac=True,
            method="BFGS",
            options={"gtol": SLOPE, "hess_inv0": self._inverse, "maxiter": 200},
        )
        inverse = 0.5 * (found.hess_inv + found.hess_inv.T)
        if np.linalg.eigvalsh(inverse)[0] > 1e-8:
            self._inverse = inverse
        return moved(found.x), 0.5 * float(found.jac @ self._inverse @ found.jac)


def walk(
    ridge: Ridge,
    top: Place,
    side: int,
    end: float,
    fall: float,
    anew: Callable[[np.ndarray], bool] = lambda _: False,
) -> Side:
    """From the maximum to where the log likelihood has fallen.

    Args:
        ridge: over the coordinate.
        top: the maximum.
        side: +1 or -1.
        end: value of the coordinate that is not passed.
        fall: nats to fall by.
        anew: whether the surface in u is higher than it was, looked at again; asked
            where a limit is found.
    """
    i, here, places = ridge.index, top, []
    step, lean = side * 2.0 * PACE * ridge.sd, ridge.lean
    while side * (end - here.u[i]) > 1e-9 * abs(ridge.sd):
        step = side * min(abs(step), abs(end - here.u[i]))
        there = _onwards(ridge, here, step, lean)
        if there is None:
            return Side(tuple(places), False, stopped=True)
        if top.value - there.value >= fall:
            limit = _limit(ridge, here, there, top.value - fall)
            if anew(limit.u):
                there = ridge.settle(limit.u)
                if top.value - there.value < fall - CLOSE:
                    limit = None
            if limit is not None:
                return Side((*places, limit), limit.settled)
        moved = there.u[i] - here.u[i]
        lean = (there.u - here.u) / moved
        here = there
        places.append(here)
        step = side * _next_step(top.value - here.value, -side * here.slope, abs(moved))
    return Side(tuple(places), False)


def _onwards(ridge: Ridge, here: Place, step: float, lean: np.ndarray) -> Place | None:
    """The next place, nearer where nothing is to be had; `None` where nowhere."""
    for _ in range(TRIES):
        there = ridge.settle(here.u + step * lean)
        if np.isfinite(there.value):
            return there
        step *= SHORTER
        if abs(step) < 1e-4 * ridge.sd:
            return None
    return None


def _next_step(fallen: float, steepness: float, last: float) -> float:
    """A step over which √(2 fall) grows by `PACE`, were it to go on as it does."""
    if fallen <= 0.0 or steepness <= 0.0:
        return LONGER * last
    wanted = PACE * math.sqrt(2.0 * fallen) / steepness
    return min(max(wanted, SHORTER * last), LONGER * last)


def _limit(ridge: Ridge, inner: Place, outer: Place, level: float) -> Place:
    """Where the ridge passes a level between two places on its two sides."""
    i = ridge.index
    best = outer
    for turn in range(TRIES):
        if abs(best.value - level) < CLOSE:
            break
        low, high = inner.u[i], outer.u[i]
        # Newton's step from the nearer one, else the middle.
        near = min(inner, outer, key=lambda p: abs(p.value - level))
        at = near.u[i] + (level - near.value) / near.slope if near.slope else math.nan
        if turn % 4 == 3 or not min(low, high) < at < max(low, high):
            at = 0.5 * (low + high)
        share = (at - low) / (high - low)
        best = ridge.settle(inner.u + share * (outer.u - inner.u))
        inner, outer = (best, outer) if best.value > level else (inner, best)
    return best
