"""Samples read from the curve of their plate: copies/µg DNA, or below detection.

All wells amplified: the copies at their mean Ct. Some did: the mean of the copies of
every well, 0 for one that did not, since a well gets a Poisson number of copies and the
mean of such numbers is right whatever it is. Below 3 copies per reaction, and always
when no well amplified, the sample is below its detection limit.
"""

import dataclasses
import math
import statistics

from ckin.ct.curve import Curve, copies_at, standard_curve
from ckin.ct.records import Ct, CtData, CtSample
from ckin.dataset.examined import POISSON_95


# A well that gets 3 copies on average gets none with chance e^-3 = 5%: 95% detection,
# the least that any PCR can have (Bustin 2009; Forootan 2017, Biomol Detect Quantif
# 12:1).
DETECTED_COPIES = POISSON_95
# Largest Poisson CV of what counts as quantified; 1/0.35² = 8.2 copies.
QUANTIFIED_CV = 0.35
QUANTIFIED_COPIES = 1.0 / QUANTIFIED_CV**2


@dataclasses.dataclass(frozen=True)
class Reading:
    """A sample as its plate's curve reads it.

    Attributes:
        sample: the wells.
        curve: of its plate.
        copies: copies per reaction; 0 when no well amplified.
    """

    sample: CtSample
    curve: Curve
    copies: float

    @property
    def below(self) -> bool:
        """Below the detection limit of this sample."""
        return self.copies < DETECTED_COPIES

    @property
    def lod(self) -> float:
        """Detection limit of this sample, copies/µg: 3 copies per reaction."""
        return DETECTED_COPIES / self.sample.dna_ug

    @property
    def lloq(self) -> float:
        """Limit of quantification of this sample, copies/µg.

        The larger of the lowest standard with a Ct and 8.2 copies per reaction.
        """
        return max(QUANTIFIED_COPIES, self.curve.lowest) / self.sample.dna_ug

    @property
    def copies_per_ug(self) -> float:
        """The reading, copies/µg; the detection limit when `below`."""
        return self.lod if self.below else self.copies / self.sample.dna_ug

    @property
    def ct_sd(self) -> float | None:
        """SD of Ct of the wells that amplified; `None` of fewer than two."""
        amplified = self.sample.amplified
        return statistics.stdev(amplified) if len(amplified) > 1 else None


def read_samples(data: CtData) -> tuple[Reading, ...]:
    """Every sample, read from the curve of its plate."""
    curves = {
        plate.name: standard_curve(plate) for plate in data.plates if plate.standards
    }
    return tuple(
        Reading(sample, curve, mean_copies(sample.cts, curve.intercept, curve.slope))
        for sample in data.samples
        for curve in [curves[sample.plate]]
    )


def mean_copies(cts: tuple[Ct, ...], intercept: float, slope: float) -> float:
    """Copies per reaction of wells by a curve; 0 when none amplified."""
    amplified = [ct for ct in cts if ct is not None]
    if len(amplified) == len(cts):
        return copies_at(statistics.fmean(amplified), intercept, slope)
    return math.fsum(copies_at(ct, intercept, slope) for ct in amplified) / len(cts)
