"""The posterior density of a cohort, taken once from NumPyro, as a pure function.

Population parameters are one vector `u` (unconstrained), patients one array `eta`.
Every engine evaluates the same `log_density`; what engines add is only geometry.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import potential_energy

from ckin._types import Array, Float
from ckin.population import Packed, Population, population_model
from ckin.population.model import locations, patient_phi
from ckin.population.wells import curve_starts, with_curves
from ckin.solve import Solver


class Hyper(eqx.Module):
    """Population parameters in the form the likelihood of a patient takes them.

    Attributes:
        centre: φ of each patient before its own variation, (patients, estimated). Where
            wells are fitted, the curves of their plates follow (`population.wells`).
        omega: between-patient SDs, shape (varying,).
        sigma: σ of each assay (error SD of the natural log, or what its law says); then
            additive parts of combined errors; of a well, in cycles, last.
    """

    centre: Float[Array, "patients estimated"]
    omega: Float[Array, " varying"]
    sigma: Float[Array, " errors"]


class Density(eqx.Module):
    """Log posterior of a cohort and the meaning of its coordinates.

    Attributes:
        population: what is estimated.
        data: the cohort's arrays.
        solver: how to integrate.
        names: population parameters in the order of `u`.
        start: u of the prior medians, and of curves as their standards have them.
    """

    population: Population
    data: Packed
    solver: Solver
    names: tuple[str, ...] = eqx.field(static=True)
    start: Float[Array, " hyper"]

    @property
    def n_hyper(self) -> int:
        """Number of population parameters."""
        return len(self.names)

    @property
    def eta_shape(self) -> tuple[int, int]:
        """(patients, varying parameters)."""
        return self.data.n_patients, len(self.population.vary)

    def log_density(
        self, u: Float[Array, " hyper"], eta: Float[Array, "patients varying"]
    ) -> Float[Array, ""]:
        """Log posterior up to a constant; -inf where a patient cannot be solved."""
        return self._log_density(u, eta, likelihood=True)

    def log_prior(self, u: Float[Array, " hyper"]) -> Float[Array, ""]:
        """Log prior of the population parameters, up to a constant."""
        return self._log_density(u, jnp.zeros(self.eta_shape), likelihood=False)

    def _log_density(self, u, eta, *, likelihood):
        sites = {name: u[index] for index, name in enumerate(self.names)}
        value = -potential_energy(
            population_model,
            (self.population, self.data),
            {"solver": self.solver, "likelihood": likelihood},
            {**sites, "eta": eta},
        )
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def constrain(self, u: Float[Array, " hyper"]) -> dict[str, Array]:
        """Population parameters by name, each in its own unit."""
        sites = _sites(self.population, self.data)
        return {
            name: biject_to(sites[name]["fn"].support)(u[index])
            for index, name in enumerate(self.names)
        }

    def hyper(self, u: Float[Array, " hyper"]) -> Hyper:
        """Population parameters as a patient's likelihood takes them."""
        values = self.constrain(u)
        population = self.population
        typical = jnp.stack([values[name] for name in population.estimate])
        beta = [values[effect.name] for effect in population.covariates]
        omega = [values[f"omega_{name}"] for name in population.vary]
        effects = jnp.stack(beta) if beta else jnp.zeros(0)
        typical_phi = population.to_phi(typical)
        assays, both = population.assays, population.two_part
        names = [f"sigma_{assay.name}" for assay in assays]
        names += [f"sigma_add_{assays[place].name}" for place in both]
        sigma = jnp.stack([values[name] for name in names])
        centre, sigma = with_curves(
            locations(population, typical_phi, effects, self.data),
            sigma,
            values,
            self.data.standards,
        )
        return Hyper(
            centre=centre,
            omega=jnp.stack(omega) if omega else jnp.zeros(0),
            sigma=sigma,
        )

    def patient_phi(self, u: Array, eta: Array) -> Float[Array, "patients estimated"]:
        """φ of every patient."""
        hyper = self.hyper(u)
        return patient_phi(self.population, hyper.centre, hyper.omega, eta)


def _sites(population: Population, data: Packed) -> dict:
    """Sample sites of the prior, traced without drawing anything costly."""
    model = handlers.seed(population_model, jax.random.key(0))
    trace = handlers.trace(model).get_trace(population, data, likelihood=False)
    return {
        name: site
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


def prior_sites(density: Density) -> dict[str, dist.Distribution]:
    """Prior of each population parameter, by name."""
    sites = _sites(density.population, density.data)
    return {name: sites[name]["fn"] for name in density.names}


def make_density(
    population: Population, data: Packed, solver: Solver | None = None
) -> Density:
    """Density of a cohort."""
    sites = _sites(population, data)
    names = tuple(name for name in sites if name != "eta")
    known = curve_starts(data.standards)
    starts = []
    for name in names:
        fn = sites[name]["fn"]
        inverse = biject_to(fn.support).inv
        starts.append(inverse(jnp.asarray(known.get(name, fn.icdf(0.5)), dtype=float)))
    start, _ = ravel_pytree(starts)
    return Density(
        population=population,
        data=data,
        solver=Solver() if solver is None else solver,
        names=names,
        start=start,
    )
