"""The best days and doses of a `Space`: expected utility, climbed by its gradient.

Several starts climb at once (Adam, one compiled gradient). What they reach is rounded
to whole days and doses that can be prescribed, looked at beside its neighbours, checked
rule by rule, and caps are checked on the maximum itself. How much utility rounding cost
is told. `lattice` makes the schedules of a grid, to compare with.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ckin._types import Array
from ckin.errors import InputError
from ckin.protocol import Protocol
from ckin.schedule.question import Cap, Question, peaks, values, worth, worth_and_slope
from ckin.schedule.space import Space


# Largest step of a coordinate at first: a quarter of the way across a sigmoid.
FIRST_RATE, LAST_RATE = 0.4, 0.02
# Choices of a lattice beyond which nobody wants to wait.
MOST_POINTS = 200_000


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
    asked: Question,
    key: Array,
    *,
    starts: int = 6,
    steps: int = 30,
    name: str = "",
    total: float | None = None,
    known: Sequence[Best] = (),
) -> Best:
    """The best schedule that gradients find from several starts.

    Args:
        asked: the question.
        key: of the starts.
        starts: how many.
        steps: of Adam, from each.
        name: of the protocol that is returned.
        total: a smaller budget than that of the space, in its unit; the same compiled
            program serves every budget.
        known: schedules that are feasible, to look at beside those that are reached.

    Raises:
        InputError: no schedule near the best ones keeps the caps.
    """
    space = asked.space if total is None else with_total(asked.space, total)
    spare = None if space.budget is None else jnp.asarray(space.spare)
    z, reached = _climb(asked, space.start(key, starts), spare, steps)
    order = np.argsort(-np.asarray(reached))
    rounded = [
        pair
        for best in known
        for pair in _near(space, np.array(best.days) - 1.0, np.array(best.cells_per_kg))
    ]
    for days, cells in zip(*jax.vmap(space.days_and_cells)(z[order]), strict=True):
        rounded += _near(space, *space.rounded(np.asarray(days), np.asarray(cells)))
    days, cells = _unique(rounded)
    found = values(asked, days, cells)
    solves = asked.n * (starts * steps * (1 + space.size) + len(days))
    return _first_kept(
        asked,
        space,
        days,
        cells,
        found,
        name=name or f"{space.plan.name}-optimised",
        before_rounding=float(np.max(np.asarray(reached))),
        solves=solves,
        reached=tuple(np.asarray(reached)[order].tolist()),
    )


def with_total(space: Space, total: float) -> Space:
    """The space with another budget, in its unit.

    Raises:
        InputError: a budget that does not pay for what is not open.
    """
    if space.budget is None:
        raise ValueError("a space without a budget has no total")
    budget = dataclasses.replace(space.budget, total=total)
    return dataclasses.replace(space, budget=budget)


def front(
    asked: Question,
    key: Array,
    totals: Sequence[float],
    *,
    starts: int = 6,
    steps: int = 30,
    report: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Best, ...]:
    """The best schedule under each of several budgets: what more cells buy.

    A schedule that a smaller budget pays for is looked at under the larger ones too,
    so that more cells are never worth less.

    Args:
        asked: the question; its space has a budget of the largest total or more.
        key: of the starts, the same for every budget.
        totals: budgets, in their unit.
        starts: of each budget.
        steps: of Adam, from each.
        report: called with (budgets done, all of them).

    Raises:
        InputError: a budget that does not pay for what is not open.
    """
    found: list[Best] = []
    for total in sorted(totals):
        found.append(
            optimise(
                asked, key, starts=starts, steps=steps, total=total, known=found[-1:]
            )
        )
        report(len(found), len(totals))
    return tuple(found)


@eqx.filter_jit
def _climb(
    asked: Question, z: Array, spare: Array | None, steps: int
) -> tuple[Array, Array]:
    """Best coordinates of each start, and their expected utility."""
    rate = optax.cosine_decay_schedule(FIRST_RATE, steps, alpha=LAST_RATE / FIRST_RATE)
    adam = optax.chain(optax.zero_nans(), optax.adam(rate))

    def step(carry, _):
        z, state, best, best_value = carry
        value, slope = jax.vmap(lambda z: worth_and_slope(asked, z, spare))(z)
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
    """A rounded schedule and those a day away in one infusion or all, if feasible."""
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


def _first_kept(
    asked: Question,
    space: Space,
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
    least = None
    for index in np.argsort(-found):
        plan = space.protocol(days[index], cells[index], name)
        assert not space.faults(plan), space.faults(plan)
        time_d = space.times(jnp.asarray(days[index]))
        checks = cap_checks(asked, time_d, jnp.asarray(cells[index]))
        solves += asked.n * bool(checks)
        if all(check.kept for check in checks):
            _, ok = eqx.filter_jit(worth)(asked, time_d, jnp.asarray(cells[index]))
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


def cap_checks(asked: Question, time_d: Array, cells: Array) -> tuple[CapCheck, ...]:
    """Every cap of a question beside the maxima of its patients, solved adaptively.

    Args:
        asked: the question.
        time_d: days of the course of every slot.
        cells: cells/kg of every slot.
    """
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
