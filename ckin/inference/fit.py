"""Fit a population: starts, one of the engines, referee, verdict."""

import inspect
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.convergence import (
    Verdict,
    peak_reasons,
    referee_reasons,
    verdict,
)
from ckin.inference.density import Density, make_density
from ckin.inference.estimates import criteria, estimates, shrinkage
from ckin.inference.geometry import Geometry, first_geometry, naturals
from ckin.inference.gridding import (
    GRID_DRAWS,
    STARTS_SHARE,
    laplace_phi,
    on_grid,
    prior_phi,
    tails,
)
from ckin.inference.laplace import PopulationLaplace, fit_laplace
from ckin.inference.maximum import Maximum, draws_of, maximise, start_from
from ckin.inference.nuts import Draws, Info, joined, sample, start_chains, warm_up
from ckin.inference.predict import sample_log_likelihoods
from ckin.inference.referee import Referee, referee
from ckin.inference.results import (
    Fit,
    environment,
    sha256_of,
    summarise,
    summarise_individuals,
    summarise_refereed,
    the_fields_way,
    to_datatree,
)
from ckin.model import name_of
from ckin.population import GRID_ERROR, GridReport, Population, pack
from ckin.solve import Solver


METHODS = ("auto", "nuts", "map", "laplace", "ml")
# What a method is called in a manifest.
SPOKEN = {"auto": "nuts", "ml": "laplace"}

# A fit that has not converged after `draws` goes on, up to this many times as many.
MAX_BLOCKS = 4

Report = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """A report that nobody reads."""


def fit(
    dataset: Dataset,
    population: Population,
    *,
    method: str = "auto",
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    seed: int = 0,
    solver: Solver | None = None,
    grid_error: float = GRID_ERROR,
    report: Report = silent,
) -> Fit:
    """Fit a population to a data set.

    Args:
        dataset: the patients.
        population: model, assay, what is estimated and what varies.
        method: "nuts" samples the posterior; "map" gives each patient's and the
            population's mode with a Laplace approximation around it, which is quick
            and approximate; "laplace" or "ml" is maximum likelihood, patients
            integrated out by Laplace, without priors; "auto" is "nuts".
        chains: chains of NUTS, side by side.
        warmup: transitions of each chain that adapt.
        draws: draws kept of each chain; of the other methods, draws of the
            approximation (of maximum likelihood: of the spread of its estimates).
            NUTS goes on to 4 times as many when it has not converged by then.
        seed: of every random number; the same seed gives the same fit.
        solver: how to integrate.
        grid_error: error of a reading that the grid may make, log10 units; make it
            smaller when the verdict says so. Of no matter with a closed form or a
            `solver` that is adaptive.
        report: called with (stage, done, total) as it goes.

    Returns:
        A `Fit`; look at its `verdict` first.

    Raises:
        PackError: the data do not fit the model.
        InputError: maximum likelihood of the wells of plates.
        ValueError: unknown method, a count below 1, or a grid error that is not a
            number above 0.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(METHODS)}")
    for name, count in (("chains", chains), ("warmup", warmup), ("draws", draws)):
        if count < 1:
            raise ValueError(f"{name}={count}: it must be at least 1")
    if not 0 < grid_error < np.inf:
        raise ValueError(f"grid_error={grid_error}: it must be a number above 0")
    method = SPOKEN.get(method, method)
    if method == "laplace" and dataset.plates:
        raise InputError(
            "maximum likelihood takes readings, not the wells of plates: fit the file "
            "that `ckin ct` writes, or take --method nuts"
        )
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(seed), 4)
    density = make_density(population, pack(dataset, population), solver)
    told = partial(report, "grid") if population.on_grid else lambda *_: None
    told(0, 2)
    density, _ = on_grid(
        density, prior_phi(density, keys[2]), STARTS_SHARE * grid_error
    )
    told(1, 2)
    laplace = fit_laplace(density, keys[0], partial(report, "starts"))
    geometry = first_geometry(laplace)
    # Once more, now that it is known where the posterior is.
    likely = laplace_phi(density, geometry, keys[3])
    density, grid = on_grid(density, likely, grid_error, tails(population, likely))
    told(2, 2)
    sample_key = keys[1]
    started = time.perf_counter()
    if method == "map":
        result = _laplace_draws(density, geometry, sample_key, chains, draws)
    elif method == "laplace":
        seek = partial(_maximum, density, laplace, keys[3], report)
        density, grid, maximum = seek(grid, grid_error)
        result = _maximum_draws(maximum, sample_key, chains, draws)
    else:
        result = _nuts(density, geometry, sample_key, chains, warmup, draws, report)
    return _finish(
        dataset,
        density,
        laplace,
        result,
        settings={
            "method": method,
            "chains": chains,
            "warmup": warmup if method == "nuts" else 0,
            "draws": result.draws.u.shape[1],
            "seed": seed,
            "grid_error": grid_error,
            "grid": None if grid is None else grid._asdict(),
        },
        seconds={
            "starts": started - began,
            "sampling": time.perf_counter() - started,
        },
        report=report,
    )


class _Result(NamedTuple):
    """Draws of a method, and how they came about."""

    draws: Draws
    maximum: Maximum | None = None
    warmup_divergences: int = 0
    step_size: float | None = None
    leapfrogs_per_chain: int = 0


def _nuts(density, geometry, key, chains, warmup, draws, report: Report) -> _Result:
    """Sample, and go on while the population has not converged."""
    state = start_chains(density, geometry, key, chains=chains)
    state = warm_up(density, state, warmup, partial(report, "warm-up"))
    blocks: list[Draws] = []
    for block in range(1, MAX_BLOCKS + 1):
        stage = "sampling" if block == 1 else f"sampling on ({block} of {MAX_BLOCKS})"
        state, more = sample(density, state, draws, partial(report, stage))
        blocks.append(more)
        so_far = joined(blocks)
        _, table = summarise(density, so_far.u)
        divergences = int(so_far.info.diverging.sum())
        judged = verdict(
            table, divergences=divergences, draws=so_far.info.lp.size, unsolved=0
        )
        if not judged.longer_helps:
            break
    return _Result(
        so_far,
        None,
        state.warmup_divergences,
        state.step_size,
        state.leapfrogs // chains,
    )


def _laplace_draws(
    density: Density, geometry: Geometry, key, chains: int, draws: int
) -> _Result:
    """Independent draws of the Laplace approximation, in the form of a sampler's."""
    dimensions = density.n_hyper + int(np.prod(density.eta_shape))
    positions = jax.random.normal(key, (chains, draws, dimensions))
    u, eta = naturals(density, geometry, positions)
    return _Result(_independent(np.asarray(u), np.asarray(eta)))


