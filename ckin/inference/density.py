"""The posterior density of a cohort, taken once from NumPyro, as a pure function.

Population parameters are one vector `u` (unconstrained), patients one array `eta`.
Every engine evaluates the same `log_density`; what engines add is only geometry.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import potential_energy

from ckin._types import Array, ArrayLike, Float
from ckin.errors import InputError
from ckin.population import (
    Packed,
    Population,
    patient_log_likelihoods,
    population_model,
)
from ckin.population.hyper import (
    CorrelationPrior,
    Hyper,
    block_site,
    correlation_names,
    hyper_of,
    patient_phi,
    site_values,
    told_values,
)
from ckin.population.screening import z_name
from ckin.population.wells import curve_starts
from ckin.solve import Solver


Function = TypeVar("Function", bound=Callable[..., Any])


def _as_one(function: Function) -> Function:
    """One program where it is asked outside of any, instead of tens of small ones.

    Within another it leaves no trace.
    """
    return cast(Any, eqx.filter_jit)(function, inline=True)


class Density(eqx.Module):
    """Log posterior of a cohort and the meaning of its coordinates.

    Attributes:
        population: what is estimated.
        data: the cohort's arrays.
        solver: how to integrate.
        names: population parameters in the order of `u`; of a block of correlations as
            many names as coordinates.
        layout: NumPyro site and number of coordinates, in the order of `u`.
        start: u of the prior medians, and of curves as their standards have them.
    """

    population: Population
    data: Packed
    solver: Solver
    names: tuple[str, ...] = eqx.field(static=True)
    layout: tuple[tuple[str, int], ...] = eqx.field(static=True)
    start: Float[Array, " hyper"]

    @property
    def n_hyper(self) -> int:
        """Number of population parameters."""
        return len(self.names)

    @property
    def eta_shape(self) -> tuple[int, int]:
        """(patients, columns): what varies between patients."""
        return self.data.n_patients, len(self.population.eta_names)

    def log_density(
        self, u: Float[Array, " hyper"], eta: Float[Array, "patients varying"]
    ) -> Float[Array, ""]:
        """Log posterior up to a constant; -inf where a patient cannot be solved."""
        hyper = self.hyper(u)
        phi = patient_phi(self.population, hyper.centre, hyper.spread, eta)
        each = patient_log_likelihoods(
            self.population, self.data, phi, hyper.sigma, self.solver
        )
        return _never_nan(self._log_prior(u, eta) + jnp.sum(each))

    def log_prior(self, u: Float[Array, " hyper"]) -> Float[Array, ""]:
        """Log prior of the population parameters, up to a constant."""
        return _never_nan(self._log_prior(u, jnp.zeros(self.eta_shape)))

    def _log_prior(self, u, eta):
        return -potential_energy(
            population_model,
            (self.population, self.data),
            {"likelihood": False},
            {**self._unconstrained(u), "eta": eta},
        )

    def _unconstrained(self, u: Array) -> dict[str, Array]:
        """Coordinates by site."""
        sites, start = {}, 0
        for (name, size), shape in zip(self.layout, self._shapes, strict=True):
            sites[name] = u[start : start + size].reshape(shape)
            start += size
        return sites

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        """A block of correlations is a vector, whatever else a number."""
        blocks = {block_site(block) for block in self.population.blocks}
        return [(size,) if name in blocks else () for name, size in self.layout]

    def sites(self, u: Float[Array, " hyper"]) -> dict[str, Array]:
        """Values of the NumPyro sites."""
        known = _priors(self.population, self.data)
        return {
            name: biject_to(known[name].support)(value)
            for name, value in self._unconstrained(u).items()
        }

    def constrain(self, u: Float[Array, " hyper"]) -> dict[str, Array]:
        """Population parameters by name, each in its own unit."""
        return dict(zip(self.names, self._told(u), strict=True))

    @_as_one
    def _told(self, u: Array) -> tuple[Array, ...]:
        told = told_values(self.population, self.sites(u))
        return tuple(told[name] for name in self.names)

    @_as_one
    def unconstrain(self, values: Mapping[str, Array]) -> Float[Array, " hyper"]:
        """Inverse of `constrain`."""
        known = _priors(self.population, self.data)
        sites = site_values(self.population, values)
        each = [
            biject_to(known[name].support).inv(sites[name]) for name, _ in self.layout
        ]
        return jnp.concatenate([jnp.atleast_1d(value) for value in each])

    @_as_one
    def hyper(self, u: Float[Array, " hyper"]) -> Hyper:
        """Population parameters as a patient's likelihood takes them."""
        return hyper_of(self.population, self.data, self.sites(u))

    @_as_one
    def patient_phi(self, u: Array, eta: Array) -> Float[Array, "patients estimated"]:
        """φ of every patient."""
        hyper = self.hyper(u)
        return patient_phi(self.population, hyper.centre, hyper.spread, eta)


