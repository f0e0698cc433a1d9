"""The figures of a fit folder: individual fits, the population band, profiles."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from ckin.dataset import Dataset
from ckin.inference import Fit, individual_curves, population_curve, units_of
from ckin.inference.predict import BAND_DRAWS
from ckin.plot import (
    POSTERIOR_WORDS,
    SYNTHETIC,
    Curves,
    individual_fits,
    population_band,
    profile_panels,
    save,
)
from ckin.writing import titled


# Days between points of a curve while cells move fast, and points after that; the
# fewest points of a curve that is short.
FAST_STEP_D, LATE_POINTS, SHORT_POINTS = 0.5, 60, 120


def write_figures(dataset: Dataset, result: Fit, folder: Path, *, seed: int) -> None:
    """Individual fits and the population band, profiles if any, as PNG files."""
    profiles = Path(f"{folder}/profiles.png")
    if result.profiles:
        title = f"{result.manifest['model']}: profile likelihoods"
        title = titled(title, result.verdict.converged)
        if result.manifest["synthetic_data"]:
            title += f"; {SYNTHETIC}"
        units = units_of(result.density)
        save(profile_panels(result.profiles, units, title), profiles)
    else:
        profiles.unlink(missing_ok=True)
    fitted = _fitted(dataset, result)
    assays = result.density.population.assays
    for index, assay in enumerate(assays):
        prefix = f"{assay.name}_" if len(assays) > 1 else ""
        _assay_figures(fitted, result, index, f"{folder}/{prefix}", seed=seed)


def _assay_figures(
    fitted: Dataset, result: Fit, index: int, prefix: str, *, seed: int
) -> None:
    """The figures of one assay."""
    density = result.density
    assay = density.population.assays[index].name
    unit = density.population.model.units[density.population.assays[index].quantity]
    time_d = time_grid(fitted, assay)
    u, eta = result.thinned(BAND_DRAWS)
    title = f"{result.manifest['model']} ({result.manifest['method']})"
    title = titled(title, result.verdict.converged)
    bands = individual_curves(density, u, eta, time_d, index)
    curves = {}
    for patient, band in zip(fitted.patients, bands, strict=True):
        times = [sample.time_d for sample in patient.samples if sample.assay == assay]
        if times:
            own = time_d <= max(times)
            curves[patient.id] = _curve(time_d[own], band[own], unit)
    read = tuple(patient for patient in fitted.patients if patient.id in curves)
    fitted = dataclasses.replace(fitted, patients=read)
    ml = result.manifest["method"] == "laplace"
    pages = individual_fits(
        fitted,
        assay,
        curves,
        title=f"Individual fits: {title}",
        # Of maximum likelihood there is no posterior of the population.
        words=("median", "band of estimate and patient") if ml else POSTERIOR_WORDS,
    )
    for number, page in enumerate(pages, start=1):
        save(page, Path(f"{prefix}individual_fits_{number}.png"))
    band = population_curve(density, u, jax.random.key(seed), time_d, index)
    figure = population_band(
        fitted, assay, _curve(time_d, band, unit), title=f"Population: {title}"
    )
    save(figure, Path(f"{prefix}population.png"))


def _fitted(dataset: Dataset, result: Fit) -> Dataset:
    """The patients that were fitted, in the fit's order."""
    known = {patient.id: patient for patient in dataset.patients}
    patients = tuple(known[name] for name in result.density.data.ids)
    return dataclasses.replace(dataset, patients=patients)


def _curve(time_d: np.ndarray, band: np.ndarray, unit: str) -> Curves:
    low, middle, high = np.moveaxis(band, -1, 0)
    return Curves(time_d=time_d, low=low, middle=middle, high=high, unit=unit)


def time_grid(dataset: Dataset, assay: str) -> np.ndarray:
    """Days at which to draw: dense until 60 d after the last dose, then sparse."""
    times = [
        sample.time_d
        for patient in dataset.patients
        for sample in patient.samples
        if sample.assay == assay
    ]
    doses = [dose.time_d for patient in dataset.patients for dose in patient.doses]
    end = max(times)
    fast = min(end, max(doses, default=0.0) + 60.0)
    # Of a course of hours, so many points as of one of months.
    dense = np.arange(0.0, fast, min(FAST_STEP_D, end / SHORT_POINTS))
    late = np.geomspace(fast, end, LATE_POINTS) if fast < end else [end]
    return np.unique(np.concatenate([dense, late]))
