"""Classical Runge-Kutta of order four, as a diffrax solver that XLA can fuse.

diffrax's own Runge-Kutta solvers keep their stages in one buffer, which costs several
times the arithmetic of a small system. Here a step is plain arithmetic over the leaves
of the state: under `vmap` each leaf is one row of patients, and XLA fuses rows.
"""

from typing import ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax import lax


# States above which the four stages are a loop: its body compiles in half the time,
# and runs as fast. A small system is faster with the stages written out.
UNROLLED_STATES = 6


class RK4(dfx.AbstractSolver):
    """RK4 for ODEs. `diffrax.HalfSolver(RK4())` is its adaptive form.

    Its order is 4, it has no error estimate of its own, and it interpolates linearly:
    step onto the times that matter, as a grid does. On the negative real axis it is
    stable while step × rate < 2.78.
    """

    # Stages in a loop whatever the size of the system, for who differentiates often.
    rolled: bool = False

    term_structure: ClassVar = dfx.ODETerm
    interpolation_cls: ClassVar = dfx.LocalLinearInterpolation

    def order(self, terms):
        """Order of convergence."""
        del terms
        return 4

    def init(self, terms, t0, t1, y0, args):
        """No state is carried from step to step."""
        del terms, t0, t1, y0, args

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step; see `diffrax.AbstractSolver.step`."""
        del solver_state, made_jump
        small = len(jax.tree.leaves(y0)) <= UNROLLED_STATES and not self.rolled
        advance = _unrolled if small else _rolled
        h = terms.contr(t0, t1)
        y1 = advance(lambda t, y: terms.vf(t, y, args), t0, h, y0)
        dense_info = {"y0": y0, "y1": y1}
        return y1, None, dense_info, None, dfx.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The vector field."""
        return terms.vf(t0, y0, args)


def _moved(y, h, slope):
    return jax.tree.map(lambda a, b: a + h * b, y, slope)


def _unrolled(field, t, h, y):
    k1 = field(t, y)
    k2 = field(t + 0.5 * h, _moved(y, 0.5 * h, k1))
    k3 = field(t + 0.5 * h, _moved(y, 0.5 * h, k2))
    k4 = field(t + h, _moved(y, h, k3))

    def combined(a, b, c, d, e):
        return a + h / 6.0 * (b + 2.0 * c + 2.0 * d + e)

    return jax.tree.map(combined, y, k1, k2, k3, k4)


def _rolled(field, t, h, y):
    """The same: each stage looks a × h ahead, along the slope of the stage before."""

    def stage(carry, row):
        slope, total = carry
        ahead, weight = row
        slope = field(t + ahead * h, _moved(y, ahead * h, slope))
        return (slope, _moved(total, weight * h, slope)), None

    nothing = jax.tree.map(jnp.zeros_like, y)
    ahead = jnp.array([0.0, 0.5, 0.5, 1.0])
    weight = jnp.array([1.0, 2.0, 2.0, 1.0]) / 6.0
    (_, y), _ = lax.scan(stage, (nothing, y), (ahead, weight))
    return y
