"""Walking a grid: states at the samples, and the gradient of what is read of them.

Forward, a `lax.scan` of plain RK4 steps keeps the state before each step and nothing
else. Back, a second scan steps over the same grid from its end, computes each step
anew and pulls the gradient through it: the discrete adjoint, exact for these steps.
Written by hand because of the layout. Steps are the first axis and lanes (patients,
chains) the last ones, from the first step to the readings; the transposes of `vmap`
and the copies of a scan's own derivative cost a third of the arithmetic.
"""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from ckin._types import Array
from ckin.solve.given import Given, after_event, first_state, rows_of, slope_after
from ckin.solve.grid import Grid
from ckin.solve.occasions import Patientlike, at_occasion, base_of
from ckin.solve.rk4 import RK4
from ckin.solve.scale import from_solver_scale, within_limits


def walk_grid(model: Patientlike, grid: Grid) -> tuple[Any, Array]:
    """States at the samples (plain units, each of shape (times,)), and whether finite.

    It can be differentiated in reverse mode, by the model. A walk that blew up has a
    gradient of zero.

    Args:
        model: the patient's model; it must not have switch times of its own.
        grid: the patient's grid.
    """
    read, finite = _walked(model, grid)
    base = base_of(model)
    return from_solver_scale(base, within_limits(base, read)), finite


def walk_grid_freely(
    model: Patientlike, grid: Grid, *, rolled: bool = False
) -> tuple[Any, Array]:
    """As `walk_grid`, and differentiable in either mode as often as one likes.

    Slower than `walk_grid` in reverse mode, and without its care for a walk that blew
    up, whose gradient is NaN.

    Args:
        model: as there.
        grid: as there.
        rolled: stages of a step in a loop, which compiles sooner where more than one
            derivative is taken.
    """
    # Rules for `vmap` of one's own do not pass forward mode: a plain gather.
    stepper = RK4(rolled=True) if rolled else None
    read, finite, _ = _forward(model, grid, _take, stepper)
    base = base_of(model)
    return from_solver_scale(base, within_limits(base, read)), finite


def states_before_steps(model: Patientlike, grid: Grid) -> tuple[Any, Array]:
    """Solver's variables before each step, (steps,) each, and whether all are finite.

    Args:
        model: the patient's model.
        grid: the patient's grid.
    """
    _, finite, path = _forward(model, grid)
    return path, finite


@eqx.filter_custom_vjp
def _walked(model: Patientlike, grid: Grid) -> tuple[Any, Array]:
    """Solver's variables at the samples, and whether every step was finite."""
    read, finite, _ = _forward(model, grid)
    return read, finite


@_walked.def_fwd
def _(perturbed, model, grid):
    del perturbed
    read, finite, path = _forward(model, grid)
    return (read, finite), (path, finite)


@_walked.def_bwd
def _(residuals, cotangents, perturbed, model, grid):
    path, finite = residuals
    varying, fixed = eqx.partition(model, perturbed)
    n_steps, at = grid.start_d.shape[0], grid.read_at
    # None stands for a state that nothing reads.
    by_read = jax.tree.map(
        lambda rows, bar: jnp.zeros(at.shape, rows.dtype) if bar is None else bar,
        path,
        cotangents[0],
    )
    # What is read after the last step is not on the path.
    last = jax.tree.map(lambda bar: jnp.sum(jnp.where(at == n_steps, bar, 0)), by_read)
    on_path = jax.tree.map(
        lambda bar, rows: _spread(
            jnp.where(at < n_steps, bar, 0), jnp.minimum(at, n_steps - 1), rows
        ),
        by_read,
        path,
    )

    def back(carry, row):
        w_bar, model_bar = carry
        before, read_bar, (_, given) = row
        _, pull = jax.vjp(
            lambda varying, w: _advanced(eqx.combine(varying, fixed), w, given, grid),
            varying,
            before,
        )
        by_model, by_w = pull(w_bar)
        return (_sum(by_w, read_bar), _sum(model_bar, by_model)), None

    def passed(carry, row):
        # What is read after the last step that is walked is read of the next row.
        w_bar, model_bar = carry
        return (_sum(w_bar, row[1]), model_bar), None

    nothing = jax.tree.map(jnp.zeros_like, varying)
    (w0_bar, model_bar), _ = lax.scan(
        _until(grid, lambda row: row[2][0], back, passed),
        (last, nothing),
        (path, on_path, _rows(grid)),
        reverse=True,
    )
    _, pull = jax.vjp(lambda varying: first_state(eqx.combine(varying, fixed)), varying)
    (by_start,) = pull(w0_bar)
    # Where a step overflowed, reverse mode meets zero times infinity.
    return jax.tree.map(
        lambda bar: jnp.where(finite, bar, 0), _sum(model_bar, by_start)
    )


