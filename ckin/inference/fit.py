"""Fit a population: starts, one of the engines, referee, verdict."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.checkpoint import (
    FORGETFUL,
    Checkpoint,
    Memory,
    open_checkpoint,
)
from ckin.inference.density import Density, make_density
from ckin.inference.engines import (
    SAMPLERS,
    Report,
    by_ladder,
    by_laplace,
    by_maximum,
    by_sampling,
    maximum_draws,
)
from ckin.inference.finish import finish
from ckin.inference.geometry import first_geometry
from ckin.inference.gridding import (
    STARTS_SHARE,
    laplace_phi,
    on_grid,
    prior_phi,
    tails,
)
from ckin.inference.identity import identity
from ckin.inference.laplace import PopulationLaplace, fit_laplace
from ckin.inference.results import Fit
from ckin.population import GRID_ERROR, GridReport, Population, laid_on, pack
from ckin.runtime import compile_clock
from ckin.solve import Grid, Solver


METHODS = ("auto", "nuts", "map", "many", "laplace", "ml")
# What a method is called in a manifest.
SPOKEN = {"ml": "laplace"}


def silent(stage: str, done: int, total: int) -> None:
    """A report that nobody reads."""


def fit(
    dataset: Dataset,
    population: Population,
    *,
    method: str = "auto",
    chains: int | None = None,
    warmup: int | None = None,
    draws: int | None = None,
    seed: int = 0,
    solver: Solver | None = None,
    grid_error: float = GRID_ERROR,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    report: Report = silent,
) -> Fit:
    """Fit a population to a data set.

    Args:
        dataset: the patients.
        population: model, assay, what is estimated and what varies.
        method: "nuts" samples the posterior; "many" samples it with many short chains
            (HMC); "map" gives each patient's and the
            population's mode with a Laplace approximation around it, which is quick
            and approximate; "laplace" or "ml" is maximum likelihood, patients
            integrated out by Laplace, without priors; "auto" takes weighted draws of
            the Laplace approximation where their k-hat is below 0.5, and "nuts"
            otherwise, and says which and why (`manifest["auto"]`).
        chains: chains, side by side: 4 unless told, 32 of "many" (a multiple of 4).
        warmup: transitions of each chain that adapt: 500 unless told, 100 of "many".
        draws: draws kept of each chain, 500 unless told, 50 of "many"; of the other
            methods, draws of the approximation (of maximum likelihood: of the spread
            of its estimates). A sampler goes on to 4 times as many when it has not
            converged by then.
        seed: of every random number; the same seed gives the same fit.
        solver: how to integrate.
        grid_error: error of a reading that the grid may make, log10 units; make it
            smaller when the verdict says so. Of no matter with a closed form or a
            `solver` that is adaptive.
        checkpoint: folder that keeps every finished step, so that a fit that ends
            early can be gone on with; `None` keeps nothing.
        resume: go on with what `checkpoint` holds: the draws are, bit for bit, those
            of a fit that was never interrupted. Of a finished fit, more `draws`.
        report: called with (stage, done, total) as it goes.

    Returns:
        A `Fit`; look at its `verdict` first.

    Raises:
        PackError: the data do not fit the model.
        InputError: maximum likelihood of the wells of plates; a checkpoint of another
            fit, one that is not what was written, or one that cannot be written.
        ValueError: unknown method, a count below 1, or a grid error that is not a
            number above 0.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(METHODS)}")
    settings: dict = {"method": SPOKEN.get(method, method)}
    method = settings["method"]
    usual = SAMPLERS.get(method, SAMPLERS["nuts"])
    chains = usual.chains if chains is None else chains
    warmup = usual.warmup if warmup is None else warmup
    draws = usual.draws if draws is None else draws
    for name, count in (("chains", chains), ("warmup", warmup), ("draws", draws)):
        if count < 1:
            raise ValueError(f"{name}={count}: it must be at least 1")
    if chains % usual.together or chains == usual.together > 1:
        raise InputError(
            f"chains={chains}: {method} starts them {usual.together} at a place, at 2 "
            f"places or more: give {2 * usual.together}, {3 * usual.together}, ..."
        )
    if not 0 < grid_error < np.inf:
        raise ValueError(f"grid_error={grid_error}: it must be a number above 0")
    if resume and checkpoint is None:
        raise ValueError("resume=True: say which checkpoint")
    settings |= {
        "chains": chains,
        "warmup": warmup,
        "seed": seed,
        "grid_error": grid_error,
    }
    if method == "laplace" and dataset.plates:
        raise InputError(
            "maximum likelihood takes readings, not the wells of plates: fit the file "
            "that `ckin ct` writes, or take --method nuts"
        )
    with compile_clock() as compiled:
        return _fitted(
            dataset,
            population,
            settings,
            draws,
            solver,
            report,
            checkpoint=checkpoint,
            resume=resume,
            compiled=compiled,
        )


