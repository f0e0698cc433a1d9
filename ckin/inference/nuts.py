"""NUTS (BlackJAX) in whitened coordinates, chains as lanes, in chunks we own.

Chains advance together, one `vmap` lane each. Warm-up is short because the geometry
is known beforehand: windows that adapt the one step size of all chains, and between
windows the population's centre and factor and the patients' scales are re-estimated
from all chains pooled. Every chunk is one call of one compiled function, with all its
state explicit, so that progress can be shown between chunks.
"""

from collections.abc import Callable
from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import dual_averaging_adaptation
from blackjax.mcmc.hmc import HMCState
from jax import lax

from ckin._types import Array, Float
from ckin.inference.density import Density
from ckin.inference.geometry import Geometry


# Stan's default is 0.8; the kinks of piecewise models (a peak day) ask for more.
TARGET_ACCEPTANCE = 0.85
MAX_DOUBLINGS = 8
CHUNK = 25
# Shares of warm-up spent in each window; the metric is re-estimated after all but
# the last, which settles the step size.
WINDOWS = (0.2, 0.3, 0.3, 0.2)
# Draws' worth of weight of the previous metric when it is re-estimated.
PRIOR_WEIGHT = 20.0


class Info(NamedTuple):
    """Diagnostics of each draw, arrays (chains, draws)."""

    acceptance_rate: Array
    diverging: Array
    n_steps: Array
    energy: Array
    lp: Array


class Draws(NamedTuple):
    """Draws of all chains.

    Attributes:
        u: (chains, draws, population parameters), unconstrained.
        eta: (chains, draws, patients, varying).
        info: diagnostics.
        warmup_divergences: number during warm-up.
        step_size: final step size of all chains.
        leapfrogs: gradient evaluations of one chain on average, warm-up included.
    """

    u: np.ndarray
    eta: np.ndarray
    info: Info
    warmup_divergences: int
    step_size: float
    leapfrogs: int


class _Chains(eqx.Module):
    """Everything that a chunk needs to go on."""

    state: HMCState
    averaging: NamedTuple
    inverse_mass: Float[Array, " dimensions"]
    geometry: Geometry


_init, _update, _final = dual_averaging_adaptation(TARGET_ACCEPTANCE)


@eqx.filter_jit
def _advance(
    density: Density, chains: _Chains, key: Array, adapt: Array
) -> tuple[_Chains, Array, Info]:
    """CHUNK transitions of every chain; the step size adapts where `adapt`."""
    kernel = blackjax.nuts.build_kernel()
    inverse_mass = chains.inverse_mass

    def log_density(position):
        return chains.geometry.log_density(density, position)

    def one(key, state, step_size):
        return kernel(
            key,
            state,
            log_density,
            step_size,
            inverse_mass,
            max_num_doublings=MAX_DOUBLINGS,
        )

    def transition(carry, key):
        states, averaging = carry
        exponent = jnp.where(
            adapt, averaging.log_step_size, averaging.log_step_size_avg
        )
        keys = jax.random.split(key, chains.state.position.shape[0])
        states, info = jax.vmap(one, in_axes=(0, 0, None))(
            keys, states, jnp.exp(exponent)
        )
        # One step size for all: the mean acceptance of the chains steers it.
        adapted = _update(averaging, jnp.mean(info.acceptance_rate))
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

    keys = jax.random.split(key, CHUNK)
    (states, averaging), (positions, info) = lax.scan(
        transition, (chains.state, chains.averaging), keys
    )
    chains = _Chains(states, averaging, inverse_mass, chains.geometry)
    by_chain = jax.tree.map(lambda rows: jnp.swapaxes(rows, 0, 1), (positions, info))
    return chains, *by_chain


@eqx.filter_jit
def _start(
    density: Density,
    geometry: Geometry,
    positions: Array,
    inverse_mass: Array,
    step_size: Array,
) -> _Chains:
    """Chains at these positions, with the step size to be found anew."""
    state = jax.vmap(
        lambda p: blackjax.nuts.init(p, lambda p: geometry.log_density(density, p))
    )(positions)
    # Strong types, or the first chunk after a start compiles apart from the others.
    averaging = jax.tree.map(lambda v: jnp.asarray(v, jnp.result_type(v)), _init(step_size))
    return _Chains(state, averaging, inverse_mass, geometry)


