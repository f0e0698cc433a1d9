"""NUTS (BlackJAX) in whitened coordinates, in chunks we own.

Warm-up is short because the geometry is known beforehand: windows that adapt the one
step size of all chains, and between windows the coordinates of the population and of
each patient are fitted to the draws of all chains pooled. Every chunk is one call of
one compiled function (`chains.advance`), so that progress can be shown between chunks,
and what a chunk gives can be kept (`checkpoint`): chunk by chunk the number of those
before says where in warm-up or sampling it is.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import DualAveragingAdaptationState

from ckin._types import Array
from ckin.inference.chains import (
    CHUNK,
    Chains,
    Info,
    advance,
    begun,
    devices_for,
    moved_along,
    searching,
    shardings,
)
from ckin.inference.checkpoint import FORGETFUL, Memory
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry, naturals
from ckin.inference.kernels import Kernel


# Shares of warm-up spent in each window; the metric is re-estimated after all but
# the last, which settles the step size.
WINDOWS = (0.2, 0.3, 0.3, 0.2)
# Draws' worth of weight of the previous metric when it is re-estimated.
PRIOR_WEIGHT = 20.0


class Draws(NamedTuple):
    """Draws of all chains.

    Attributes:
        u: (chains, draws, population parameters), unconstrained.
        eta: (chains, draws, patients, varying).
        info: diagnostics.
    """

    u: np.ndarray
    eta: np.ndarray
    info: Info


class _Warmed(NamedTuple):
    """What a chunk of warm-up gives; the key in `chains` as its bits."""

    chains: Chains
    positions: np.ndarray


class _Sampled(NamedTuple):
    """What a chunk of sampling gives; the key in `chains` as its bits."""

    chains: Chains
    draws: Draws


def step_of(chunk: int) -> str:
    """Name of the step of a fit that a chunk is; 0 is the start of the chains."""
    return f"chunk-{chunk:05d}"


def _bare(chains: Chains) -> Chains:
    return dataclasses.replace(chains, key=jax.random.key_data(chains.key))


def _whole(bare: Chains) -> Chains:
    """Chains with a key again, on the devices as `advance` leaves them."""
    each, whole = shardings(cast(Array, bare.state.position).shape[0])
    return dataclasses.replace(
        bare,
        state=jax.device_put(bare.state, each),
        averaging=jax.device_put(bare.averaging, whole),
        key=jax.random.wrap_key_data(bare.key),
    )


def start_chains(
    density: Density,
    geometry: Geometry,
    key: Array,
    *,
    chains: int,
    together: int = 1,
    kernel: Kernel = "nuts",
    memory: Memory = FORGETFUL,
) -> Chains:
    """Chains at independent draws of the Laplace approximation.

    Args:
        density: the posterior.
        geometry: coordinates (from `fit_laplace`).
        key: random key; the same key gives the same draws on the same machine.
        chains: number of chains.
        together: so many neighbours start at one place (a superchain).
        kernel: what moves them.
        memory: of chunks that are done.
    """

    def make() -> Chains:
        dimensions = density.n_hyper + int(np.prod(density.eta_shape))
        start_key, onwards = jax.random.split(key)
        places = jax.random.normal(start_key, (chains // together, dimensions))
        state = begun(np.repeat(np.asarray(places), together, axis=0))
        averaging = searching(dimensions**-0.25, chains)
        return _bare(Chains(state, averaging, geometry, onwards, kernel=kernel))

    return _whole(memory.step(step_of(0), Chains, make))


def _chunk(density: Density, chains: Chains, *, adapt: bool):
    """One chunk: the chains after it, positions (chains, CHUNK, dimensions), info."""
    key, chunk_key = jax.random.split(chains.key)
    (state, averaging), positions, info = advance(
        density,
        (chains.state, chains.averaging),
        chains.geometry,
        chunk_key,
        jnp.array(adapt),
        jnp.asarray(chains.target),
        devices_for(cast(Array, chains.state.position).shape[0]),
        chains.kernel,
    )
    after = dataclasses.replace(
        chains,
        state=state,
        averaging=averaging,
        key=key,
        leapfrogs=chains.leapfrogs + int(info.n_steps.sum()),
        warmup_divergences=chains.warmup_divergences
        + (int(info.diverging.sum()) if adapt else 0),
        chunks=chains.chunks + 1,
    )
    return after, np.asarray(positions), jax.tree.map(np.asarray, info)


def _warmed(density: Density, chains: Chains, memory: Memory):
    """A chunk of warm-up: the chains after it, positions."""

    def make() -> _Warmed:
        after, positions, _ = _chunk(density, chains, adapt=True)
        return _Warmed(_bare(after), positions)

    found = memory.step(step_of(chains.chunks + 1), _Warmed, make)
    return _whole(found.chains), found.positions


def _sampled(density: Density, chains: Chains, memory: Memory) -> tuple[Chains, Draws]:
    """A chunk of sampling: the chains after it, draws (chains, CHUNK)."""

    def make() -> _Sampled:
        after, positions, info = _chunk(density, chains, adapt=False)
        u, eta = naturals(density, chains.geometry, jnp.asarray(positions))
        return _Sampled(_bare(after), Draws(np.asarray(u), np.asarray(eta), info))

    found = memory.step(step_of(chains.chunks + 1), _Sampled, make)
    return _whole(found.chains), jax.tree.map(np.asarray, found.draws)


def warm_up(
    density: Density,
    chains: Chains,
    transitions: int,
    report: Callable[[int, int], None] = lambda *_: None,
    memory: Memory = FORGETFUL,
) -> Chains:
    """Adapt the step size and the coordinates.

    Args:
        density: the posterior.
        chains: from `start_chains`.
        transitions: of each chain, rounded to whole chunks (one a window at least).
        report: called with (transitions done, transitions in all).
        memory: of chunks that are done.
    """
    windows = [max(1, round(share * transitions / CHUNK)) for share in WINDOWS]
    done, total = 0, sum(windows) * CHUNK
    report(done, total)
    for number, n_chunks in enumerate(windows):
        seen = []
        for _ in range(n_chunks):
            chains, positions = _warmed(density, chains, memory)
            seen.append(positions)
            done += CHUNK
            report(done, total)
        # A chunk that is known has its coordinates with it.
        known = memory.holds(step_of(chains.chunks + 1))
        if number < len(windows) - 1 and not known:
            chains = retuned(chains, np.concatenate(seen, axis=1))
    return chains


def settle(
    density: Density,
    chains: Chains,
    transitions: int,
    target: float,
    report: Callable[[int, int], None] = lambda *_: None,
    memory: Memory = FORGETFUL,
) -> Chains:
    """Adapt the step size alone, to another acceptance, where the chains are.

    Args:
        density: the posterior.
        chains: after `warm_up`.
        transitions: of a whole warm-up, of which this is the last window.
        target: mean acceptance; nearer to 1 are smaller steps.
        report: called with (transitions done, transitions in all).
        memory: of chunks that are done.
    """
    n_chunks = max(1, round(WINDOWS[-1] * transitions / CHUNK))
    chains = dataclasses.replace(chains, target=target, averaging=_anew(chains))
    report(0, n_chunks * CHUNK)
    for number in range(1, n_chunks + 1):
        chains, _ = _warmed(density, chains, memory)
        report(number * CHUNK, n_chunks * CHUNK)
    return chains


def sample(
    density: Density,
    chains: Chains,
    draws: int,
    report: Callable[[int, int], None] = lambda *_: None,
    memory: Memory = FORGETFUL,
) -> tuple[Chains, Draws]:
    """Draws of the posterior, and the chains after them.

    Args:
        density: the posterior.
        chains: after `warm_up`.
        draws: kept draws of each chain.
        report: called with (transitions done, transitions in all).
        memory: of chunks that are done.
    """
    n_chunks = -(-draws // CHUNK)
    chunks = []
    report(0, n_chunks * CHUNK)
    for number in range(1, n_chunks + 1):
        chains, drawn = _sampled(density, chains, memory)
        chunks.append(drawn)
        report(number * CHUNK, n_chunks * CHUNK)
    return chains, jax.tree.map(lambda rows: rows[:, :draws], joined(chunks))


def joined(blocks: list[Draws]) -> Draws:
    """Blocks of draws as one, in order."""
    return jax.tree.map(lambda *rows: np.concatenate(rows, axis=1), *blocks)


def retuned(chains: Chains, positions: np.ndarray) -> Chains:
    """Coordinates fitted to a window of draws of all chains.

    Args:
        chains: at the end of the window.
        positions: of the window, (chains, draws, dimensions).
    """
    flat = positions.reshape(-1, positions.shape[-1])
    # Draws are correlated: count a tenth of them as information.
    count = flat.shape[0] / 10.0
    weight = count / (count + PRIOR_WEIGHT)
    geometry, change = chains.geometry.fitted_to(flat, weight)
    return dataclasses.replace(
        chains,
        state=moved_along(chains.state, change),
        averaging=_anew(chains),
        geometry=geometry,
    )


def _anew(chains: Chains) -> DualAveragingAdaptationState:
    """The step size to be found anew, from where it is."""
    return searching(chains.step_size, cast(Array, chains.state.position).shape[0])
