"""One analysis from end to end: data and options in, a folder with a fit out."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ckin.assay import (
    ASSAYS,
    ERRORS,
    AbstractError,
    Assay,
    Normal,
    RawCt,
    laws_asked,
    with_priors,
)
from ckin.ct import apart, write_wells
from ckin.dataset import Dataset, write_dataset
from ckin.dataset.records import counted
from ckin.errors import InputError, did_you_mean
from ckin.fit_figures import write_figures
from ckin.inference import (
    GRID_ERROR,
    METHODS,
    Fit,
    Report,
    fit,
    wanted_profiles,
    with_profiles,
)
from ckin.library import load_model
from ckin.model import AbstractModel, name_of
from ckin.population import CARRIES, Population, effect, population
from ckin.units import canonical_unit, conversion
from ckin.writing import writing


# What a fit folder holds of its inputs.
DATA_FILE, ANALYSIS_FILE = "fitted_data.csv", "fit_settings.json"
# Where the fit started from wells; the data file has then no qPCR.
WELLS_FILE = "fitted_wells.csv"
# Folder, in a fit folder, of the steps that are done.
CHECKPOINT = "checkpoint"

# Laws of assays that count, the first one that the data allow. A qPCR reading is no
# count, unless the user says so.
COUNTED = {
    "ddpcr": ("partitions", "counts"),
    "flow": ("counts",),
    "ftc": ("counts",),
    "bcell": ("counts",),
    "bcrabl": ("counts",),
}


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What to fit, as a command line says it; see `ckin.population.population`.

    Attributes:
        model: name of a model, or path of a `.py` file.
        method: a key of `ckin.inference.METHODS`.
        chains: chains of a sampler; `None` as `ckin.inference.fit` has it.
        warmup: transitions of each chain that adapt; `None` likewise.
        draws: draws of each chain; `None` likewise.
        seed: of every random number.
        assays: what was measured, on one trajectory: keys of `ckin.assay.ASSAYS`, of
            the model's own `assays`, or NAME=QUANTITY. Empty for the model's own, or
            qpcr where it has none.
        target: what qPCR and ddPCR amplify: "car" or "backbone".
        errors: error laws, keys of `ckin.assay.ERRORS`, as LAW or ASSAY=LAW. An assay
            that counts is taken as counts where the data say of every sample how much
            was examined; others as the model says, or as normal.
        sigmas: priors of error parameters, as ASSAY=MEDIAN or ASSAY=MEDIAN:SD_LOG;
            add_ASSAY for the additive part of a combined error.
        estimate: parameters to estimate; empty for the model's own choice.
        vary: parameters that vary between patients; empty likewise.
        covariates: effects as texts (`ckin.population.effect`).
        carry: since when a covariate that changes has a value: "forward", since its
            row, or "backward", since the row before.
        correlate: groups of parameters that are correlated, each with commas.
        eta: how patients are distributed, one of `ckin.population.ETAS`.
        screen: a horseshoe prior for the covariate effects.
        iov: parameters that differ between the cycles of a patient.
        omega_reading: one of the model's `omega_readings`.
        from_day: leave out samples before this day after the first infusion; `None`
            for the model's own `described_from_d`.
        values: other values of parameters and names of laws, by name.
        grid_error: error that the grid may make, log10 units of a reading, above 0.
        profiles: parameters whose profile likelihood is wanted, or "all"; of maximum
            likelihood only.
    """

    model: str
    method: str = "auto"
    chains: int | None = None
    warmup: int | None = None
    draws: int | None = None
    seed: int = 0
    assays: tuple[str, ...] = ()
    target: str = "car"
    errors: tuple[str, ...] = ()
    sigmas: tuple[str, ...] = ()
    estimate: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    carry: str = "forward"
    correlate: tuple[str, ...] = ()
    eta: str = "normal"
    screen: bool = False
    iov: tuple[str, ...] = ()
    omega_reading: str | None = None
    from_day: float | None = None
    values: dict[str, float | str] = dataclasses.field(default_factory=dict)
    grid_error: float = GRID_ERROR
    profiles: tuple[str, ...] = ()


