"""From draws to a fit: the referee, summaries, verdict and manifest."""

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin.dataset import Dataset
from ckin.inference.checkpoint import Checkpoint
from ckin.inference.convergence import (
    Verdict,
    peak_reasons,
    referee_reasons,
    verdict,
)
from ckin.inference.density import Density
from ckin.inference.engines import SAMPLERS, Report, Result
from ckin.inference.estimates import criteria, estimates, shrinkage
from ckin.inference.laplace import PopulationLaplace
from ckin.inference.maximum import Maximum
from ckin.inference.predict import sample_log_likelihoods
from ckin.inference.referee import Referee, referee
from ckin.inference.results import (
    Fit,
    environment,
    summarise,
    summarise_individuals,
    summarise_refereed,
    the_fields_way,
    to_datatree,
)
from ckin.model import name_of, sha256_of


def finish(
    dataset: Dataset,
    density: Density,
    laplace: PopulationLaplace,
    result: Result,
    settings: dict,
    checkpoint: Checkpoint | None,
    seconds: dict,
    compiled: Callable[[], float],
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
    seconds["compiling"] = compiled()
    report("summaries", 0, 1)
    sampler = SAMPLERS.get(settings["method"])
    summary, table = summarise(density, u, sampler.together if sampler else 1)
    if settings["method"] == "weighted" and result.approximation is not None:
        # Of draws that come more than once ArviZ cannot know.
        sizes = ["ess_bulk", "ess_tail"]
        summary[sizes] = summary[sizes].clip(upper=result.approximation.ess)
    middle = (flat_u.mean(axis=0), flat_eta.mean(axis=0))
    shrunk = shrinkage(density, *((mode_u, mode_eta) if sampler is None else middle))
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
        "anew": list(result.anew),
        "khat": judge.khat if np.isfinite(judge.khat) else None,
        "referee": judge.told(),
        "auto": result.why or None,
        "approximation": None
        if result.approximation is None
        else result.approximation.told(),
        **_likelihood(density, result.maximum),
        **_failures(density, solved, judge),
        "leapfrogs_per_chain": result.leapfrogs_per_chain,
        "step_size": result.step_size,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "checkpoint": None if checkpoint is None else checkpoint.told(),
        "data": {
            "path": dataset.path,
            "sha256": dataset.sha256,
            "notes": list(dataset.notes),
        },
        "environment": environment(),
    }
    label = "SYNTHETIC DATA, not patients" if dataset.synthetic else "data as given"
    stats = {"lp": info.lp} if sampler is None else info._asdict()
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
        "model_sha256": sha256_of(population.model),
        "estimated": list(population.estimate),
        "varying": list(population.vary),
        "varying_between_cycles": list(population.iov),
        "random_effects": population.eta,
        "correlated": [list(block) for block in population.blocks],
        "covariates": [effect.told for effect in population.covariates],
        "changing_within_patients": {e.told: e.carry for e in population.changing},
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
    result: Result,
    table: pd.DataFrame,
    solved: np.ndarray,
    judge: Referee,
    settings: dict,
) -> Verdict:
    """Verdict of the method, and of the referee."""
    unsolved = int((~solved).sum())
    if settings["method"] in ("map", "weighted"):
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
