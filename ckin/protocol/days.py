"""Protocol days and the time of the engine.

Day 1 is the day of the first infusion and time 0; day 8 is time 7. There is no day 0:
a registry's "day -3" is three days before day 1, time -3, and day -1 is the day before
day 1. A day that is named without an hour is its start.
"""

import math
from collections.abc import Iterable

from ckin.protocol.doses import Dose
from ckin.units import HOURS_PER_DAY


# Times are sums of days and hours in floating point; a day starts this much early.
ROUNDING_D = 1e-6


def time_of_day(day: int) -> float:
    """Days from the start of day 1 to the start of `day`.

    Raises:
        ValueError: day 0.
    """
    if day == 0:
        raise ValueError("there is no day 0: day 1 is the first, day -1 the one before")
    return float(day - 1 if day > 0 else day)


def day_of_time(time_d: float) -> int:
    """The protocol day on which a time falls."""
    whole = math.floor(time_d + ROUNDING_D)
    return whole + 1 if whole >= 0 else whole


def hours_of_time(time_d: float) -> float:
    """Hours from the start of the protocol day on which a time falls."""
    hours = 24.0 * (time_d - time_of_day(day_of_time(time_d)))
    return max(0.0, round(hours, 4))


def runs(numbers: Iterable[int]) -> str:
    """Whole numbers as a person writes them: `1, 3-5`; a run of two stays two."""
    ordered = sorted(set(numbers))
    told, at = [], 0
    while at < len(ordered):
        end = at
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        if end - at >= 2:
            between = " to " if ordered[at] < 0 else "-"
            told.append(f"{ordered[at]}{between}{ordered[end]}")
        else:
            told += [str(number) for number in ordered[at : end + 1]]
        at = end + 1
    return ", ".join(told)


def cells_text(cells: float) -> str:
    """A number of cells as clinicians write it: 3.25e6, 410e6."""
    return f"{cells / 1e6:.6g}e6" if cells >= 1e5 else f"{cells:g}"


def amount_text(dose: Dose) -> str:
    """Cells of one dose, as they were prescribed, and how long they run in."""
    hours = dose.duration_d * HOURS_PER_DAY
    lasts = f" over {hours:.3g} h" if hours else ""
    if dose.cells_per_kg is not None:
        return f"{cells_text(dose.cells_per_kg)}/kg{lasts}"
    return f"{cells_text(dose.cells or 0.0)} cells{lasts}"
