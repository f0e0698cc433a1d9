"""How many steps a day RK4 needs to be stable, whatever they are good for.

An adaptive solve lengthens its steps where nothing happens, up to where the fastest
decay there is just stable. A patient of slightly faster rates is unstable on the same
steps: what has died out comes back as noise that grows with every step, and the
reading is off by decades. A sampler meets such patients in the tails, as a cliff.
"""

import jax
import jax.numpy as jnp

from ckin._types import Array, Float
from ckin.solve.given import Given, rows_of, slope_after
from ckin.solve.grid import Grid
from ckin.solve.occasions import Patientlike, at_occasion
from ckin.solve.scale import within_limits
from ckin.solve.walk import states_before_steps


# Step × |eigenvalue| that a grid allows. RK4 is stable up to 2.6 at the least in every
# direction of the left half-plane (2.78 on the real axis).
STABLE = 2.6

# Power of the Jacobian, as doublings: what its root says is then 0.5 to 5% too much
# (flagship, 34 patients, 68,000 steps).
SQUARINGS = 8


def jacobians(model: Patientlike, grid: Grid) -> Float[Array, "steps states states"]:
    """Jacobian of the solver's variables at the start of each step, per day.

    Args:
        model: of the patient.
        grid: of the patient, fine enough for this one. All are 0 if the walk blew up.
    """
    path, finite = states_before_steps(model, grid)

    def jacobian(w, given: Given) -> Array:
        own = at_occasion(model, given.occasion)

        def field(values):
            w = within_limits(own, type(path)(*values))
            return jnp.stack(slope_after(own, given.time_d, w, given, grid))

        return jax.jacfwd(field)(jnp.stack(w))

    found = jax.vmap(jacobian)(path, rows_of(grid))
    return jnp.where(finite & jnp.isfinite(found), found, 0.0)


def steps_for_stability(jacobian: Float[Array, "*batch states states"]) -> Array:
    """Steps per day at which RK4 damps whatever decays; never too few.

    Rates on the diagonal would not do: where cells divide in a chain and call the next
    ones in, eigenvalues lie on a circle around them, up to twice as far out. The norm
    of a high power says how far: no eigenvalue is larger than its root, which is at
    most a few percent more (Gelfand), and squaring costs a quarter of solving for them.
    Growth is counted with decay, though it asks for no step: of that it asks less than
    its accuracy does.

    Args:
        jacobian: of the solver's variables, per day.

    Returns:
        (*batch,); 0 where nothing moves.
    """
    # The power is exp(log_scale) times `power`, whose numbers stay near 1.
    log_scale, power = jnp.zeros(jacobian.shape[:-2]), jacobian
    for _ in range(SQUARINGS):
        largest = jnp.max(jnp.abs(power), axis=(-2, -1))
        largest = jnp.where(largest > 0.0, largest, 1.0)
        power = power / largest[..., None, None]
        log_scale, power = 2.0 * (log_scale + jnp.log(largest)), power @ power
    norm = jnp.sqrt(jnp.sum(power**2, axis=(-2, -1)))
    return jnp.exp((log_scale + jnp.log(norm)) / 2.0**SQUARINGS) / STABLE
