"""Protocols: doses of an arm before anyone's weight is known; those of the trial."""

import dataclasses
from collections.abc import Mapping

from ckin.protocol.doses import Dose, InputWindow
from ckin.protocol.events import EventTable, event_table
from ckin.units import HOURS_PER_DAY


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
