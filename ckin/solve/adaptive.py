"""The way of `solve`, and the adaptive walk from event to event (diffrax).

The time line is cut at every event. A `lax.scan` walks over the pieces: what is given
at an event is added to the state, the ODE is solved to the next event, and the samples
that lie in that piece are read off. Static shapes, exact boluses, one compilation.

A piece that ends at an event never looks past it: the vector field is evaluated at
times strictly before the end, so that a switch of the model (`switch_times`) or an
input belongs to exactly one piece. A sample at the time of an event is taken before
the event unless it is marked `after`.
"""

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, ArrayLike, Float
from ckin.protocol import EventTable
from ckin.solve.given import Given, after_event, first_state, rows_of, slope_after
from ckin.solve.grid import Grid
from ckin.solve.moments import as_the_model_sees
from ckin.solve.occasions import Changing, Patientlike, at_occasion, base_of
from ckin.solve.scale import from_solver_scale, within_limits
from ckin.solve.walk import walk_grid, walk_grid_freely


# A qPCR error is about 0.5 on the log scale and a NUTS gradient wants about 1e-6.
RTOL = 1e-8
# Of the solver's variables: logarithms, and cells in units of their state's scale.
ATOL = 1e-8
MAX_STEPS = 4096


class Solver(eqx.Module):
    """How to integrate: diffrax solver, tolerances, and how gradients are taken.

    Attributes:
        method: a diffrax solver to use adaptively; `None` takes the model's closed
            form, else the grid if one is given, else Tsit5.
        rtol: relative tolerance per step.
        atol: absolute tolerance per step, of log states and of scaled cells.
        max_steps: steps per piece after which the solve has failed.
        adjoint: diffrax adjoint; the default is for reverse mode, and
            `diffrax.ForwardMode()` for forward mode, on the grid as well.
        first_step_d: first step tried in every piece, days.
        smooth: trajectories may be differentiated more than once, and in forward mode:
            slower in reverse mode, and what was not solved has a gradient of NaN.
    """

    method: dfx.AbstractSolver | None = None
    rtol: float = RTOL
    atol: float = ATOL
    max_steps: int = eqx.field(static=True, default=MAX_STEPS)
    adjoint: dfx.AbstractAdjoint = dfx.RecursiveCheckpointAdjoint()
    first_step_d: float = 1e-3
    smooth: bool = eqx.field(static=True, default=False)

    def smoothly(self) -> "Solver":
        """The same, of trajectories that may be differentiated at will."""
        return dataclasses.replace(self, smooth=True, adjoint=dfx.DirectAdjoint())

    @property
    def reverse_only(self) -> bool:
        """Whether solutions on a grid are differentiated in reverse mode, and once."""
        return not (self.smooth or isinstance(self.adjoint, dfx.ForwardMode))


class Trajectory(eqx.Module):
    """States of one patient at the sample times.

    Attributes:
        time_d: days, shape (times,).
        states: the model's State with arrays of shape (times,), in plain units.
        ok: whether every piece was solved. Where it is False the states are
            meaningless (finite, so that gradients elsewhere stay clean).
    """

    time_d: Float[Array | np.ndarray, " times"]
    states: Any
    ok: Array


def solve(
    model: Patientlike,
    events: EventTable,
    time_d: Float[ArrayLike, " times"],
    *,
    after: Array | np.ndarray | None = None,
    solver: Solver | None = None,
    grid: Grid | None = None,
) -> Trajectory:
    """Trajectory of one patient.

    Args:
        model: the patient's model; or `Changing`, with events that tell the occasions.
        events: what the patient is given.
        time_d: sample times, days, not decreasing, shape (times,).
        after: True where a sample at the time of an event is taken after it.
        solver: how to integrate.
        grid: steps that hold `events` and `time_d` (`make_grid`).

    Returns:
        States at `time_d`. Samples before the first event see the initial state.
    """
    solver = Solver() if solver is None else solver
    time_d = jnp.asarray(time_d, dtype=jnp.result_type(float))
    if solver.method is None:
        base = base_of(model)
        exact = base.closed_form(time_d)
        if exact is not None:
            if isinstance(model, Changing):
                raise ValueError("a closed form has one occasion")
            return Trajectory(time_d, exact, jnp.array(True))
        if grid is not None and not base.switch_times():
            if solver.reverse_only:
                return Trajectory(time_d, *walk_grid(model, grid))
            walked = walk_grid_freely(model, grid, rolled=solver.smooth)
            return Trajectory(time_d, *walked)
    after = jnp.zeros(time_d.shape, bool) if after is None else jnp.asarray(after)
    return _walk(model, events, time_d, after, solver)


