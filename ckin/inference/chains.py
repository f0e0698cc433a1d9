"""Chains side by side: their state, and the one compiled function that moves them.

Chains advance together, one `vmap` lane each, shared out over the devices (GPUs, or as
many CPU devices as JAX was told to make: `jax_num_cpu_devices`). All state is explicit.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import (
    DualAveragingAdaptationState,
    dual_averaging_adaptation,
)
from blackjax.mcmc.hmc import HMCState
from jax import lax

from ckin._types import Array, ArrayLike
from ckin.inference.density import Density
from ckin.inference.geometry import Change, Geometry
from ckin.inference.kernels import Kernel
from ckin.inference.kernels import transition as moved


# Stan's default.
TARGET_ACCEPTANCE = 0.8
CHUNK = 25
# Name of the axis of chains that devices share.
LANES = "chains"


class Info(NamedTuple):
    """Diagnostics of each draw, arrays (chains, draws)."""

    acceptance_rate: ArrayLike
    diverging: ArrayLike
    n_steps: ArrayLike
    energy: ArrayLike
    lp: ArrayLike


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
def advance(
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

    one = moved(kernel, _with_its_slope(density, geometry, dimensions), dimensions)

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


def _with_its_slope(
    density: Density, geometry: Geometry, dimensions: int
) -> Callable[[Array], Array]:
    """The log density of a position, whose gradient is known without a trace.

    Value and gradient are traced here, once: a sampler asks for them in four places.
    And before the chains are shared out: a loop of equinox (every diffrax solve) that
    is differentiated inside `shard_map` takes its own arguments for others, for they
    lie elsewhere (equinox 0.13.8).
    """
    traced = jax.make_jaxpr(jax.value_and_grad(partial(geometry.log_density, density)))
    both = jax.extend.core.jaxpr_as_fun(traced(jnp.zeros(dimensions)))

    @jax.custom_vjp
    def log_density(position):
        return both(position)[0]

    log_density.defvjp(
        lambda position: tuple(both(position)),
        lambda slope, cotangent: (cotangent * slope,),
    )
    return log_density


def devices_for(chains: int) -> int:
    """Devices that share the chains evenly, as many as there are."""
    return max(n for n in range(1, len(jax.devices()) + 1) if chains % n == 0)


def _mesh(n_devices: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.devices()[:n_devices]), (LANES,))


def begun(positions: np.ndarray) -> HMCState:
    """Chains at positions (chains, dimensions) of which nothing is computed.

    For warm-up only. The posterior is nearly a standard normal in these coordinates, so
    a first trajectory leaves with the slope of one; and it ends at one of the places it
    has come by, all of which are better than what stands for the density here. To
    compute where it began would take a program of its own, compiled for seconds, for
    numbers that are used once.
    """
    # As low as leaves places that differ by a nat to be told apart from there.
    unknown = -1.0 / np.finfo(positions.dtype).eps
    lowest = np.full(len(positions), unknown, positions.dtype)
    return _on_devices(positions, lowest, -positions)


def moved_along(state: HMCState, change: Change) -> HMCState:
    """The same chains in other coordinates."""
    return _on_devices(
        change.positions(np.asarray(state.position)),
        np.asarray(state.logdensity) + change.log_det,
        change.gradients(np.asarray(state.logdensity_grad)),
    )


def _on_devices(*each: np.ndarray) -> HMCState:
    """Chains on the devices as `advance` leaves them: it is compiled once then."""
    shares, _ = shardings(len(each[0]))
    return HMCState(*jax.device_put(each, shares))


def searching(step_size: float, chains: int) -> DualAveragingAdaptationState:
    """A step size to be found anew, from this one."""
    _, whole = shardings(chains)
    # Strong types, or the first chunk after a start compiles apart from the others.
    averaging = _init(jnp.asarray(step_size))
    strong = jax.tree.map(lambda v: np.asarray(v, jnp.result_type(v)), averaging)
    return jax.device_put(strong, whole)


def shardings(chains: int) -> list[jax.sharding.NamedSharding]:
    """Where what each chain has lies, and what all have."""
    mesh = _mesh(devices_for(chains))
    return [jax.sharding.NamedSharding(mesh, spec) for spec in (jax.P(LANES), jax.P())]