def _independent(u: np.ndarray, eta: np.ndarray) -> Draws:
    zeros = np.zeros(u.shape[:2])
    info = Info(zeros + 1.0, zeros > 0, zeros.astype(int), zeros, zeros)
    return Draws(u, eta, info)


def _maximum(
    density: Density,
    laplace: PopulationLaplace,
    key,
    report: Report,
    grid: GridReport | None,
    grid_error: float,
) -> tuple[Density, GridReport | None, Maximum]:
    """Maximum likelihood, on a grid that serves where it is."""
    told = partial(report, "maximum likelihood")
    found = maximise(density, laplace, key, told)
    if grid is None:
        return density, grid, found
    u, eta = draws_of(found, key, (1, GRID_DRAWS))
    likely = jax.vmap(density.patient_phi)(jnp.asarray(u[0]), jnp.asarray(eta[0]))
    density, grid = on_grid(density, likely, grid_error)
    again = start_from(found, laplace)
    return density, grid, maximise(density, again, key, told)


def _maximum_draws(maximum: Maximum, key, chains: int, draws: int) -> _Result:
    """Draws of the estimates' spread and of patients around their modes."""
    u, eta = draws_of(maximum, key, (chains, draws))
    return _Result(_independent(u, eta), maximum)


def _finish(
    dataset: Dataset,
    density: Density,
    laplace: PopulationLaplace,
    result: _Result,
    settings: dict,
    seconds: dict,
    report: Report,
) -> Fit:
    """Referee, summaries, verdict and manifest of the draws."""
    u, eta, info = result.draws
    flat_u = u.reshape(-1, u.shape[-1])
    flat_eta = eta.reshape(info.lp.size, *eta.shape[2:])
    likelihood, solved = jax.tree.map(
        np.asarray,
        sample_log_likelihoods(density, jnp.asarray(flat_u), jnp.asarray(flat_eta)),
    )
    began = time.perf_counter()
    mode_u, mode_eta = laplace.u, laplace.maps.eta
    if result.maximum is None:
        judged_draws, known = (flat_u, flat_eta), (likelihood, solved)
    else:
        # A number that people compare is judged where it is, at the peak.
        mode_u, mode_eta = jnp.asarray(result.maximum.u), result.maximum.modes.eta
        judged_draws, known = (mode_u[None], mode_eta[None]), None
    told = partial(report, "referee")
    judge = referee(density, *judged_draws, fitted=known, report=told)
    seconds = {**seconds, "referee": time.perf_counter() - began}
    report("summaries", 0, 1)
    summary, table = summarise(density, u)
    middle = (flat_u.mean(axis=0), flat_eta.mean(axis=0))
    shrunk = shrinkage(
        density, *(middle if settings["method"] == "nuts" else (mode_u, mode_eta))
    )
    summary = the_fields_way(
        summary,
        shrunk,
        None if result.maximum is None else estimates(density, result.maximum),
    )
    judged = _verdict(density, laplace, result, table, solved, judge, settings)
    manifest = {
        "converged": judged.converged,
        "reasons": list(judged.reasons),
        "synthetic_data": dataset.synthetic,
        **_described(density),
        **settings,
        "divergences": int(info.diverging.sum()),
        "warmup_divergences": result.warmup_divergences,
        "khat": judge.khat if np.isfinite(judge.khat) else None,
        "referee": judge.told(),
        **_likelihood(density, result.maximum),
        **_failures(density, solved, judge),
        "leapfrogs_per_chain": result.leapfrogs_per_chain,
        "step_size": result.step_size,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "data": {
            "path": dataset.path,
            "sha256": dataset.sha256,
            "notes": list(dataset.notes),
        },
        "environment": environment(),
    }
    label = "SYNTHETIC DATA, not patients" if dataset.synthetic else "data as given"
    stats = info._asdict() if settings["method"] == "nuts" else {"lp": info.lp}
    tree = to_datatree(
        density,
        u,
        eta,
        stats,
        likelihood.reshape(*u.shape[:2], *likelihood.shape[1:]),
        {"data": label, "converged": str(judged.converged), "model": manifest["model"]},
    )
    finished = Fit(
        density=density,
        posterior=tree,
        summary=summary,
        individual=summarise_individuals(
            density, u, eta, density.patient_phi(mode_u, mode_eta)
        ),
        verdict=judged,
        manifest=manifest,
        u=u,
        eta=eta,
        referee=judge,
        # Weights are of draws.
        refereed=None if result.maximum else summarise_refereed(density, u, judge),
        maximum=result.maximum,
    )
    report("summaries", 1, 1)
    return finished