def _walk(
    model: Patientlike,
    events: EventTable,
    time_d: Float[Array, " times"],
    after: Array,
    solver: Solver,
) -> Trajectory:
    """Scan over the pieces between events; see the module's docstring."""
    base = base_of(model)
    events = as_the_model_sees(base, events)
    starts = events.time_d
    ends = jnp.append(starts[1:], jnp.maximum(starts[-1], time_d[-1]))
    # Index of the piece each sample lies in; -1 before the first event.
    early = jnp.searchsorted(starts, time_d, side="left") - 1
    late = jnp.searchsorted(starts, time_d, side="right") - 1
    piece_of = jnp.where(after, late, early)

    w0 = first_state(model)
    seen = jax.tree.map(lambda value: jnp.broadcast_to(value, time_d.shape), w0)

    def step(carry, piece):
        w, seen, ok = carry
        index, t1, given = piece
        own = at_occasion(model, given.occasion)
        w = after_event(own, w, given, events.products)
        read, w, solved = _solve_piece(own, w, t1, given, events, time_d, solver)
        here = piece_of == index
        seen = jax.tree.map(lambda new, old: jnp.where(here, new, old), read, seen)
        return (w, seen, ok & solved), None

    pieces = (jnp.arange(starts.shape[0]), ends, rows_of(events))
    (_, seen, ok), _ = lax.scan(step, (w0, seen, jnp.array(True)), pieces)
    return Trajectory(time_d, from_solver_scale(base, within_limits(base, seen)), ok)


def step_times(
    model: Patientlike,
    events: EventTable,
    until_d: ArrayLike,
    solver: Solver,
) -> tuple[Float[Array, "pieces steps"], Array]:
    """Days at which the steps of an adaptive solve end, and whether it got there.

    Args:
        model: the patient's model.
        events: what the patient is given.
        until_d: where the last piece ends, days.
        solver: how to integrate; it names a method.

    Returns:
        One row a piece, padded with inf behind its last step.
    """
    events = as_the_model_sees(base_of(model), events)
    starts = events.time_d
    ends = jnp.append(starts[1:], jnp.maximum(starts[-1], until_d))
    saved = dfx.SaveAt(
        subs=[
            dfx.SubSaveAt(steps=True, fn=lambda share, w, args: share),
            dfx.SubSaveAt(t1=True),
        ]
    )

    def step(carry, piece):
        w, ok = carry
        t1, given = piece
        own = at_occasion(model, given.occasion)
        w = after_event(own, w, given, events.products)
        (shares, end), solved = _integrated(own, w, t1, given, events, saved, solver)
        end = jax.tree.map(lambda new, old: jnp.where(solved, new[-1], old), end, w)
        return (end, ok & solved), given.time_d + shares * (t1 - given.time_d)

    w0 = first_state(model)
    carry = (w0, jnp.array(True))
    (_, ok), times = lax.scan(step, carry, (ends, rows_of(events)))
    return times, ok


def _solve_piece(model, w, t1, given: Given, events: EventTable, time_d, solver):
    """Solve from an event to t1 and read the samples, clipped into the piece."""
    t0 = given.time_d
    length = t1 - t0
    share = (jnp.clip(time_d, t0, t1) - t0) / jnp.where(length > 0, length, 1.0)
    share = jnp.clip(share, 0.0, 1.0)
    saved = dfx.SaveAt(subs=[dfx.SubSaveAt(ts=share), dfx.SubSaveAt(t1=True)])
    (read, end), solved = _integrated(model, w, t1, given, events, saved, solver)
    # Rows that were never reached are inf: replace them before anything is computed.
    read = jax.tree.map(lambda new, old: jnp.where(solved, new, old), read, w)
    end = jax.tree.map(lambda new, old: jnp.where(solved, new[-1], old), end, w)
    return read, end, solved


def _integrated(
    model,
    w,
    t1,
    given: Given,
    events: EventTable,
    saved: dfx.SaveAt,
    solver: Solver,
):
    """What `saved` asks for of one piece, and whether it was solved.

    Time runs from 0 to 1 within a piece, so that a piece of no length has a vector
    field of zero and needs no special case.
    """
    t0 = given.time_d
    length = t1 - t0
    # `nextafter` has no derivative; its offset from t1 is a constant.
    fixed0, fixed1 = lax.stop_gradient((t0, t1))
    last = t1 + (jnp.nextafter(fixed1, fixed0) - fixed1)

    def field(s, w, args):
        model, given = args
        t = jnp.clip(t0 + s * length, t0, last)
        slope = slope_after(model, t, within_limits(model, w), given, events)
        return jax.tree.map(lambda value: length * value, slope)

    solution = dfx.diffeqsolve(
        dfx.ODETerm(field),
        dfx.Tsit5() if solver.method is None else solver.method,
        t0=0.0,
        t1=1.0,
        # A finite first step: the automatic one gave NaN gradients on log states.
        dt0=jnp.minimum(1.0, solver.first_step_d / jnp.maximum(length, 1e-3)),
        y0=w,
        args=(model, given),
        saveat=saved,
        stepsize_controller=dfx.PIDController(rtol=solver.rtol, atol=solver.atol),
        adjoint=solver.adjoint,
        max_steps=solver.max_steps,
        throw=False,
    )
    assert solution.ys is not None  # `saved` asks for something
    return solution.ys, solution.result == dfx.RESULTS.successful
