"""Which days to sample: weights on candidate days, climbed by gradient.

A design takes each candidate day w times, 0 ≤ w ≤ 1, and the weights add up to the
number of samples that can be drawn. What it tells is smooth in the weights, and the
candidates can be whole days, each on its side of a dose. So the weights climb by
gradient (Adam, from several starts), the heaviest days are taken, and single days are
exchanged for others while that helps.
"""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ckin._types import Array, Float
from ckin.design.information import Told


STARTS, CLIMB_STEPS, RATE = 4, 200, 0.1

Criterion = Callable[[Float[Array, " candidates"]], Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class Days:
    """Days to sample.

    Attributes:
        chosen: places of the chosen candidates, in order.
        value: the criterion there.
        relaxed: value of the best weights found by gradient, which need not be whole;
            what can be had lies between the two.
        gains: what the criterion gains by one more sample at each candidate.
    """

    chosen: tuple[int, ...]
    value: float
    relaxed: float
    gains: Float[np.ndarray, " candidates"]


def precision_of(
    told: Told,
    prior_sd: Float[np.ndarray, " hyper"],
    wanted: Sequence[int],
    scale: float,
) -> Criterion:
    """Log precision of some parameters, all together (D-optimal for all of them).

    Args:
        told: of patients who stand for the trial's, on the candidate days.
        prior_sd: of the population parameters.
        wanted: places of the parameters in u; D_s-optimal where they are not all.
        scale: patients of the trial for each of those in `told`.
    """
    index = jnp.array(tuple(wanted), dtype=int)
    prior = jnp.diag(jnp.asarray(prior_sd) ** -2.0)

    def criterion(weights):
        matrix, _ = told.matrix(weights[None, :])
        covariance = jnp.linalg.inv(scale * matrix + prior)
        return -jnp.linalg.slogdet(covariance[jnp.ix_(index, index)])[1]

    return criterion


@eqx.filter_jit
def _climbed(criterion: Criterion, candidates: int, count: int, key: Array):
    """Best weights of each start, and their values."""

    def weights_of(x):
        # Shares of the samples; a day cannot be sampled more than once.
        return jnp.minimum(count * jax.nn.softmax(x), 1.0)

    optimiser = optax.adam(RATE)

    def one(x):
        def step(carry, _):
            x, state = carry
            slope = jax.grad(lambda x: -criterion(weights_of(x)))(x)
            change, state = optimiser.update(slope, state)
            return (optax.apply_updates(x, change), state), None

        (x, _), _ = lax.scan(step, (x, optimiser.init(x)), length=CLIMB_STEPS)
        return weights_of(x), criterion(weights_of(x))

    starts = 0.3 * jax.random.normal(key, (STARTS, candidates))
    return lax.map(one, starts)


@eqx.filter_jit
def _swapped(criterion: Criterion, weights: Array, out: Array):
    """Values of the criterion with one sample moved from `out` to each other day."""
    without = weights.at[out].set(0.0)
    free = without == 0.0
    tried = jax.vmap(lambda day: criterion(without.at[day].set(1.0)))(
        jnp.arange(weights.shape[0])
    )
    return jnp.where(free, tried, -jnp.inf)


@eqx.filter_jit
def _added(criterion: Criterion, weights: Array):
    """Gain of one more sample at each candidate."""
    tried = jax.vmap(lambda day: criterion(weights.at[day].add(1.0)))
    return tried(jnp.arange(weights.shape[0])) - criterion(weights)


def gains(criterion: Criterion, taken: Sequence[int], candidates: int) -> np.ndarray:
    """What one more sample on each candidate day adds to a design.

    Args:
        criterion: in units of log precision, or of elpd.
        taken: places of the candidates that the design samples already.
        candidates: how many there are.
    """
    weights = jnp.zeros(candidates).at[jnp.array(tuple(taken), dtype=int)].set(1.0)
    return np.asarray(_added(criterion, weights))


def best_days(criterion: Criterion, candidates: int, count: int, key: Array) -> Days:
    """The days that make a criterion largest.

    Args:
        criterion: of the weights of the candidates.
        candidates: how many there are.
        count: samples that can be drawn.
        key: of the starts.

    Raises:
        ValueError: more samples than candidates, or none.
    """
    if not 0 < count <= candidates:
        raise ValueError(f"{count} samples cannot be chosen out of {candidates} days")
    found, values = _climbed(criterion, candidates, count, key)
    best = int(jnp.argmax(values))
    order = np.argsort(-np.asarray(found[best]), kind="stable")
    weights = jnp.zeros(candidates).at[order[:count]].set(1.0)
    value = float(criterion(weights))
    improved = True
    while improved:
        improved = False
        for out in np.flatnonzero(np.asarray(weights)):
            tried = _swapped(criterion, weights, jnp.asarray(out))
            to = int(jnp.argmax(tried))
            if float(tried[to]) > value + 1e-9 * abs(value) + 1e-12:
                weights = weights.at[int(out)].set(0.0).at[to].set(1.0)
                value, improved = float(tried[to]), True
    chosen = tuple(int(day) for day in np.flatnonzero(np.asarray(weights)))
    return Days(
        chosen=chosen,
        value=value,
        # Whole samples are weights too: the climb may end just short of them.
        relaxed=max(value, float(values[best])),
        gains=gains(criterion, chosen, candidates),
    )
