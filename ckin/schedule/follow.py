"""A course summed up in numbers that are smooth in the days and sizes of its doses.

What is summed up over time (an area, days above a level) is one more state of the
model, solved with the others: `summing` makes such a model. Samples on fixed days would
jump whenever a dose is moved past one of them; an integral does not. At a dose the
solve is cut, so a derivative by the time τ of a dose of d cells is the exact one,

    ∂y(T)/∂τ = ∂y(T)/∂y(τ⁺) · (f(y(τ⁻)) - f(y(τ⁻) + d)) ,

and it exists as long as the dose meets no other event; there the value is continuous
and the derivative may differ on the two sides.

The steps of a grid may move with the events: `stretched` lays the same number between
any two of them. That is differentiable by everything, costs the same for every
schedule, and is checked against the adaptive solver (`follow(..., solver=Solver())`).
"""

import abc
import collections
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, ArrayLike, Scalar
from ckin.model import AbstractModel
from ckin.protocol import EventTable
from ckin.solve import (
    Changing,
    Grid,
    Patientlike,
    Solver,
    base_of,
    occasions_at,
    solve,
)
from ckin.solve.moments import as_the_model_sees
from ckin.solve.walk import walk_grid_freely


# RK4 steps between two events. The shortest are right after an event, a third as long
# as the last: 56 days have steps of 0.18 to 0.52 d, a fifth of what the fastest rates
# of the shipped models would bear (see `ckin.solve.grid.STEPS`).
STEPS = 160
GRADED = 0.5

# What is under a logarithm or a root is at least this, so that derivatives are finite.
TINY = 1e-30


@dataclasses.dataclass(frozen=True)
class Measure(abc.ABC):
    """One number of a course. Frozen and hashable: it is part of a compiled program.

    Attributes:
        quantity: the model's quantity that it is of.
    """

    quantity: str

    @abc.abstractmethod
    def rate(self, reading: Scalar) -> Scalar:
        """What a reading adds to the total per day."""

    def value(self, total: Scalar, last: Scalar) -> Scalar:
        """The number, from the total and the last reading."""
        del last
        return total


@dataclasses.dataclass(frozen=True)
class Area(Measure):
    """Area under a quantity, in its unit times days."""

    def rate(self, reading: Scalar) -> Scalar:
        """The reading."""
        return reading


@dataclasses.dataclass(frozen=True)
class DaysAbove(Measure):
    """Days that a quantity spends above a level, with a soft edge.

    Attributes:
        quantity: of the model.
        level: in its unit.
        width: of the edge, as a natural logarithm: a reading of exp(width) times the
            level counts as 73% of a day.
    """

    level: float
    width: float = 0.2

    def rate(self, reading: Scalar) -> Scalar:
        """Near 1 above the level, near 0 below it."""
        log_ratio = jnp.log(jnp.maximum(reading, TINY) / self.level)
        return jax.nn.sigmoid(log_ratio / self.width)


@dataclasses.dataclass(frozen=True)
class SmoothMax(Measure):
    """A power mean that comes near the maximum of a quantity from either side.

    (∫ q^p dt / 1 day)^(1/p): with p = 8 within some 10% of a peak that lasts days. It
    is for a gradient; what is reported is the maximum itself (`ckin.schedule.peaks`).

    Attributes:
        quantity: of the model.
        scale: about as high as the maximum, in the unit of the quantity.
        power: p.
    """

    scale: float
    power: float = 8.0

    def rate(self, reading: Scalar) -> Scalar:
        """The power of the reading."""
        return (jnp.maximum(reading, TINY) / self.scale) ** self.power

    def value(self, total: Scalar, last: Scalar) -> Scalar:
        """The power mean, in the unit of the quantity."""
        del last
        return self.scale * jnp.maximum(total, TINY) ** (1.0 / self.power)


@dataclasses.dataclass(frozen=True)
class Last(Measure):
    """A quantity at the end."""

    def rate(self, reading: Scalar) -> Scalar:
        """Nothing is added up."""
        return jnp.zeros_like(reading)

    def value(self, total: Scalar, last: Scalar) -> Scalar:
        """The last reading."""
        del total
        return last


