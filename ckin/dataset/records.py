"""What is known of the patients of one file, checked: the records everything reads.

Times are days from the first infusion of the course. A sample at the time of a dose
was drawn before it unless it says `after`. A sample below its detection limit carries
the limit and says so; it is never a zero.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from ckin.dataset.wells import Plate, Wells
from ckin.protocol import Dose, InputWindow
from ckin.units import conversion


# Lymphodepletion prepares the CAR-T infusion that follows within this many days.
LYMPHODEPLETION_AHEAD_D = 14.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement of one assay.

    Attributes:
        time_d: days from the first infusion.
        assay: a key of `ckin.dataset.ASSAYS`.
        value: in the unit of the assay (`Dataset.units`); the limit when `below`.
        below: below the detection limit: left-censored at `limit`.
        limit: detection limit in the unit of the assay; `None` when unknown.
        after: drawn after the dose given at the same time.
        cycle: cycle (occasion) it belongs to, from 1.
        row: row of the file.
        examined: how much was examined, in what the assay counts per
            (`ckin.dataset.examined`); `None` when unknown.
        partitions: partitions (droplets) of a ddPCR reaction; `None` when unknown.
        wells: what `value` was read from, where it was read by ckin (`ckin.ct.join`).
    """

    time_d: float
    assay: str
    value: float
    below: bool
    limit: float | None
    after: bool
    cycle: int
    row: int
    examined: float | None = None
    partitions: int | None = None
    wells: Wells | None = None