def _never_nan(value: ArrayLike) -> Array:
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


def _priors(population: Population, data: Packed) -> dict[str, dist.Distribution]:
    """Prior of each site, η last."""
    return dict(_named_priors(population, data))


@_as_one
def _named_priors(
    population: Population, data: Packed
) -> tuple[tuple[str, dist.Distribution], ...]:
    """Names (a dict would come back in another order); draws are compiled away."""
    model = handlers.seed(population_model, jax.random.key(0))
    trace = handlers.trace(model).get_trace(population, data, likelihood=False)
    return tuple(
        (name, site["fn"])
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    )


def prior_sites(density: Density) -> dict[str, dist.Distribution]:
    """Prior of each population parameter, by name.

    Raises:
        InputError: correlations or screened covariates, whose priors are of several
            numbers at once (`own_priors` and `site_priors` leave them out or together).
    """
    if density.population.blocks or density.population.screen:
        raise InputError(
            "correlated patients (--correlate) and screened covariates (--screen) have "
            "priors of several numbers at once; leave them out here"
        )
    return own_priors(density)


def own_priors(density: Density) -> dict[str, dist.Distribution]:
    """Priors of the population parameters that have one to themselves, by name."""
    priors = site_priors(density)
    return {name: priors[name] for name in density.names if name in priors}


def marginal_priors(density: Density) -> dict[str, dist.Distribution]:
    """Priors of the population parameters, each by itself, by name.

    Of a correlation that is what its block's prior says of it alone. Screened
    coefficients, whose priors hang on one another, are left out.
    """
    found = own_priors(density)
    for block in density.population.blocks:
        found |= {n: CorrelationPrior(len(block)) for n in correlation_names(block)}
    return {name: found[name] for name in density.names if name in found}


class Coordinate(NamedTuple):
    """A population parameter that one coordinate of u alone stands for.

    Attributes:
        prior: of the parameter, by itself.
        forward: from the coordinate to the parameter.
        inverse: and back.
    """

    prior: dist.Distribution
    forward: Callable[[ArrayLike], Any]
    inverse: Callable[[ArrayLike], Any]


def coordinates(density: Density) -> dict[str, Coordinate]:
    """Those that there are, by name.

    Of a block of correlations, whose Cholesky factor is built row by row, those with
    its first parameter: the others are no coordinate's alone.
    """
    found = {}
    for name, prior in own_priors(density).items():
        change = biject_to(prior.support)
        found[name] = Coordinate(prior, change, change.inv)
    for block in density.population.blocks:
        of_one = Coordinate(CorrelationPrior(len(block)), jnp.tanh, jnp.arctanh)
        for other in block[1:]:
            found |= dict.fromkeys(correlation_names((block[0], other)), of_one)
    return {name: found[name] for name in density.names if name in found}


def site_priors(density: Density) -> dict[str, dist.Distribution]:
    """Prior of each NumPyro site: a block of correlations has one."""
    priors = _priors(density.population, density.data)
    return {name: priors[name] for name, _ in density.layout}


@_as_one
def _start(
    population: Population,
    data: Packed,
    layout: tuple[tuple[str, int], ...],
    known: Mapping[str, Array],
) -> Array:
    """Coordinates of the prior medians, and of sites of which something is known."""
    priors = _priors(population, data)
    blocks = {block_site(block) for block in population.blocks}
    starts = []
    for name, size in layout:
        if name in blocks:
            # No correlation.
            starts.append(jnp.zeros(size))
            continue
        prior = priors[name]
        value = jnp.asarray(known.get(name, prior.icdf(0.5)), dtype=float)
        starts.append(biject_to(prior.support).inv(value))
    return ravel_pytree(starts)[0]


def make_density(
    population: Population, data: Packed, solver: Solver | None = None
) -> Density:
    """Density of a cohort."""
    blocks = {block_site(block): block for block in population.blocks}
    places = {z_name(e.name): e.name for e in population.covariates}
    # Of curves, what their standards say.
    starts = curve_starts(data.standards).items()
    known = {name: jnp.asarray(value) for name, value in starts}
    layout, names = [], []
    for name in _priors(population, data):
        if name == "eta":
            continue
        block = blocks.get(name)
        inner = [places.get(name, name)] if block is None else correlation_names(block)
        layout.append((name, len(inner)))
        names += inner
    return Density(
        population=population,
        data=data,
        solver=Solver() if solver is None else solver,
        names=tuple(names),
        layout=tuple(layout),
        start=_start(population, data, tuple(layout), known),
    )
