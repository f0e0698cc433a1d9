"""Patients in groups of like numbers of steps, one group after another.

Lanes of one walk all take as many steps as the patient of the most, and patients of
one cycle wait for those of three. In groups, those of the most steps first, nobody
waits for much; and the walk of a small group is still in the cache when its gradient
goes back over it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ckin._types import Array, ArrayLike, Int


# Patients of a group: whole vectors of a CPU, which have 4 or 8 numbers.
SIZES = (4, 8, 16, 32)
# Patients of a block where nothing is walked: what is between the terms of a formula,
# for four chains, stays in the cache. 10,000 patients of phases_stein2019 take half as
# long as all together, and a sixth longer with 64 or 1,024 of them.
BLOCK = 256
# What starting a step costs, in variables of one lane, and lanes of a patient (chains).
# Measured on 3 and on 16 states; docs/methods.md.
OVERHEAD, LANES = 7.0, 2


def size_of_groups(read_at: Int[ArrayLike, "patients times"], n_states: int) -> int:
    """Patients of a group for which a walk is cheapest; 0 for all together.

    On a GPU a step takes as long whatever its lanes: all together.

    Args:
        read_at: number of steps done at each sample.
        n_states: of the model.
    """
    if jax.default_backend() != "cpu":
        return 0
    steps = np.sort(np.asarray(read_at).max(axis=1))[::-1]

    def cost(size: int) -> float:
        return steps[::size].sum() * (OVERHEAD / n_states + LANES * size)

    best = min((size for size in (*SIZES, len(steps))), key=cost)
    return best if best < len(steps) else 0


def size_of_blocks(n_patients: int) -> int:
    """Patients of a block where curves are formulas; 0 for all together."""
    blocks = jax.default_backend() == "cpu" and n_patients > BLOCK
    return BLOCK if blocks else 0


def draws_together(n_draws: int, n_patients: int) -> int | None:
    """Draws of few patients to walk side by side; `None` for one after another.

    As many as fill the lanes of the largest group, and a divisor of the number of
    draws: a rest would be compiled for itself.

    Args:
        n_draws: of their parameters.
        n_patients: in each draw.
    """
    most = SIZES[-1] // n_patients
    return max((n for n in range(2, most + 1) if n_draws % n == 0), default=None)


def chunks_of(rows: Int[np.ndarray, " rows"], size: int) -> Int[np.ndarray, "n size"]:
    """Rows `size` at a time, the last chunk filled up with the last row.

    All chunks have one shape then, which is compiled once.
    """
    n = -(-rows.size // size)
    return rows[np.minimum(np.arange(n * size), rows.size - 1)].reshape(n, size)


def share_of_padding(read_at: Int[ArrayLike, "patients times"], size: int) -> float:
    """Share of the steps that patients walk beyond their own last sample."""
    steps = np.sort(np.asarray(read_at).max(axis=1))[::-1]
    size = size or len(steps)
    walked = np.repeat(steps[::size], size)
    return 1.0 - float(steps.sum() / max(walked.sum(), 1))


def in_groups(
    each: Callable[[Any, Any], Any],
    size: int,
    read_at: Int[ArrayLike, "patients times"],
    rows: Any,
) -> Any:
    """Apply `each` to groups of patients.

    Args:
        each: from rows of a group of patients and the number of steps until the last
            sample of any of them, a tree of arrays with patients first.
        size: patients of a group; all together, and `None` for the number, where 0.
        read_at: number of steps done at each sample.
        rows: a tree of arrays, patients first.

    Returns:
        What `each` gives, of all patients in their order.
    """
    read_at = jnp.asarray(read_at)
    n = read_at.shape[0]
    if not 0 < size < n:
        return each(rows, None)
    steps = jnp.max(read_at, axis=1)
    order = jnp.argsort(-steps)
    n_groups = -(-n // size)
    # The last group is filled up with its last patient.
    whole = jnp.concatenate([order, jnp.repeat(order[-1:], n_groups * size - n)])

    def grouped(x: Array) -> Array:
        return x[whole].reshape(n_groups, size, *x.shape[1:])

    found = lax.map(
        lambda group: each(*group),
        (jax.tree.map(grouped, rows), jnp.max(grouped(steps), axis=1)),
    )
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[back], found)
