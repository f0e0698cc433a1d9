"""Trajectories by scipy: an independent walk over the events, in plain units."""

import functools

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from problems import default
from scipy.integrate import solve_ivp

from ckin.model import AbstractModel, give, states
from ckin.protocol import EventTable


RTOL = 1e-10
# Of states that are not on log scale, in units of their scale; log states never
# start empty and are held to RTOL alone.
ATOL = 1e-10


@functools.cache
def _compiled(cls: type[AbstractModel], inputs: tuple[str, ...]):
    """Slope and Jacobian of flat arrays: a tree of arguments would cost the most."""
    structure = ravel_pytree(default(cls))[1]

    def slope(parameters, t, y, level):
        model = structure(parameters)
        named = dict(zip(inputs, level, strict=True))
        return jax.numpy.stack(model.vector_field(t, cls.State(*y), named))

    return jax.jit(slope), jax.jit(jax.jacfwd(slope, argnums=2))


def integrate(
    model: AbstractModel, events: EventTable, time_d: np.ndarray
) -> dict[str, np.ndarray]:
    """Quantities before anything given at `time_d`, by name, shape (times,)."""
    cls = type(model)
    vector = ravel_pytree(model)[0]
    slope, jacobian = _compiled(cls, events.inputs)
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
    level = events.level[0]
    for t, end in zip(cuts, [*cuts[1:], cuts[-1]], strict=True):
        seen[t] = y
        for row in np.flatnonzero(events.time_d == t):
            cells = dict(zip(events.products, events.cells[row], strict=True))
            given = give(model, cls.State(*y), cells, events.lymphodepletion[row])
            y, level = np.array([float(v) for v in given]), events.level[row]
        if end == t:
            break
        # A switch at `end` belongs to the next piece.
        last = np.nextafter(end, t)
        solution = solve_ivp(
            lambda t, y: np.asarray(slope(vector, min(t, last), y, level)),  # noqa: B023
            (t, end),
            y,
            method="LSODA",
            jac=lambda t, y: np.asarray(jacobian(vector, min(t, last), y, level)),  # noqa: B023
            rtol=RTOL,
            atol=atol,
        )
        assert solution.success, solution.message
        y = solution.y[:, -1]
    rows = [model.quantities(cls.State(*seen[t])) for t in time_d.tolist()]
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
