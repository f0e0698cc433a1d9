"""Trajectories by scipy: an independent walk over the events, in plain units."""

import functools

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from ckin.model import AbstractModel, states
from ckin.protocol import EventTable
from ckin.solve.scale import give


RTOL = 1e-10
# Of states that are not on log scale, in units of their scale; log states never
# start empty and are held to RTOL alone.
ATOL = 1e-10


@functools.cache
def _compiled(structure, inputs: tuple[str, ...]):
    """Slope and Jacobian of flat arrays: a tree of arguments would cost the most.

    By the structure of a model, which holds its laws.
    """

    def slope(parameters, t, y, level, entering):
        model = jax.tree.unflatten(structure, list(parameters))
        named = dict(zip(inputs, level, strict=True))
        return jax.numpy.stack(model.vector_field(t, model.State(*y), named)) + entering

    return jax.jit(slope), jax.jit(jax.jacfwd(slope, argnums=2))


def integrate(
    model: AbstractModel, events: EventTable, time_d: np.ndarray
) -> dict[str, np.ndarray]:
    """Quantities before anything given at `time_d`, by name, shape (times,)."""
    cls = type(model)
    vector = ravel_pytree(model)[0]
    slope, jacobian = _compiled(jax.tree.structure(model), events.inputs)
    infos = states(model).values()
    atol = [1e-300 if info.log else ATOL * info.scale for info in infos]
    switches = [float(t) for t in model.switch_times()]
    cuts = sorted({*time_d.tolist(), *events.time_d.tolist(), *switches})
    first = float(events.time_d[0])
    # An event table starts at its first event; before it nothing happens.
    cuts = [t for t in cuts if t >= first]

    seen = {}
    y = np.array([float(v) for v in model.initial()])
    for t in time_d[time_d < first].tolist():
        seen[t] = y
    held = _held(model, events, 0)
    for t, end in zip(cuts, [*cuts[1:], cuts[-1]], strict=True):
        seen[t] = y
        for row in np.flatnonzero(events.time_d == t).tolist():
            cells = dict(zip(events.products, events.cells[row], strict=True))
            if events.reset is not None and events.reset[row] > 0:
                y = np.array([float(v) for v in model.initial()])
            given = give(model, cls.State(*y), cells, events.lymphodepletion[row])
            y, held = np.array([float(v) for v in given]), _held(model, events, row)
        if end == t:
            break
        # A switch at `end` belongs to the next piece.
        last = np.nextafter(end, t)

        def at(t, y, held=held, last=last):
            return vector, min(t, last), y, *held(min(t, last))

        solution = solve_ivp(
            lambda t, y, at=at: np.asarray(slope(*at(t, y))),
            (t, end),
            y,
            method="LSODA",
            jac=lambda t, y, at=at: np.asarray(jacobian(*at(t, y))),
            rtol=RTOL,
            atol=atol,
        )
        assert solution.success, solution.message
        y = solution.y[:, -1]
    rows = [model.quantities(cls.State(*seen[t])) for t in time_d.tolist()]
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def _held(model: AbstractModel, events: EventTable, row: int):
    """Levels, and cells entering each state per day, as functions of time."""
    level, time_d = np.asarray(events.level[row]), float(events.time_d[row])
    tilt = np.zeros_like(level) if events.slope is None else events.slope[row]
    entering = np.zeros(len(model.State._fields))
    if events.rate is not None:
        for product, name in model.receives.items():
            alive = (
                getattr(model, model.viable[product]) if product in model.viable else 1
            )
            rate = events.rate[row, events.products.index(product)]
            entering[model.State._fields.index(name)] += float(alive) * rate
    return lambda t: (level + tilt * (t - time_d), entering)