@eqx.filter_jit
def _naturals(density: Density, geometry: Geometry, positions: Array):
    """(u, η) of positions (chains, draws, dimensions)."""
    one = lambda position: geometry.to_natural(density, position)[:2]
    return jax.vmap(jax.vmap(one))(positions)


def sample_nuts(
    density: Density,
    geometry: Geometry,
    key: Array,
    *,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Draws:
    """Draws of the posterior.

    Args:
        density: the posterior.
        geometry: coordinates to start with (from `fit_laplace`).
        key: random key; the same key gives the same draws on the same machine.
        chains: number of chains.
        warmup: transitions of each chain that adapt and are thrown away, rounded up
            to whole chunks.
        draws: transitions of each chain that are kept.
        report: called with (stage, transitions done, transitions in all).
    """
    n_hyper = density.n_hyper
    dimensions = n_hyper + int(np.prod(density.eta_shape))
    windows = [max(1, round(share * warmup / CHUNK)) for share in WINDOWS]
    n_chunks = -(-draws // CHUNK)
    total = (sum(windows) + n_chunks) * CHUNK
    start_key, key = jax.random.split(key)
    state = _start(
        density,
        geometry,
        jax.random.normal(start_key, (chains, dimensions)),
        jnp.ones(dimensions),
        jnp.asarray(dimensions**-0.25),
    )
    done = warmup_divergences = leapfrogs = 0
    adapting, fixed = jnp.array(True), jnp.array(False)
    report("warm-up", done, total)
    for number, n in enumerate(windows):
        seen = []
        for _ in range(n):
            key, chunk_key = jax.random.split(key)
            state, positions, info = _advance(density, state, chunk_key, adapting)
            seen.append(np.asarray(positions))
            warmup_divergences += int(info.diverging.sum())
            leapfrogs += int(info.n_steps.sum())
            done += CHUNK
            report("warm-up", done, total)
        if number < len(windows) - 1:
            state = _retuned(density, state, np.concatenate(seen, axis=1), n_hyper)
    kept, infos = [], []
    for _ in range(n_chunks):
        key, chunk_key = jax.random.split(key)
        state, positions, info = _advance(density, state, chunk_key, fixed)
        natural = _naturals(density, state.geometry, positions)
        kept.append(jax.tree.map(np.asarray, natural))
        infos.append(jax.tree.map(np.asarray, info))
        leapfrogs += int(info.n_steps.sum())
        done += CHUNK
        report("sampling", done, total)
    u, eta = (np.concatenate(rows, axis=1)[:, :draws] for rows in zip(*kept))
    info = Info(*(np.concatenate(rows, axis=1)[:, :draws] for rows in zip(*infos)))
    return Draws(
        u=u,
        eta=eta,
        info=info,
        warmup_divergences=warmup_divergences,
        step_size=float(jnp.exp(state.averaging.log_step_size_avg)),
        leapfrogs=leapfrogs // chains,
    )


def _retuned(
    density: Density, state: _Chains, positions: np.ndarray, n_hyper: int
) -> _Chains:
    """New coordinates of the population and scales of the patients, from all chains.

    Args:
        density: the posterior.
        state: the chains.
        positions: of the window just ended, (chains, draws, dimensions).
        n_hyper: number of population parameters.
    """
    flat = positions.reshape(-1, positions.shape[-1])
    w, z = flat[:, :n_hyper], flat[:, n_hyper:]
    # Draws are correlated: count a tenth of them as information.
    count = flat.shape[0] / 10.0
    weight = count / (count + PRIOR_WEIGHT)
    covariance = weight * np.cov(w.T) + (1.0 - weight) * np.eye(n_hyper)
    factor = np.asarray(state.geometry.factor)
    centre = np.asarray(state.geometry.centre) + factor @ (weight * w.mean(0))
    geometry, position = state.geometry.recentred(
        jnp.asarray(centre),
        jnp.asarray(factor @ np.linalg.cholesky(covariance)),
        state.state.position,
    )
    scale = weight * z.var(axis=0) + (1.0 - weight)
    return _start(
        density,
        geometry,
        position,
        jnp.concatenate([jnp.ones(n_hyper), jnp.asarray(scale)]),
        jnp.exp(state.averaging.log_step_size_avg),
    )