def _fitted(
    dataset: Dataset,
    population: Population,
    settings: dict,
    draws: int,
    solver: Solver | None,
    report: Report,
    *,
    checkpoint: str | Path | None,
    resume: bool,
    compiled: Callable[[], float],
) -> Fit:
    """A fit whose settings are sound, from packing to manifest."""
    method, chains, warmup, grid_error = (
        settings[name] for name in ("method", "chains", "warmup", "grid_error")
    )
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(settings["seed"]), 4)
    density = make_density(population, pack(dataset, population), solver)
    memory = _memory(checkpoint, dataset, density, settings, draws, resume)
    start = memory.step(
        "start", _Start, partial(_start, density, keys, grid_error, report)
    )
    laplace, grid = start.laplace, start.grid_report
    laid = laid_on(population, density.data, jax.tree.map(jnp.asarray, start.grid))
    density = eqx.tree_at(lambda d: d.data, density, laid)
    geometry = first_geometry(laplace)
    sample_key = keys[1]
    started = time.perf_counter()
    rung = method
    sampling = partial(
        by_sampling,
        density,
        geometry,
        sample_key,
        sampler=SAMPLERS.get(method, SAMPLERS["nuts"]),
        chains=chains,
        warmup=warmup,
        draws=draws,
        report=report,
        memory=memory,
    )
    if method == "map":
        result = by_laplace(density, geometry, sample_key, chains, draws)
    elif method == "laplace":
        seek = partial(by_maximum, density, laplace, keys[3], report)
        density, grid, maximum = seek(grid, grid_error)
        result = maximum_draws(maximum, sample_key, chains, draws)
    elif method == "auto":
        rung, result = by_ladder(
            density,
            geometry,
            jax.random.fold_in(sample_key, 1),
            chains=chains,
            draws=draws,
            seed=settings["seed"],
            report=report,
            memory=memory,
            sample=sampling,
        )
    else:
        result = sampling()
    return finish(
        dataset,
        density,
        laplace,
        result,
        settings={
            **settings,
            "method": rung,
            "asked": method,
            "warmup": warmup if rung in SAMPLERS else 0,
            "draws": result.draws.u.shape[1],
            "grid": None if grid is None else grid._asdict(),
        },
        checkpoint=memory if isinstance(memory, Checkpoint) else None,
        seconds={
            "starts": started - began,
            "sampling": time.perf_counter() - started,
        },
        compiled=compiled,
        report=report,
    )


class _Start(NamedTuple):
    """What every engine starts from.

    Attributes:
        laplace: modes of patients and population.
        grid: laid for where the posterior is.
        grid_report: what is known of it; `None` where no grid is solved on.
    """

    laplace: PopulationLaplace
    grid: Grid
    grid_report: GridReport | None


def _start(density: Density, keys: Array, grid_error: float, report: Report) -> _Start:
    """Grid, Laplace approximation, and a grid for where it is."""
    told = partial(report, "grid") if density.population.on_grid else lambda *_: None
    told(0, 2)
    density, _ = on_grid(
        density, prior_phi(density, keys[2]), STARTS_SHARE * grid_error
    )
    told(1, 2)
    laplace = fit_laplace(density, keys[0], partial(report, "starts"))
    # Once more, now that it is known where the posterior is.
    likely = laplace_phi(density, first_geometry(laplace), keys[3])
    density, grid = on_grid(
        density, likely, grid_error, tails(density.population, likely)
    )
    told(2, 2)
    return _Start(laplace, density.data.grid, grid)


def _memory(
    folder: str | Path | None,
    dataset: Dataset,
    density: Density,
    settings: dict,
    draws: int,
    resume: bool,
) -> Memory:
    """Where steps are kept; nowhere without a folder."""
    if folder is None:
        return FORGETFUL
    told = identity(dataset, density, settings)
    return open_checkpoint(Path(folder), told, draws=draws, resume=resume)
