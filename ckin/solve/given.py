"""What an event gives and what holds after it: one piece for every way of solving."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from ckin._types import Array, Scalar
from ckin.model import AbstractModel
from ckin.protocol import EventTable
from ckin.solve.grid import Grid
from ckin.solve.occasions import Patientlike, at_occasion
from ckin.solve.scale import (
    from_solver_scale,
    give,
    solver_vector_field,
    to_solver_scale,
    within_limits,
)


class Given(NamedTuple):
    """One row of an event table or of a grid, or all of them: a leading axis.

    `rate`, `slope`, `reset` and `occasion` may be `None`, as in `EventTable`.
    """

    time_d: Any
    cells: Any
    lymphodepletion: Any
    level: Any
    rate: Any
    slope: Any
    reset: Any
    occasion: Any


def rows_of(table: EventTable | Grid) -> Given:
    """What a table or a grid gives, row by row."""
    held = (table.rate, table.slope, table.reset, table.occasion)
    time_d = table.start_d if isinstance(table, Grid) else table.time_d
    rows = (time_d, table.cells, table.lymphodepletion, table.level, *held)
    return Given(*(None if row is None else jnp.asarray(row) for row in rows))


def first_state(model: Patientlike) -> Any:
    """The solver's variables before the first event, those of the first occasion."""
    model = at_occasion(model, 0)
    start = model.initial()
    start = type(start)(*(jnp.asarray(v, jnp.result_type(float)) for v in start))
    return to_solver_scale(model, start)


def after_event(
    model: AbstractModel, w: Any, given: Given, products: tuple[str, ...]
) -> Any:
    """The solver's variables after an event: reset, lymphodepletion, cells."""
    if given.reset is not None:
        start = first_state(model)
        w = type(w)(
            *(
                jnp.where(given.reset > 0, first, now)
                for first, now in zip(start, w, strict=True)
            )
        )
    y = from_solver_scale(model, within_limits(model, w))
    cells = dict(zip(products, given.cells, strict=True))
    return to_solver_scale(model, give(model, y, cells, given.lymphodepletion))


def slope_after(
    model: AbstractModel, t: Scalar, w: Any, given: Given, table: EventTable | Grid
) -> Any:
    """Slope of the solver's variables at `t`, after `given` and before the next row.

    Args:
        model: the patient's model.
        t: days.
        w: the solver's variables, within limits or nearly so.
        given: the row that holds at `t`.
        table: whose row it is, for the names of products and inputs.
    """
    level: Array = given.level
    if given.slope is not None:
        level = level + given.slope * (t - given.time_d)
    inputs = dict(zip(table.inputs, level, strict=True))
    entering = {}
    if given.rate is not None:
        entering = dict(zip(table.products, given.rate, strict=True))
    return solver_vector_field(model, t, w, inputs, entering)
