"""Is a plate fit for use? Each question with value, expectation and answer.

In the manner of MIQE (Bustin 2009, Clin Chem 55:611), which asks for these numbers to
be reported; the bounds are those that laboratories commonly use.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable

from ckin.ct.curve import Curve, standard_curve
from ckin.ct.readings import DETECTED_COPIES, Reading, read_samples
from ckin.ct.records import CtData, Plate


# Slopes of 90% to 110% efficiency.
SLOPES = (-3.6, -3.1)
LEAST_R2 = 0.98
# Contamination of 2^-5 = 3% of the lowest standard (MIQE's example: a control at
# Ct 40 beside a lowest sample at 35 is of no account).
CONTROL_CYCLES = 5.0
# SD of replicate wells with many copies, cycles.
MOST_SD = 0.5
# Detection that FDA asks of an assay of vector in patients (guidance for industry on
# long-term follow-up after gene therapy, 2020): 50 copies/µg with 95% confidence.
MOST_LOD = 50.0
SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Check:
    """One question about a plate.

    Attributes:
        plate: name of the plate.
        what: what is looked at.
        value: what was found.
        expected: what passes.
        passed: whether it does; `None` when there is nothing to look at.
    """

    plate: str
    what: str
    value: str
    expected: str
    passed: bool | None


def quality(data: CtData) -> tuple[Check, ...]:
    """Checks of every plate that has a standard curve."""
    readings = read_samples(data)
    checks: list[Check] = []
    for plate in data.plates:
        if plate.standards:
            mine = [r for r in readings if r.sample.plate == plate.name]
            checks += _of_plate(plate, standard_curve(plate), mine)
    return tuple(checks)


def _of_plate(plate: Plate, curve: Curve, readings: list[Reading]) -> list[Check]:
    def check(what: str, value: str, expected: str, passed: bool | None) -> Check:
        return Check(plate.name, what, value, expected, passed)

    low, high = SLOPES
    return [
        check(
            "slope",
            f"{curve.slope:.2f} (efficiency {curve.efficiency:.0%})",
            f"{low:g} to {high:g} (90% to 110%)",
            low <= curve.slope <= high,
        ),
        check("R2", f"{curve.r2:.4f}", f">= {LEAST_R2:g}", curve.r2 >= LEAST_R2),
        _standards_amplified(plate),
        check("SD of standards", *_spread(*_standard_spreads(plate, curve))),
        _controls(plate, curve),
        check("SD of samples", *_spread(*_sample_spreads(readings))),
        check("samples in range", *_in_range(curve, readings)),
        check("LOD", *_detection(readings)),
        check("LLOQ", *_quantified(readings)),
    ]


def allowed_sd(copies: float, slope: float) -> float:
    """Largest SD of replicate Ct at a number of copies per reaction, cycles.

    0.5, and what Poisson scatter of the copies adds: SD of ln copies = 1/√copies.
    """
    poisson = slope / math.log(10.0) / math.sqrt(max(copies, 1.0))
    return math.hypot(MOST_SD, poisson)


def _standards_amplified(plate: Plate) -> Check:
    enough = [well for well in plate.standards if well.copies >= DETECTED_COPIES]
    silent = [well for well in enough if well.ct is None]
    # 5% of wells with exactly 3 copies stay silent; with 10 it is 1 in 20,000.
    certain = [well for well in silent if well.copies >= 10.0]
    return Check(
        plate.name,
        "standards amplify",
        f"{len(enough) - len(silent)} of {len(enough)} wells of 3 copies or more",
        "all of 10 copies or more",
        not certain,
    )


Spreads = tuple[list[tuple[str, float, float]], str]


def _standard_spreads(plate: Plate, curve: Curve) -> Spreads:
    """Level, SD of its Ct, and the SD that is allowed."""
    found = []
    for copies in dict.fromkeys(well.copies for well in plate.standards):
        cts = [w.ct for w in plate.standards if w.copies == copies and w.ct is not None]
        if len(cts) > 1:
            sd = statistics.stdev(cts)
            found.append((f"{copies:g} copies", sd, allowed_sd(copies, curve.slope)))
    return found, "level"


def _sample_spreads(readings: list[Reading]) -> Spreads:
    found = [
        (r.sample.name, r.ct_sd, allowed_sd(r.copies, r.curve.slope))
        for r in readings
        if r.ct_sd is not None
    ]
    return found, "sample"


def _spread(
    spreads: list[tuple[str, float, float]], noun: str
) -> tuple[str, str, bool | None]:
    expected = f"<= {MOST_SD:g} cycles, more at few copies (Poisson)"
    if not spreads:
        return f"no {noun} with two Ct", expected, None
    wide = [name for name, sd, allowed in spreads if sd > allowed]
    value = f"up to {max(sd for _, sd, _ in spreads):.2f}"
    if wide:
        value += f"; too wide: {named(wide)} of {len(spreads)}"
    return value, expected, not wide


def _controls(plate: Plate, curve: Curve) -> Check:
    latest = curve.ct(curve.lowest)
    expected = f"no Ct, or after {latest + CONTROL_CYCLES:.1f}"
    if not plate.controls:
        return Check(plate.name, "NTC", "no NTC well", expected, False)
    seen = [ct for ct in plate.controls if ct is not None]
    value = f"{len(plate.controls) - len(seen)} of {len(plate.controls)} without Ct"
    if seen:
        value += f"; earliest Ct {min(seen):.1f}"
    passed = all(ct > latest + CONTROL_CYCLES for ct in seen)
    return Check(plate.name, "NTC", value, expected, passed)


def _in_range(curve: Curve, readings: list[Reading]) -> tuple[str, str, bool | None]:
    expected = f"{curve.lowest:g} to {curve.highest:g} copies, or below LOD"
    above = [r.sample.name for r in readings if r.copies > curve.highest]
    under = [r.sample.name for r in readings if not r.below and r.copies < curve.lowest]
    if not readings:
        return "no samples", expected, None
    value = f"{len(readings) - len(above) - len(under)} of {len(readings)}"
    for words, names in (("above", above), ("under", under)):
        value += f"; {words}: {named(names)}" if names else ""
    return value, expected, not (above or under)


def _detection(readings: list[Reading]) -> tuple[str, str, bool | None]:
    expected = f"<= {MOST_LOD:g} copies/ug (3 copies; 60 ng DNA or more)"
    if not readings:
        return "no samples", expected, None
    poor = [r.sample.name for r in readings if r.lod > MOST_LOD]
    value = f"{_span(r.lod for r in readings)} copies/ug"
    value += f"; above: {named(poor)} of {len(readings)}" if poor else ""
    return value, expected, not poor


def _quantified(readings: list[Reading]) -> tuple[str, str, bool | None]:
    expected = "no reading between LOD and LLOQ"
    if not readings:
        return "no samples", expected, None
    between = [
        r.sample.name for r in readings if not r.below and r.copies_per_ug < r.lloq
    ]
    value = f"{_span(r.lloq for r in readings)} copies/ug"
    value += f"; between: {named(between)} of {len(readings)}" if between else ""
    return value, expected, not between


def named(names: list[str]) -> str:
    """How many, and the first few by name: `7 (S1, S2, S3, S4, S5, ...)`."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{more})"


def _span(values: Iterable[float]) -> str:
    found = list(values)
    low, high = f"{min(found):.3g}", f"{max(found):.3g}"
    return low if low == high else f"{low} to {high}"
