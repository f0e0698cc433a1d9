"""Units at the edges: doses per kg, cells, cells/µL, copies/µg gDNA.

Inside a model everything is whole-body cells and days. What enters (doses per kg)
and what leaves (a blood concentration, a qPCR fraction) is converted here, so that
each assumption behind a conversion has one name and one source.

A unit is read from its parts (`mg/L`, `copies/(ug cells)`, `1/h`), so that a model of
one's own may be in any. Its time may be in hours: the slopes of a model are per day.

qPCR reports transgene copies per µg of genomic DNA, which is a FRACTION of the
nucleated cells in the tube and not a concentration: the same number of CAR-T cells
reads ten times higher when lymphodepletion has removed nine tenths of the others.
"""

import dataclasses
import re
from collections import Counter

import jax.numpy as jnp

from ckin._types import ArrayLike
from ckin.errors import did_you_mean


HOURS_PER_DAY = 24.0

# 1 µg of human genomic DNA / 6.6 pg per diploid cell.
NUCLEATED_CELLS_PER_UG_GDNA = 151_500.0

# 70 mL of blood per kg of body weight, the usual adult approximation.
BLOOD_UL_PER_KG = 70_000.0


@dataclasses.dataclass(frozen=True)
class Atom:
    """One word of a unit.

    Attributes:
        spelled: as ckin writes it.
        measures: what it measures, itself a unit; "" for a pure number.
        size: how many of those it is.
    """

    spelled: str
    measures: str
    size: float = 1.0


def _lexicon() -> dict[str, Atom]:
    """Atoms by every way of writing them."""
    days = {
        ("s", "sec", "second", "seconds"): ("s", 1.0 / 86_400.0),
        ("min", "minute", "minutes"): ("min", 1.0 / 1440.0),
        ("h", "hr", "hrs", "hour", "hours"): ("h", 1.0 / HOURS_PER_DAY),
        ("d", "day", "days"): ("day", 1.0),
        ("wk", "week", "weeks"): ("week", 7.0),
        ("y", "yr", "year", "years"): ("year", 365.25),
    }
    counted = {
        ("cells", "cell"): "cells",
        ("copies", "copy"): "copies",
        # Body weight, which no other mass is converted into.
        ("kg",): "kg",
        ("index",): "index",
        ("IU", "U"): "IU",
    }
    # Powers of ten of the base, by prefix.
    scaled = {
        "g": ("mg", {"": 1e3, "m": 1.0, "u": 1e-3, "n": 1e-6, "p": 1e-9}),
        "L": ("L", {"": 1.0, "d": 0.1, "m": 1e-3, "u": 1e-6, "n": 1e-9}),
        "mol": ("mol", {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}),
        "m": ("m", {"": 1.0, "c": 1e-2, "m": 1e-3, "u": 1e-6}),
    }
    known = {
        word: Atom(spelled, "day", size)
        for words, (spelled, size) in days.items()
        for word in words
    }
    for words, measures in counted.items():
        known |= {word: Atom(word, measures) for word in words}
    for name, (measures, sizes) in scaled.items():
        known |= {
            prefix + name: Atom(prefix + name, measures, size)
            for prefix, size in sizes.items()
        }
    known |= {name: Atom(name, "") for name in ("1", "ratio")}
    return known | {"%": Atom("%", "", 0.01), "mIU": Atom("mIU", "IU", 1e-3)}


ATOMS = _lexicon()
# What stands alone is written out.
ALONE = {"h": "hour"}
# For a message.
EXAMPLES = "copies/ug, cells/uL, pg/mL, mg/L, mg/kg, L/h, 1/day, 1/(cells day)"


def canonical_unit(text: str) -> str:
    """Spell a unit the way ckin does: `copies/µg gDNA` becomes `copies/ug`.

    Parts are multiplied by a blank, `*` or `·`, and divided by `/`, which holds for the
    next part or bracket; `^2` is a power.

    Raises:
        ValueError: a part of it is not one that ckin knows.
    """
    over, under = _parsed(text)
    if not under and len(over) <= 1:
        alone = over[0].spelled if over else text.strip() and "1"
        return ALONE.get(alone, alone)
    below = " ".join(atom.spelled for atom in under)
    below = f"({below})" if len(under) > 1 else below
    above = " ".join(atom.spelled for atom in over) or "1"
    return f"{above}/{below}" if under else above


def dimensions(unit: str) -> dict[str, int]:
    """What a unit measures, with powers: `1/(cells h)` is cells^-1 day^-1.

    Args:
        unit: as `canonical_unit` takes it.
    """
    over, under = _parsed(unit)
    powers: Counter[str] = Counter()
    for atoms, sign in ((over, 1), (under, -1)):
        for atom in atoms:
            powers[atom.measures] += sign if atom.measures else 0
    return {name: power for name, power in powers.items() if power}


def conversion(source: str, target: str) -> float | None:
    """What to multiply a value in `source` by to have it in `target`.

    `None` where they do not measure the same.
    """
    if dimensions(source) != dimensions(target):
        return None
    return _size(source) / _size(target)


def _size(unit: str) -> float:
    size, (over, under) = 1.0, _parsed(unit)
    for atom in over:
        size *= atom.size
    for atom in under:
        size /= atom.size
    return size


# A word, a bracket, or what stands between them.
_TOKEN = re.compile(r"\s*(?:([A-Za-z]+|%|1)(?:\^(-?[1-9]))?|([/()*·]))")


def _parsed(text: str) -> tuple[list[Atom], list[Atom]]:
    """Atoms above and below the line, in the order in which they are written."""
    plain = text.strip().replace("µ", "u").replace("μ", "u")
    plain = re.sub(r"\s(g?DNA)$", "", plain).strip()
    over: list[Atom] = []
    under: list[Atom] = []
    at, below, bracket = 0, False, False
    while at < len(plain):
        found = _TOKEN.match(plain, at)
        if found is None:
            raise ValueError(_unknown(text, plain[at:].strip()))
        at = found.end()
        word, power, sign = found.groups()
        if word is not None:
            times = int(power or 1)
            side = under if below != (times < 0) else over
            atom = _atom(word, text)
            side += [atom] * (abs(times) if atom.spelled != "1" else 0)
            below = below and bracket
        elif sign == "(" and not bracket:
            bracket = True
        elif sign == ")" and bracket:
            below = bracket = False
        elif sign == "/" and not below:
            below = True
        elif sign != "*" and sign != "·":
            raise ValueError(_unknown(text, sign))
    if bracket or below:
        raise ValueError(_unknown(text, plain))
    return over, under


def _atom(word: str, text: str) -> Atom:
    """The atom that a word is: in its own case, or in any if that is clear.

    Lengths are in their own case only: mM is no mm.
    """
    if word in ATOMS:
        return ATOMS[word]
    alike = {
        atom.spelled: atom
        for name, atom in ATOMS.items()
        if name.casefold() == word.casefold() and atom.measures != "m"
    }
    if len(alike) == 1:
        return next(iter(alike.values()))
    raise ValueError(_unknown(text, word))


def _unknown(text: str, part: str) -> str:
    where = f": {part!r} cannot be read" if part != text.strip() else ""
    guess = did_you_mean(part, [word for word in ATOMS if len(word) > 1])
    return f"unknown unit {text!r}{where}; {guess}ckin reads such as {EXAMPLES}"


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
