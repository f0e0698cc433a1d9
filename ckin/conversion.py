"""copies/µg gDNA <-> cells/µL <-> cells: what one number says in other words.

The units stand on a ladder, and each step is a factor made of assumptions. Nothing is
taken for granted that differs between patients or products: an assumption that a step
needs and that was not given is refused by name.

    copies/ug      transgene copies per µg of genomic DNA: a share of nucleated cells
    cells/uL       CAR-T cells per µL of blood
    cells          CAR-T cells in all the blood
    cells-in-body  CAR-T cells in the whole body
"""

import dataclasses
import math
from collections.abc import Callable

from ckin.errors import InputError, did_you_mean, quoted
from ckin.units import (
    BLOOD_UL_PER_KG,
    NUCLEATED_CELLS_PER_UG_GDNA,
    canonical_unit,
)


COPIES_PER_UG, CELLS_PER_UL, CELLS = "copies/ug", "cells/uL", "cells"
IN_BODY = "cells-in-body"
LADDER = (COPIES_PER_UG, CELLS_PER_UL, CELLS, IN_BODY)
UL_PER_ML = 1000.0
# A value at the ceiling may exceed it by the rounding of its own digits.
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What a conversion rests on; `None` where it was not stated.

    Attributes:
        vcn: vector copies per marked cell.
        wbc: nucleated cells per µL of blood, the marked ones included.
        weight: body weight, kg.
        blood_share: share of the body's CAR-T cells that are in the blood.
        cells_per_ug: nucleated cells whose DNA weighs 1 µg.
        blood_ml_per_kg: blood, mL per kg of body weight.
    """

    vcn: float | None = None
    wbc: float | None = None
    weight: float | None = None
    blood_share: float | None = None
    cells_per_ug: float | None = NUCLEATED_CELLS_PER_UG_GDNA
    blood_ml_per_kg: float | None = BLOOD_UL_PER_KG / UL_PER_ML


@dataclasses.dataclass(frozen=True)
class Assumption:
    """One entry of `Assumptions`, as a person is told of it."""

    name: str
    option: str
    unit: str
    source: str
    most: float = math.inf

    def of(self, given: Assumptions) -> float | None:
        """The value that was given."""
        return getattr(given, self.name)

    @property
    def default(self) -> float | None:
        """The value that is taken unless another is given."""
        return getattr(Assumptions(), self.name)


ASSUMPTIONS = {
    entry.name: entry
    for entry in (
        Assumption(
            "vcn",
            "--vcn",
            "copies/cell",
            "vector copies per CAR-T cell: the product's release test, or duplex qPCR "
            "of the patient's cells; 1 to 3 is usual, below 5 is asked for at release",
        ),
        Assumption(
            "wbc",
            "--wbc",
            "cells/uL",
            "nucleated cells per uL of what the DNA came from, CAR-T included: the "
            "leukocyte count of that day for whole blood, lymphocytes and monocytes "
            "for PBMC",
        ),
        Assumption("weight", "--weight", "kg", "body weight of the patient"),
        Assumption(
            "blood_share",
            "--blood-share",
            "1",
            "share of the body's CAR-T cells that are in the blood; 0.02 holds of "
            "lymphocytes in health (Trepel 1974, Klin Wochenschr 52:511)",
            most=1.0,
        ),
        Assumption(
            "cells_per_ug",
            "--cells-per-ug",
            "cells/ug",
            "6.6 pg of DNA per diploid nucleated cell",
        ),
        Assumption(
            "blood_ml_per_kg",
            "--blood-ml-per-kg",
            "mL/kg",
            "the usual figure of adults; children have more",
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Step:
    """From one unit of the ladder to the next.

    Attributes:
        needs: assumptions, by name.
        factor: the next unit's number of one in this unit.
    """

    needs: tuple[str, ...]
    factor: Callable[[Assumptions], float]


STEPS = (
    Step(
        ("vcn", "cells_per_ug", "wbc"),
        lambda given: (
            _of(given, "wbc") / (_of(given, "vcn") * _of(given, "cells_per_ug"))
        ),
    ),
    Step(
        ("weight", "blood_ml_per_kg"),
        lambda given: UL_PER_ML * _of(given, "blood_ml_per_kg") * _of(given, "weight"),
    ),
    Step(("blood_share",), lambda given: 1.0 / _of(given, "blood_share")),
)


def convert(value: float, source: str, target: str, given: Assumptions) -> float:
    """`value` in another unit of `LADDER`.

    Raises:
        InputError: a unit that is not on the ladder, an assumption that is missing or
            impossible, a value below 0, or one above what the nucleated cells allow.
    """
    source, target = rung(source), rung(target)
    needed = assumptions_between(source, target)
    check_assumptions(needed, given)
    if not (math.isfinite(value) and value >= 0.0):
        raise InputError(f"{value:g} {source}: expected a number of 0 or more")
    low, high = sorted((LADDER.index(source), LADDER.index(target)))
    factor = math.prod(step.factor(given) for step in STEPS[low:high])
    converted = value * factor if LADDER.index(source) == low else value / factor
    if low == 0 < high:
        _below_ceiling(
            value, source, value if source == LADDER[0] else converted, given
        )
    return converted


def rung(text: str) -> str:
    """The unit of the ladder that `text` names.

    Raises:
        InputError: there is none.
    """
    plain = text.strip()
    if plain.casefold() == IN_BODY:
        return IN_BODY
    try:
        spelled = canonical_unit(plain)
    except ValueError:
        spelled = ""
    if spelled not in LADDER:
        raise InputError(
            f"unit {quoted(text)}: expected one of {', '.join(LADDER)}; "
            f"{did_you_mean(plain, LADDER)}convert it to one of them first"
        )
    return spelled


def assumptions_between(source: str, target: str) -> tuple[Assumption, ...]:
    """Assumptions that a conversion between two units of the ladder rests on."""
    low, high = sorted((LADDER.index(source), LADDER.index(target)))
    return tuple(ASSUMPTIONS[name] for step in STEPS[low:high] for name in step.needs)


def unused(needed: tuple[Assumption, ...], given: Assumptions) -> tuple[str, ...]:
    """Options that were given and change nothing."""
    return tuple(
        entry.option
        for entry in ASSUMPTIONS.values()
        if entry not in needed and entry.of(given) != entry.default
    )


def check_assumptions(needed: tuple[Assumption, ...], given: Assumptions) -> None:
    """Every assumption that is needed is there, and every one given is possible.

    Raises:
        InputError: with all that are missing or impossible.
    """
    missing = [
        f"{entry.option} ({entry.unit}) is missing: {entry.source}"
        for entry in needed
        if entry.of(given) is None
    ]
    for entry in ASSUMPTIONS.values():
        value = entry.of(given)
        if value is not None and not 0.0 < value <= entry.most:
            top = "" if entry.most == math.inf else f" and at most {entry.most:g}"
            missing.append(f"{entry.option} {value:g}: expected a number above 0{top}")
        elif value == math.inf:
            missing.append(f"{entry.option} {value:g}: expected a finite number")
    if missing:
        raise InputError("; ".join(missing))


def _below_ceiling(
    value: float, source: str, copies_per_ug: float, given: Assumptions
) -> None:
    ceiling = _of(given, "vcn") * _of(given, "cells_per_ug")
    if copies_per_ug > ceiling * (1.0 + ROUNDING):
        raise InputError(
            f"{value:g} {source} is {copies_per_ug / ceiling:.3g} times what is "
            f"possible: if every nucleated cell were a CAR-T cell with "
            f"{_of(given, 'vcn'):g} copies, qPCR would read {ceiling:,.0f} copies/ug; "
            "check the value, --vcn and --wbc"
        )


def _of(given: Assumptions, name: str) -> float:
    value = getattr(given, name)
    assert value is not None, f"{name} was checked to be there"
    return value
