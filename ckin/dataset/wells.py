"""Wells of qPCR plates as records: what a sample's reading was read from.

A Ct is the cycle at which a well's fluorescence crosses its threshold; `None` is a well
that did not amplify.
"""

import dataclasses


Ct = float | None


@dataclasses.dataclass(frozen=True)
class Standard:
    """A well with a known number of copies.

    Attributes:
        copies: copies per reaction.
        ct: cycles.
        row: row of the file.
    """

    copies: float
    ct: Ct
    row: int


@dataclasses.dataclass(frozen=True)
class Plate:
    """One run of the instrument: what has one standard curve.

    Attributes:
        name: as the file spells it.
        standards: in the order of the file.
        controls: Ct of the wells without template (NTC).
    """

    name: str
    standards: tuple[Standard, ...]
    controls: tuple[Ct, ...]


@dataclasses.dataclass(frozen=True)
class Wells:
    """The replicate wells of one sample on one plate.

    Attributes:
        name: of the sample, as the file spells it.
        plate: name of the plate.
        dna_ug: DNA that went into each reaction, µg.
        cts: one per well, in the order of the file.
    """

    name: str
    plate: str
    dna_ug: float
    cts: tuple[Ct, ...]
