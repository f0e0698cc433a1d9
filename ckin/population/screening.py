"""Screening of many covariates: a regularised horseshoe for their coefficients.

    β_j = z_j τ λ̃_j ω_j / s_j ,   λ̃_j² = c² λ_j² / (c² + τ² λ_j²)
    z_j ~ Normal(0, 1),  λ_j ~ C⁺(0, 1),  τ ~ C⁺(0, τ₀)

(Piironen & Vehtari 2017, doi:10.1214/17-EJS1337SI), non-centred in z. A coefficient is
counted in between-patient SDs of its parameter (ω_j, prior median) per SD of what it
multiplies (s_j), so that one τ serves covariates in years, in kilograms and in words.
Of D effects one is expected to be there: τ₀ = 1 / ((D - 1) √patients). One that is
there is kept by the slab c, of `SLAB` between-patient SDs.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from ckin._types import Array
from ckin.population.specification import Population


# A covariate whose SD moves a parameter by twice what patients differ by is about the
# strongest there can be.
SLAB = 2.0

TAU = "screen_tau"


def local_name(effect_name: str) -> str:
    """Site of λ of a coefficient."""
    return effect_name.replace("beta_", "screen_local_", 1)


def z_name(effect_name: str) -> str:
    """Site of z of a coefficient."""
    return effect_name.replace("beta_", "screen_z_", 1)


def screening_names(population: Population) -> tuple[str, ...]:
    """Names of what a screening has beside the coefficients."""
    names = [effect.name for effect in population.covariates]
    kinds = [local_name(name) for name in names] + [kept_name(name) for name in names]
    return (TAU, *kinds)


def kept_name(effect_name: str) -> str:
    """Name of how far a coefficient is kept (`kept`)."""
    return effect_name.replace("beta_", "kept_", 1)


def sample_screened(population: Population, n_patients: int) -> dict[str, Array]:
    """NumPyro sites of the horseshoe: τ, then λ and z of each coefficient."""
    others = max(len(population.covariates) - 1, 1)
    least = 1.0 / (others * jnp.sqrt(float(n_patients)))
    values = {TAU: jnp.asarray(numpyro.sample(TAU, dist.HalfCauchy(least)))}
    for effect in population.covariates:
        for name, prior in (
            (local_name(effect.name), dist.HalfCauchy(1.0)),
            (z_name(effect.name), dist.Normal(0.0, 1.0)),
        ):
            values[name] = jnp.asarray(numpyro.sample(name, prior))
    return values


def _widths(population: Population, values: Mapping[str, Array]) -> Array:
    """τ λ̃ of each coefficient."""
    names = [local_name(effect.name) for effect in population.covariates]
    wide = values[TAU] * jnp.stack([values[name] for name in names])
    return SLAB * wide / jnp.sqrt(SLAB**2 + wide**2)


def screened(population: Population, values: Mapping[str, Array]) -> Array:
    """Coefficients from the sites of the horseshoe, (effects,)."""
    z = jnp.stack([values[z_name(e.name)] for e in population.covariates])
    spread = dict(zip(population.vary, population.omega, strict=True))
    # Of a parameter that patients share, as if they differed a little.
    unit = [spread.get(e.parameter, 0.3) / e.scale for e in population.covariates]
    return z * _widths(population, values) * jnp.array(unit)


def z_of(population: Population, values: Mapping[str, Array]) -> dict[str, Array]:
    """Sites z from coefficients and the other sites: the inverse of `screened`."""
    ones = {z_name(e.name): jnp.ones(()) for e in population.covariates}
    by_z = screened(population, {**values, **ones})
    return {
        z_name(effect.name): values[effect.name] / by_z[place]
        for place, effect in enumerate(population.covariates)
    }


def kept(
    population: Population, values: Mapping[str, Array], n_patients: int
) -> dict[str, Array]:
    """How far each coefficient is from being shrunken to nothing: 0 to 1, by name.

    1 - κ with κ = 1 / (1 + n τ² λ̃²), the share of an estimate that the prior takes
    away where n patients tell of it.
    """
    share = n_patients * _widths(population, values) ** 2
    each = share / (1.0 + share)
    return {
        kept_name(effect.name): each[place]
        for place, effect in enumerate(population.covariates)
    }
