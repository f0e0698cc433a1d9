"""The best days and doses of a `Space`: expected utility, climbed by its gradient.

A `Question` holds what is asked: what may be decided, over which patients, and what a
course is worth, a function of its measures (`Goal.utility`). Several starts climb at
once (Adam, one compiled gradient); what they reach is rounded to whole days and doses
that can be prescribed, looked at beside its neighbours, checked rule by rule, and caps
are checked on the maximum itself. How much utility rounding cost is told.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ckin._types import Array, Bool, Float
from ckin.errors import InputError
from ckin.model import AbstractModel
from ckin.protocol import EventTable, Protocol
from ckin.schedule.follow import (
    STEPS,
    Measure,
    SmoothMax,
    follow,
    from_day,
    summing,
)
from ckin.schedule.space import Space
from ckin.solve import Solver, solve, with_doses


# Largest step of a coordinate at first: a quarter of the way across a sigmoid.
FIRST_RATE, LAST_RATE = 0.4, 0.02
# Schedules solved side by side.
BATCH = 32
# Of the maximum that a cap is checked on, days.
PEAK_EVERY_D = 0.05
# The soft cap bends over this much of a natural logarithm.
CAP_WIDTH = 0.1
# Choices of a lattice beyond which nobody wants to wait.
MOST_POINTS = 200_000


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
    people: AbstractModel
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
    people: AbstractModel,
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
    wanted = [m.quantity for m in goal.measures.values()]
    for name in (*wanted, *(cap.quantity for cap in goal.caps)):
        if name not in people.units:
            raise InputError(
                f"no quantity {name!r}; there are {', '.join(people.units)}"
            )
    for choice in space.choices:
        if choice.product not in people.receives:
            raise InputError(f"{choice}: the model does not receive {choice.product}")
        day1 = space.plan.day1_d[choice.cycle - 1]
        if day1 + choice.to_day - 1 >= goal.until_d:
            raise InputError(
                f"{choice}: day {choice.to_day} is day {day1 + choice.to_day - 1:g} of "
                f"the course, which is followed until day {goal.until_d:g}"
            )
    table = space.base.events(space.weight_kg, people.inputs)
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
    table = _table(asked, time_d, cells)
    caps = {f"cap {n}": _soft(cap) for n, cap in enumerate(asked.goal.caps)}

    def one(model: AbstractModel, begun: Any) -> tuple[Array, Array]:
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
        return value, ok & jnp.isfinite(value)

    each, ok = eqx.filter_vmap(one)(asked.people, asked.begun)
    ok = ok & asked.ok
    count = jnp.maximum(jnp.sum(ok), 1)
    mean = jnp.sum(jnp.where(ok, each, 0.0)) / count
    return mean - asked.goal.toll * jnp.sum(cells), ok


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
    asked: Question, z: Float[Array, " size"]
) -> tuple[Array, Float[Array, " size"]]:
    """Expected utility at coordinates of the space, and its gradient (forward mode)."""

    def value(z: Array) -> Array:
        return worth(asked, *asked.space.schedule(z))[0]

    push = lambda direction: jax.jvp(value, (z,), (direction,))
    return jax.vmap(push, out_axes=(None, 0))(jnp.eye(z.size))


@dataclasses.dataclass(frozen=True)
class CapCheck:
    """A cap beside the maxima of patients.

    Attributes:
        cap: the cap.
        share: of patients who exceed it.
        kept: whether that is allowed.
    """

    cap: Cap
    share: float
    kept: bool


@dataclasses.dataclass(frozen=True)
class Best:
    """A schedule of whole days and prescribable doses, and how it was found.

    Attributes:
        plan: the protocol; it keeps every rule of the space.
        days: protocol day of every slot in its cycle.
        cells_per_kg: of every slot; 0 is no infusion.
        utility: expected, less what soft caps take.
        before_rounding: the same, of the best schedule that a start reached.
        caps: the exact check of each cap.
        solves: courses solved, of one patient each; a gradient counts as one and one
            more for each coordinate.
        reached: utility that each start reached, best first.
        unsolved: patients left out, who could not be solved.
    """

    plan: Protocol
    days: tuple[int, ...]
    cells_per_kg: tuple[float, ...]
    utility: float
    before_rounding: float
    caps: tuple[CapCheck, ...]
    solves: int
    reached: tuple[float, ...]
    unsolved: int

    @property
    def lost(self) -> float:
        """Utility that rounding cost; negative where a neighbour was better."""
        return self.before_rounding - self.utility


def optimise(
    asked: Question, key: Array, *, starts: int = 6, steps: int = 30, name: str = ""
) -> Best:
    """The best schedule that gradients find from several starts.

    Args:
        asked: the question.
        key: of the starts.
        starts: how many.
        steps: of Adam, from each.
        name: of the protocol that is returned.

    Raises:
        InputError: no schedule near the best ones keeps the caps.
    """
    space = asked.space
    z, reached = _climb(asked, space.start(key, starts), steps)
    order = np.argsort(-np.asarray(reached))
    rounded = []
    for days, cells in zip(*jax.vmap(space.days_and_cells)(z[order]), strict=True):
        rounded += _near(space, *space.rounded(np.asarray(days), np.asarray(cells)))
    days, cells = _unique(rounded)
    found = values(asked, days, cells)
    solves = asked.n * (starts * steps * (1 + space.size) + len(days))
    return _first_kept(
        asked,
        days,
        cells,
        found,
        name=name or f"{space.plan.name}-optimised",
        before_rounding=float(np.max(np.asarray(reached))),
        solves=solves,
        reached=tuple(np.asarray(reached)[order].tolist()),
    )


@eqx.filter_jit
def _climb(asked: Question, z: Array, steps: int) -> tuple[Array, Array]:
    """Best coordinates of each start, and their expected utility."""
    rate = optax.cosine_decay_schedule(FIRST_RATE, steps, alpha=LAST_RATE / FIRST_RATE)
    adam = optax.chain(optax.zero_nans(), optax.adam(rate))

    def step(carry, _):
        z, state, best, best_value = carry
        value, slope = jax.vmap(lambda z: worth_and_slope(asked, z))(z)
        better = value > best_value
        best = jnp.where(better[:, None], z, best)
        best_value = jnp.where(better, value, best_value)
        change, state = adam.update(-slope, state)
        return (optax.apply_updates(z, change), state, best, best_value), None

    start = (z, adam.init(z), z, jnp.full(z.shape[0], -jnp.inf))
    (_, _, best, value), _ = lax.scan(step, start, length=steps)
    return best, value


def _near(
    space: Space, days: np.ndarray, cells: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A rounded schedule and those a day away in one infusion or in all, if feasible."""
    moves = np.concatenate(
        [np.zeros((1, days.size)), np.eye(days.size), np.ones((1, days.size))]
    )
    moved = [days + sign * move for move in moves for sign in (1, -1)]
    return [
        (each, cells)
        for each in moved
        if np.all(each >= 0) and not space.faults(space.protocol(each, cells, "near"))
    ]


