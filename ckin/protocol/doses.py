"""What one patient is given and takes: doses, and inputs with levels over time.

Time is in days from the first infusion of the course: day 1 of a protocol is time 0,
day 8 is time 7.
"""

import dataclasses

import numpy as np

from ckin.errors import InputError
from ckin.units import total_cells


# What a dose record may name. A model receives some of them (AbstractModel.receives).
PRODUCTS = {
    "CART": "CAR-T cells (ssCART-19)",
    "FTC": "CD19+ feeding T cells",
}
LYMPHODEPLETION = "LD"
# What else a patient may be under, over time. A model answers to some of them
# (AbstractModel.inputs); 1 is the full dose.
INPUTS = {
    "tki": "a TKI that blocks CAR signals as dasatinib does, or an unnamed one",
    "dasatinib": "dasatinib",
    "imatinib": "imatinib",
    "tocilizumab": "tocilizumab",
    "steroid": "corticosteroids",
}


@dataclasses.dataclass(frozen=True)
class Dose:
    """Cells of one product given at one time.

    Attributes:
        time_d: days from the first infusion.
        product: a key of `PRODUCTS`, or a name of one's own.
        cells: cells given, or the amount in `unit`; exactly one of this and
            `cells_per_kg`.
        cells_per_kg: cells, or the amount in `unit`, per kg of body weight.
        cycle: cycle (occasion) of the dose, from 1.
        duration_d: days over which the cells run in at a constant rate; 0: at once.
        unit: what the product is counted in; anything but cells is of one's own.
    """

    time_d: float
    product: str
    cells: float | None = None
    cells_per_kg: float | None = None
    cycle: int = 1
    duration_d: float = 0.0
    unit: str = "cells"

    def __post_init__(self):
        if self.product not in PRODUCTS and self.unit == "cells":
            known = ", ".join(PRODUCTS)
            raise ValueError(
                f"unknown product {self.product!r}; ckin knows {known}, and others in "
                "a unit of their own (unit=)"
            )
        if (self.cells is None) == (self.cells_per_kg is None):
            raise ValueError("give a dose either as cells or as cells_per_kg")
        amount = self.cells if self.cells is not None else self.cells_per_kg
        assert amount is not None  # exactly one was given
        if not (np.isfinite(amount) and amount >= 0):
            raise ValueError(
                f"a dose of {amount} {self.unit} is not a number of {self.unit}"
            )
        if not np.isfinite(self.time_d):
            raise ValueError(f"a dose at day {self.time_d} is not at any time")
        if not (np.isfinite(self.duration_d) and self.duration_d >= 0):
            raise ValueError(f"a dose cannot run in over {self.duration_d} days")

    @property
    def stop_d(self) -> float:
        """When the last cell has run in, days from the first infusion."""
        return self.time_d + self.duration_d

    def total(self, weight_kg: float) -> float:
        """Cells given to a patient of this weight.

        Raises:
            InputError: a dose per kg, and a weight that is not a number above 0.
        """
        if self.cells is not None:
            return self.cells
        if not (np.isfinite(weight_kg) and weight_kg > 0):
            raise InputError(
                f"a dose of {self.cells_per_kg:g} {self.product}/kg at time "
                f"{self.time_d:g} d, and a body weight of {weight_kg} kg: give the "
                f"weight (WT), or the dose in {self.unit}"
            )
        return float(total_cells(self.cells_per_kg, weight_kg))


@dataclasses.dataclass(frozen=True)
class InputWindow:
    """A time-dependent input with a level of its own from `start_d` to `stop_d` (days).

    Attributes:
        name: of the input, as a model names it (`AbstractModel.inputs`).
        level: at `start_d`.
        start_d: first day of the window.
        stop_d: its end, where the input has its usual level again.
        end_level: level at `stop_d`, reached in a straight line; `None` holds `level`.
    """

    name: str
    level: float
    start_d: float
    stop_d: float
    end_level: float | None = None

    def __post_init__(self):
        if not self.start_d < self.stop_d:
            raise ValueError(
                f"input {self.name!r} stops at day {self.stop_d}, "
                f"not after its start at day {self.start_d}"
            )

    @property
    def slope(self) -> float:
        """Change of the level per day."""
        if self.end_level is None:
            return 0.0
        return (self.end_level - self.level) / (self.stop_d - self.start_d)

    def holds_at(self, time_d: float) -> bool:
        """Whether the window is open at this time; it is closed at its end."""
        return self.start_d <= time_d < self.stop_d

    def level_at(self, time_d: float) -> float:
        """Level at a time within the window."""
        return self.level + self.slope * (time_d - self.start_d)
