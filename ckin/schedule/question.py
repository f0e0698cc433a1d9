"""What is asked of a schedule, and what a schedule is worth.

A `Question` holds what may be decided (`Space`), over which patients, and what a course
is worth: a function of its measures (`Goal.utility`). What comes before the first
decision is the same for every schedule, and is solved once.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Bool, Float, Scalar
from ckin.errors import InputError
from ckin.protocol import EventTable
from ckin.schedule.follow import (
    STEPS,
    Measure,
    SmoothMax,
    follow,
    from_day,
    summing,
)
from ckin.schedule.space import Space
from ckin.solve import (
    Changing,
    Patientlike,
    Solver,
    base_of,
    occasions_at,
    quantities_of,
    solve,
    with_doses,
)


# Schedules solved side by side.
BATCH = 32
# Of the maximum that a cap is checked on, days.
PEAK_EVERY_D = 0.05
# The soft cap bends over this much of a natural logarithm.
CAP_WIDTH = 0.1


@dataclasses.dataclass(frozen=True)
class Cap:
    """A maximum that only some patients may exceed.

    Attributes:
        quantity: of the model.
        level: in its unit.
        share: of patients who may exceed it.
        weight: utility lost per natural logarithm of excess, averaged over patients:
            what keeps the climb away from it.
    """

    quantity: str
    level: float
    share: float = 0.1
    weight: float = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
    """What a course is worth.

    Attributes:
        utility: of the measures of one course, by name; smooth.
        measures: by name.
        until_d: day of the course, from its first infusion, on which it ends.
        caps: maxima to stay below.
        toll: utility that a cell/kg of what is open costs, whoever the patient is: what
            cells are worth that are kept for later.
    """

    utility: Callable[[Mapping[str, Array]], Array]
    measures: Mapping[str, Measure]
    until_d: float
    caps: tuple[Cap, ...] = ()
    toll: float = 0.0


class Question(eqx.Module):
    """What is asked, with all that is the same for every schedule solved already.

    Attributes:
        space: what may be decided.
        goal: what a course is worth.
        people: models of patients, a leading axis.
        begun: state of each before the first decision, or `None`.
        events: what everyone is given from there on whatever is decided.
        ok: patients who could be solved until there.
        steps: of the stretched grid, between two events.
        solver: an adaptive solver instead of the grid.
    """

    space: Space = eqx.field(static=True)
    goal: Goal = eqx.field(static=True)
    people: Patientlike
    begun: Any
    events: EventTable
    ok: Bool[Array, " people"]
    steps: int = eqx.field(static=True, default=STEPS)
    solver: Solver | None = None

    @property
    def n(self) -> int:
        """Number of patients."""
        return self.ok.shape[0]


def question(
    space: Space,
    goal: Goal,
    people: Patientlike,
    *,
    steps: int = STEPS,
    solver: Solver | None = None,
) -> Question:
    """Ask for the best schedule of a space.

    Args:
        space: what may be decided.
        goal: what a course is worth.
        people: models of patients, a leading axis (`prior_people`, `people_of`).
        steps: of the stretched grid, between two events.
        solver: an adaptive solver instead of the grid; forward mode.

    Raises:
        InputError: a quantity that the model has not, a product that it does not
            receive, or an end before the last day that is open.
    """
    model, by_cycle = base_of(people), isinstance(people, Changing)
    wanted = [m.quantity for m in goal.measures.values()]
    for name in (*wanted, *(cap.quantity for cap in goal.caps)):
        if name not in model.units:
            raise InputError(
                f"no quantity {name!r}; there are {', '.join(model.units)}"
            )
    for choice in space.choices:
        if choice.product not in model.receives:
            raise InputError(f"{choice}: the model does not receive {choice.product}")
        day1 = space.plan.day1_d[choice.cycle - 1]
        if day1 + choice.to_day - 1 >= goal.until_d:
            raise InputError(
                f"{choice}: day {choice.to_day} is day {day1 + choice.to_day - 1:g} of "
                f"the course, which is followed until day {goal.until_d:g}"
            )
    table = space.base.events(space.weight_kg, model.inputs, by_cycle=by_cycle)
    begun, events, ok = from_day(people, table, space.begins_d, None)
    events = jax.tree.map(jnp.asarray, events)
    return Question(space, goal, people, begun, events, ok, steps, solver)


def worth(
    asked: Question, time_d: Float[Array, " slots"], cells: Float[Array, " slots"]
) -> tuple[Array, Bool[Array, " people"]]:
    """Expected utility of one schedule less toll and soft caps, and who was solved.

    Patients who could not be solved are left out of the mean.

    Args:
        asked: the question.
        time_d: days of the course of every slot.
        cells: cells/kg of every slot.
    """
    value, _, ok = _worth_and_means(asked, time_d, cells)
    return value, ok


def _worth_and_means(
    asked: Question, time_d: Array, cells: Array
) -> tuple[Array, dict[str, Array], Array]:
    """Expected utility, expected measures, and who was solved."""
    table = _table(asked, time_d, cells)
    caps = {f"cap {n}": _soft(cap) for n, cap in enumerate(asked.goal.caps)}

    def one(model: Patientlike, begun: Any) -> tuple[Array, dict, Array]:
        found, ok = follow(
            model,
            table,
            asked.goal.until_d,
            {**asked.goal.measures, **caps},
            begun=begun,
            steps=asked.steps,
            solver=asked.solver,
        )
        value = asked.goal.utility(found)
        for n, cap in enumerate(asked.goal.caps):
            over = jnp.log(found[f"cap {n}"] / cap.level) / CAP_WIDTH
            value = value - cap.weight * CAP_WIDTH * jax.nn.softplus(over)
        own = {name: found[name] for name in asked.goal.measures}
        return value, own, ok & jnp.isfinite(value)

    each, found, ok = eqx.filter_vmap(one)(asked.people, asked.begun)
    ok = ok & asked.ok
    count = jnp.maximum(jnp.sum(ok), 1)
    mean = lambda values: jnp.sum(jnp.where(ok, values, 0.0)) / count
    means = {name: mean(values) for name, values in found.items()}
    return mean(each) - asked.goal.toll * jnp.sum(cells), means, ok


def _soft(cap: Cap) -> SmoothMax:
    return SmoothMax(cap.quantity, cap.level)


def _table(asked: Question, time_d: Array, cells: Array) -> EventTable:
    products = asked.events.products
    column = jnp.array([products.index(slot.product) for slot in asked.space.slots])
    amount = cells * asked.space.weight_kg
    rows = jnp.zeros((amount.shape[0], len(products)))
    rows = rows.at[jnp.arange(amount.shape[0]), column].set(amount)
    return with_doses(asked.events, time_d, rows)


def worth_and_slope(
    asked: Question, z: Float[Array, " size"], spare: Scalar | None = None
) -> tuple[Array, Float[Array, " size"]]:
    """Expected utility at coordinates of the space, and its gradient (forward mode).

    Args:
        asked: the question.
        z: coordinates.
        spare: as in `Space.days_and_cells`.
    """

    def value(z: Array) -> Array:
        return worth(asked, *asked.space.schedule(z, spare))[0]

    push = lambda direction: jax.jvp(value, (z,), (direction,))
    return jax.vmap(push, out_axes=(None, 0))(jnp.eye(z.size))


def values(
    asked: Question,
    days: Float[np.ndarray, "schedules slots"],
    cells: Float[np.ndarray, "schedules slots"],
) -> Float[np.ndarray, " schedules"]:
    """Expected utility of many schedules, less what soft caps take, in batches.

    Args:
        asked: the question.
        days: from day 1 of the cycle (day 1 is 0), of every slot.
        cells: cells/kg of every slot.
    """
    return values_and_means(asked, days, cells)[0]


def values_and_means(
    asked: Question,
    days: Float[np.ndarray, "schedules slots"],
    cells: Float[np.ndarray, "schedules slots"],
    report: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Float[np.ndarray, " schedules"], dict[str, Float[np.ndarray, " schedules"]]]:
    """Expected utility of many schedules, as `values`, and their expected measures.

    Args:
        asked: the question.
        days: from day 1 of the cycle (day 1 is 0), of every slot.
        cells: cells/kg of every slot.
        report: called with (schedules done, all of them).
    """
    utility, means = [], {name: [] for name in asked.goal.measures}
    for start in range(0, len(days), BATCH):
        part = slice(start, start + BATCH)
        own, amount = days[part], cells[part]
        # One shape, so that it is compiled once.
        spare = ((0, BATCH - len(own)), (0, 0))
        full, found = _values(
            asked,
            jnp.asarray(np.pad(own, spare, mode="edge")),
            jnp.asarray(np.pad(amount, spare, mode="edge")),
        )
        utility.append(np.asarray(full)[: len(own)])
        for name, each in found.items():
            means[name].append(np.asarray(each)[: len(own)])
        report(start + len(own), len(days))
    return np.concatenate(utility), {n: np.concatenate(m) for n, m in means.items()}


@eqx.filter_jit
def _values(
    asked: Question, days: Array, cells: Array
) -> tuple[Array, dict[str, Array]]:
    times = jax.vmap(asked.space.times)(days)
    both = lambda time_d, own: _worth_and_means(asked, time_d, own)[:2]
    return jax.vmap(both)(times, cells)


@eqx.filter_jit
def peaks(
    asked: Question, time_d: Array, cells: Array, quantities: tuple[str, ...]
) -> tuple[dict[str, Array], Array]:
    """Maximum of each quantity in each patient, and who could be solved.

    Solved adaptively and read every `PEAK_EVERY_D`, and right after every dose.
    """
    table = _table(asked, time_d, cells)
    first = asked.space.begins_d
    n = int((asked.goal.until_d - first) / PEAK_EVERY_D) + 1
    even = jnp.linspace(first, asked.goal.until_d, n)
    doses = jnp.clip(jnp.asarray(table.time_d), first, asked.goal.until_d)
    both = jnp.concatenate([even, doses])
    order = jnp.argsort(both)
    after = jnp.concatenate([jnp.zeros(n, bool), jnp.ones(doses.size, bool)])[order]

    def one(model: Patientlike, begun: Any):
        own = summing(model, (), begun)
        course = solve(own, table, both[order], after=after, solver=asked.solver)
        occasion = None
        if isinstance(own, Changing):
            occasion = occasions_at(table, both[order], after)
        readings = quantities_of(own, course.states, occasion)
        return {name: jnp.max(readings[name]) for name in quantities}, course.ok

    highest, ok = eqx.filter_vmap(one)(asked.people, asked.begun)
    return highest, ok & asked.ok
