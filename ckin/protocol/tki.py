"""A tyrosine kinase inhibitor: taken over a course, held around the infusions.

Dasatinib blocks the signalling of a CAR while it is there and lets go when it is
stopped (Mestermann 2019, Sci Transl Med 11:eaau5907), so whether it is held
decides what feeding can do. A model sees a drug that has an input of its own as that
(`dasatinib`, `imatinib`), and any other as its input `tki`.
"""

import dataclasses
from collections.abc import Sequence

from ckin.errors import InputError
from ckin.protocol.days import runs, time_of_day
from ckin.protocol.doses import InputWindow


TKI_INPUT = "tki"
# By the name of the drug.
OWN_INPUTS = ("dasatinib", "imatinib")
TKI_INPUTS = (TKI_INPUT, *OWN_INPUTS)


@dataclasses.dataclass(frozen=True)
class Hold:
    """Days without the drug, counted from day 1 of each cycle.

    Attributes:
        stop_day: the first day without it; negative: before day 1.
        resume_day: the first day with it again.
        cycles: in which cycles; `None`: in all.
    """

    stop_day: int
    resume_day: int
    cycles: tuple[int, ...] | None = None

    def __post_init__(self):
        if not time_of_day(self.stop_day) < time_of_day(self.resume_day):
            raise InputError(
                f"a TKI held from day {self.stop_day} is resumed on day "
                f"{self.resume_day}, not after it"
            )


@dataclasses.dataclass(frozen=True)
class Tki:
    """When a TKI is taken.

    Attributes:
        drug: its name.
        start_day: the first day with it, counted from day 1 of the course.
        stop_day: the first day without it.
        level: of the model's input while it is taken, 0 (none) to 1 (full dose).
        held: when it is held around infusions; `None`: never.
    """

    drug: str
    start_day: int
    stop_day: int
    level: float = 1.0
    held: Hold | None = None

    def __post_init__(self):
        if not time_of_day(self.start_day) < time_of_day(self.stop_day):
            raise InputError(
                f"{self.drug} taken from day {self.start_day} stops on day "
                f"{self.stop_day}, not after it"
            )
        if not 0 <= self.level <= 1:
            raise InputError(f"{self.drug} at level {self.level:g}: expected 0 to 1")

    @property
    def input(self) -> str:
        """The input of a model that it drives."""
        name = self.drug.casefold()
        return name if name in OWN_INPUTS else TKI_INPUT

    def holds_d(self, day1_d: Sequence[float]) -> tuple[tuple[float, float], ...]:
        """Time of stopping and of resuming in each cycle that has a hold.

        Args:
            day1_d: day 1 of each cycle, days from the first infusion.
        """
        if self.held is None:
            return ()
        chosen = self.held.cycles or range(1, len(day1_d) + 1)
        stop = time_of_day(self.held.stop_day)
        resume = time_of_day(self.held.resume_day)
        return tuple(
            (day1 + stop, day1 + resume)
            for cycle, day1 in enumerate(day1_d, start=1)
            if cycle in chosen
        )

    def windows(self, day1_d: Sequence[float]) -> tuple[InputWindow, ...]:
        """The stretches over which it is taken, as windows of its input."""
        taken, start = [], time_of_day(self.start_day)
        stop = time_of_day(self.stop_day)
        for hold, resume in sorted(self.holds_d(day1_d)):
            if start < min(hold, stop):
                taken.append((start, min(hold, stop)))
            start = max(start, resume)
        if start < stop:
            taken.append((start, stop))
        return tuple(InputWindow(self.input, self.level, *stretch) for stretch in taken)

    def __str__(self) -> str:
        told = f"{self.drug}, level {self.level:g}, from day {self.start_day} until "
        told += f"day {self.stop_day}"
        if self.held is None:
            return f"{told}, never held"
        where = (
            "every cycle"
            if self.held.cycles is None
            else f"cycle {runs(self.held.cycles)}"
        )
        return (
            f"{told}, held from day {self.held.stop_day} until day "
            f"{self.held.resume_day} of {where}"
        )


def windows_with(
    tki: Tki | None,
    windows: Sequence[InputWindow],
    day1_d: Sequence[float],
    *,
    keep_own: bool = True,
) -> tuple[InputWindow, ...]:
    """Windows of other inputs, on their days, and those of a TKI.

    Args:
        tki: which; `None`: without one, or with what `windows` has if `keep_own`.
        windows: of all inputs.
        day1_d: day 1 of each cycle.
        keep_own: of a protocol that says windows and no TKI.
    """
    if tki is None and keep_own:
        return tuple(windows)
    others = tuple(w for w in windows if w.name not in TKI_INPUTS)
    return others + (() if tki is None else tki.windows(day1_d))
