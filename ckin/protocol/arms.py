"""Protocols: doses of an arm before anyone's weight is known, and how to change them.

    plan = load_protocol("szcart01-high").repeated(cycles=3, every_d=42)
    late = plan.delayed("FTC", day=8, by_days=6).named("FTC on day 14")

A verb returns a new protocol and notes in `Protocol.changes` what it changed. A
product, day or cycle that is not there is an `InputError` that says which are.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from ckin.errors import InputError
from ckin.protocol.changing import (
    Condition,
    by_time,
    check_apart,
    check_product,
    days_from,
    days_of_cycles,
    part_of,
    where_of,
)
from ckin.protocol.days import cells_text, day_of_time, runs, time_of_day
from ckin.protocol.doses import PRODUCTS, Dose, InputWindow
from ckin.protocol.events import EventTable, cycle_starts, event_table
from ckin.protocol.tki import Hold, Tki, windows_with


# FTC dose levels of NCT03984968, cells/kg per infusion (ClinicalTrials.gov).
FTC_LEVELS_CELLS_PER_KG = {"high": 5e6, "medium": 3.25e6, "low": 2e6}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Doses of one arm, before anyone's weight is known.

    Attributes:
        name: what `--protocol` takes.
        doses: doses, by time.
        lymphodepletion_d: days of lymphodepletion.
        windows: input windows (TKI).
        assumptions: what the source does not state and this protocol assumes.
        title: what it is, in a line.
        source: where it is from.
        stated: what the source says.
        conditions: what must hold before something is given. Nobody knows it of a
            virtual patient: `assumptions` says that it is taken as met.
        changes: what verbs changed, in order.
        called: what a product is here, as pairs of product and name.
        lymphodepletion_days: protocol days of each cycle on which its drugs are given;
            the last of them is that of `lymphodepletion_d`.
        tki: what the windows of a TKI are made of.
        arm: which arm of its file it is, if the file has arms.
        day1_d: day 1 of each cycle, days from the first infusion; by default the day
            of its first dose.
    """

    name: str
    doses: tuple[Dose, ...]
    lymphodepletion_d: tuple[float, ...] = ()
    windows: tuple[InputWindow, ...] = ()
    assumptions: tuple[str, ...] = ()
    title: str = ""
    source: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    changes: tuple[str, ...] = ()
    called: tuple[tuple[str, str], ...] = ()
    lymphodepletion_days: tuple[int, ...] = ()
    tki: Tki | None = None
    arm: str = ""
    day1_d: tuple[float, ...] = ()

    def __post_init__(self):
        cycles = max((dose.cycle for dose in self.doses), default=1)
        if not self.day1_d:
            first = [
                min((d.time_d for d in self.doses if d.cycle >= cycle), default=0.0)
                for cycle in range(1, cycles + 1)
            ]
            object.__setattr__(self, "day1_d", tuple(first))
        if len(self.day1_d) < cycles:
            raise ValueError(f"a dose of cycle {cycles}, day1_d of {len(self.day1_d)}")
        check_apart(self.doses, self.day1_d, self.depletion_drugs_d)

    @property
    def cycles(self) -> int:
        """Number of cycles."""
        return len(self.day1_d)

    @property
    def products(self) -> tuple[str, ...]:
        """Products that are given, in the order of `PRODUCTS`."""
        given = {dose.product for dose in self.doses}
        return tuple(product for product in PRODUCTS if product in given)

    def name_of(self, product: str) -> str:
        """What a product is in this protocol."""
        return dict(self.called).get(product, PRODUCTS[product])

    def day_of(self, dose: Dose) -> int:
        """Protocol day of a dose, counted from day 1 of its cycle."""
        return day_of_time(dose.time_d - self.day1_d[dose.cycle - 1])

    def depletion_of(self, time_d: float) -> int:
        """The cycle that a lymphodepletion at `time_d` prepares."""
        numbered = list(enumerate(self.day1_d, start=1))
        if self.lymphodepletion_days:
            own_d = time_d - time_of_day(max(self.lymphodepletion_days))
            return min(numbered, key=lambda each: abs(each[1] - own_d))[0]
        later = [cycle for cycle, day1 in numbered if day1 > time_d]
        return later[0] if later else self.cycles

    def depletion_drugs_d(self, cycle: int) -> tuple[float, ...]:
        """Every time at which drugs of lymphodepletion are given before a cycle."""
        days = self.lymphodepletion_days or (-1,)
        back = [time_of_day(day) - time_of_day(max(days)) for day in days]
        own = [t for t in self.lymphodepletion_d if self.depletion_of(t) == cycle]
        return tuple(time_d + shift for time_d in own for shift in back)

    @property
    def cycle_starts_d(self) -> tuple[float, ...]:
        """When each cycle begins: day 1, or what is given in it before day 1."""
        given = list(enumerate(self.day1_d, start=1))
        given += [(dose.cycle, dose.time_d) for dose in self.doses]
        given += [(self.depletion_of(t), t) for t in self.lymphodepletion_d]
        return cycle_starts(given, self.cycles)

    def events(
        self, weight_kg: float, inputs: Mapping[str, float], by_cycle: bool = False
    ) -> EventTable:
        """Event table of a patient of `weight_kg`, for a model's `inputs`.

        Its rows tell the cycle, for parameters that differ, if `by_cycle`.

        Raises:
            InputError: a dose per kg, and a weight that is not a number above 0.
        """
        return event_table(
            self.doses,
            weight_kg=weight_kg,
            lymphodepletion_d=self.lymphodepletion_d,
            windows=self.windows,
            inputs=inputs,
            occasion_starts_d=self.cycle_starts_d if by_cycle else None,
        )

    # Verbs

    def named(self, name: str, title: str | None = None) -> "Protocol":
        """The same under another name."""
        title = self.title if title is None else title
        return dataclasses.replace(self, name=name, title=title)

    def with_dose(
        self,
        product: str,
        cells_per_kg: float | None = None,
        *,
        cells: float | None = None,
        day: int | None = None,
        cycles: Sequence[int] | None = None,
    ) -> "Protocol":
        """Another dose of a product.

        Args:
            product: whose doses; a key of `PRODUCTS`.
            cells_per_kg: cells per kg of body weight in each of them,
            cells: or cells, whatever the weight.
            day: only those of this protocol day of a cycle.
            cycles: only those of these cycles.

        Raises:
            InputError: no such dose, or not one amount that is a number of cells.
        """
        amount = cells_per_kg if cells is None else cells
        if amount is None or (cells is not None and cells_per_kg is not None):
            raise InputError("with_dose: give either cells_per_kg or cells")
        if not (math.isfinite(amount) and amount >= 0):
            raise InputError(f"with_dose: {amount} is not a number of cells")
        chosen = self._chosen(product, day, cycles)
        doses = [
            dataclasses.replace(dose, cells=cells, cells_per_kg=cells_per_kg)
            if dose in chosen
            else dose
            for dose in self.doses
        ]
        unit = "cells/kg" if cells is None else "cells"
        told = f"{product} {cells_text(amount)} {unit}{where_of(day, cycles)}"
        return self._changed(told, doses)

    def delayed(
        self,
        product: str,
        *,
        by_days: float,
        day: int | None = None,
        cycles: Sequence[int] | None = None,
    ) -> "Protocol":
        """Doses of a product later by so many days, or earlier when negative.

        Args:
            product: whose doses.
            by_days: days.
            day: only those of this protocol day of a cycle.
            cycles: only those of these cycles.

        Raises:
            InputError: no such dose, or cycles that would overlap.
        """
        chosen = self._chosen(product, day, cycles)
        if not math.isfinite(by_days):
            raise InputError(f"delayed: by {by_days} days is not at any time")
        if by_days == 0:
            return self
        doses = [
            dataclasses.replace(dose, time_d=dose.time_d + by_days)
            if dose in chosen
            else dose
            for dose in self.doses
        ]
        told = f"{product}{where_of(day, cycles)} {abs(by_days):g} d "
        return self._changed(told + ("later" if by_days > 0 else "earlier"), doses)

    def moved(
        self,
        product: str,
        *,
        day: int,
        to_day: int,
        cycles: Sequence[int] | None = None,
    ) -> "Protocol":
        """Doses of one protocol day on another day of the same cycle.

        Args:
            product: whose doses.
            day: the protocol day that they are on.
            to_day: the one that they go to, at the same hour.
            cycles: only those of these cycles.

        Raises:
            InputError: no such dose, day 0, or cycles that would overlap.
        """
        if to_day == 0:
            raise InputError("moved: there is no day 0; day 1 is that of the infusion")
        by_days = days_from(day, to_day)
        return self.delayed(product, by_days=by_days, day=day, cycles=cycles)

    def split(
        self,
        product: str,
        *,
        day: int,
        on_days: Sequence[int],
        cycles: Sequence[int] | None = None,
    ) -> "Protocol":
        """Doses of one protocol day in equal parts on several days of the same cycle.

        Args:
            product: whose doses.
            day: the protocol day that they are on.
            on_days: the days of the parts, at the same hour.
            cycles: only those of these cycles.

        Raises:
            InputError: no such dose, no days, day 0, or cycles that would overlap.
        """
        days = sorted(set(on_days))
        if not days or 0 in days:
            raise InputError("split: give the days of the parts, such as [8, 11]")
        chosen = self._chosen(product, day, cycles)
        kept = [dose for dose in self.doses if dose not in chosen]
        parts = [
            part_of(d, len(days), days_from(day, to)) for d in chosen for to in days
        ]
        told = f"{product}{where_of(day, cycles)} in {len(days)} parts on day "
        return self._changed(told + runs(days), [*kept, *parts])

    def without(
        self,
        product: str,
        *,
        day: int | None = None,
        cycles: Sequence[int] | None = None,
    ) -> "Protocol":
        """No dose of a product; nothing changes when none is given.

        Args:
            product: which; a key of `PRODUCTS`.
            day: only those of this protocol day of a cycle.
            cycles: only in these cycles.

        Raises:
            InputError: an unknown product, a cycle that there is not, or a day on which
                there is no such dose.
        """
        check_product(product)
        self._check_cycles(cycles)
        if day is None:
            gone = [
                dose
                for dose in self.doses
                if dose.product == product and (cycles is None or dose.cycle in cycles)
            ]
        else:
            gone = list(self._chosen(product, day, cycles))
        if not gone:
            return self
        doses = [dose for dose in self.doses if dose not in gone]
        less = self._changed(f"no {product}{where_of(day, cycles)}", doses)
        if product in less.products:
            return less
        # What its doses depended on is moot once there are none.
        moot = {c.assumption for c in self.conditions if c.product == product}
        return dataclasses.replace(
            less,
            conditions=tuple(c for c in self.conditions if c.product != product),
            assumptions=tuple(a for a in self.assumptions if a not in moot),
        )

    def without_lymphodepletion(self, cycles: Sequence[int]) -> "Protocol":
        """No lymphodepletion before these cycles; nothing changes where there is none.

        Raises:
            InputError: a cycle that there is not.
        """
        self._check_cycles(cycles)
        kept = [t for t in self.lymphodepletion_d if self.depletion_of(t) not in cycles]
        if len(kept) == len(self.lymphodepletion_d):
            return self
        told = f"no lymphodepletion before cycle {runs(cycles)}"
        less = dataclasses.replace(self, lymphodepletion_d=tuple(kept))
        return less._changed(told, self.doses)

    def repeated(self, cycles: int, every_d: float | None = None) -> "Protocol":
        """The first so many cycles; the last one again where there are fewer.

        Args:
            cycles: how many, from 1.
            every_d: days from day 1 to day 1 of the next cycle. By default the gaps
                stay, and the last gap again for further cycles.

        Raises:
            InputError: no cycle; a gap that is needed or that is no number of days;
                cycles that would overlap.
        """
        if cycles < 1:
            raise InputError(f"repeated: {cycles} cycles; the least is 1")
        if every_d is not None and not (math.isfinite(every_d) and every_d > 0):
            raise InputError(f"repeated: {every_d} d between cycles; give days above 0")
        day1_d = days_of_cycles(self.name, self.day1_d, cycles, every_d)
        doses, depletions = [], []
        for cycle, day1 in enumerate(day1_d, start=1):
            like = min(cycle, self.cycles)
            shift = day1 - self.day1_d[like - 1]
            doses += [
                dataclasses.replace(dose, time_d=dose.time_d + shift, cycle=cycle)
                for dose in self.doses
                if dose.cycle == like
            ]
            depletions += [
                time_d + shift
                for time_d in self.lymphodepletion_d
                if self.depletion_of(time_d) == like
            ]
        gap = "" if every_d is None else f", {every_d:g} d apart"
        course = dataclasses.replace(
            self,
            doses=by_time(doses),
            lymphodepletion_d=tuple(depletions),
            day1_d=day1_d,
            windows=windows_with(self.tki, self.windows, day1_d),
        )
        told = f"{cycles} cycle{'s' if cycles > 1 else ''}{gap}"
        return course._changed(told, course.doses)

    def with_tki(self, tki: Tki | None) -> "Protocol":
        """With this TKI and no other; `None`: without one."""
        return dataclasses.replace(
            self,
            tki=tki,
            windows=windows_with(tki, self.windows, self.day1_d, keep_own=False),
            changes=(*self.changes, f"TKI: {tki or 'none'}"),
        )

    def with_tki_held(
        self, stop_day: int, resume_day: int, *, cycles: Sequence[int] | None = None
    ) -> "Protocol":
        """The TKI held around infusions.

        Args:
            stop_day: the first day without it, counted from day 1 of each cycle.
            resume_day: the first day with it again.
            cycles: in these cycles; by default in all.

        Raises:
            InputError: no TKI is taken, or a hold that does not last.
        """
        if self.tki is None:
            raise InputError(f"{self.name} has no TKI to hold; give one: with_tki(Tki)")
        self._check_cycles(cycles)
        hold = Hold(stop_day, resume_day, None if cycles is None else tuple(cycles))
        return self.with_tki(dataclasses.replace(self.tki, held=hold))

    # What verbs share

    def _changed(self, told: str, doses: Iterable[Dose]) -> "Protocol":
        return dataclasses.replace(
            self, doses=by_time(doses), changes=(*self.changes, told)
        )

    def _chosen(
        self, product: str, day: int | None, cycles: Sequence[int] | None
    ) -> tuple[Dose, ...]:
        """The doses that a verb means: at least one."""
        check_product(product)
        self._check_cycles(cycles)
        own = [dose for dose in self.doses if dose.product == product]
        if not own:
            given = ", ".join(self.products) or "nothing"
            raise InputError(f"{self.name} gives no {product}; it gives {given}")
        if cycles is not None:
            there = {dose.cycle for dose in own}
            own = [dose for dose in own if dose.cycle in cycles]
            if not own:
                raise InputError(
                    f"{self.name} gives no {product} in cycle {runs(cycles)}; it does "
                    f"in cycle {runs(there)}"
                )
        if day is not None:
            days = {self.day_of(dose) for dose in own}
            own = [dose for dose in own if self.day_of(dose) == day]
            if not own:
                raise InputError(
                    f"{self.name} gives no {product} on day {day}; it does on day "
                    f"{runs(days)}"
                )
        return tuple(own)

    def _check_cycles(self, cycles: Sequence[int] | None) -> None:
        strange = [cycle for cycle in cycles or () if not 1 <= cycle <= self.cycles]
        if strange:
            raise InputError(
                f"{self.name} has no cycle {runs(strange)}; it has "
                f"{runs(range(1, self.cycles + 1))}"
            )
