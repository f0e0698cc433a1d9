"""What `ckin metrics` does: metrics of a data file or of a fit, told by group."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ckin.dataset import ColumnMap, Dataset, Patient, read_dataset, recognised
from ckin.errors import InputError
from ckin.inference import readings
from ckin.library import dataset_path
from ckin.metrics import (
    BLQ_RULES,
    Course,
    GroupRow,
    cycle_starts,
    group_rows,
    long_rows,
    patient_metrics,
    reading_days,
    trajectory_metrics,
    write_rows,
)
from ckin.reopen import Reopened, reopen
from ckin.writing import DID_NOT, rows_with_verdict


# Draws of a posterior that are followed: 5% and 95% quantiles are then good to a few
# percent of the interval.
DRAWS = 100
# Days that a trajectory is followed, or to the last sample if that is later.
FOLLOWED_D = 365.0
# A covariate with more levels than this makes no groups.
MAX_GROUPS = 8
CYCLE = ("cycle", "occ")


@dataclasses.dataclass(frozen=True)
class GroupTable:
    """Metrics of some groups, to be shown together.

    Attributes:
        title: what they are of.
        rows: by metric and group.
        unit: of the levels.
        reference: group that ratios are taken to; "" for one group alone.
    """

    title: str
    rows: tuple[GroupRow, ...]
    unit: str
    reference: str


@dataclasses.dataclass(frozen=True)
class Tabulation:
    """Metrics of a file or of a fit.

    Attributes:
        courses: of every patient and cycle, material by material.
        tables: by group.
        source: what the numbers are of.
        blq: rule for levels below the limit.
        synthetic: no patient was measured.
        warning: why the numbers are not to be used; "" when they are.
        notes: how they were made.
        converged: of a fit, whether it did; `None` of a file.
    """

    courses: tuple[Course, ...]
    tables: tuple[GroupTable, ...]
    source: str
    blq: str
    synthetic: bool
    warning: str
    notes: tuple[str, ...]
    converged: bool | None = None

    def write(self, path: Path) -> None:
        """Write the long table of every number, as CSV.

        Raises:
            InputError: there can be no such file.
        """
        rows = long_rows(self.courses, blq=self.blq, source=self.source)
        rows = rows_with_verdict(rows, self.converged)
        try:
            write_rows(rows, path)
        except OSError as error:
            raise InputError(
                f"--out {path} cannot be written ({error.strerror}); name a CSV file "
                "in a folder that exists"
            ) from None


def tabulate(
    data: str, columns: ColumnMap, *, assay: str | None, by: str | None, blq: str
) -> Tabulation:
    """Metrics of what the user named.

    Args:
        data: a data file, a bundled set, or a fit folder.
        columns: how to read a data file.
        assay: of the levels; `None` for qPCR, or the only one there is.
        by: a covariate or `cycle`; `None` for all patients, cycle by cycle.
        blq: rule for levels below the limit, a key of `BLQ_RULES`.

    Raises:
        InputError: an option that cannot be used.
        DataError: a data file that cannot be used.
    """
    if blq not in BLQ_RULES:
        known = "; ".join(f"{name}: {rule.meaning}" for name, rule in BLQ_RULES.items())
        raise InputError(f"--blq {blq}: choose one of {known}")
    path = Path(data)
    if path.is_dir():
        if columns != ColumnMap():
            raise InputError(
                f"{data} is a fit folder, whose data are read already: leave out "
                "--map, --where, --limit and --unit"
            )
        return _of_fit(path, assay=assay, by=by, blq=blq)
    return _of_file(dataset_path(data), columns, assay=assay, by=by, blq=blq)


def _of_file(
    path: Path, columns: ColumnMap, *, assay: str | None, by: str | None, blq: str
) -> Tabulation:
    found = recognised(path, columns)
    parts: dict[str, Dataset] = {}
    notes: list[str] = []
    if found is None:
        parts[""] = read_dataset(path, columns)
        notes += parts[""].notes
    else:
        notes += found.notes
        for material in found.materials or ("",):
            where = {**found.columns.where}
            where |= {found.material: material} if material else {}
            asked = dataclasses.replace(found.columns, where=where)
            parts[material] = read_dataset(path, asked)
        notes += _told_once({key: part.notes for key, part in parts.items()})
    courses = []
    for material, dataset in parts.items():
        name = _assay(dataset, assay)
        groups = _levels(dataset.patients, by)
        courses += [
            Course(
                patient=patient.id,
                cycle=cycle,
                material=material,
                assay=name,
                unit=dataset.units[name],
                group=groups[patient.id],
                metrics=metrics,
            )
            for patient in dataset.patients
            for cycle, metrics in patient_metrics(patient, name, blq).items()
        ]
    synthetic = any(dataset.synthetic for dataset in parts.values())
    source = "SYNTHETIC data" if synthetic else "data"
    return Tabulation(
        courses=tuple(courses),
        tables=_tables(courses, by),
        source=source,
        blq=blq,
        synthetic=synthetic,
        warning="",
        notes=(_blq_note(blq), *notes),
    )


def _of_fit(folder: Path, *, assay: str | None, by: str | None, blq: str) -> Tabulation:
    fit = reopen(folder, DRAWS)
    names = [each.name for each in fit.population.assays]
    if assay is not None and assay not in names:
        raise InputError(f"--assay {assay}: {folder} is a fit of {', '.join(names)}")
    patients = fit.dataset.patients
    groups = _levels(patients, by)
    assay = assay or names[0]
    curves = _trajectories(fit, names.index(assay))
    limits = _limits(patients, assay)
    courses = [
        Course(
            patient=patient.id,
            cycle=cycle,
            material="",
            assay=assay,
            unit=fit.dataset.units[assay],
            group=groups[patient.id],
            metrics=metrics,
        )
        for patient, mine in zip(patients, curves, strict=True)
        for cycle, metrics in trajectory_metrics(mine, limits[patient.id], blq).items()
    ]
    synthetic = bool(fit.manifest["synthetic_data"])
    model = str(fit.manifest["model"])
    source = f"posterior of {model}"
    return Tabulation(
        courses=tuple(courses),
        tables=_tables(courses, by),
        source=source + (" on SYNTHETIC data" if synthetic else ""),
        blq=blq,
        synthetic=synthetic,
        warning="" if fit.converged else f"THE FIT {DID_NOT}: do not use these",
        converged=fit.converged,
        notes=(
            f"{len(fit.phi)} draws of each patient of {model}, solved to day "
            f"{FOLLOWED_D:g} or the last sample; median of the draws, 90% interval in "
            "the file; read without error from day 1 on, with each patient's limit",
            "what lies after the last sample is the model's",
            _blq_note(blq),
        ),
    )


def _blq_note(blq: str) -> str:
    return (
        "areas by linear-up log-down trapezoid; below the limit "
        f"(--blq {blq}): {BLQ_RULES[blq].meaning}"
    )


def _told_once(notes: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Notes of the materials of one file: what holds of all of them is said once.

    That each holds rows of its own, and which columns are not read, has been said.
    """
    said = ("only rows where", "columns not read")
    mine = {
        material: [
            note
            for note in told
            if not note.startswith(said) and "left out by that" not in note
        ]
        for material, told in notes.items()
    }
    first, *rest = mine.values()
    shared = [note for note in first if all(note in told for told in rest)]
    return shared + [
        f"{material}: {note}"
        for material, told in mine.items()
        for note in told
        if note not in shared
    ]