def _unique(
    schedules: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    width = schedules[0][0].size
    rows = np.unique([np.concatenate(pair) for pair in schedules], axis=0)
    return rows[:, :width], rows[:, width:]


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
    out = []
    for start in range(0, len(days), BATCH):
        part = slice(start, start + BATCH)
        own, amount = days[part], cells[part]
        # One shape, so that it is compiled once.
        spare = ((0, BATCH - len(own)), (0, 0))
        full = _values(
            asked,
            jnp.asarray(np.pad(own, spare, mode="edge")),
            jnp.asarray(np.pad(amount, spare, mode="edge")),
        )
        out.append(np.asarray(full)[: len(own)])
    return np.concatenate(out)


@eqx.filter_jit
def _values(asked: Question, days: Array, cells: Array) -> Array:
    times = jax.vmap(asked.space.times)(days)
    return jax.vmap(lambda time_d, own: worth(asked, time_d, own)[0])(times, cells)


def _first_kept(
    asked: Question,
    days: np.ndarray,
    cells: np.ndarray,
    found: np.ndarray,
    *,
    name: str,
    before_rounding: float,
    solves: int,
    reached: tuple[float, ...],
) -> Best:
    """The best of these schedules that keeps the caps exactly."""
    space, least = asked.space, None
    for index in np.argsort(-found):
        plan = space.protocol(days[index], cells[index], name)
        assert not space.faults(plan), space.faults(plan)
        time_d = space.times(jnp.asarray(days[index]))
        checks = _cap_checks(asked, time_d, jnp.asarray(cells[index]))
        solves += asked.n * bool(checks)
        if all(check.kept for check in checks):
            _, ok = _judged(asked, time_d, jnp.asarray(cells[index]))
            return Best(
                plan,
                tuple(int(day) + 1 for day in days[index]),
                tuple(cells[index].tolist()),
                float(found[index]),
                before_rounding,
                checks,
                solves,
                reached,
                int(np.sum(~np.asarray(ok))),
            )
        nearest = max(check.share - check.cap.share for check in checks)
        least = nearest if least is None else min(least, nearest)
    caps = ", ".join(
        f"{cap.quantity} above {cap.level:g} in {100 * cap.share:g}% of patients"
        for cap in asked.goal.caps
    )
    raise InputError(
        f"no schedule near the best ones keeps the caps ({caps}); the nearest is over "
        f"in {100 * (least or 0.0):.1f}% too many: give the caps more weight, or a "
        "smaller least dose"
    )


@eqx.filter_jit
def _judged(asked: Question, time_d: Array, cells: Array):
    return worth(asked, time_d, cells)


def _cap_checks(asked: Question, time_d: Array, cells: Array) -> tuple[CapCheck, ...]:
    if not asked.goal.caps:
        return ()
    names = tuple(dict.fromkeys(cap.quantity for cap in asked.goal.caps))
    highest, ok = peaks(asked, time_d, cells, names)
    checks = []
    for cap in asked.goal.caps:
        over = np.asarray(highest[cap.quantity] > cap.level) & np.asarray(ok)
        share = float(np.sum(over) / max(np.sum(np.asarray(ok)), 1))
        checks.append(CapCheck(cap, share, share <= cap.share))
    return tuple(checks)


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

    def one(model: AbstractModel, begun: Any):
        own = summing(model, (), begun)
        course = solve(own, table, both[order], after=after, solver=asked.solver)
        readings = jax.vmap(own.quantities)(course.states)
        return {name: jnp.max(readings[name]) for name in quantities}, course.ok

    highest, ok = eqx.filter_vmap(one)(asked.people, asked.begun)
    return highest, ok & asked.ok


def lattice(space: Space, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Every feasible schedule of whole days at these doses: what a grid would try.

    Args:
        space: what may be decided.
        levels: cells/kg of an infusion; those outside its range are passed over.

    Returns:
        Days from day 1 of the cycle and cells/kg, (schedules, slots).

    Raises:
        InputError: more schedules than anyone wants to solve.
    """
    by_choice = []
    for choice in space.choices:
        open_days = range(choice.from_day - 1, choice.to_day)
        days = [
            own
            for own in itertools.combinations(open_days, choice.n)
            if all(b - a >= choice.apart_d for a, b in itertools.pairwise(own))
        ]
        own_levels = [x for x in levels if choice.least <= x <= choice.most]
        doses = list(itertools.product(own_levels or [choice.most], repeat=choice.n))
        by_choice.append([(d, c) for d in days for c in doses])
    n = int(np.prod([len(each) for each in by_choice]))
    if n > MOST_POINTS:
        raise InputError(f"a lattice of {n} schedules; give fewer levels or days")
    rows = list(itertools.product(*by_choice))
    days = np.array([[d for own, _ in row for d in own] for row in rows], float)
    cells = np.array([[c for _, own in row for c in own] for row in rows], float)
    if space.budget is not None:
        price = [space.budget.price.get(slot.product, 0.0) for slot in space.slots]
        least = np.array([slot.least for slot in space.slots])
        extra = (cells - least) @ np.array(price) * space.weight_kg
        kept = extra <= space.spare * (1.0 + 1e-9)
        days, cells = days[kept], cells[kept]
    return days, cells
