"""What a row of a file can be, once it is checked."""

import dataclasses

from ckin.dataset.wells import Wells


@dataclasses.dataclass(frozen=True)
class DoseRow:
    """A dose, with how often it is repeated. `cycle` is `None` without OCC."""

    row: int
    patient: str
    time_d: float
    cycle: int | None
    product: str
    amount: float
    further: int
    every_d: float
    duration_d: float
    unit: str = "cells"
    per_kg: bool = False


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """A sample that is to be used. `cycle` is `None` without OCC."""

    row: int
    patient: str
    time_d: float
    cycle: int | None
    assay: str
    value: float
    below: bool
    limit: float | None
    after: bool
    examined: float | None = None
    partitions: int | None = None
    wells: Wells | None = None


@dataclasses.dataclass(frozen=True)
class EventRow:
    """Lymphodepletion, or an input (TKI, ...) at `level` from now on."""

    row: int
    patient: str
    time_d: float
    what: str
    level: float


@dataclasses.dataclass(frozen=True)
class ResetRow:
    """The patient is as before the first event again (EVID 3, or 4 with a dose)."""

    row: int
    patient: str
    time_d: float


Record = DoseRow | SampleRow | EventRow | ResetRow