def _sum(a, b):
    return jax.tree.map(jnp.add, a, b)


def _take(rows: Array, at: Array) -> Array:
    return rows[at]


def _forward(
    model: Patientlike,
    grid: Grid,
    pick: Callable[[Array, Array], Array] | None = None,
    solver: RK4 | None = None,
) -> tuple[Any, Array, Any]:
    """Variables at the samples, whether finite, and the state before each step.

    `pick` takes rows of steps at the samples, and `solver` makes the steps: `_pick` and
    `RK4()` unless told otherwise.
    """
    pick = _pick if pick is None else pick

    def step(carry, row):
        w, finite = carry
        after = _advanced(model, w, row[1], grid, solver)
        # A sum is finite if everything in it is, and one test is cheaper than many.
        return (after, finite & jnp.isfinite(sum(after))), w

    step = _until(grid, lambda row: row[0], step, lambda carry, _: (carry, carry[0]))
    w0 = first_state(model)
    start = (w0, jnp.isfinite(sum(w0)))
    (end, finite), path = lax.scan(step, start, _rows(grid))
    n_steps, at = grid.start_d.shape[0], grid.read_at

    def read(rows, last, first):
        value = jnp.where(at == n_steps, last, pick(rows, jnp.minimum(at, n_steps - 1)))
        # A state that blew up is replaced before anything is computed from it.
        return jnp.where(finite, value, first)

    return jax.tree.map(read, path, end, w0), finite, path


def _rows(grid: Grid) -> tuple[Array, tuple[Array, Given]]:
    """Of each step its number, and its length and what is given at its start."""
    length_d = jnp.asarray(grid.length_d)
    return jnp.arange(length_d.shape[0]), (length_d, rows_of(grid))


def _until(grid: Grid, number: Callable, step: Callable, passed: Callable) -> Callable:
    """`step` of a scan as far as `grid.until`, and `passed` beyond.

    `number` is the number of the step, from its row.
    """
    until = grid.until
    if until is None:
        return step
    return lambda carry, row: lax.cond(number(row) < until, step, passed, carry, row)


def _advanced(
    model: Patientlike,
    w: Any,
    row: tuple[Array, Given],
    grid: Grid,
    solver: RK4 | None = None,
):
    """The state after one step: what is given at its start, then RK4."""
    h, given = row
    model = at_occasion(model, given.occasion)
    # Limits once a step: within one step no population leaves them by much.
    w = after_event(model, w, given, grid.products)
    terms = dfx.ODETerm(lambda t, w, args: slope_after(model, t, w, args, grid))
    t = given.time_d
    solver = RK4() if solver is None else solver
    after, *_ = solver.step(terms, t, t + h, w, given, None, made_jump=False)
    return after


@custom_vmap
def _pick(rows: Array, at: Array) -> Array:
    """Rows (steps, *lanes) at (times, *lanes), lane by lane."""
    return jnp.take_along_axis(rows, at, axis=0)


@_pick.def_vmap
def _(size, batched, rows, at):
    rows, at = (
        _behind_first(x, size, known)
        for x, known in zip((rows, at), batched, strict=True)
    )
    return jnp.moveaxis(_pick(rows, at), 1, 0), True


@custom_vmap
def _spread(values: Array, at: Array, like: Array) -> Array:
    """The transpose of `_pick`: values (times, *lanes) added up where they belong."""
    lanes = jnp.meshgrid(
        *(jnp.arange(n) for n in values.shape), indexing="ij", sparse=True
    )[1:]
    return jnp.zeros_like(like).at[(at, *lanes)].add(values)


@_spread.def_vmap
def _(size, batched, values, at, like):
    values, at, like = (
        _behind_first(x, size, known)
        for x, known in zip((values, at, like), batched, strict=True)
    )
    return jnp.moveaxis(_spread(values, at, like), 1, 0), True


def _behind_first(x: Array, size: int, batched: bool) -> Array:
    """A new lane as the second axis: from the first where `batched`, else repeated."""
    if batched:
        return jnp.moveaxis(x, 0, 1)
    return jnp.broadcast_to(x[:, None], (x.shape[0], size, *x.shape[1:]))
