"""The wells of a file as records: plates, and samples of patients."""

import dataclasses

from ckin.dataset.wells import Ct as Ct
from ckin.dataset.wells import Plate as Plate
from ckin.dataset.wells import Standard as Standard
from ckin.dataset.wells import Wells


NG_PER_UG = 1000.0


@dataclasses.dataclass(frozen=True)
class CtSample:
    """The replicate wells of one sample of a patient on one plate.

    Attributes:
        name: as the file spells it; samples of different plates may share one.
        plate: name of the plate.
        patient: ID.
        time_d: days from the first infusion.
        cycle: cycle (occasion) it belongs to; `None` when the file does not say.
        dna_ng: DNA that went into each reaction, ng.
        cts: one per well, in the order of the file.
        row: row of the first well.
    """

    name: str
    plate: str
    patient: str
    time_d: float
    cycle: int | None
    dna_ng: float
    cts: tuple[Ct, ...]
    row: int

    @property
    def wells(self) -> Wells:
        """The wells alone."""
        return Wells(self.name, self.plate, self.dna_ug, self.cts)

    @property
    def dna_ug(self) -> float:
        """DNA per reaction, µg."""
        return self.dna_ng / NG_PER_UG

    @property
    def amplified(self) -> tuple[float, ...]:
        """Ct of the wells that have one."""
        return tuple(ct for ct in self.cts if ct is not None)


@dataclasses.dataclass(frozen=True)
class CtData:
    """The plates of one file.

    Attributes:
        path: the file as it was named.
        plates: in the order of the file.
        samples: in the order of the file.
        synthetic: the file says that no patient was measured.
        notes: what was left out or read in a particular way, with counts.
        sha256: of the bytes of the file; "" when there was none.
    """

    path: str
    plates: tuple[Plate, ...]
    samples: tuple[CtSample, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    sha256: str = ""

    def of_plate(self, name: str) -> tuple[CtSample, ...]:
        """Samples on one plate."""
        return tuple(sample for sample in self.samples if sample.plate == name)
