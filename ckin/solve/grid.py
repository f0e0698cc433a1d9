"""The fixed grid: RK4 steps that hold every event and sample of a patient.

A fit evaluates the same patients thousands of times, and a search for step sizes each
time costs more than the steps. The grid is laid once, on the host, at a `Pace`: short
steps after every event and longer ones later (`USUAL`), or the pace of an adaptive
solve (`ckin.solve.pace`). An event is a step of no length that gives what is given, so
a sample before it reads the node before and one after it the node after. `walk` steps
over it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from ckin._types import Array, ArrayLike, Float, Int
from ckin.model import AbstractModel
from ckin.protocol import EventTable
from ckin.solve.moments import arriving


# (days since the last event, longest step in days). The fastest rate of the shipped
# models is about 3 per day (killing) in the weeks after a dose, where RK4 then errs
# by 1e-4 relative, a thousandth of a qPCR error. Steps of a day late in a course made
# nearly extinct populations negative.
STEPS = ((14.0, 0.2), (np.inf, 0.5))


class Pace(NamedTuple):
    """Steps per day of one patient, constant between knots and after the last.

    Attributes:
        knot_d: days, increasing, shape (knots,).
        per_day: steps per day from each knot on, positive, shape (knots,).
    """

    knot_d: np.ndarray
    per_day: np.ndarray

    def steps_before(self, time_d: np.ndarray) -> np.ndarray:
        """Steps from the first knot to each time (a real number; negative before)."""
        done = np.cumsum(np.diff(self.knot_d) * self.per_day[:-1])
        at_knot = np.concatenate([[0.0], done])
        piece = np.clip(np.searchsorted(self.knot_d, time_d, "right") - 1, 0, None)
        return at_knot[piece] + (time_d - self.knot_d[piece]) * self.per_day[piece]

    def between(self, start: float, stop: float) -> np.ndarray:
        """Nodes from `start` to `stop`, both included, equally far apart in steps."""
        first, last = self.steps_before(np.array([start, stop]))
        knots = self.knot_d[(self.knot_d > start) & (self.knot_d < stop)]
        days = np.concatenate([[start], knots, [stop]])
        n = max(1, int(np.ceil(last - first - 1e-9)))
        wanted = np.linspace(first, last, n + 1)[1:-1]
        inner = np.interp(wanted, self.steps_before(days), days)
        return np.concatenate([[start], inner, [stop]])


def usual_pace(event_d: np.ndarray) -> Pace:
    """The pace of `STEPS` after each event."""
    changes = np.array([until for until, _ in STEPS[:-1]])
    knots = np.unique(np.concatenate([event_d, (event_d[:, None] + changes).ravel()]))
    last_event = event_d[np.searchsorted(event_d, knots, side="right") - 1]
    which = np.searchsorted(changes, knots - last_event, side="right")
    return Pace(knots, 1.0 / np.array([longest for _, longest in STEPS])[which])


def paces_of(grid: "Grid") -> list[Pace]:
    """The pace of each patient of a batch: as long as the steps there are, anywhere.

    After the last of them it is that of their last days together. The last step alone
    ends at a sample, and may be as short as one likes.
    """
    paces = []
    for start, length in zip(
        np.asarray(grid.start_d), np.asarray(grid.length_d), strict=True
    ):
        real = length > 0
        if not real.any():
            paces.append(usual_pace(np.unique(start)))
            continue
        start, length = start[real], length[real]
        end = start[-1] + length[-1]
        span = min(STEPS[0][0], end - start[0])
        after = max(np.sum(start >= end - span) / span, 1.0 / STEPS[-1][1])
        paces.append(Pace(np.append(start, end), np.append(1.0 / length, after)))
    return paces


class Grid(eqx.Module):
    """Steps of one patient (or a batch: a leading axis). Every step starts by giving.

    Attributes:
        start_d: start of each step, days, shape (steps,).
        length_d: its length, 0 for an event or padding.
        cells: cells given at its start, (steps, products).
        lymphodepletion: 1.0 where it happens at its start.
        level: level of every input at its start, (steps, inputs).
        read_at: number of steps done when each sample is read, shape (times,).
        products: names of the columns of `cells`.
        inputs: names of the columns of `level`.
        rate: cells per day that run in during it, (steps, products), or `None`.
        slope: change of the levels per day during it, (steps, inputs), or `None`.
        reset: 1.0 where the state is as before the first event at its start, or `None`.
        occasion: which set of parameters holds during it, from 0, or `None`.
        until: number of steps that are walked, the same for the whole batch; all of
            them where it is `None`.
    """

    start_d: Float[Array | np.ndarray, "*batch steps"]
    length_d: Float[Array | np.ndarray, "*batch steps"]
    cells: Float[Array | np.ndarray, "*batch steps products"]
    lymphodepletion: Float[Array | np.ndarray, "*batch steps"]
    level: Float[Array | np.ndarray, "*batch steps inputs"]
    read_at: Int[Array | np.ndarray, "*batch times"]
    products: tuple[str, ...] = eqx.field(static=True)
    inputs: tuple[str, ...] = eqx.field(static=True)
    # `None` where an event table has none of it, as there.
    rate: Float[Array | np.ndarray, "*batch steps products"] | None = None
    slope: Float[Array | np.ndarray, "*batch steps inputs"] | None = None
    reset: Float[Array | np.ndarray, "*batch steps"] | None = None
    occasion: Int[Array | np.ndarray, "*batch steps"] | None = None
    until: Int[Array, ""] | None = None


def make_grid(
    events: EventTable,
    time_d: Float[np.ndarray, " times"],
    after: np.ndarray,
    pace: Pace | None = None,
) -> Grid:
    """Lay the grid of one patient.

    Args:
        events: what the patient is given.
        time_d: sample times, days.
        after: True where a sample at the time of an event is taken after it.
        pace: steps per day; `usual_pace` when nobody says.
    """
    event_d = np.asarray(events.time_d)
    pace = usual_pace(event_d) if pace is None else pace
    stops = np.unique(np.concatenate([event_d, time_d[time_d > event_d[0]]]))
    starts, lengths, event_of = [], [], []
    # Steps done before (after) the events at each stop.
    before, behind = {}, {}
    for number, stop in enumerate(stops):
        before[stop] = len(starts)
        for event in np.flatnonzero(event_d == stop):
            starts.append(stop)
            lengths.append(0.0)
            event_of.append(event)
        behind[stop] = len(starts)
        if number + 1 < stops.size:
            inner = pace.between(stop, stops[number + 1])
            starts += inner[:-1].tolist()
            lengths += np.diff(inner).tolist()
            event_of += [-1] * (inner.size - 1)
    read_at = [
        0 if time < event_d[0] else (behind if late else before)[time]
        for time, late in zip(time_d, after, strict=True)
    ]
    start_d, index = np.array(starts), np.array(event_of)
    given = (index >= 0).astype(float)
    # The event of a step is its own; of a step between events, the last one.
    own = np.searchsorted(event_d, start_d, side="right") - 1
    latest = np.where(index >= 0, index, own)

    def held(rows: Any) -> Any:
        return None if rows is None else np.asarray(rows)[latest]

    level, slope, reset = held(events.level), held(events.slope), events.reset
    if slope is not None:
        level = level + slope * (start_d - event_d[latest])[:, None]
    return Grid(
        start_d=start_d,
        length_d=np.array(lengths),
        cells=np.asarray(events.cells)[index] * given[:, None],
        lymphodepletion=np.asarray(events.lymphodepletion)[index] * given,
        level=level,
        read_at=np.array(read_at, dtype=int),
        products=events.products,
        inputs=events.inputs,
        rate=held(events.rate),
        slope=slope,
        reset=None if reset is None else np.asarray(reset)[index] * given,
        occasion=held(events.occasion),
    )


def pad_grid(grid: Grid, n_steps: int) -> Grid:
    """The same grid with steps of no length appended, at which nothing is given."""
    extra = n_steps - grid.start_d.shape[0]

    def more(rows: Any, mode: Any) -> Any:
        if rows is None:
            return None
        return np.pad(rows, ((0, extra), *((0, 0),) * (rows.ndim - 1)), mode=mode)

    return Grid(
        start_d=more(grid.start_d, "edge"),
        length_d=more(grid.length_d, "constant"),
        cells=more(grid.cells, "constant"),
        lymphodepletion=more(grid.lymphodepletion, "constant"),
        level=more(grid.level, "edge"),
        read_at=grid.read_at,
        products=grid.products,
        inputs=grid.inputs,
        rate=more(grid.rate, "edge"),
        slope=more(grid.slope, "edge"),
        reset=more(grid.reset, "constant"),
        occasion=more(grid.occasion, "edge"),
    )


def cut_grid(grid: Grid, n_steps: int) -> Grid:
    """The grid of one patient without the steps after the first `n_steps`.

    Args:
        grid: of one patient, no sample of which is read later.
        n_steps: steps to keep.
    """
    kept = jax.tree.map(lambda rows: rows[:n_steps], grid)
    return dataclasses.replace(kept, read_at=grid.read_at)


def make_grids(
    model: AbstractModel,
    events: EventTable,
    time_d: ArrayLike,
    after: ArrayLike,
    paces: Sequence[Pace] | None = None,
) -> Grid:
    """Grids of a batch of patients, padded to the longest.

    Args:
        model: whose lags delay what is given; the same for everyone.
        events: batch of event tables; padding events give nothing and cost a step.
        time_d: (patients, times).
        after: (patients, times).
        paces: of each patient; the usual one when nobody says.
    """
    times, late = np.asarray(time_d), np.asarray(after)
    events = arriving(model, events)
    grids = []
    for patient in range(len(times)):
        table = jax.tree.map(lambda rows, i=patient: np.asarray(rows)[i], events)
        pace = None if paces is None else paces[patient]
        grids.append(make_grid(table, times[patient], late[patient], pace))
    return side_by_side(grids, max(grid.start_d.size for grid in grids))


def side_by_side(grids: Sequence[Grid], n_steps: int) -> Grid:
    """One batch of the grids of patients, each padded to so many steps."""
    padded = [pad_grid(grid, n_steps) for grid in grids]
    # `jnp.asarray` would compile a copy of every shape.
    return jax.device_put(jax.tree.map(lambda *each: np.stack(each), *padded))
