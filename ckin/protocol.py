"""Which cells a patient is given, and when: products, cycles, doses -> an event table.

Time is in days from the first infusion of the course: day 1 of a protocol is time 0,
day 8 is time 7. A protocol gives doses per kg or in cells; an `EventTable` is what the
solver takes: one row per moment, everything given at that moment added up. Events are
consumed once each, by index; nothing ever compares two floating-point times.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import equinox as eqx
import jax
import numpy as np

from ckin._types import Array, Float
from ckin.units import HOURS_PER_DAY, total_cells


# What a dose record may name. A model receives some of them (AbstractModel.receives).
PRODUCTS = {
    "CART": "CAR-T cells (ssCART-19)",
    "FTC": "CD19+ feeding T cells",
}
LYMPHODEPLETION = "LD"


@dataclasses.dataclass(frozen=True)
class Dose:
    """Cells of one product given at one time.

    Attributes:
        time_d: days from the first infusion.
        product: a key of `PRODUCTS`.
        cells: cells given; exactly one of `cells` and `cells_per_kg`.
        cells_per_kg: cells per kg of body weight.
        cycle: cycle (occasion) of the dose, from 1.
    """

    time_d: float
    product: str
    cells: float | None = None
    cells_per_kg: float | None = None
    cycle: int = 1

    def __post_init__(self):
        if self.product not in PRODUCTS:
            known = ", ".join(PRODUCTS)
            raise ValueError(f"unknown product {self.product!r}; ckin knows {known}")
        if (self.cells is None) == (self.cells_per_kg is None):
            raise ValueError("give a dose either as cells or as cells_per_kg")
        amount = self.cells if self.cells is not None else self.cells_per_kg
        assert amount is not None  # exactly one was given
        if not (np.isfinite(amount) and amount >= 0):
            raise ValueError(f"a dose of {amount} cells is not a number of cells")
        if not np.isfinite(self.time_d):
            raise ValueError(f"a dose at day {self.time_d} is not at any time")

    def total(self, weight_kg: float) -> float:
        """Cells given to a patient of this weight."""
        if self.cells is not None:
            return self.cells
        return float(total_cells(self.cells_per_kg, weight_kg))


@dataclasses.dataclass(frozen=True)
class InputWindow:
    """A time-dependent input held at one level from `start_d` to `stop_d` (days)."""

    name: str
    level: float
    start_d: float
    stop_d: float

    def __post_init__(self):
        if not self.start_d < self.stop_d:
            raise ValueError(
                f"input {self.name!r} stops at day {self.stop_d}, "
                f"not after its start at day {self.start_d}"
            )


class EventTable(eqx.Module):
    """What happens to one patient, in order of time (or a batch: a leading axis).

    Attributes:
        time_d: days, shape (events,), not decreasing.
        cells: cells given, shape (events, products), in the order of `products`.
        lymphodepletion: 1.0 where lymphodepletion happens, shape (events,).
        level: level of every input from this event to the next, shape
            (events, inputs), in the order of `inputs`.
    """

    time_d: Float[Array | np.ndarray, "*batch events"]
    cells: Float[Array | np.ndarray, "*batch events products"]
    lymphodepletion: Float[Array | np.ndarray, "*batch events"]
    level: Float[Array | np.ndarray, "*batch events inputs"]
    products: tuple[str, ...] = eqx.field(static=True)
    inputs: tuple[str, ...] = eqx.field(static=True)


def event_table(
    doses: Iterable[Dose],
    *,
    weight_kg: float,
    lymphodepletion_d: Sequence[float] = (),
    windows: Iterable[InputWindow] = (),
    inputs: Mapping[str, float] | None = None,
) -> EventTable:
    """Events of one patient, from doses, lymphodepletion days and input windows.

    Doses at the same time are added, whatever their order; where windows of one input
    overlap the highest level holds.

    Args:
        doses: the patient's doses.
        weight_kg: body weight, for doses per kg.
        lymphodepletion_d: days of lymphodepletion.
        windows: when an input leaves its usual level.
        inputs: usual level of each input of the model (`AbstractModel.inputs`);
            windows of inputs that are not in it are passed over.
    """
    doses, windows = tuple(doses), tuple(windows)
    usual = dict(inputs or {})
    windows = tuple(window for window in windows if window.name in usual)
    moments = {dose.time_d for dose in doses} | set(lymphodepletion_d)
    for window in windows:
        moments |= {window.start_d, window.stop_d}
    # A patient without any event still has a start to integrate from.
    time_d = np.array(sorted(moments) or [0.0])
    products = tuple(PRODUCTS)
    cells = np.zeros((time_d.size, len(products)))
    for dose in doses:
        row = int(np.flatnonzero(time_d == dose.time_d)[0])
        cells[row, products.index(dose.product)] += dose.total(weight_kg)
    level = np.tile(np.array(list(usual.values()), dtype=float), (time_d.size, 1))
    for column, name in enumerate(usual):
        for row, start in enumerate(time_d):
            levels = [
                window.level
                for window in windows
                if window.name == name and window.start_d <= start < window.stop_d
            ]
            level[row, column] = max(levels, default=usual[name])
    return EventTable(
        time_d=time_d,
        cells=cells,
        lymphodepletion=np.isin(time_d, list(lymphodepletion_d)).astype(float),
        level=level,
        products=products,
        inputs=tuple(usual),
    )


def pad_events(table: EventTable, n_events: int) -> EventTable:
    """The same table with empty events appended at its last time.

    An appended event gives nothing, and the segment after it has no length.
    """
    extra = n_events - table.time_d.shape[0]
    if extra < 0:
        raise ValueError(f"cannot pad {table.time_d.shape[0]} events to {n_events}")

    def repeat_last(rows):
        return np.concatenate([rows, np.repeat(rows[-1:], extra, axis=0)])

    def zeros_after(rows):
        return np.concatenate([rows, np.zeros((extra, *rows.shape[1:]))])

    return EventTable(
        time_d=repeat_last(table.time_d),
        cells=zeros_after(table.cells),
        lymphodepletion=zeros_after(table.lymphodepletion),
        level=repeat_last(table.level),
        products=table.products,
        inputs=table.inputs,
    )


def stack_events(tables: Sequence[EventTable]) -> EventTable:
    """Event tables of several patients as one batch, padded to the longest."""
    most = max(table.time_d.shape[0] for table in tables)
    padded = [pad_events(table, most) for table in tables]
    return jax.tree.map(lambda *rows: np.stack(rows), *padded)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Doses of one arm, before anyone's weight is known.

    Attributes:
        name: what `--protocol` takes.
        doses: doses, by time.
        lymphodepletion_d: days of lymphodepletion.
        windows: input windows (TKI).
        assumptions: what the registry does not state and this protocol assumes.
    """

    name: str
    doses: tuple[Dose, ...]
    lymphodepletion_d: tuple[float, ...] = ()
    windows: tuple[InputWindow, ...] = ()
    assumptions: tuple[str, ...] = ()

    def events(self, weight_kg: float, inputs: Mapping[str, float]) -> EventTable:
        """Event table of a patient of `weight_kg`, for a model's `inputs`."""
        return event_table(
            self.doses,
            weight_kg=weight_kg,
            lymphodepletion_d=self.lymphodepletion_d,
            windows=self.windows,
            inputs=inputs,
        )