def summing(
    model: Patientlike, measures: tuple[Measure, ...], begun: Any = None
) -> Any:
    """The same model with one more state for each measure: what it adds up.

    Args:
        model: of one patient (or of many: leading axes stay).
        measures: what to add up, from the first event on.
        begun: state of the model before the first event; its own when `None`.
    """
    if isinstance(model, Changing):
        return Changing(summing(model.base, measures, begun), model.values)
    values = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    return _summing(type(model), measures)(**values, begun=begun)


# One class for each pair: another class would be another compilation.
@functools.cache
def _summing(cls: Any, measures: tuple[Measure, ...]) -> Any:
    inner = cls.State
    totals = [f"total_{number}" for number in range(len(measures))]
    like = next(iter(inner._field_defaults.values()))
    blank = dataclasses.replace(like, unit="1", doc="summed up", log=False, scale=1.0)
    outer: Any = collections.namedtuple(
        "Summed",
        [*inner._fields, *totals],
        defaults=[*inner._field_defaults.values(), *(blank for _ in totals)],
    )

    def own(y: Any) -> Any:
        return inner(*y[: len(inner._fields)])

    class Summing(cls):
        begun: Any = None
        State = outer

        def initial(self):
            start = cls.initial(self) if self.begun is None else self.begun
            return outer(*start, *(jnp.zeros(()) for _ in totals))

        def vector_field(self, t, y, inputs):
            readings = cls.quantities(self, own(y))
            return outer(
                *cls.vector_field(self, t, own(y), inputs),
                *(each.rate(readings[each.quantity]) for each in measures),
            )

        def lymphodeplete(self, y):
            return outer(*cls.lymphodeplete(self, own(y)), *y[len(inner._fields) :])

        def quantities(self, y):
            return cls.quantities(self, own(y))

        def closed_form(self, time_d):
            del time_d

    return Summing


def stretched(events: EventTable, until_d: ArrayLike, steps: int = STEPS) -> Grid:
    """A grid of so many steps between any two events, which may move.

    Args:
        events: of one patient, as its model sees them; times may be traced.
        until_d: where the last piece ends; what lies after it is not reached.
        steps: of each piece.

    Returns:
        A grid whose one sample is at the end.
    """
    events = jax.tree.map(jnp.asarray, events)
    starts = jnp.minimum(jnp.asarray(events.time_d), until_d)
    lengths = jnp.diff(jnp.append(starts, until_d))
    even = np.linspace(0.0, 1.0, steps + 1)
    share = GRADED * even + (1.0 - GRADED) * even**2
    start_d = starts[:, None] + share[:-1] * lengths[:, None]
    first = jnp.zeros(steps).at[0].set(1.0)

    def once(rows: Any) -> Any:
        """Given at the start of the first step of a piece."""
        if rows is None:
            return None
        own = jnp.asarray(rows)[:, None]
        return (own * first.reshape(-1, *(1,) * (own.ndim - 2))).reshape(
            -1, *own.shape[2:]
        )

    def held(rows: Any) -> Any:
        return None if rows is None else jnp.repeat(jnp.asarray(rows), steps, axis=0)

    level, slope = held(events.level), held(events.slope)
    if slope is not None:
        since = start_d - starts[:, None]
        level = level + slope * since.reshape(-1, 1)
    return Grid(
        start_d=start_d.reshape(-1),
        length_d=(np.diff(share) * lengths[:, None]).reshape(-1),
        cells=once(events.cells),
        lymphodepletion=once(events.lymphodepletion),
        level=level,
        read_at=jnp.array([start_d.size]),
        products=events.products,
        inputs=events.inputs,
        rate=held(events.rate),
        slope=slope,
        reset=once(events.reset),
        occasion=held(events.occasion),
    )


