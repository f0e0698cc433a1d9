"""What the verbs of a protocol share: the order of doses, parts of one, words."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from ckin.errors import InputError, did_you_mean
from ckin.protocol.days import day_of_time, runs, time_of_day
from ckin.protocol.doses import PRODUCTS, Dose


@dataclasses.dataclass(frozen=True)
class Condition:
    """What must hold before something is given.

    Attributes:
        text: the condition.
        product: what is given; `None`: more than one product.
    """

    text: str
    product: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def assumption(self) -> str:
        """What a simulation takes for granted."""
        return f"met by everyone: {self.text}"


def by_time(doses: Iterable[Dose]) -> tuple[Dose, ...]:
    """Doses in the order in which they are given."""
    order = list(PRODUCTS)
    return tuple(sorted(doses, key=lambda d: (d.time_d, order.index(d.product))))


def days_from(day: int, to_day: int) -> float:
    """Days from one protocol day to another."""
    return time_of_day(to_day) - time_of_day(day)


def part_of(dose: Dose, parts: int, later_d: float) -> Dose:
    """One of so many equal parts of a dose, later by so many days."""
    cells, per_kg = dose.cells, dose.cells_per_kg
    return dataclasses.replace(
        dose,
        time_d=dose.time_d + later_d,
        cells=None if cells is None else cells / parts,
        cells_per_kg=None if per_kg is None else per_kg / parts,
    )


def where_of(day: int | None, cycles: Sequence[int] | None) -> str:
    """Day and cycles of a change, in words."""
    told = "" if day is None else f" on day {day}"
    return told + ("" if cycles is None else f" in cycle {runs(cycles)}")


def check_product(product: str) -> None:
    """Refuse what ckin does not know as a product.

    Raises:
        InputError: so.
    """
    if product not in PRODUCTS:
        raise InputError(
            f"unknown product {product!r}; {did_you_mean(product, PRODUCTS)}ckin knows "
            f"{', '.join(PRODUCTS)}"
        )


def days_of_cycles(
    name: str, day1_d: Sequence[float], cycles: int, every_d: float | None
) -> tuple[float, ...]:
    """Day 1 of so many cycles, days from the first infusion.

    Args:
        name: of the protocol.
        day1_d: of the cycles that it has.
        cycles: how many there are to be.
        every_d: days between them; `None`: as they are, the last gap again.

    Raises:
        InputError: no gap to go by.
    """
    if every_d is not None:
        return tuple(day1_d[0] + every_d * n for n in range(cycles))
    days = list(day1_d[:cycles])
    if len(days) < cycles and len(day1_d) == 1:
        raise InputError(
            f"{name} has one cycle: say how many days lie between cycles (every_d)"
        )
    while len(days) < cycles:
        days.append(days[-1] + day1_d[-1] - day1_d[-2])
    return tuple(days)


def check_apart(
    doses: Sequence[Dose],
    day1_d: Sequence[float],
    drugs_d: Callable[[int], tuple[float, ...]],
) -> None:
    """Refuse a cycle that has not ended before anything of the next one begins.

    Args:
        doses: of the protocol.
        day1_d: day 1 of each cycle.
        drugs_d: when the drugs of lymphodepletion before a cycle are given.

    Raises:
        InputError: so.
    """
    for cycle in range(1, len(day1_d)):
        own = [dose for dose in doses if dose.cycle == cycle]
        ends = max((dose.stop_d for dose in own), default=day1_d[cycle - 1])
        starts = [dose.time_d for dose in doses if dose.cycle == cycle + 1]
        begins = min((*starts, *drugs_d(cycle + 1), day1_d[cycle]))
        if begins <= ends:
            raise InputError(
                f"cycles overlap: the last dose of cycle {cycle} is on day "
                f"{day_of_time(ends)} of the course, cycle {cycle + 1} begins on day "
                f"{day_of_time(begins)}, lymphodepletion and all; put more days "
                "between cycles"
            )
