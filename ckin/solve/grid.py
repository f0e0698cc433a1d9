"""The fixed grid: RK4 steps that hold every event and sample of a patient.

A fit evaluates the same patients thousands of times, and a search for step sizes each
time costs more than the steps. The grid is laid once, on the host: short steps after
every event, longer ones later. An event is a step of no length that gives what is
given, so a sample before it reads the node before and one after it the node after.
Plain arithmetic in a `lax.scan`, which XLA fuses; under `vmap` patients are lanes.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, ArrayLike, Float, Int
from ckin.model import (
    AbstractModel,
    from_solver_scale,
    give,
    solver_vector_field,
    to_solver_scale,
)
from ckin.protocol import EventTable


# (days since the last event, longest step in days). The fastest rate of the shipped
# models is about 3 per day (killing) in the weeks after a dose, where RK4 then errs
# by 1e-4 relative, a thousandth of a qPCR error. Steps of a day late in a course made
# nearly extinct populations negative.
STEPS = ((14.0, 0.2), (np.inf, 0.5))


class Grid(eqx.Module):
    """Steps of one patient (or a batch: a leading axis). Every step starts by giving.

    Attributes:
        start_d: start of each step, days, shape (steps,).
        length_d: its length, 0 for an event or padding.
        cells: cells given at its start, (steps, products).
        lymphodepletion: 1.0 where it happens at its start.
        level: level of every input during it, (steps, inputs).
        read_at: number of steps done when each sample is read, shape (times,).
        products: names of the columns of `cells`.
        inputs: names of the columns of `level`.
    """

    start_d: Float[Array | np.ndarray, "*batch steps"]
    length_d: Float[Array | np.ndarray, "*batch steps"]
    cells: Float[Array | np.ndarray, "*batch steps products"]
    lymphodepletion: Float[Array | np.ndarray, "*batch steps"]
    level: Float[Array | np.ndarray, "*batch steps inputs"]
    read_at: Int[Array | np.ndarray, "*batch times"]
    products: tuple[str, ...] = eqx.field(static=True)
    inputs: tuple[str, ...] = eqx.field(static=True)


def make_grid(
    events: EventTable,
    time_d: Float[np.ndarray, " times"],
    after: np.ndarray,
) -> Grid:
    """Lay the grid of one patient.

    Args:
        events: what the patient is given.
        time_d: sample times, days.
        after: True where a sample at the time of an event is taken after it.
    """
    event_d = np.asarray(events.time_d)
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
            inner = _between(event_d, stop, stops[number + 1])
            starts += inner[:-1].tolist()
            lengths += np.diff(inner).tolist()
            event_of += [-1] * (inner.size - 1)
    read_at = [
        0 if time < event_d[0] else (behind if late else before)[time]
        for time, late in zip(time_d, after, strict=True)
    ]
    start_d, index = np.array(starts), np.array(event_of)
    given = (index >= 0).astype(float)
    latest = np.searchsorted(event_d, start_d, side="right") - 1
    return Grid(
        start_d=start_d,
        length_d=np.array(lengths),
        cells=np.asarray(events.cells)[index] * given[:, None],
        lymphodepletion=np.asarray(events.lymphodepletion)[index] * given,
        level=np.asarray(events.level)[latest],
        read_at=np.array(read_at, dtype=int),
        products=events.products,
        inputs=events.inputs,
    )


def pad_grid(grid: Grid, n_steps: int) -> Grid:
    """The same grid with steps of no length appended, at which nothing is given."""
    extra = n_steps - grid.start_d.shape[0]

    def more(rows, mode):
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
    )


def _between(event_d: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Nodes from one stop to the next, no step longer than `STEPS` allows."""
    nodes = [start]
    last_event = event_d[event_d <= start].max(initial=event_d[0])
    for until, longest in STEPS:
        end = min(stop, last_event + until)
        if end <= nodes[-1]:
            continue
        n = int(np.ceil((end - nodes[-1]) / longest - 1e-9))
        nodes += np.linspace(nodes[-1], end, n + 1)[1:].tolist()
        nodes[-1] = end
    return np.array(nodes)


def make_grids(events: EventTable, time_d: ArrayLike, after: ArrayLike) -> Grid:
    """Grids of a batch of patients, padded to the longest.

    Args:
        events: batch of event tables; padding events give nothing and cost a step.
        time_d: (patients, times).
        after: (patients, times).
    """
    tables = [
        jax.tree.map(lambda rows, i=i: np.asarray(rows)[i], events)
        for i in range(len(np.asarray(time_d)))
    ]
    rows = [np.asarray(time_d), np.asarray(after)]
    grids = [make_grid(t, *each) for t, *each in zip(tables, *rows, strict=True)]
    most = max(grid.start_d.size for grid in grids)
    padded = [pad_grid(grid, most) for grid in grids]
    return jax.tree.map(lambda *each: jnp.asarray(np.stack(each)), *padded)


def walk_grid(model: AbstractModel, grid: Grid) -> tuple[Any, Array]:
    """States at the samples (plain units, each of shape (times,)), and whether finite.

    Args:
        model: the patient's model; it must not have switch times of its own.
        grid: the patient's grid.
    """
    start = model.initial()
    start = type(start)(*(jnp.asarray(v, jnp.result_type(float)) for v in start))

    def step(w, row):
        t, h, cells, depletion, level = row
        y = from_solver_scale(model, w)
        given = dict(zip(grid.products, cells, strict=True))
        w = to_solver_scale(model, give(model, y, given, depletion))
        inputs = dict(zip(grid.inputs, level, strict=True))

        def slope(t, w):
            return solver_vector_field(model, t, w, inputs)

        def moved(w, h, k):
            return type(w)(*(a + h * b for a, b in zip(w, k, strict=True)))

        k1 = slope(t, w)
        k2 = slope(t + 0.5 * h, moved(w, 0.5 * h, k1))
        k3 = slope(t + 0.5 * h, moved(w, 0.5 * h, k2))
        k4 = slope(t + h, moved(w, h, k3))
        w = type(w)(
            *(
                a + h / 6.0 * (b + 2.0 * c + 2.0 * d + e)
                for a, b, c, d, e in zip(w, k1, k2, k3, k4, strict=True)
            )
        )
        return w, w

    rows = (grid.start_d, grid.length_d, grid.cells, grid.lymphodepletion, grid.level)
    w0 = to_solver_scale(model, start)
    # Only the states are kept for the gradient: recomputing a step is cheaper than
    # writing its insides to memory and reading them back.
    _, path = lax.scan(jax.checkpoint(step, prevent_cse=False), w0, rows)
    nodes = jax.tree.map(lambda first, rest: jnp.append(first, rest), w0, path)
    finite = jnp.array(True)
    for rest in nodes:
        finite = finite & jnp.all(jnp.isfinite(rest))
    # A state that blew up is replaced before anything is computed from it.
    read = jax.tree.map(
        lambda rest, first: jnp.where(finite, rest[grid.read_at], first), nodes, w0
    )
    return from_solver_scale(model, read), finite