def _likelihood(density: Density, maximum: Maximum | None) -> dict[str, object]:
    """Log likelihood and criteria of a maximum likelihood fit, for the manifest."""
    if maximum is None:
        return {}
    return {
        "likelihood": criteria(density, maximum).told(),
        "at_zero": list(maximum.at_zero),
    }


def _described(density: Density) -> dict[str, object]:
    """What was fitted to what, for the manifest."""
    population, data = density.population, density.data
    return {
        "model": name_of(population.model),
        "model_sha256": sha256_of(Path(inspect.getfile(type(population.model)))),
        "estimated": list(population.estimate),
        "varying": list(population.vary),
        "varying_between_cycles": list(population.iov),
        "random_effects": population.eta,
        "correlated": [list(block) for block in population.blocks],
        "covariates": [effect.told for effect in population.covariates],
        "screened": population.screen,
        "assays": {
            assay.name: {"quantity": assay.quantity, "error": assay.error.name}
            for assay in population.assays
        },
        "below_limit_method": "M3: left-censored likelihood",
        "patients": data.n_patients,
        "samples": int(data.present.sum()),
        "samples_below_limit": int((data.below & data.present).sum()),
    }


def _failures(
    density: Density, solved: np.ndarray, judge: Referee
) -> dict[str, object]:
    """Solves that failed among the kept draws, and by phase and patient.

    Those of the warm-up are not seen by patient: each ends a trajectory, and is in the
    manifest as one of `warmup_divergences`.

    Args:
        density: the posterior.
        solved: (draws, patients), of all kept draws, by the fit's own solver.
        judge: what the adaptive solver found.
    """
    lost = (~solved).sum(axis=0)
    return {
        "solver_failures": int(lost.sum()),
        "solver_failures_by_patient": {
            "warm-up": None,
            "sampling": {
                name: int(count)
                for name, count in zip(density.data.ids, lost, strict=True)
                if count
            },
            "referee": dict(judge.unsolved),
        },
    }


def _verdict(
    density: Density,
    laplace: PopulationLaplace,
    result: _Result,
    table: pd.DataFrame,
    solved: np.ndarray,
    judge: Referee,
    settings: dict,
) -> Verdict:
    """Verdict of the method, and of the referee."""
    unsolved = int((~solved).sum())
    if settings["method"] == "map":
        judged = _laplace_verdict(laplace, unsolved)
    elif result.maximum is not None:
        # Draws only show the spread of the estimates: where those far out cannot be
        # solved, the peak is none the worse.
        reasons = result.maximum.reasons
        reasons += peak_reasons(judge, settings["grid_error"])
        return Verdict(not reasons, reasons)
    else:
        info = result.draws.info
        judged = verdict(
            table,
            divergences=int(info.diverging.sum()),
            draws=info.lp.size,
            unsolved=unsolved,
        )
    on_grid = density.solver.method is None
    return judged.also(
        referee_reasons(judge, settings["grid_error"] if on_grid else None)
    )


def _laplace_verdict(laplace: PopulationLaplace, unsolved: int) -> Verdict:
    reasons = []
    if not laplace.converged:
        reasons.append(
            f"patients and population did not settle in {laplace.rounds} rounds: "
            "the modes are not reliable; use --method nuts"
        )
    if unsolved:
        reasons.append(f"{unsolved} solves failed among the draws")
    return Verdict(not reasons, tuple(reasons))
