"""What follows from draws of the population parameters, each in its own unit."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.inference.density import Density
from ckin.population import chunks_of
from ckin.population.screening import kept


# Draws looked at side by side.
TOGETHER = 1000


def population_draws(density: Density, u: np.ndarray) -> dict[str, np.ndarray]:
    """Draws of the population parameters by name, each (chains, draws)."""
    values = _of_draws(density.constrain, u)
    return {name: values[name] for name in density.names}


def derived_draws(density: Density, u: np.ndarray) -> dict[str, np.ndarray]:
    """What follows from the draws: ω as CV%, and the typical patient's numbers.

    The CV of a log-normal parameter is √(exp ω² - 1); a fraction is close to
    log-normal when it is small, and is given so too. A normal one, which may be of
    either sign, has none, nor has the exponential of a t: heavy-tailed patients. Of
    screened covariates it says how far each is from being shrunken to nothing.
    """
    return _of_draws(eqx.Partial(derived_from, density), u)


def _of_draws(
    each: Callable[[Array], dict[str, Array]], u: np.ndarray
) -> dict[str, np.ndarray]:
    """What follows from each of the draws (chains, draws, hyper)."""
    flat = u.reshape(-1, u.shape[-1])
    found = [
        _of_rows(each, jnp.asarray(flat[rows]))
        for rows in chunks_of(np.arange(len(flat)), TOGETHER)
    ]
    whole = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(flat)], *found)
    return {name: values.reshape(u.shape[:2]) for name, values in whole.items()}


@eqx.filter_jit
def _of_rows(each: Callable[[Array], dict[str, Array]], u: Array) -> dict[str, Array]:
    return jax.vmap(each)(u)


def derived_from(density: Density, u: Array) -> dict[str, Array]:
    """What follows from one set of population parameters; see `derived_draws`."""
    population, values = density.population, density.constrain(u)
    typical = {name: values[name] for name in population.estimate}
    derived = dict(population.model.with_values(**typical).derived())
    for name, parameter in population.spread_names.items():
        heavy = population.n_heavy and name in population.vary
        if heavy or population.info[parameter].scale == "identity":
            continue
        omega = values[f"omega_{name}"]
        derived[f"cv_pct_{name}"] = 100.0 * jnp.sqrt(jnp.expm1(omega**2))
    if population.screen:
        derived |= kept(population, density.sites(u), density.data.n_patients)
    return derived
