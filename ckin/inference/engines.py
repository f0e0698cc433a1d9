"""The engines: each turns a density and a start into draws, all in one form."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.inference.checkpoint import Memory
from ckin.inference.convergence import verdict
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry
from ckin.inference.gridding import GRID_DRAWS, on_grid
from ckin.inference.kernels import Kernel
from ckin.inference.ladder import Approximation, resampled, weighed, why
from ckin.inference.laplace import PopulationLaplace
from ckin.inference.maximum import Maximum, draws_of, maximise, start_from
from ckin.inference.nuts import Draws, Info, joined, sample, start_chains, warm_up
from ckin.inference.results import summarise
from ckin.population import GridReport


# A fit that has not converged after `draws` goes on, up to this many times as many.
MAX_BLOCKS = 4

# Draws that tell how good an approximation is, at least.
LEAST_LOOK = 2000

Report = Callable[[str, int, int], None]


class Sampler(NamedTuple):
    """A way to sample, and how much of it unless told.

    Attributes:
        kernel: what moves a chain.
        chains: side by side.
        warmup: transitions of each that adapt.
        draws: kept of each.
        together: chains that start at one place, of which R-hat is then the nested one.
    """

    kernel: Kernel
    chains: int
    warmup: int
    draws: int
    together: int = 1


SAMPLERS = {
    "nuts": Sampler("nuts", 4, 500, 500),
    # Superchains of 4 (Margossian et al. 2024, Bayesian Analysis, 10.1214/24-BA1453).
    "many": Sampler("hmc", 32, 100, 50, together=4),
}


class Result(NamedTuple):
    """Draws of a method, and how they came about.

    Attributes:
        draws: of it.
        maximum: of maximum likelihood.
        warmup_divergences: of a sampler; so are the next two.
        step_size: after adaptation.
        leapfrogs_per_chain: gradients of each chain.
        approximation: what was found of the Laplace approximation, if it was judged.
        why: why `auto` took this rung.
    """

    draws: Draws
    maximum: Maximum | None = None
    warmup_divergences: int = 0
    step_size: float | None = None
    leapfrogs_per_chain: int = 0
    approximation: Approximation | None = None
    why: str = ""


def by_sampling(
    density: Density,
    geometry: Geometry,
    key: Array,
    *,
    sampler: Sampler,
    chains: int,
    warmup: int,
    draws: int,
    report: Report,
    memory: Memory,
) -> Result:
    """Sample, and go on while the population has not converged."""
    state = start_chains(
        density,
        geometry,
        key,
        chains=chains,
        together=sampler.together,
        kernel=sampler.kernel,
        memory=memory,
    )
    state = warm_up(density, state, warmup, partial(report, "warm-up"), memory)
    blocks: list[Draws] = []
    for block in range(1, MAX_BLOCKS + 1):
        stage = "sampling" if block == 1 else f"sampling on ({block} of {MAX_BLOCKS})"
        state, more = sample(density, state, draws, partial(report, stage), memory)
        blocks.append(more)
        so_far = joined(blocks)
        _, table = summarise(density, so_far.u, sampler.together)
        divergences = int(so_far.info.diverging.sum())
        judged = verdict(
            table, divergences=divergences, draws=so_far.info.lp.size, unsolved=0
        )
        if not judged.longer_helps:
            break
    return Result(
        so_far,
        None,
        state.warmup_divergences,
        state.step_size,
        state.leapfrogs // chains,
    )


def by_laplace(
    density: Density, geometry: Geometry, key, chains: int, draws: int
) -> Result:
    """Independent draws of the Laplace approximation, in the form of a sampler's."""
    found = _weighed(density, geometry, key, chains * draws)
    u, eta = (x.reshape(chains, draws, *x.shape[1:]) for x in (found.u, found.eta))
    return Result(_independent(u, eta), approximation=found)


def _weighed(density: Density, geometry: Geometry, key, draws: int) -> Approximation:
    dimensions = density.n_hyper + int(np.prod(density.eta_shape))
    return weighed(density, geometry, jax.random.normal(key, (draws, dimensions)))


def by_ladder(
    density: Density,
    geometry: Geometry,
    key: Array,
    *,
    chains: int,
    draws: int,
    seed: int,
    report: Report,
    memory: Memory,
    sample: Callable[[], Result],
) -> tuple[str, Result]:
    """The Laplace approximation where its weighted draws serve, or else a sampler.

    Args:
        density: the posterior.
        geometry: of the start.
        key: of the draws.
        chains: to cut the draws into.
        draws: of each.
        seed: of the order of draws.
        report: called with (stage, done, total).
        memory: of steps that are done.
        sample: the next rung.

    Returns:
        The rung that was taken, and what it gave.
    """
    report("ladder", 0, 1)
    look = partial(_weighed, density, geometry, key, max(chains * draws, LEAST_LOOK))
    found = memory.step("ladder", Approximation, look)
    report("ladder", 1, 1)
    if not found.serves:
        return "nuts", sample()._replace(approximation=found, why=why(found))
    rows = chains * draws
    u, eta = (x[:rows] for x in resampled(found, seed))
    u, eta = (x.reshape(chains, draws, *x.shape[1:]) for x in (u, eta))
    return "weighted", Result(_independent(u, eta), approximation=found, why=why(found))


def _independent(u: np.ndarray, eta: np.ndarray) -> Draws:
    zeros = np.zeros(u.shape[:2])
    info = Info(zeros + 1.0, zeros > 0, zeros.astype(int), zeros, zeros)
    return Draws(u, eta, info)


def by_maximum(
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


def maximum_draws(maximum: Maximum, key, chains: int, draws: int) -> Result:
    """Draws of the estimates' spread and of patients around their modes."""
    u, eta = draws_of(maximum, key, (chains, draws))
    return Result(_independent(u, eta), maximum)