# FTC dose levels of NCT03984968, cells/kg per infusion (ClinicalTrials.gov).
FTC_LEVELS_CELLS_PER_KG = {"high": 5e6, "medium": 3.25e6, "low": 2e6}


@dataclasses.dataclass(frozen=True)
class Szcart01:
    """NCT03984968: CAR-T1 alone, then cycles of CAR-T with FTC. Builds a `Protocol`.

    Stated by the registry: two to four cycles; the first without FTC; FTC 2 h after
    the CAR-T of day 1 and again on day 8; 5, 3.25 or 2 ×10^6 FTC/kg per infusion.
    NOT stated, hence assumed here and listed in `Protocol.assumptions`: the CAR-T dose,
    the gap between cycles, lymphodepletion, and whether the TKI is held.

    Attributes:
        ftc_cells_per_kg: FTC per infusion.
        cycles: number of cycles, 1 to 4; the first has no FTC.
        cart_cells_per_kg: CAR-T per cycle. Assumed 5e6: the 1:1 ratio of FTC to
            CAR-T with FTC 5e6/kg, and the hospital's NCT03919240 (5-10e6/kg).
        cycle_gap_d: day 1 of a cycle to day 1 of the next. Assumed 56 d.
        lymphodepletion_before_d: days before each day 1 on which lymphodepletion
            acts. Assumed 3: fludarabine and cyclophosphamide on days -5 to -3
            (NCT03919240). `None`: none is given.
        tki_held: whether the TKI is stopped around infusions. Assumed held; if not,
            it acts at `tki_level` all the time.
        tki_level: level of the `tki` input while it is taken, 0 to 1.
        ftc_after_cart_h: hours from CAR-T to the first FTC (registry: 2).
        second_ftc_day: protocol day of the second FTC (registry: 8).
        horizon_d: how long a TKI that is not held goes on.
    """

    ftc_cells_per_kg: float = FTC_LEVELS_CELLS_PER_KG["high"]
    cycles: int = 4
    cart_cells_per_kg: float = 5e6
    cycle_gap_d: float = 56.0
    lymphodepletion_before_d: float | None = 3.0
    tki_held: bool = True
    tki_level: float = 1.0
    ftc_after_cart_h: float = 2.0
    second_ftc_day: int = 8
    horizon_d: float = 1000.0

    def __post_init__(self):
        if not 1 <= self.cycles <= 4:
            raise ValueError(f"{self.cycles} cycles: ckin takes 1 (CAR-T1 alone) to 4")
        last_day_d = self.second_ftc_day - 1
        before = self.lymphodepletion_before_d or 0.0
        if self.cycles > 1 and self.cycle_gap_d <= last_day_d + before:
            raise ValueError(
                f"cycles {self.cycle_gap_d} d apart overlap: FTC come on day "
                f"{self.second_ftc_day}, lymphodepletion {before} d before day 1"
            )

    def protocol(self, name: str = "szcart01") -> Protocol:
        """The protocol of one arm."""
        doses, depletions = [], []
        for cycle in range(1, self.cycles + 1):
            day1 = (cycle - 1) * self.cycle_gap_d
            if self.lymphodepletion_before_d is not None:
                depletions.append(day1 - self.lymphodepletion_before_d)
            doses.append(
                Dose(day1, "CART", cells_per_kg=self.cart_cells_per_kg, cycle=cycle)
            )
            if cycle == 1 or self.ftc_cells_per_kg == 0:
                continue
            for time_d in (
                day1 + self.ftc_after_cart_h / HOURS_PER_DAY,
                day1 + self.second_ftc_day - 1,
            ):
                doses.append(
                    Dose(time_d, "FTC", cells_per_kg=self.ftc_cells_per_kg, cycle=cycle)
                )
        windows = ()
        if not self.tki_held:
            windows = (InputWindow("tki", self.tki_level, -30.0, self.horizon_d),)
        return Protocol(
            name=name,
            doses=tuple(doses),
            lymphodepletion_d=tuple(depletions),
            windows=windows,
            assumptions=self.assumptions(),
        )

    def assumptions(self) -> tuple[str, ...]:
        """What this protocol takes for granted that the registry does not state."""
        depletion = (
            "no lymphodepletion"
            if self.lymphodepletion_before_d is None
            else f"lymphodepletion {self.lymphodepletion_before_d:g} d before day 1"
        )
        tki = "TKI held" if self.tki_held else f"TKI taken (level {self.tki_level:g})"
        return (
            f"CAR-T {self.cart_cells_per_kg:.3g} cells/kg in every cycle",
            f"cycles {self.cycle_gap_d:g} d apart",
            depletion,
            tki,
        )


def szcart01_arms() -> dict[str, Protocol]:
    """The shipped protocols by name: each FTC level, and CAR-T1 alone."""
    arms = {
        f"szcart01-{level}": Szcart01(ftc_cells_per_kg=cells_per_kg)
        for level, cells_per_kg in FTC_LEVELS_CELLS_PER_KG.items()
    }
    arms["szcart01-cart1"] = Szcart01(cycles=1)
    arms["szcart01-no-ftc"] = Szcart01(ftc_cells_per_kg=0.0)
    return {name: arm.protocol(name) for name, arm in arms.items()}
