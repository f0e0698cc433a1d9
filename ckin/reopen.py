"""A fit folder opened again: the data, the population and draws of every patient.

`ckin fit` writes what this needs beside the posterior (`fitted_data.csv`,
`fit_settings.json`). The model is the file it was then, by its hash, or the folder is
refused: draws of one model solved through another are nobody's.
"""

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ckin.analysis import (
    ANALYSIS_FILE,
    DATA_FILE,
    WELLS_FILE,
    Analysis,
    build_population,
    described,
)
from ckin.ct import read_wells, with_wells
from ckin.dataset import Dataset, read_dataset
from ckin.errors import InputError
from ckin.inference.results import sha256_of
from ckin.population import Packed, Population, pack, refined


# Draws that the grid of an opened fit is laid for.
GRID_DRAWS = 8
NEEDED = ("manifest.json", "posterior.nc", DATA_FILE, ANALYSIS_FILE)


@dataclasses.dataclass(frozen=True)
class Reopened:
    """What a fit folder holds.

    Attributes:
        dataset: the patients that were fitted, with every sample that was fitted.
        population: what was fitted to them.
        data: their arrays.
        phi: draws of their parameters, (draws, patients, estimated), evenly spaced over
            all chains.
        typical: the same draws of φ of the typical patient, (draws, estimated).
        omega: of the spreads, (draws, varying).
        sigma: of the error SD of the first assay, (draws,).
        manifest: how the fit was run and whether it converged.
    """

    dataset: Dataset
    population: Population
    data: Packed
    phi: np.ndarray
    typical: np.ndarray
    omega: np.ndarray
    sigma: np.ndarray
    manifest: Mapping[str, Any]


def reopen(folder: Path, draws: int) -> Reopened:
    """Open a fit folder.

    Args:
        folder: as `ckin fit` wrote it.
        draws: draws to take, at most.

    Raises:
        InputError: not a fit folder, one of an earlier ckin, or one whose model has
            changed since.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if "manifest.json" in missing:
        raise InputError(
            f"{folder} is not a fit folder: it has no manifest.json; give a folder "
            "that `ckin fit --out` wrote, or a data file"
        )
    if missing:
        raise InputError(
            f"{folder} lacks {', '.join(missing)}: an earlier ckin wrote it, or files "
            "were removed; fit again (`ckin fit ... --force`)"
        )
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    settings: dict[str, Any] = json.loads(
        (folder / ANALYSIS_FILE).read_text(encoding="utf-8")
    )
    for name in ("assays", "errors", "sigmas", "estimate", "vary", "covariates"):
        settings[name] = tuple(settings.get(name, ()))
    analysis = Analysis(**settings)
    given = read_dataset(folder / DATA_FILE)
    if (folder / WELLS_FILE).is_file():
        given = with_wells(given, read_wells(folder / WELLS_FILE))
    population = build_population(analysis, given)
    model_file = Path(inspect.getfile(type(population.model)))
    if sha256_of(model_file) != manifest["model_sha256"]:
        raise InputError(
            f"{folder}: the model file {model_file.name} has changed since the fit; "
            "fit again, or put the file back as it was"
        )
    dataset = described(given, population, analysis.from_day)
    data = pack(dataset, population)
    with xr.open_dataset(
        folder / "posterior.nc", group="posterior", engine="h5netcdf"
    ) as posterior:
        each = _drawn(
            posterior, [f"{name}_i" for name in population.estimate], list(data.ids)
        )
        typical = _drawn(posterior, population.estimate)
        omega = _drawn(posterior, [f"omega_{name}" for name in population.vary])
        sigma = _drawn(posterior, [f"sigma_{population.assays[0].name}"])
    rows = np.linspace(0, len(each) - 1, min(draws, len(each))).astype(int)
    phi, centre = (
        np.asarray(population.to_phi(jnp.asarray(x[rows]))) for x in (each, typical)
    )
    if population.on_grid and len(rows):
        # As fine as these draws need: whatever reads them elsewhere keeps its pace.
        few = np.linspace(0, len(phi) - 1, min(GRID_DRAWS, len(phi))).astype(int)
        data, _ = refined(population, data, jnp.asarray(phi[few]))
    known = {patient.id: patient for patient in dataset.patients}
    dataset = dataclasses.replace(
        dataset, patients=tuple(known[name] for name in data.ids)
    )
    return Reopened(
        dataset, population, data, phi, centre, omega[rows], sigma[rows, 0], manifest
    )


def _drawn(
    posterior: xr.Dataset, names: Sequence[str], patients: Sequence[str] = ()
) -> np.ndarray:
    """Draws of all chains, one after another: (draws, ..., names)."""
    chosen = [posterior[name] for name in names]
    if patients:
        chosen = [values.sel(patient=list(patients)) for values in chosen]
    if not chosen:
        return np.zeros((posterior.sizes["chain"] * posterior.sizes["draw"], 0))
    values = np.stack([each.to_numpy() for each in chosen], axis=-1)
    return values.reshape(-1, *values.shape[2:])
