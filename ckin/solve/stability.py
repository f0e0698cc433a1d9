"""How many steps a day RK4 needs to be stable, whatever they are good for.

An adaptive solve lengthens its steps where nothing happens, up to where the fastest
decay there is just stable. A patient of slightly faster rates is unstable on the same
steps: what has died out comes back as noise that grows with every step, and the
reading is off by decades. A sampler meets such patients in the tails, as a cliff.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.solve.given import Given, rows_of, slope_after
from ckin.solve.grid import Grid
from ckin.solve.occasions import Patientlike, at_occasion
from ckin.solve.scale import within_limits
from ckin.solve.walk import states_before_steps


# Step × |eigenvalue| that a grid allows. RK4 is stable up to 2.6 at the least in every
# direction of the left half-plane (2.78 on the real axis).
STABLE = 2.6


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


def steps_for_stability(
    jacobian: Float[np.ndarray, "*batch states states"],
) -> Float[np.ndarray, "*batch"]:
    """Steps per day at which RK4 damps whatever decays.

    Rates on the diagonal would not do: where cells divide in a chain and call the next
    ones in, eigenvalues lie on a circle around them, up to twice as far out.
    """
    eigenvalues = np.linalg.eigvals(jacobian)
    decaying = np.where(eigenvalues.real < 0.0, np.abs(eigenvalues), 0.0)
    return np.asarray(decaying.max(axis=-1, initial=0.0) / STABLE)
