"""A fit folder opened again: the data, the population and draws of every patient.

`ckin fit` writes what this needs beside the posterior (`fitted_data.csv`,
`fit_settings.json`). The model is the file it was then, by its hash, or the folder is
refused: draws of one model solved through another are nobody's.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ckin._types import Array
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
from ckin.inference.density import Density, make_density
from ckin.model import files_of, sha256_of
from ckin.population import Packed, Population, pack, refined
from ckin.population.hyper import correlation_names


# Draws that the grid of an opened fit is laid for.
GRID_DRAWS = 8
NEEDED = ("manifest.json", "posterior.nc", DATA_FILE, ANALYSIS_FILE)


class Judged:
    """What has the manifest of a fit: its verdict."""

    manifest: Mapping[str, Any]

    @property
    def converged(self) -> bool:
        """Whether the fit may be used."""
        return bool(self.manifest["converged"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against it."""
        return tuple(self.manifest.get("reasons", ()))


@dataclasses.dataclass(frozen=True)
class Reopened(Judged):
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
        omega_iov: of the spreads between cycles, (draws, iov); `None` without any.
        mixing: Cholesky factors of the correlations of what varies, (draws, varying,
            varying); `None` without any.
    """

    dataset: Dataset
    population: Population
    data: Packed
    phi: np.ndarray
    typical: np.ndarray
    omega: np.ndarray
    sigma: np.ndarray
    manifest: Mapping[str, Any]
    omega_iov: np.ndarray | None = None
    mixing: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class OpenedFit(Judged):
    """A fit folder with its density and draws: what checks and forecasts start from.

    Attributes:
        folder: where it lies.
        analysis: how it was asked for.
        dataset: the patients that were fitted, with every sample that was fitted.
        density: what was fitted, on a grid that serves these draws and new patients.
        u: draws of the population parameters, unbounded, (draws, hyper), evenly spaced
            over all chains.
        eta: of the patients, (draws, patients, varying).
        manifest: how the fit was run and whether it converged.
    """

    folder: Path
    analysis: Analysis
    dataset: Dataset
    density: Density
    u: np.ndarray
    eta: np.ndarray
    manifest: Mapping[str, Any]


def open_fit(folder: Path, draws: int) -> OpenedFit:
    """Open a fit folder with its density.

    Args:
        folder: as `ckin fit` wrote it.
        draws: draws to take, at most.

    Raises:
        InputError: as `reopen`.
    """
    held = _held(folder)
    density = make_density(held.population, held.data)
    with _posterior(folder) as posterior:
        values = _drawn(posterior, density.names)
        eta = _drawn(posterior, ["eta"], list(held.data.ids))[..., 0]
    rows = _rows(len(values), draws)
    told = dict(zip(density.names, jnp.asarray(values[rows]).T, strict=True))
    u = np.asarray(jax.vmap(density.unconstrain)(told))
    eta = eta[rows]
    few = _rows(len(u), GRID_DRAWS)
    new = jax.random.normal(jax.random.key(0), (len(few), *density.eta_shape))
    phi = [
        jax.vmap(density.patient_phi)(jnp.asarray(u[few]), jnp.asarray(own))
        for own in (eta[few], new)
    ]
    data = _on_grid(held, jnp.concatenate(phi))
    return OpenedFit(
        folder,
        held.analysis,
        held.dataset,
        eqx.tree_at(lambda d: d.data, density, data),
        u,
        eta,
        held.manifest,
    )


def reopen(folder: Path, draws: int) -> Reopened:
    """Open a fit folder.

    Args:
        folder: as `ckin fit` wrote it.
        draws: draws to take, at most.

    Raises:
        InputError: not a fit folder, one of an earlier ckin, or one whose model has
            changed since.
    """
    held = _held(folder)
    population = held.population
    with _posterior(folder) as posterior:
        each = _drawn(
            posterior,
            [f"{name}_i" for name in population.estimate],
            list(held.data.ids),
        )
        typical = _drawn(posterior, population.estimate)
        omega = _drawn(posterior, [f"omega_{name}" for name in population.vary])
        omega_iov = _drawn(posterior, [f"omega_iov_{name}" for name in population.iov])
        added = _between_cycles(posterior, population, omega_iov, list(held.data.ids))
        mixing = correlations(posterior, population)
        shared = _changing(posterior, population, len(held.data.ids))
        sigma = _drawn(posterior, [f"sigma_{population.assays[0].name}"])
    rows = _rows(len(each), draws)
    phi, centre = (
        np.asarray(population.to_phi(jnp.asarray(x[rows]))) for x in (each, typical)
    )
    phi = np.concatenate([phi, added[rows], shared[rows]], axis=-1)
    data = _on_grid(held, jnp.asarray(phi[_rows(len(phi), GRID_DRAWS)]))
    return Reopened(
        held.dataset,
        population,
        data,
        phi,
        centre,
        omega[rows],
        sigma[rows, 0],
        held.manifest,
        omega_iov=omega_iov[rows] if population.iov else None,
        mixing=None if mixing is None else mixing[rows],
    )


@dataclasses.dataclass(frozen=True)
class _Held:
    """What a folder holds besides draws."""

    manifest: Mapping[str, Any]
    analysis: Analysis
    population: Population
    dataset: Dataset
    data: Packed


def _held(folder: Path) -> _Held:
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
    lists = [
        field.name for field in dataclasses.fields(Analysis) if field.default == ()
    ]
    for name in lists:
        settings[name] = tuple(settings.get(name, ()))
    analysis = Analysis(**settings)
    given = read_dataset(folder / DATA_FILE)
    if (folder / WELLS_FILE).is_file():
        given = with_wells(given, read_wells(folder / WELLS_FILE))
    population = build_population(analysis, given)
    if sha256_of(population.model) != manifest["model_sha256"]:
        files = " or ".join(file.name for file in files_of(population.model))
        raise InputError(
            f"{folder}: the model file {files} has changed since the fit; "
            "fit again, or put the file back as it was"
        )
    dataset = described(given, population, analysis.from_day)
    data = pack(dataset, population)
    known = {patient.id: patient for patient in dataset.patients}
    dataset = dataclasses.replace(
        dataset, patients=tuple(known[name] for name in data.ids)
    )
    return _Held(manifest, analysis, population, dataset, data)


def _on_grid(held: _Held, phi: Array) -> Packed:
    """Data as fine as these draws need: whatever reads them elsewhere keeps it."""
    if not held.population.on_grid or not len(phi):
        return held.data
    return refined(held.population, held.data, phi)[0]


def _rows(n: int, most: int) -> np.ndarray:
    """At most so many rows of n, evenly spaced."""
    return np.linspace(0, n - 1, min(most, n)).astype(int)


def _posterior(folder: Path) -> xr.Dataset:
    return xr.open_dataset(
        folder / "posterior.nc", group="posterior", engine="h5netcdf"
    )


def correlations(posterior: xr.Dataset, population: Population) -> np.ndarray | None:
    """Draws of the Cholesky factor of the correlations, (draws, varying, varying)."""
    if not population.blocks:
        return None
    matrix: Any = np.eye(len(population.vary))
    for block in population.blocks:
        at = np.array([population.vary.index(name) for name in block])
        rows, columns = np.tril_indices(len(block), -1)
        each = _drawn(posterior, correlation_names(block))
        matrix = np.tile(matrix, (len(each), 1, 1)) if matrix.ndim == 2 else matrix
        matrix[:, at[rows], at[columns]] = each
        matrix[:, at[columns], at[rows]] = each
    return np.linalg.cholesky(matrix)


def _changing(posterior: xr.Dataset, population: Population, n: int) -> np.ndarray:
    """Draws of β of covariates that change as φ has them: (draws, patients, β)."""
    beta = _drawn(posterior, [effect.name for effect in population.changing])
    scale = np.array([effect.scale for effect in population.changing])
    return np.repeat((beta * scale)[:, None], n, axis=1)


def _between_cycles(
    posterior: xr.Dataset,
    population: Population,
    omega: np.ndarray,
    patients: Sequence[str],
) -> np.ndarray:
    """Draws of what each cycle adds to φ: (draws, patients, parameters and cycles)."""
    if not population.iov:
        n = posterior.sizes["chain"] * posterior.sizes["draw"]
        return np.zeros((n, len(patients), 0))
    names = list(population.eta_names[len(population.vary) :])
    eta = posterior["eta"].sel(patient=list(patients), varying=names).to_numpy()
    eta = eta.reshape(-1, *eta.shape[2:])
    return eta * np.repeat(omega, population.occasions, axis=1)[:, None]


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
