"""The standard curve of a plate: Ct on log10 copies, by ordinary least squares.

    Ct = intercept + slope · log10(copies)

A slope of -1/log10(2) = -3.32 is a doubling in every cycle.
"""

import dataclasses
import math

import numpy as np

from ckin.ct.records import Plate


# Two points make a line that nothing can contradict.
FEWEST_LEVELS = 3


@dataclasses.dataclass(frozen=True)
class Curve:
    """A standard curve.

    Attributes:
        plate: name of the plate.
        slope: cycles per decade.
        intercept: Ct of one copy.
        r2: share of the variance of Ct that the line explains.
        residual_sd: SD of Ct about the line, cycles, with n - 2 degrees of freedom.
        slope_se: standard error, cycles per decade.
        intercept_se: standard error, cycles.
        covariance: of intercept and slope.
        wells: wells with a Ct.
        undetermined: wells without, which the line does not use.
        lowest: fewest copies per reaction among wells with a Ct.
        highest: most copies among them.
    """

    plate: str
    slope: float
    intercept: float
    r2: float
    residual_sd: float
    slope_se: float
    intercept_se: float
    covariance: float
    wells: int
    undetermined: int
    lowest: float
    highest: float

    @property
    def efficiency(self) -> float:
        """Share of copies that a cycle doubles: 10^(-1/slope) - 1."""
        return 10.0 ** (-1.0 / self.slope) - 1.0

    @property
    def efficiency_se(self) -> float:
        """Standard error of the efficiency, to first order."""
        rate = math.log(10.0) / self.slope**2 * 10.0 ** (-1.0 / self.slope)
        return rate * self.slope_se

    def copies(self, ct: float) -> float:
        """Copies per reaction that the curve reads at a Ct."""
        return copies_at(ct, self.intercept, self.slope)

    def ct(self, copies: float) -> float:
        """Ct that the curve has at a number of copies."""
        return self.intercept + self.slope * math.log10(copies)


def copies_at(ct: float, intercept: float, slope: float) -> float:
    """Copies per reaction that a line reads at a Ct."""
    return 10.0 ** ((ct - intercept) / slope)


def levels(plate: Plate) -> set[float]:
    """Distinct copies per reaction of the standards that amplified."""
    return {well.copies for well in plate.standards if well.ct is not None}


def standard_curve(plate: Plate) -> Curve:
    """The curve of a plate whose standards have at least three levels with a Ct."""
    used = [(well.copies, well.ct) for well in plate.standards if well.ct is not None]
    copies, ct = (np.array(column, dtype=float) for column in zip(*used, strict=True))
    x = np.log10(copies)
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ ct) / spread
    intercept = float(ct.mean() - slope * x.mean())
    residual = ct - intercept - slope * x
    total = float(((ct - ct.mean()) ** 2).sum())
    unexplained = float(residual @ residual)
    variance = unexplained / (len(used) - 2)
    return Curve(
        plate=plate.name,
        slope=slope,
        intercept=intercept,
        r2=1.0 - unexplained / total if total else 0.0,
        residual_sd=math.sqrt(variance),
        slope_se=math.sqrt(variance / spread),
        intercept_se=math.sqrt(variance * (1 / len(used) + x.mean() ** 2 / spread)),
        covariance=-variance * float(x.mean()) / spread,
        wells=len(used),
        undetermined=len(plate.standards) - len(used),
        lowest=float(copies.min()),
        highest=float(copies.max()),
    )
