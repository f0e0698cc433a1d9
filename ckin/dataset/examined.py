"""How much of a sample was examined, and the detection limit that follows from it.

Finding nothing says more, the more was examined: no BCR::ABL1 copy beside 10,000 copies
of ABL1 is < 0.01%, which is MR4. EXAMINED holds how much, in what the assay counts per:

| assay | EXAMINED | limit |
|---|---|---|
| ddpcr | ug of DNA | one copy: 1 / EXAMINED copies/ug |
| flow, ftc, bcell, wbc | uL of blood | one cell: 1 / EXAMINED cells/uL |
| bcrabl | copies of ABL1 | one copy: 1 / EXAMINED as a ratio, 100 / EXAMINED in % |
| qpcr | ug of DNA | three copies: 3 / EXAMINED copies/ug |

Copies in a reaction are Poisson distributed: with three expected, 95% of reactions hold
one at least. That is the limit of a qPCR that detects every copy (the MIQE guidelines).
EXAMINED of bcrabl is in copies of ABL1 whether the values are a ratio or in %; a value
stays in the unit of the file (`Dataset.units`). The limit of a row (LIMIT), of the file
(--limit) or given as DV goes before this one.
"""

import dataclasses


# Counts for a limit: what is found at all, or found in 95% of reactions.
ONE, POISSON_95 = 1.0, 3.0


def counts_per(examined: float, unit: str) -> float:
    """Counts that a value of 1 `unit` stands for: a value in % counts a hundredth."""
    return examined / 100.0 if unit == "%" else examined


@dataclasses.dataclass(frozen=True)
class Examined:
    """What an assay examines.

    Attributes:
        unit: of EXAMINED.
        counts: how many counts the limit is.
        says: the limit in words.
    """

    unit: str
    counts: float
    says: str

    def limit(self, examined: float, unit: str) -> float:
        """Detection limit in `unit`, the unit of the assay."""
        return self.counts / counts_per(examined, unit)


_CELL = Examined("uL of blood", ONE, "one cell in the blood examined")
EXAMINED = {
    "qpcr": Examined(
        "ug of DNA", POISSON_95, "three copies in the DNA examined (found in 95%)"
    ),
    "ddpcr": Examined("ug of DNA", ONE, "one copy in the DNA examined"),
    "flow": _CELL,
    "ftc": _CELL,
    "bcell": _CELL,
    "wbc": _CELL,
    "bcrabl": Examined("copies of ABL1", ONE, "one copy in the ABL1 examined"),
}