def _assay(dataset: Dataset, asked: str | None) -> str:
    assays = dataset.assays
    name = asked or ("qpcr" if "qpcr" in assays or not assays else assays[0])
    if name in assays and (asked or name == "qpcr" or len(assays) == 1):
        return name
    raise InputError(
        f"--assay {asked or 'is missing'}: {dataset.path} has "
        f"{', '.join(assays) or 'no sample'}; choose one of them"
    )


def _levels(patients: Iterable[Patient], by: str | None) -> dict[str, str]:
    """Group of each patient."""
    patients = tuple(patients)
    if by is None or by.casefold() in CYCLE:
        return {patient.id: "" for patient in patients}
    known = {n.casefold(): n for p in patients for n in p.covariates}
    if by.casefold() not in known:
        raise InputError(
            f"--by {by}: there is no such covariate; there are "
            f"{', '.join(sorted(known.values())) or 'none'}, and cycle"
        )
    name = known[by.casefold()]
    levels = {}
    for patient in patients:
        for change in patient.changes.get(name, ())[:1]:
            raise InputError(
                f"--by {by}: it changes within patient {patient.id} (row "
                f"{change.row}), so that it makes no groups; give a covariate that "
                "stays"
            )
        value = patient.covariates.get(name)
        shown = f"{value:g}" if isinstance(value, float | int) else value
        levels[patient.id] = f"no {name}" if shown is None else f"{name} {shown}"
    if len(set(levels.values())) > MAX_GROUPS:
        raise InputError(
            f"--by {by}: {len(set(levels.values()))} different values make no groups; "
            f"give a covariate of at most {MAX_GROUPS}"
        )
    return levels


