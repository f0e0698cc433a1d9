"""Leaving patients out one at a time: the log score of a patient not yet seen.

Leaving single readings out asks how well a curve is interpolated; the other readings of
its patient say nearly all. A model of patients is asked about patients:

    elpd_i = ln ∫ p(y_i | u) p(u | y without i) du

with η_i integrated out in p(y_i | u) by Laplace's method, as it is in the posterior of
the population parameters u given everyone else. Nothing is solved for it, so every
patient is left out in earnest: a chain of NUTS each, a dozen dimensions.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin._types import Array, Float, Int
from ckin.errors import InputError
from ckin.inference.density import Density
from ckin.inference.laplace import PopulationLaplace, conditional


# Draws kept of each chain, and those before that are not. Coordinates are those of the
# Laplace approximation, where one step size serves.
DRAWS, BURN_IN, STEP_SIZE = 500, 100, 0.4
# Rounds of expectation-maximisation: stacking weights change by less than 1e-4 then.
STACKING_ROUNDS = 2000


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Scores of patients who were left out.

    Attributes:
        ids: of the patients.
        elpd_i: log score of each.
        mc_error: Monte Carlo standard error of each (of as many independent draws).
    """

    ids: tuple[str, ...]
    elpd_i: Float[np.ndarray, " patients"]
    mc_error: Float[np.ndarray, " patients"]

    @property
    def elpd(self) -> float:
        """Of all patients together."""
        return float(self.elpd_i.sum())


@eqx.filter_jit
def _drawn(
    density: Density,
    laplace: PopulationLaplace,
    key: Array,
    draws: int,
    chosen: Int[Array, " chosen"],
) -> Float[Array, "chosen draws"]:
    """Log p(y_i | u) of these patients at draws of u given everyone else."""
    quads, index = laplace.quadratics, density.population.vary_index

    def each(z):
        u = laplace.u + laplace.factor @ z
        own = conditional(density.hyper(u), quads, index).log_marginal
        return density.log_prior(u), own

    def chain(key, left_out):
        def without(z):
            prior, own = each(z)
            total = prior + jnp.sum(own) - own[left_out]
            # Far out a quadratic may have no bound: nowhere to go.
            return jnp.where(jnp.isfinite(total), total, -jnp.inf)

        kernel = blackjax.nuts.build_kernel()
        scales = jnp.ones(density.n_hyper)

        def step(state, key):
            state, _ = kernel(key, state, without, STEP_SIZE, scales)
            return state, each(state.position)[1][left_out]

        state = blackjax.nuts.init(jnp.zeros(density.n_hyper), without)
        keys = jax.random.split(key, BURN_IN + draws)
        return jax.lax.scan(step, state, keys)[1][BURN_IN:]

    # A patient's chain has the same key whoever else is left out.
    keys = jax.random.split(key, density.data.n_patients)
    return jax.vmap(chain)(keys[chosen], chosen)


def leave_patients_out(
    density: Density,
    laplace: PopulationLaplace,
    key: Array,
    *,
    draws: int = DRAWS,
    chosen: Sequence[int] | None = None,
) -> LeftOut:
    """Score every patient by a posterior that has not seen it.

    Args:
        density: the posterior.
        laplace: from `fit_laplace`.
        key: of the draws.
        draws: of the population parameters, for each patient.
        chosen: the places of the patients to score; of all, unless told.

    Raises:
        InputError: where wells are fitted: patients share the curves of their plates,
            so none can be left out alone.
    """
    if density.data.standards is not None:
        raise InputError(
            "patients read from one plate share its curve: none can be left out alone; "
            "fit their readings instead of the wells"
        )
    whom = np.arange(density.data.n_patients) if chosen is None else np.array(chosen)
    each = np.asarray(_drawn(density, laplace, key, draws, jnp.asarray(whom)))
    elpd_i, mc_error = log_mean(each, np.full(draws, 1.0 / draws))
    return LeftOut(tuple(density.data.ids[i] for i in whom.tolist()), elpd_i, mc_error)


def log_mean(
    log_value: Float[np.ndarray, "*batch draws"], weights: Float[np.ndarray, " draws"]
) -> tuple[np.ndarray, np.ndarray]:
    """Log of the weighted mean of exp(log_value), and the Monte Carlo error of that.

    Args:
        log_value: of independent draws, the last axis.
        weights: of the draws, sum 1.

    Returns:
        Both without the last axis.
    """
    most = log_value.max(axis=-1, keepdims=True)
    share = np.exp(log_value - most)
    mean = share @ weights
    gap = share / mean[..., None] - 1.0
    error = np.sqrt(gap**2 @ weights**2)
    return np.asarray(np.log(mean) + most[..., 0]), np.asarray(error)


def compare(scores: Mapping[str, LeftOut]) -> pd.DataFrame:
    """Models side by side on the same patients, the best first.

    Columns: `elpd`; `behind`, what it lacks of the best; `error`, the standard error of
    that between patients; `weight`, of stacking (Yao 2018, doi:10.1214/17-BA1091).

    Args:
        scores: by name of the model.

    Raises:
        ValueError: scores of other patients, or in another order.
    """
    names = sorted(scores, key=lambda name: -scores[name].elpd)
    best = scores[names[0]]
    if any(scores[name].ids != best.ids for name in names):
        raise ValueError("compare: the models were scored on different patients")
    n = len(best.ids)
    table = np.stack([scores[name].elpd_i for name in names])
    behind = table[0] - table
    return pd.DataFrame(
        {
            "elpd": table.sum(axis=1),
            "behind": behind.sum(axis=1),
            "error": np.sqrt(n) * behind.std(axis=1, ddof=1 if n > 1 else 0),
            "weight": stacking_weights(table),
        },
        index=pd.Index(names, name="model"),
    )


def stacking_weights(
    elpd_i: Float[np.ndarray, "models patients"],
) -> Float[np.ndarray, " models"]:
    """Weights of the mixture of models that scores the patients best."""
    likelihood = np.exp(elpd_i - elpd_i.max(axis=0))
    weights = np.full(elpd_i.shape[0], 1.0 / elpd_i.shape[0])
    for _ in range(STACKING_ROUNDS):
        joint = weights[:, None] * likelihood
        weights = (joint / joint.sum(axis=0)).mean(axis=1)
    return weights
