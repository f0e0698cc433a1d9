"""What the data added to the priors, and how far the answer rests on either.

Overlap of prior and posterior, ∫ min(p, q), near 1 says that the data told nothing of a
parameter; contraction, 1 - Var(posterior)/Var(prior), near 0 says the same.

Power-scaling (Kallioinen et al. 2024, doi:10.1007/s11222-023-10366-5) raises the prior,
or the likelihood, to a power near 1 and asks how the posterior moves. The likelihood is
that of patients with η integrated out: of readings given η, whose number of dimensions
is that of all patients, no weights could tell.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from arviz_base import from_dict
from arviz_stats.psense import psense
from numpyro.distributions import biject_to
from scipy import stats

from ckin._types import Float
from ckin.inference.density import Density, marginal_priors, site_priors
from ckin.inference.of_draws import population_draws


# Points of the densities that are compared.
POINTS = 2000


def log_priors(
    density: Density, u: Float[np.ndarray, "draws hyper"]
) -> Float[np.ndarray, "draws hyper"]:
    """Log prior density of each site, in its own unit; a block of them has one."""
    priors = site_priors(density)

    def one(u):
        values = density.sites(u)
        return jnp.stack([priors[name].log_prob(values[name]) for name in values])

    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(u)))


def overlap(density: Density, u: Float[np.ndarray, "draws hyper"]) -> pd.DataFrame:
    """One row a population parameter: parameter, overlap, contraction.

    Densities are those of the unbounded scale (the logarithm of what is positive); the
    posterior's is a kernel estimate. The prior of a correlation is what its block's
    says of it alone. Screened coefficients share their priors, and are left out.
    """
    rows = []
    values = population_draws(density, u[None])
    for name, prior in marginal_priors(density).items():
        change = biject_to(prior.support)
        own = np.asarray(change.inv(values[name][0]))
        middle, low, high = (
            float(change.inv(prior.icdf(jnp.asarray(p)))) for p in (0.5, 1e-4, 1 - 1e-4)
        )
        reach = max(high - middle, middle - low)
        edges = (
            min(middle - reach, own.min() - own.std()),
            max(middle + reach, own.max() + own.std()),
        )
        # Fine where the posterior is, which may be a thousandth of the prior's width.
        x = np.unique(
            np.concatenate(
                [
                    np.linspace(*edges, POINTS),
                    np.linspace(own.min(), own.max(), POINTS),
                ]
            )
        )
        at = jnp.asarray(x)
        value = jax.vmap(change)(at)
        jacobian = jax.vmap(change.log_abs_det_jacobian)(at, value)
        p = np.exp(np.asarray(prior.log_prob(value) + jacobian))
        q = stats.gaussian_kde(own)(x)
        mean = np.trapezoid(p * x, x)
        variance = np.trapezoid(p * (x - mean) ** 2, x)
        rows.append(
            {
                "parameter": name,
                "overlap": min(1.0, float(np.trapezoid(np.minimum(p, q), x))),
                "contraction": 1.0 - float(own.var(ddof=1)) / float(variance),
            }
        )
    return pd.DataFrame(rows)


def power_scaling(
    density: Density,
    u: Float[np.ndarray, "draws hyper"],
    log_likelihood: Float[np.ndarray, "draws patients"],
) -> pd.DataFrame:
    """Sensitivity of each population parameter to prior and likelihood.

    Args:
        density: what was fitted.
        u: draws of the posterior.
        log_likelihood: of each patient at these draws, η integrated out.

    Returns:
        A row a parameter: parameter, prior, likelihood (cumulative Jensen-Shannon
        distances per halving or doubling). Over 0.05 of both, prior and data may
        disagree; of the prior alone, it says more than the data.
    """
    priors = log_priors(density, u)
    tree = from_dict(
        {
            "posterior": population_draws(density, u[None]),
            "log_prior": {
                site: priors[None, :, i] for i, (site, _) in enumerate(density.layout)
            },
            "log_likelihood": {"patients": log_likelihood[None]},
        }
    )
    names = list(density.names)
    moved = {
        group: psense(tree, var_names=names, group=group)
        for group in ("prior", "likelihood")
    }
    return pd.DataFrame(
        {
            "parameter": names,
            **{g: [float(found[n]) for n in names] for g, found in moved.items()},
        }
    )