def _tables(courses: Iterable[Course], by: str | None) -> tuple[GroupTable, ...]:
    """Group tables: of each material, and of each cycle unless cycles are compared."""
    across = by is not None and by.casefold() in CYCLE
    courses = tuple(courses)
    materials = list(dict.fromkeys(course.material for course in courses))
    parts: dict[tuple[str, int], list[Course]] = {}
    for course in sorted(
        courses, key=lambda course: (materials.index(course.material), course.cycle)
    ):
        cycle = 0 if across else course.cycle
        parts.setdefault((course.material, cycle), []).append(course)
    tables = []
    for (material, cycle), members in parts.items():
        groups: dict[str, dict[str, Mapping]] = {}
        for course in members:
            group = f"cycle {course.cycle}" if across else course.group or "all"
            groups.setdefault(group, {})[course.patient] = course.metrics
        # Patients of whom the covariate is not known come last, and are no reference.
        ordered = dict(sorted(groups.items(), key=lambda g: g[0].startswith("no ")))
        what = [members[0].assay, material, f"cycle {cycle}" if cycle else "all cycles"]
        tables.append(
            GroupTable(
                title=", ".join(part for part in what if part),
                rows=tuple(group_rows(ordered, paired=across)),
                unit=members[0].unit,
                reference=next(iter(ordered)) if len(ordered) > 1 else "",
            )
        )
    return tuple(tables)


def _trajectories(
    fit: Reopened, assay: int
) -> list[dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Levels of every patient and cycle: days from its infusion, (draws, times)."""
    pieces = [_pieces(p, fit.population.model.one_course) for p in fit.dataset.patients]
    width = max(sum(days.size for _, _, days in each) for each in pieces)
    time_d = np.zeros((len(pieces), width))
    for row, each in enumerate(pieces):
        times = np.concatenate([start + days for _, start, days in each])
        time_d[row] = np.pad(times, (0, width - times.size), mode="edge")
    levels = readings(fit.population, fit.data, fit.phi, time_d, assay)
    curves = []
    for row, each in enumerate(pieces):
        ends = np.cumsum([days.size for _, _, days in each])
        parts = np.split(levels[:, row, : ends[-1]], ends[:-1], axis=1)
        curves.append(
            {
                cycle: (days, part)
                for (cycle, _, days), part in zip(each, parts, strict=True)
            }
        )
    return curves


def _pieces(patient: Patient, one_course: bool) -> list[tuple[int, float, np.ndarray]]:
    """Cycle, day of its infusion, and days from it at which it is read."""
    starts = cycle_starts(patient)
    if one_course:
        starts = {cycle: day for cycle, day in starts.items() if cycle == 1}
    last_d = max(sample.time_d for sample in patient.samples)
    pieces = []
    for cycle, start_d in starts.items():
        later = [day for day in starts.values() if day > start_d]
        end_d = min(later, default=max(last_d, start_d + FOLLOWED_D) + 1e-9) - start_d
        pieces.append((cycle, start_d, reading_days(end_d)))
    return pieces


def _limits(patients: Iterable[Patient], assay: str) -> dict[str, float]:
    """Median detection limit of each patient; 0 where none is known."""
    limits = {}
    for patient in patients:
        known = [
            s.limit for s in patient.samples if s.assay == assay and s.limit is not None
        ]
        limits[patient.id] = float(np.median(known)) if known else 0.0
    return limits
