"""NUTS (BlackJAX) in whitened coordinates, chains as lanes, in chunks we own.

Chains advance together, one `vmap` lane each, shared out over the devices (GPUs, or as
many CPU devices as JAX was told to make: `jax_num_cpu_devices`). Warm-up is short
because the geometry is known beforehand: windows that adapt the one step size of all
chains, and between windows the coordinates of the population and of each patient are
fitted to the draws of all chains pooled. Every chunk is one call of one compiled
function and all state is explicit (`Chains`), so that progress can be shown between
chunks, and what a chunk gives can be kept (`checkpoint`): chunk by chunk the number of
those before says where in warm-up or sampling it is.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import (
    DualAveragingAdaptationState,
    dual_averaging_adaptation,
)
from blackjax.mcmc.hmc import HMCState
from jax import lax

from ckin._types import Array, ArrayLike
from ckin.inference.checkpoint import FORGETFUL, Memory
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry, naturals
from ckin.inference.kernels import Kernel
from ckin.inference.kernels import transition as moved


# Stan's default.
TARGET_ACCEPTANCE = 0.8
CHUNK = 25
# Shares of warm-up spent in each window; the metric is re-estimated after all but
# the last, which settles the step size.
WINDOWS = (0.2, 0.3, 0.3, 0.2)
# Name of the axis of chains that devices share.
LANES = "chains"
# Draws' worth of weight of the previous metric when it is re-estimated.
PRIOR_WEIGHT = 20.0


class Info(NamedTuple):
    """Diagnostics of each draw, arrays (chains, draws)."""

    acceptance_rate: ArrayLike
    diverging: ArrayLike
    n_steps: ArrayLike
    energy: ArrayLike
    lp: ArrayLike


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


class Chains(eqx.Module):
    """Everything that sampling needs to go on: the same state goes on the same way.

    Attributes:
        state: positions (chains, dimensions), log densities and their gradients.
        averaging: step size of all chains, and what adapts it.
        geometry: coordinates.
        key: of the transitions to come.
        leapfrogs: gradient evaluations so far, of all chains.
        warmup_divergences: divergent transitions while adapting.
        chunks: done so far, warm-up included.
        target: mean acceptance that the step size is adapted to.
        kernel: what moves them.
    """

    state: HMCState
    averaging: DualAveragingAdaptationState
    geometry: Geometry
    key: Array
    leapfrogs: int = 0
    warmup_divergences: int = 0
    chunks: int = 0
    target: float = TARGET_ACCEPTANCE
    kernel: Kernel = eqx.field(static=True, default="nuts")

    @property
    def step_size(self) -> float:
        """Step size of all chains, after adaptation."""
        return float(jnp.exp(self.averaging.log_step_size_avg))


_init, _update, _final = dual_averaging_adaptation(TARGET_ACCEPTANCE)


@eqx.filter_jit
def _advance(
    density: Density,
    chains: tuple,
    geometry: Geometry,
    key: Array,
    adapt: Array,
    target: Array,
    n_devices: int,
    kernel: Kernel,
) -> tuple[tuple, Array, Info]:
    """CHUNK transitions of every chain; where `adapt`, the step size to `target`.

    Each device takes its share of the chains and waits for the others only to average
    the acceptance. Keys go by chain, so devices change no random number.
    """
    n_chains, dimensions = chains[0].position.shape

    # Traced once: a sampler asks for it in four places.
    @partial(jax.jit, inline=True)
    def log_density(position):
        return geometry.log_density(density, position)

    one = moved(kernel, log_density, dimensions)

    def transition(carry, key):
        states, averaging = carry
        exponent = jnp.where(
            adapt, averaging.log_step_size, averaging.log_step_size_avg
        )
        here = states.position.shape[0]
        keys = lax.dynamic_slice_in_dim(
            jax.random.split(key, n_chains), lax.axis_index(LANES) * here, here
        )
        # Of all chains: a key that is none of theirs.
        shared = jax.random.fold_in(key, n_chains)
        states, info = jax.vmap(one, in_axes=(0, None, 0, None))(
            keys, shared, states, jnp.exp(exponent)
        )
        # One step size for all: the mean acceptance of the chains steers it.
        acceptance = lax.pmean(jnp.mean(info.acceptance_rate), LANES)
        # What steers is the difference from the target that `_update` was made for.
        adapted = _update(averaging, acceptance + TARGET_ACCEPTANCE - target)
        averaging = jax.tree.map(
            lambda new, old: jnp.where(adapt, new, old), adapted, averaging
        )
        kept = Info(
            info.acceptance_rate,
            info.is_divergent,
            info.num_integration_steps,
            info.energy,
            states.logdensity,
        )
        return (states, averaging), (states.position, kept)

    each, whole = jax.P(LANES), jax.P()
    shared_out = jax.shard_map(
        lambda chains, keys: lax.scan(transition, chains, keys),
        mesh=_mesh(n_devices),
        in_specs=((each, whole), whole),
        out_specs=((each, whole), jax.P(None, LANES)),
        check_vma=False,
    )
    chains, seen = shared_out(chains, jax.random.split(key, CHUNK))
    return chains, *jax.tree.map(lambda rows: jnp.swapaxes(rows, 0, 1), seen)


def devices_for(chains: int) -> int:
    """Devices that share the chains evenly, as many as there are."""
    return max(n for n in range(1, len(jax.devices()) + 1) if chains % n == 0)


def _mesh(n_devices: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.devices()[:n_devices]), (LANES,))


def _placed(
    density: Density, geometry: Geometry, positions: Array, step_size: Array
) -> tuple:
    """Chains at these positions, with the step size to be found anew.

    They lie on the devices as `_advance` leaves them: both are compiled once then.
    """
    each, whole = _shardings(positions.shape[0])
    positions = jax.device_put(positions, each)
    state, averaging = _begun(density, geometry, positions, step_size)
    return jax.device_put(state, each), jax.device_put(averaging, whole)


def _shardings(chains: int) -> list[jax.sharding.NamedSharding]:
    """Where what each chain has lies, and what all have."""
    mesh = _mesh(devices_for(chains))
    return [jax.sharding.NamedSharding(mesh, spec) for spec in (jax.P(LANES), jax.P())]


@eqx.filter_jit
def _begun(
    density: Density, geometry: Geometry, positions: Array, step_size: Array
) -> tuple:
    state = jax.vmap(
        lambda p: blackjax.nuts.init(p, lambda p: geometry.log_density(density, p))
    )(positions)
    # Strong types, or the first chunk after a start compiles apart from the others.
    averaging = jax.tree.map(
        lambda v: jnp.asarray(v, jnp.result_type(v)), _init(step_size)
    )
    return state, averaging


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
    """Chains with a key again, on the devices as `_advance` leaves them."""
    each, whole = _shardings(cast(Array, bare.state.position).shape[0])
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
        positions = jnp.repeat(places, together, axis=0)
        state, averaging = _placed(
            density, geometry, positions, jnp.asarray(dimensions**-0.25)
        )
        return _bare(Chains(state, averaging, geometry, onwards, kernel=kernel))

    return _whole(memory.step(step_of(0), Chains, make))


def _chunk(density: Density, chains: Chains, *, adapt: bool):
    """One chunk: the chains after it, positions (chains, CHUNK, dimensions), info."""
    key, chunk_key = jax.random.split(chains.key)
    (state, averaging), positions, info = _advance(
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
            chains = _retuned(density, chains, np.concatenate(seen, axis=1))
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
    chains = dataclasses.replace(chains, target=target)
    if not memory.holds(step_of(chains.chunks + 1)):
        positions = cast(Array, chains.state.position)
        step_size = jnp.asarray(chains.step_size)
        state, averaging = _placed(density, chains.geometry, positions, step_size)
        chains = dataclasses.replace(chains, state=state, averaging=averaging)
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


def _retuned(density: Density, chains: Chains, positions: np.ndarray) -> Chains:
    """Coordinates fitted to a window of draws of all chains.

    Args:
        density: the posterior.
        chains: at the end of the window.
        positions: of the window, (chains, draws, dimensions).
    """
    flat = positions.reshape(-1, positions.shape[-1])
    # Draws are correlated: count a tenth of them as information.
    count = flat.shape[0] / 10.0
    geometry, moved = chains.geometry.fitted_to(
        flat, cast(Array, chains.state.position), count / (count + PRIOR_WEIGHT)
    )
    state, averaging = _placed(density, geometry, moved, jnp.asarray(chains.step_size))
    return dataclasses.replace(
        chains, state=state, averaging=averaging, geometry=geometry
    )