def build_population(analysis: Analysis, dataset: Dataset) -> Population:
    """Population of an analysis.

    Raises:
        InputError: an option that the model or the data cannot answer.
    """
    if analysis.method not in METHODS:
        raise InputError(f"--method {analysis.method}: choose {', '.join(METHODS)}")
    if analysis.screen and analysis.method in ("laplace", "ml"):
        raise InputError(
            "--screen is a prior, and maximum likelihood has none: take --method nuts "
            "or map"
        )
    if analysis.carry not in CARRIES:
        raise InputError(
            f"--carry {analysis.carry}: {did_you_mean(analysis.carry, CARRIES)}choose "
            f"{', '.join(CARRIES)}"
        )
    if analysis.target not in ("car", "backbone"):
        raise InputError(f"--target {analysis.target}: choose car or backbone")
    if not 0 < analysis.grid_error < np.inf:
        raise InputError(
            f"--grid-error {analysis.grid_error:g}: give a number above 0, in log10 "
            f"units of a reading; usual is {GRID_ERROR:g}"
        )
    model = load_model(analysis.model).with_values(**analysis.values)
    return population(
        model,
        _assays(analysis, model, dataset),
        estimate=analysis.estimate or None,
        vary=analysis.vary or None,
        covariates=[
            effect(text, dataset.patients, analysis.carry)
            for text in analysis.covariates
        ],
        omega=_spreads(model, analysis.omega_reading),
        correlate=[names_between_commas(group) for group in analysis.correlate],
        eta=analysis.eta,
        screen=analysis.screen,
        iov=analysis.iov,
        occasions=dataset.n_cycles,
    )


def names_between_commas(text: str) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in text.split(",")]


def _assays(
    analysis: Analysis, model: AbstractModel, dataset: Dataset
) -> tuple[Assay, ...]:
    """The assays of an analysis, each with its error law and priors."""
    asked = analysis.assays or tuple(model.assays) or ("qpcr",)
    known = [_assay(text, model, analysis.target) for text in asked]
    names = [assay.name for assay in known]
    laws = _laws(analysis, model, names)
    if dataset.plates and "qpcr" in names:
        if laws.get("qpcr", laws.get("", Normal())) != Normal():
            raise InputError(
                "--error: with --wells the log of a qPCR sample has a normal error; "
                "its wells have their own"
            )
        laws["qpcr"] = RawCt()
    assays = []
    for assay in known:
        usual = laws.get("", _usual_law(assay.name, dataset))
        assays.append(assay.with_error(laws.get(assay.name, usual)))
    return tuple(a.scaled_to(dataset) for a in with_priors(assays, analysis.sigmas))


def _assay(text: str, model: AbstractModel, target: str) -> Assay:
    """The assay that a name, or NAME=QUANTITY, stands for."""
    name, equals, quantity = (part.strip() for part in text.partition("="))
    if not equals and name in ASSAYS:
        return ASSAYS[name](**({"target": target} if name in ("qpcr", "ddpcr") else {}))
    if not equals and name in model.assays:
        quantity = model.assays[name]
    if not quantity:
        known = (*ASSAYS, *model.assays)
        raise InputError(
            f"--assay {text}: {did_you_mean(name, known)}choose {', '.join(known)}, or "
            f"say what it reads: {name or 'NAME'}=QUANTITY, of {', '.join(model.units)}"
        )
    if quantity not in model.units:
        raise InputError(
            f"--assay {text}: {name_of(model)} has no {quantity}; "
            f"{did_you_mean(quantity, model.units)}it has {', '.join(model.units)}"
        )
    return Assay(name.lower(), quantity)


def _laws(
    analysis: Analysis, model: AbstractModel, names: Sequence[str]
) -> dict[str, AbstractError]:
    """Error laws asked for, and the model's, by assay; "" for all others."""
    laws = {}
    for name, law in model.errors.items():
        if law not in ERRORS:
            raise InputError(
                f"{name_of(model)}: errors of {name}: {law!r}; "
                f"{did_you_mean(law, ERRORS)}choose {', '.join(ERRORS)}"
            )
        if name in names:
            laws[name] = ERRORS[law]
    return laws | laws_asked(analysis.errors, names, "fitted")


def _usual_law(name: str, dataset: Dataset) -> AbstractError:
    """Counts where counting is what the assay does and the data say how much."""
    samples = [s for p in dataset.patients for s in p.samples if s.assay == name]
    told = {
        "EXAMINED": all(s.examined is not None for s in samples),
        "PARTITIONS": all(s.partitions is not None for s in samples),
    }
    for law in COUNTED.get(name, ()):
        if all(told[column] for column in ERRORS[law].needs):
            return ERRORS[law]
    return Normal()


