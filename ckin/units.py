"""Units at the edges: doses per kg, cells, cells/µL, copies/µg gDNA.

Inside a model everything is whole-body cells and days. What enters (doses per kg)
and what leaves (a blood concentration, a qPCR fraction) is converted here, so that
each assumption behind a conversion has one name and one source.

qPCR reports transgene copies per µg of genomic DNA, which is a FRACTION of the
nucleated cells in the tube and not a concentration: the same number of CAR-T cells
reads ten times higher when lymphodepletion has removed nine tenths of the others.
"""

from collections import Counter

import jax.numpy as jnp

from ckin._types import ArrayLike


HOURS_PER_DAY = 24.0

# 1 µg of human genomic DNA / 6.6 pg per diploid cell.
NUCLEATED_CELLS_PER_UG_GDNA = 151_500.0

# 70 mL of blood per kg of body weight, the usual adult approximation.
BLOOD_UL_PER_KG = 70_000.0

# What a file or a model may call a unit. Anything else is a user's mistake.
KNOWN_UNITS = frozenset(
    {
        "",
        "1",
        "%",
        "day",
        "hour",
        "index",
        "index/cells",
        "1/(index day)",
        "1/index",
        "1/day",
        "1/(cells day)",
        "1/uL",
        "copies uL/(ug cells)",
        "1/cells",
        "cells",
        "cells/day",
        "cells/kg",
        "cells/uL",
        "copies/cell",
        "copies/ug",
        "copies/(ug cells)",
        "copies/uL",
        "kg",
        "pg/(mL cells cells day)",
        "pg/mL",
        "ratio",
        "uL",
        "uL/(cells day)",
        "year",
    }
)


def canonical_unit(text: str) -> str:
    """Spell a unit the way ckin does: `copies/µg gDNA` becomes `copies/ug`.

    Raises:
        ValueError: the unit is not one that ckin knows.
    """
    plain = text.strip().replace("µ", "u").replace("μ", "u").replace("days", "day")
    plain = plain.removesuffix(" gDNA").removesuffix(" DNA").strip()
    spelled = {unit.lower(): unit for unit in KNOWN_UNITS}.get(plain.lower())
    if spelled is None:
        known = ", ".join(sorted(unit for unit in KNOWN_UNITS if unit))
        raise ValueError(f"unknown unit {text!r}; ckin knows {known}")
    return spelled


# Units that count nothing which could be counted in another.
PURE = ("", "1", "%", "ratio")


def dimensions(unit: str) -> dict[str, int]:
    """What a unit is made of, with powers: `1/(cells day)` is cells^-1 day^-1.

    Args:
        unit: one of `KNOWN_UNITS`.
    """
    over, _, under = unit.partition("/")
    parts: Counter[str] = Counter()
    for text, sign in ((over, 1), (under, -1)):
        for part in text.strip("()").split():
            parts[part] += 0 if part in PURE else sign
    return {part: power for part, power in parts.items() if power}


def total_cells(cells_per_kg: ArrayLike, weight_kg: ArrayLike) -> ArrayLike:
    """Cells in a dose given per kg of body weight."""
    return cells_per_kg * weight_kg


def blood_volume_ul(weight_kg: ArrayLike) -> ArrayLike:
    """Blood volume in µL of a patient of `weight_kg` (70 mL/kg)."""
    return BLOOD_UL_PER_KG * weight_kg


def copies_per_ug(
    marked_per_ul: ArrayLike, unmarked_per_ul: ArrayLike, copies_per_cell: ArrayLike
) -> ArrayLike:
    """QPCR signal in copies/µg gDNA of marked cells among all nucleated blood cells.

    Args:
        marked_per_ul: cells that carry the target sequence, cells/µL.
        unmarked_per_ul: every other nucleated cell, cells/µL.
        copies_per_cell: vector copy number of the marked cells.

    Returns:
        copies/µg, between 0 and `copies_per_cell` × 151,500 (the ceiling reached when
        every nucleated cell is marked). 0 in an empty tube.
    """
    nucleated = marked_per_ul + unmarked_per_ul
    share = marked_per_ul / jnp.maximum(nucleated, 1e-30)
    return copies_per_cell * NUCLEATED_CELLS_PER_UG_GDNA * share
