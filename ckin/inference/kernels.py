"""One transition of a chain: NUTS, or HMC of a length that is known beforehand.

In the coordinates of `geometry` the posterior is nearly a standard normal, in which a
trajectory of time t goes half round at t = π: how long it should be needs no search.
`hmc` draws a time between 0 and `LONGEST` for each transition, the same for all chains,
so that lanes end together; NUTS finds the length anew in each transition of each chain,
and lanes wait for the deepest tree.
"""

from collections.abc import Callable
from typing import Literal

import blackjax
import jax
import jax.numpy as jnp

from ckin._types import Array


Kernel = Literal["nuts", "hmc"]

MAX_DOUBLINGS = 8

# Time of a trajectory of HMC: uniform between 0 and this. Positions of a standard
# normal a transition apart are then uncorrelated: E cos t = sin(π) / π.
LONGEST = jnp.pi
MAX_LEAPFROGS = 2**MAX_DOUBLINGS


def transition(
    kernel: Kernel, log_density: Callable[[Array], Array], dimensions: int
) -> Callable:
    """A transition of one chain.

    Args:
        kernel: which.
        log_density: of a position.
        dimensions: of a position.

    Returns:
        (key of the chain, key of all chains, state, step size) to (state, info).
    """
    # The metric is the identity: the geometry does all that one could do.
    inverse_mass = jnp.ones(dimensions)
    if kernel == "nuts":
        nuts = blackjax.nuts.build_kernel()
        return lambda key, _, state, step_size: nuts(
            key,
            state,
            log_density,
            step_size,
            inverse_mass,
            max_num_doublings=MAX_DOUBLINGS,
        )
    hmc = blackjax.hmc.build_kernel()

    def one(key, shared, state, step_size):
        time = LONGEST * jax.random.uniform(shared)
        steps = jnp.clip(jnp.ceil(time / step_size), 1, MAX_LEAPFROGS).astype(int)
        return hmc(key, state, log_density, step_size, inverse_mass, steps)

    return one