@dataclasses.dataclass(frozen=True)
class Change:
    """Another value of a covariate, from a day on.

    Attributes:
        time_d: day of the row that has it, from the first infusion.
        value: number or text.
        before_d: day of the patient's last row before that day.
        row: row of the file.
    """

    time_d: float
    value: float | str
    before_d: float
    row: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient.

    Attributes:
        id: as the file spells it.
        doses: by time; doses repeated by ADDL are written out.
        samples: drawn after the first infusion, by time.
        baseline: drawn at or before the first infusion, by time. Not part of a fit.
        covariates: by name: numbers, or texts (`ARM`). `WT` is body weight in kg. One
            the file leaves empty for this patient is absent. The first value of one
            that changes.
        windows: when an input has a level of its own (`tki`).
        lymphodepletion_d: days of lymphodepletion, from the first infusion.
        resets_d: days on which the patient is as before the first event again.
        changes: further values of covariates that change, by name and by time.
    """

    id: str
    doses: tuple[Dose, ...]
    samples: tuple[Sample, ...]
    baseline: tuple[Sample, ...]
    covariates: Mapping[str, float | str]
    windows: tuple[InputWindow, ...]
    lymphodepletion_d: tuple[float, ...]
    resets_d: tuple[float, ...] = ()
    changes: Mapping[str, tuple[Change, ...]] = dataclasses.field(default_factory=dict)

    @property
    def first_infusion_d(self) -> float:
        """Time of the first CAR-T infusion, days; 0 when no dose is recorded."""
        return first_infusion(self.doses)

    def lymphodepletion_cycle(self, time_d: float) -> int:
        """Cycle of a lymphodepletion at `time_d`: that of the CAR-T it prepares.

        That is the next CAR-T dose within 14 days; failing that, the last one before.
        """
        carts = [dose for dose in self.doses if dose.product == "CART"]
        for dose in carts:
            if time_d <= dose.time_d <= time_d + LYMPHODEPLETION_AHEAD_D:
                return dose.cycle
        return max((d.cycle for d in carts if d.time_d < time_d), default=1)

    def first_cycles(self, n: int) -> "Patient":
        """The patient as if followed until the first event of cycle `n` + 1.

        Doses and lymphodepletions of later cycles go, and with them every sample of a
        later cycle or drawn after such an event: what is left out would have moved it.
        """
        doses = tuple(dose for dose in self.doses if dose.cycle <= n)
        depletions = tuple(
            time_d
            for time_d in self.lymphodepletion_d
            if self.lymphodepletion_cycle(time_d) <= n
        )
        gone = [dose.time_d for dose in self.doses if dose.cycle > n]
        gone += [
            time_d for time_d in self.lymphodepletion_d if time_d not in depletions
        ]
        end_d = min(gone, default=float("inf"))
        return dataclasses.replace(
            self,
            doses=doses,
            samples=tuple(
                sample
                for sample in self.samples
                if sample.cycle <= n and (sample.time_d, sample.after) <= (end_d, False)
            ),
            windows=tuple(window for window in self.windows if window.start_d < end_d),
            lymphodepletion_d=depletions,
            resets_d=tuple(time_d for time_d in self.resets_d if time_d < end_d),
            changes=self._changes_before(end_d),
        )

    def covariate_at(self, name: str, time_d: float) -> float | str:
        """Value of a covariate on a day: that of the last row until then."""
        begun = [c.value for c in self.changes.get(name, ()) if c.time_d <= time_d]
        return begun[-1] if begun else self.covariates[name]

    def _changes_before(self, end_d: float) -> dict[str, tuple[Change, ...]]:
        kept = {
            name: tuple(change for change in each if change.time_d < end_d)
            for name, each in self.changes.items()
        }
        return {name: each for name, each in kept.items() if each}


def most_cycles(patients: Sequence[Patient]) -> int:
    """The largest number of cycles that any of these patients has."""
    return max(
        (
            record.cycle
            for patient in patients
            for record in (*patient.doses, *patient.samples)
        ),
        default=1,
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The patients of one file.

    Attributes:
        path: the file as it was named.
        patients: in the order of the file.
        units: unit of each assay that occurs.
        synthetic: the file says that no patient was measured.
        notes: everything that was left out, assumed or read in a particular way, one
            sentence each, with counts.
        sha256: of the bytes of the file.
        plates: of the wells that samples have.
    """

    path: str
    patients: tuple[Patient, ...]
    units: Mapping[str, str]
    synthetic: bool
    notes: tuple[str, ...]
    sha256: str
    plates: tuple[Plate, ...] = ()

    @property
    def assays(self) -> tuple[str, ...]:
        """Assays with at least one sample, baseline included, by name."""
        return tuple(
            sorted(
                {
                    sample.assay
                    for patient in self.patients
                    for sample in (*patient.samples, *patient.baseline)
                }
            )
        )

    @property
    def n_cycles(self) -> int:
        """The largest number of cycles that any patient has."""
        return most_cycles(self.patients)

    def first_cycles(self, n: int) -> "Dataset":
        """The same patients in cycles 1 to `n`; what was left out is in the notes."""
        if n < 1:
            raise ValueError(f"first_cycles({n}): the first cycle is cycle 1")
        patients = tuple(patient.first_cycles(n) for patient in self.patients)
        gone = []
        for field, singular in (
            ("doses", "dose"),
            ("samples", "sample"),
            ("windows", "input window"),
            ("lymphodepletion_d", "lymphodepletion"),
            ("resets_d", "reset"),
        ):
            count = sum(
                len(getattr(before, field)) - len(getattr(after, field))
                for before, after in zip(self.patients, patients, strict=True)
            )
            if count:
                gone.append(counted(count, singular))
        notes = self.notes
        if gone:
            notes += (f"cycles after cycle {n}: {', '.join(gone)} left out",)
        return dataclasses.replace(self, patients=patients, notes=notes)

    def in_unit(self, assay: str, unit: str) -> "Dataset":
        """The same samples with those of `assay` in another unit, as % for a ratio.

        Raises:
            ValueError: the one unit is not a multiple of the other.
        """
        given = self.units.get(assay, unit)
        if given == unit:
            return self
        factor = conversion(given, unit)
        if factor is None:
            raise ValueError(f"{assay} in {given} cannot be told in {unit}")

        def told(sample: Sample) -> Sample:
            if sample.assay != assay:
                return sample
            limit = None if sample.limit is None else factor * sample.limit
            return dataclasses.replace(sample, value=factor * sample.value, limit=limit)

        patients = tuple(
            dataclasses.replace(
                patient,
                samples=tuple(map(told, patient.samples)),
                baseline=tuple(map(told, patient.baseline)),
            )
            for patient in self.patients
        )
        return dataclasses.replace(
            self,
            patients=patients,
            units={**self.units, assay: unit},
            notes=(*self.notes, f"{assay}: {given} told in {unit}"),
        )

    def with_baseline(self) -> "Dataset":
        """The same patients with what was drawn before the first dose among samples.

        For a model that describes that too: a drug that is not there before it is
        given, a state at rest.
        """
        count = sum(len(patient.baseline) for patient in self.patients)
        if not count:
            return self
        patients = tuple(
            dataclasses.replace(p, baseline=(), samples=(*p.baseline, *p.samples))
            for p in self.patients
        )
        note = f"{counted(count, 'sample')} at or before the first dose taken in"
        return dataclasses.replace(self, patients=patients, notes=(*self.notes, note))

    def between_days(self, first: float, last: float, reason: str) -> "Dataset":
        """The same patients with the samples of some days after the first infusion.

        Doses stay: they act on what is kept.

        Args:
            first: samples before this day go.
            last: samples after this day go.
            reason: why, for the note that counts them.
        """
        patients = tuple(
            dataclasses.replace(
                patient,
                samples=tuple(
                    sample
                    for sample in patient.samples
                    if first <= sample.time_d - patient.first_infusion_d <= last
                ),
            )
            for patient in self.patients
        )
        gone = sum(len(patient.samples) for patient in self.patients)
        gone -= sum(len(patient.samples) for patient in patients)
        if not gone:
            return self
        span = (
            f"before day {first:g}" if last == float("inf") else f"after day {last:g}"
        )
        if first > 0 and last < float("inf"):
            span = f"before day {first:g} or after day {last:g}"
        note = f"{counted(gone, 'sample')} {span} left out: {reason}"
        return dataclasses.replace(self, patients=patients, notes=(*self.notes, note))


def first_infusion(doses: tuple[Dose, ...]) -> float:
    """Time of the first CAR-T given, in days.

    Failing CAR-T it is the first dose of anything, and without doses it is time 0.
    """
    given = [dose for dose in doses if dose.cells or dose.cells_per_kg]
    carts = [dose for dose in given if dose.product == "CART"]
    return min((dose.time_d for dose in carts or given), default=0.0)


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
