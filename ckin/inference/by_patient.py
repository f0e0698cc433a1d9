"""Leaving patients out one at a time: the log score of a patient not yet seen.

Leaving single readings out asks how well a curve is interpolated; the other readings of
its patient say nearly all. A model of patients is asked about patients: p(y_i | u) with
η_i integrated out, at draws of the population parameters, weighed as if patient i had
not been there (PSIS). Draws are of the Laplace approximation, and weighed by what it
misses of the posterior as well.
"""

import arviz_base as az
import arviz_stats
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.errors import InputError
from ckin.inference.density import Density
from ckin.inference.laplace import PopulationLaplace, conditional


DRAWS = 2000


@eqx.filter_jit
def _marginals(
    density: Density, laplace: PopulationLaplace, u: Float[Array, "draws hyper"]
) -> tuple[Float[Array, "draws patients"], Float[Array, " draws"]]:
    """Log p(y_i | u) of every patient, and log p(y, u), at each draw."""

    def one(u):
        hyper = density.hyper(u)
        quads, index = laplace.quadratics, density.population.vary_index
        each = conditional(hyper, quads, index).log_marginal
        return each, jnp.sum(each) + density.log_prior(u)

    return jax.lax.map(one, u)


def leave_patients_out(
    density: Density, laplace: PopulationLaplace, key: Array, *, draws: int = DRAWS
):
    """PSIS-LOO by patient, η integrated out.

    Args:
        density: the posterior.
        laplace: from `fit_laplace`.
        key: of the draws.
        draws: of the population parameters.

    Returns:
        ArviZ's `ELPDData`, pointwise by patient; `arviz_stats.compare` takes several.

    Raises:
        InputError: where wells are fitted: patients share the curves of their plates,
            so none can be left out alone.
    """
    if density.data.standards is not None:
        raise InputError("patients read from one plate share its curve: none can be "
                         "left out alone; fit their readings instead of the wells")  # fmt: skip
    z = jax.random.normal(key, (draws, density.n_hyper))
    each, log_p = _marginals(density, laplace, laplace.u + z @ laplace.factor.T)
    log_q = -0.5 * jnp.sum(z**2, axis=1)
    tree = az.from_dict(
        {
            "posterior": {"draw_of_u": np.asarray(z)[None]},
            "log_likelihood": {"patient": np.asarray(each)[None]},
        },
        dims={"patient": ["id"]},
        coords={"id": list(density.data.ids)},
    )
    return arviz_stats.loo_approximate_posterior(
        tree, log_p=np.asarray(log_p), log_q=np.asarray(log_q), pointwise=True
    )