def described(dataset: Dataset, whole: Population, from_day: float | None) -> Dataset:
    """The samples that the model describes, or those from `from_day` on.

    What it does not answer to is left in, and noted. Readings are in its units.
    """
    model = whole.model
    for assay in whole.assays:
        unit = canonical_unit(model.units[assay.quantity])
        given = dataset.units.get(assay.name, unit)
        if given != unit and conversion(given, unit) is not None:
            dataset = dataset.in_unit(assay.name, unit)
    dataset = dataclasses.replace(
        dataset, notes=(*dataset.notes, *_unanswered(dataset, model))
    )
    if from_day is not None:
        return dataset.between_days(from_day, np.inf, f"--from-day {from_day:g}")
    if model.described_from_d == -np.inf:
        return dataset.with_baseline()
    return dataset.between_days(
        model.described_from_d,
        np.inf,
        f"{name_of(model)} does not describe them (--from-day 0 keeps them)",
    )


def _unanswered(dataset: Dataset, model: AbstractModel) -> list[str]:
    """Inputs of the data that the model has no use for, one sentence each."""
    patients: Counter[str] = Counter()
    for patient in dataset.patients:
        patients.update({w.name for w in patient.windows} - set(model.inputs))
    return [
        f"{name} of {counted(count, 'patient')} changes nothing: {name_of(model)} "
        "does not answer to it"
        for name, count in patients.items()
    ]


def _spreads(model: AbstractModel, reading: str | None) -> dict[str, float] | None:
    if reading is None:
        return None
    if reading not in model.omega_readings:
        known = ", ".join(model.omega_readings) or "none: its spreads are unambiguous"
        raise InputError(f"--omega-reading {reading}: {name_of(model)} has {known}")
    return dict(model.omega_readings[reading])


def fit_as(
    analysis: Analysis, dataset: Dataset, whole: Population, report: Report, **kept
) -> Fit:
    """Fit a population in the way that an analysis says.

    Args:
        analysis: method, its numbers and its seed.
        dataset: the patients.
        whole: the population, of this analysis or another.
        report: called with (stage, done, total).
        kept: `checkpoint` and `resume` of `ckin.inference.fit`.
    """
    return fit(
        dataset,
        whole,
        method=analysis.method,
        chains=analysis.chains,
        warmup=analysis.warmup,
        draws=analysis.draws,
        seed=analysis.seed,
        grid_error=analysis.grid_error,
        report=report,
        **kept,
    )


def run_fit(
    dataset: Dataset,
    analysis: Analysis,
    folder: Path,
    report: Report,
    *,
    resume: bool = False,
) -> Fit:
    """Fit, write the fit folder with its figures, and return the fit.

    Args:
        dataset: the patients.
        analysis: what to fit.
        folder: to write; finished steps are kept in its `checkpoint/` as it goes.
        report: called with (stage, done, total).
        resume: go on with those steps.

    Raises:
        InputError: options that the model or the data cannot answer, a checkpoint of
            another fit, or a folder that cannot be written.
    """
    whole, given = build_population(analysis, dataset), dataset
    dataset = described(dataset, whole, analysis.from_day)
    wanted = wanted_profiles(analysis.profiles, analysis.method, whole, dataset)
    kept = {"checkpoint": folder / CHECKPOINT, "resume": resume}
    result = fit_as(analysis, dataset, whole, report, **kept)
    result = with_profiles(result, wanted, seed=analysis.seed, report=report)
    with writing(folder):
        result.write(folder)
        _write_inputs(given, analysis, folder)
        report("figures", 0, 1)
        write_figures(dataset, result, folder / "figures", seed=analysis.seed)
        report("figures", 1, 1)
    return result


def _write_inputs(dataset: Dataset, analysis: Analysis, folder: Path) -> None:
    """What was fitted and how: what `ckin.reopen` needs to solve the model again."""
    if dataset.plates:
        dataset, wells = apart(dataset)
        write_wells(wells, folder / WELLS_FILE)
    else:
        (folder / WELLS_FILE).unlink(missing_ok=True)
    write_dataset(dataset, folder / DATA_FILE)
    model = analysis.model
    if model.endswith(".py"):
        model = str(Path(model).resolve())
    settings = dataclasses.asdict(dataclasses.replace(analysis, model=model))
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (folder / ANALYSIS_FILE).write_text(text + "\n", encoding="utf-8")