def follow(
    model: Patientlike,
    events: EventTable,
    until_d: ArrayLike,
    measures: Mapping[str, Measure],
    *,
    begun: Any = None,
    steps: int = STEPS,
    solver: Solver | None = None,
) -> tuple[dict[str, Array], Array]:
    """The measures of one patient's course, and whether it could be solved.

    It can be differentiated by the model, by `until_d`, and by the times and cells of
    `events`: in forward mode on the stretched grid, in the mode of `solver.adjoint`
    with the adaptive solver.

    Args:
        model: of the patient; one that switches (`switch_times`) wants a `solver`, one
            whose cycles differ (`Changing`) events that tell the cycle.
        events: what the patient is given; measures are added up from the first of
            them on.
        until_d: day on which the course ends.
        measures: by name.
        begun: state before the first event; the model's own when `None`.
        steps: of the stretched grid, between any two events.
        solver: an adaptive solver instead of the grid.
    """
    summed = summing(model, tuple(measures.values()), begun)
    if solver is None:
        base = base_of(summed)
        if base.switch_times():
            raise ValueError(
                f"{type(base_of(model)).__name__} switches at times of its own, on "
                "which a grid is not exact: give an adaptive solver"
            )
        grid = stretched(as_the_model_sees(base, events), until_d, steps)
        states, ok = walk_grid_freely(summed, grid)
    else:
        course = solve(summed, events, jnp.asarray(until_d)[None], solver=solver)
        states, ok = course.states, course.ok
    end = jax.tree.map(lambda rows: rows[0], states)
    last = last_model(summed, events, jnp.asarray(until_d))
    readings, totals = last.quantities(end), end[-len(measures) :]
    return {
        name: measure.value(total, readings[measure.quantity])
        for (name, measure), total in zip(measures.items(), totals, strict=True)
    }, ok


def last_model(model: Patientlike, events: EventTable, day_d: Array) -> AbstractModel:
    """The model that holds just before a day: of its cycle, where cycles differ."""
    if not isinstance(model, Changing):
        return model
    return model.at(occasions_at(events, day_d[None], None)[0])


def from_day(
    people: Patientlike,
    events: EventTable,
    day_d: float,
    solver: Solver | None = None,
) -> tuple[Any, EventTable, Array]:
    """What is the same for every schedule, solved once: the course before `day_d`.

    Args:
        people: models of patients, a leading axis.
        events: what all of them are given whatever is decided.
        day_d: the first day on which anything is decided.
        solver: adaptive.

    Returns:
        State of each patient just before `day_d` (`None`: the model's own, where a lag
        of the model could carry cells over that day, and everything is solved from the
        first event on); the events from there on; and who could be solved.
    """
    n = jax.tree.leaves(eqx.filter(people, eqx.is_array))[0].shape[0]
    times = np.asarray(events.time_d)
    base = base_of(people)
    late = bool(set(base.receives) & set(base.lags))
    if late or day_d <= times[0]:
        return None, events, jnp.ones(n, bool)
    begun, ok = _states_at(people, events, day_d, solver)
    holder = int(np.searchsorted(times, day_d, side="right")) - 1
    kept = slice(holder, None)
    rest = jax.tree.map(lambda rows: np.asarray(rows)[kept], events)
    if times[holder] < day_d:
        rest = _begun_between(rest, day_d)
    return begun, rest, ok


def _begun_between(events: EventTable, day_d: float) -> EventTable:
    """The table from `day_d` on: of its first row only what is still held."""
    nothing = lambda rows: None if rows is None else _with_first(rows, 0.0)
    level = np.asarray(events.level)
    if events.slope is not None:
        since = day_d - np.asarray(events.time_d)[0]
        level = _with_first(level, level[0] + since * np.asarray(events.slope)[0])
    return dataclasses.replace(
        events,
        time_d=_with_first(events.time_d, day_d),
        cells=nothing(events.cells),
        lymphodepletion=nothing(events.lymphodepletion),
        level=level,
        reset=nothing(events.reset),
    )


def _with_first(rows: Any, value: Any) -> np.ndarray:
    changed = np.array(rows, dtype=float)
    changed[0] = value
    return changed


@eqx.filter_jit
def _states_at(
    people: Patientlike, events: EventTable, day_d: float, solver: Solver | None
) -> tuple[Any, Array]:
    def one(model: Patientlike) -> tuple[Any, Array]:
        course = solve(model, events, jnp.array([day_d]), solver=solver)
        return jax.tree.map(lambda rows: rows[0], course.states), course.ok

    return eqx.filter_vmap(one)(people)
