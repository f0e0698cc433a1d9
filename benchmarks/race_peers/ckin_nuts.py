"""ckin: one NUTS fit of the race problem, and its density at draws of the posterior."""

import time
from pathlib import Path

import jax

from ckin.inference import fit

from .ckin_cohort import coordinates, dataset_of, population_of
from .measure import at_points, judged
from .problem import load_problem


# Draws of the posterior at which the density is compared with the reference.
POINTS = 20


def nuts(task: dict, save) -> None:
    """Fit as anyone would; the wall time is that of the call."""
    problem = load_problem(task["problem"])
    dataset = dataset_of(problem, Path(task["folder"]))
    whole = population_of(problem)
    began = time.perf_counter()
    result = fit(
        dataset,
        whole,
        method="nuts",
        chains=task["chains"],
        warmup=task["warmup"],
        draws=task["draws"],
        seed=task["seed"],
        grid_error=task["grid_error"],
    )
    wall_s = time.perf_counter() - began
    coords = coordinates(problem, result.density)
    manifest = result.manifest
    save(
        nuts=judged(
            coords.back(result.u, result.eta, shifted=True),
            wall_s,
            warmup=task["warmup"],
            seed=task["seed"],
            divergences=manifest["divergences"],
            khat=manifest.get("khat"),
            converged=manifest["converged"],
            reasons=manifest["reasons"],
            gradients_per_chain=manifest.get("leapfrogs_per_chain"),
            seconds=manifest.get("seconds"),
        )
    )
    value_and_grad = jax.jit(
        jax.value_and_grad(result.density.log_density, argnums=(0, 1))
    )

    def on_scale(x):
        value, slopes = value_and_grad(*coords.into(x))
        return value + coords.constant, coords.back(*slopes, shifted=False)

    rows = coords.back(*result.thinned(POINTS), shifted=True)
    points = {f"posterior_{i}": x for i, x in enumerate(rows)}
    save(
        posterior=rows.tolist(),
        points=at_points(points, on_scale),
    )
