"""The engines: each turns a density and a start into draws, all in one form."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.inference.chains import TARGET_ACCEPTANCE, Chains, Info
from ckin.inference.checkpoint import Branch, Memory
from ckin.inference.convergence import Verdict, verdict
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry
from ckin.inference.gridding import GRID_DRAWS, on_grid
from ckin.inference.kernels import Kernel
from ckin.inference.ladder import Approximation, resampled, weighed, why
from ckin.inference.laplace import PopulationLaplace
from ckin.inference.maximum import Maximum, draws_of, maximise, start_from
from ckin.inference.nuts import Draws, joined, sample, settle, start_chains, warm_up
from ckin.inference.results import summarise
from ckin.population import GridReport


# A fit that has not converged after `draws` goes on, up to this many times as many.
MAX_BLOCKS = 4

# Mean acceptance that the step size is adapted to. Where too many transitions diverge
# the draws are thrown away and made anew with smaller steps, as one would by hand.
TARGETS = (TARGET_ACCEPTANCE, 0.95, 0.99)

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
        anew: why draws were thrown away and made anew, one sentence a time.
        approximation: what was found of the Laplace approximation, if it was judged.
        why: why `auto` took this rung.
    """

    draws: Draws
    maximum: Maximum | None = None
    warmup_divergences: int = 0
    step_size: float | None = None
    leapfrogs_per_chain: int = 0
    anew: tuple[str, ...] = ()
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
    """Sample; go on while that helps, and anew with smaller steps where they help."""
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
    anew: list[str] = []
    for next_target in (*TARGETS[1:], None):
        stage = "sampling anew" if anew else "sampling"
        state, drawn, judged = _until_it_serves(
            density,
            sampler,
            state,
            draws,
            partial(_told, report, stage),
            memory,
            patient=next_target is None,
        )
        if next_target is None or not judged.smaller_steps_help:
            break
        anew.append(
            f"{int(drawn.info.diverging.sum())} of {drawn.info.lp.size} transitions "
            f"diverged: sampled anew with smaller steps (acceptance {next_target:g})"
        )
        memory = Branch(memory, f"after-{state.chunks:05d}")
        settling = partial(report, "smaller steps")
        state = settle(density, state, warmup, next_target, settling, memory)
    return Result(
        drawn,
        None,
        state.warmup_divergences,
        state.step_size,
        state.leapfrogs // chains,
        tuple(anew),
    )


def _told(report: Report, stage: str, block: int, done: int, total: int) -> None:
    report(
        stage if block == 1 else f"{stage} on ({block} of {MAX_BLOCKS})", done, total
    )


def _until_it_serves(
    density: Density,
    sampler: Sampler,
    state: Chains,
    draws: int,
    told: Callable[[int, int, int], None],
    memory: Memory,
    *,
    patient: bool,
) -> tuple[Chains, Draws, Verdict]:
    """Blocks of draws while more of them help; not `patient`, until steps are too long.

    Returns:
        The chains, all draws, and what they are worth.
    """
    blocks: list[Draws] = []
    while True:
        told_block = partial(told, len(blocks) + 1)
        state, more = sample(density, state, draws, told_block, memory)
        blocks.append(more)
        so_far = joined(blocks)
        _, table = summarise(density, so_far.u, sampler.together)
        divergences = int(so_far.info.diverging.sum())
        judged = verdict(
            table, divergences=divergences, draws=so_far.info.lp.size, unsolved=0
        )
        done = len(blocks) == MAX_BLOCKS or not judged.longer_helps
        if done or (judged.smaller_steps_help and not patient):
            return state, so_far, judged


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
