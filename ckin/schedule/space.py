"""What may be decided about a schedule, and coordinates that cannot leave it.

A `Space` is a protocol in which some infusions are open: of `Infusions` the days and
the cells. Any vector of real numbers is a schedule of it that keeps every rule:

- days: a softmax shares out the days that the spacing leaves between first and last;
- cells: a sigmoid between the least and the most, and all of them times one number
  where the budget would not be enough for what is above the least.

FTC come 2 h after the CAR-T of their cycle at the earliest. `Space.rounded` makes whole
days of it and cells that can be prescribed, and keeps the rules as well; `Space.faults`
looks for any that is broken in a protocol, by other means.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float, Scalar
from ckin.errors import InputError
from ckin.protocol import PRODUCTS, Dose, Protocol, cells_text, time_of_day
from ckin.schedule.budget import Budget
from ckin.units import HOURS_PER_DAY


# NCT03984968: FTC 2 h after the CAR-T of day 1.
FTC_AFTER_CART_H = 2.0
# Sums of doses and prices in floating point.
ROUNDING = 1e-9
HOUR_ROUNDING = 1e-4
# A share of the budget is spent to within this, so that no sum exceeds it.
SPENT = 1.0 - 1e-12


@dataclasses.dataclass(frozen=True)
class Infusions:
    """Infusions of one product in one cycle whose days and cells are open.

    Attributes:
        product: a key of `PRODUCTS`.
        cycle: of the protocol, from 1.
        n: how many at most; one of no cells is none.
        from_day: first protocol day of the cycle on which one may be given.
        to_day: the last such day. The same day: the day is not open.
        apart_d: days from one to the next at the least.
        least: cells/kg of each at the least.
        most: cells/kg of each at the most. The same as `least`: the cells are not open.
    """

    product: str
    cycle: int
    n: int = 1
    from_day: int = 1
    to_day: int = 1
    apart_d: int = 1
    least: float = 0.0
    most: float = 5e6

    @property
    def open_days(self) -> int:
        """Days to share out beyond the spacing."""
        return self.to_day - self.from_day - (self.n - 1) * self.apart_d

    def __str__(self) -> str:
        return f"{self.product} of cycle {self.cycle}"


@dataclasses.dataclass(frozen=True)
class Slot:
    """One infusion that is open: its place among the decisions.

    Attributes:
        product: of it.
        cycle: of it.
        least: cells/kg.
        most: cells/kg.
    """

    product: str
    cycle: int
    least: float
    most: float


@dataclasses.dataclass(frozen=True)
class Space:
    """A protocol with infusions that are open.

    Attributes:
        plan: what is given besides. Its own infusions of what is open, on days that
            are open, are passed over.
        choices: what is open.
        budget: of everything together, or `None`.
        weight_kg: body weight.
        step: cells/kg to which a dose can be prescribed.
    """

    plan: Protocol
    choices: tuple[Infusions, ...]
    budget: Budget | None = None
    weight_kg: float = 60.0
    step: float = 5e4

    def __post_init__(self):
        if not self.choices:
            raise InputError("nothing is open: give at least one Infusions")
        seen = set()
        for choice in self.choices:
            if (choice.product, choice.cycle) in seen:
                raise InputError(f"{choice}: open twice; put them into one Infusions")
            seen.add((choice.product, choice.cycle))
            self._check(choice)
        if self.spare < -ROUNDING * self._total:
            raise InputError(
                f"a budget of {self._total:.4g}, and what is not open costs "
                f"{self._total - self.spare:.4g} with the least of what is: give more, "
                "or ask for less"
            )

    # What is fixed

    @property
    def base(self) -> Protocol:
        """The protocol without the infusions that are open."""
        doses = tuple(d for d in self.plan.doses if not self._is_open(d))
        return dataclasses.replace(self.plan, doses=doses)

    def _is_open(self, dose: Dose) -> bool:
        return any(
            (choice.product, choice.cycle) == (dose.product, dose.cycle)
            and choice.from_day <= self.plan.day_of(dose) <= choice.to_day
            for choice in self.choices
        )

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every open infusion, choice by choice and by time."""
        return tuple(
            Slot(choice.product, choice.cycle, choice.least, choice.most)
            for choice in self.choices
            for _ in range(choice.n)
        )

    @property
    def begins_d(self) -> float:
        """Day of the course, from its first infusion, before which all is fixed."""
        return min(
            self.plan.day1_d[choice.cycle - 1] + time_of_day(choice.from_day)
            for choice in self.choices
        )

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(_n_days(c) + _n_cells(c) for c in self.choices)

    @property
    def spare(self) -> float:
        """Budget left for what is above the least of every open infusion."""
        if self.budget is None:
            return math.inf
        least = sum(
            self._price(slot.product) * slot.least * self.weight_kg
            for slot in self.slots
        )
        return self._total - self.budget.cost(self.base, self.weight_kg) - least

    @property
    def _total(self) -> float:
        return math.inf if self.budget is None else self.budget.total

    def _price(self, product: str) -> float:
        return 0.0 if self.budget is None else self.budget.price.get(product, 0.0)

    def _check(self, choice: Infusions) -> None:
        if choice.product not in PRODUCTS:
            raise InputError(f"{choice}: products are {', '.join(PRODUCTS)}")
        if not 1 <= choice.cycle <= self.plan.cycles:
            raise InputError(
                f"{choice}: {self.plan.name} has {self.plan.cycles} cycles"
            )
        if choice.n < 1 or choice.apart_d < 1 or choice.from_day < 1:
            raise InputError(f"{choice}: n, apart_d and from_day are from 1")
        if choice.open_days < 0:
            raise InputError(
                f"{choice}: {choice.n} infusions {choice.apart_d} d apart do not fit "
                f"between day {choice.from_day} and day {choice.to_day}"
            )
        if not 0 <= choice.least <= choice.most < math.inf or choice.most == 0:
            raise InputError(
                f"{choice}: {choice.least:g} to {choice.most:g} cells/kg is no range"
            )
        if choice.product == "CART" and (choice.n > 1 or choice.open_days > 0):
            raise InputError(
                f"{choice}: its cells may be open and not its day, from which the days "
                "of a cycle are counted; give n = 1 and from_day = to_day"
            )
        start_d = self.plan.day1_d[choice.cycle - 1] + time_of_day(choice.from_day)
        if self._first_d(choice) >= start_d + 1.0:
            raise InputError(
                f"{choice}: from day {choice.from_day}, and CAR-T come "
                f"{self._first_d(choice) - start_d:.3g} d later; FTC follow 2 h after "
                "CAR-T at the earliest"
            )
        end_d, begins_d = self._last_d(choice), self._next_begins_d(choice.cycle)
        if end_d >= begins_d:
            own = begins_d - self.plan.day1_d[choice.cycle - 1]
            raise InputError(
                f"{choice}: day {choice.to_day} is not within the cycle, the next of "
                f"which begins {own:g} d after day 1, lymphodepletion and all"
            )

    def _next_begins_d(self, cycle: int) -> float:
        if cycle == self.plan.cycles:
            return math.inf
        drugs = self.plan.depletion_drugs_d(cycle + 1)
        return min((*drugs, self.plan.day1_d[cycle]))

    def _first_d(self, choice: Infusions) -> float:
        """The earliest time of a choice, days of the course."""
        day1 = self.plan.day1_d[choice.cycle - 1]
        first = day1 + time_of_day(choice.from_day)
        return max(first, self._cart_d(choice.cycle)) if _feeds(choice) else first

    def _cart_d(self, cycle: int) -> float:
        """When FTC may be given at the earliest: 2 h after the first CAR-T, if any."""
        given = [d.time_d for d in self.base.doses if _is_cart(d, cycle)]
        given += [
            self.plan.day1_d[cycle - 1] + time_of_day(choice.from_day)
            for choice in self.choices
            if choice.product == "CART" and choice.cycle == cycle
        ]
        wait = FTC_AFTER_CART_H / HOURS_PER_DAY
        return min((time_d + wait for time_d in given), default=-math.inf)

    def _last_d(self, choice: Infusions) -> float:
        day1 = self.plan.day1_d[choice.cycle - 1]
        return max(day1 + time_of_day(choice.to_day), self._first_d(choice))

    # Coordinates

    def schedule(
        self, z: Float[Array, " size"], spare: Scalar | None = None
    ) -> tuple[Array, Array]:
        """Times (days of the course) and cells/kg of every slot, smooth in `z`."""
        days, cells = self.days_and_cells(z, spare)
        return self.times(days), cells

    def days_and_cells(
        self, z: Float[Array, " size"], spare: Scalar | None = None
    ) -> tuple[Array, Array]:
        """Days from day 1 of the cycle (day 1 is 0.0), and cells/kg, of every slot.

        Args:
            z: coordinates.
            spare: budget above the least of every infusion, where another than the
                space's own (one program for several budgets).
        """
        days, extra, at = [], [], 0
        for choice in self.choices:
            even = jnp.arange(choice.n) * float(choice.apart_d)
            if _n_days(choice):
                gaps = jax.nn.softmax(z[at : at + choice.n + 1])
                # A sum of shares may exceed 1 by a rounding error.
                shares = jnp.minimum(jnp.cumsum(gaps)[:-1], 1.0)
                even = even + choice.open_days * shares
            at += _n_days(choice)
            days.append(time_of_day(choice.from_day) + even)
            if _n_cells(choice):
                wide = choice.most - choice.least
                extra.append(wide * jax.nn.sigmoid(z[at : at + choice.n]))
            else:
                extra.append(jnp.zeros(choice.n))
            at += _n_cells(choice)
        more = jnp.concatenate(extra)
        least = jnp.array([slot.least for slot in self.slots])
        return jnp.concatenate(days), least + self._share(more, spare) * more

    def _share(self, more: Array, spare: Scalar | None) -> Array:
        """What the budget leaves of the cells above the least: 1, or less."""
        if self.budget is None:
            return jnp.ones(())
        price = jnp.array([self._price(slot.product) for slot in self.slots])
        cost = jnp.sum(price * more) * self.weight_kg
        spent = SPENT * jnp.maximum(self.spare if spare is None else spare, 0.0)
        enough = cost <= spent
        return jnp.where(enough, 1.0, spent / jnp.where(enough, 1.0, cost))

    def times(self, days: Array) -> Array:
        """Days of the course of slots on these days from day 1 of their cycle.

        The first day of a choice begins when it may be given (FTC: 2 h after CAR-T);
        days in between move by less, the last not at all. Whole days do not move.
        """
        out, at = [], 0
        for choice in self.choices:
            own = days[at : at + choice.n]
            at += choice.n
            day1 = self.plan.day1_d[choice.cycle - 1]
            first, start = self._first_d(choice), time_of_day(choice.from_day)
            wait, long = first - day1 - start, choice.to_day - choice.from_day
            left = 1.0 - (own - start) / long if long else jnp.ones_like(own)
            whole = own == jnp.round(own)
            by = jnp.where(whole, jnp.where(own == start, wait, 0.0), wait * left)
            out.append(day1 + own + by)
        return jnp.concatenate(out)

    def start(self, key: Array, n: int) -> Float[Array, "n size"]:
        """Random coordinates to start from, spread over the space."""
        return 1.5 * jax.random.normal(key, (n, self.size))

    # Whole days

    def rounded(
        self, days: np.ndarray, cells: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whole days and prescribable cells/kg near these, with every rule kept.

        Days are rounded to the nearest; two that are so many whole days apart stay so.
        Cells are rounded to the nearest step, and down, the most generous first, until
        the budget is kept.

        Args:
            days: from day 1 of the cycle, of every slot.
            cells: cells/kg of every slot.
        """
        whole = np.floor(np.asarray(days, float) + 0.5)
        x = np.asarray(cells, float)
        least = np.array([slot.least for slot in self.slots])
        most = np.array([slot.most for slot in self.slots])
        down = np.clip(np.floor(x / self.step) * self.step, least, np.minimum(most, x))
        chosen = np.clip(np.round(x / self.step) * self.step, least, most)
        price = np.array([self._price(slot.product) for slot in self.slots])
        room = self.spare + float(np.sum(price * least)) * self.weight_kg
        while float(np.sum(price * chosen)) * self.weight_kg > room:
            gained = np.where((price > 0) & (chosen > down), chosen - x, -np.inf)
            if np.all(np.isneginf(gained)):
                break
            chosen[np.argmax(gained)] = down[np.argmax(gained)]
        return whole, chosen

    def protocol(self, days: np.ndarray, cells: np.ndarray, name: str) -> Protocol:
        """The protocol with these infusions; those of no cells are left out.

        Args:
            days: whole days from day 1 of the cycle (day 1 is 0), of every slot.
            cells: cells/kg of every slot.
            name: of the protocol.
        """
        time_d = np.asarray(self.times(jnp.asarray(days, float))).tolist()
        doses = [
            Dose(time, slot.product, cells_per_kg=float(amount), cycle=slot.cycle)
            for slot, time, amount in zip(self.slots, time_d, cells, strict=True)
            if amount > 0
        ]
        order = list(PRODUCTS)
        both = sorted(
            (*self.base.doses, *doses), key=lambda d: (d.time_d, order.index(d.product))
        )
        told = tuple(
            f"{d.product} {cells_text(d.cells_per_kg or 0.0)} cells/kg on day "
            f"{self.base.day_of(d)} of cycle {d.cycle} (optimised)"
            for d in doses
        )
        changes = (*self.plan.changes, *told)
        return dataclasses.replace(
            self.base, doses=tuple(both), name=name, changes=changes
        )

    def faults(self, plan: Protocol) -> tuple[str, ...]:
        """Every rule of the space that a protocol breaks, in words."""
        found = []
        if self.budget is not None:
            cost = self.budget.cost(plan, self.weight_kg)
            if cost > self.budget.total * (1.0 + ROUNDING):
                found.append(f"costs {cost:.6g}, more than {self.budget.total:.6g}")
        fixed = tuple(d for d in plan.doses if not self._is_open(d))
        if fixed != self.base.doses:
            found.append("changes what is not open")
        for choice in self.choices:
            found += [
                f"{choice}: {fault}" for fault in self._choice_faults(choice, plan)
            ]
        return tuple(found)

    def _choice_faults(self, choice: Infusions, plan: Protocol) -> list[str]:
        mine = [
            d
            for d in plan.doses
            if d.product == choice.product
            and d.cycle == choice.cycle
            and self._is_open(d)
        ]
        found = []
        if len(mine) > choice.n:
            found.append(f"{len(mine)} infusions, more than {choice.n}")
        if choice.least > 0 and len(mine) < choice.n:
            found.append(f"{len(mine)} infusions, fewer than {choice.n}")
        cart = [d.time_d for d in plan.doses if _is_cart(d, choice.cycle)]
        days = [plan.day_of(dose) for dose in mine]
        for dose, day in zip(mine, days, strict=True):
            amount = dose.total(self.weight_kg) / self.weight_kg
            low, high = choice.least * (1 - ROUNDING), choice.most * (1 + ROUNDING)
            if not low <= amount <= high:
                found.append(f"{amount:.6g} cells/kg on day {day}")
            after_h = (dose.time_d - min(cart, default=-math.inf)) * HOURS_PER_DAY
            if _feeds(choice) and after_h < FTC_AFTER_CART_H - HOUR_ROUNDING:
                found.append(f"day {day} is {after_h:.3g} h after CAR-T, less than 2 h")
            if dose.time_d >= self._next_begins_d(choice.cycle):
                found.append(f"day {day} is not within the cycle")
        near = [
            b - a
            for a, b in zip(days, days[1:], strict=False)
            if b - a < choice.apart_d
        ]
        found += [f"{gap} d apart, less than {choice.apart_d}" for gap in near]
        return found


def _n_days(choice: Infusions) -> int:
    """Coordinates of its days: one for each gap."""
    return choice.n + 1 if choice.open_days > 0 else 0


def _n_cells(choice: Infusions) -> int:
    return choice.n if choice.most > choice.least else 0


def _feeds(choice: Infusions) -> bool:
    return choice.product == "FTC"


def _is_cart(dose: Dose, cycle: int) -> bool:
    return dose.product == "CART" and dose.cycle == cycle
