"""Estimates the field's way: standard errors, RSE%, shrinkage, information criteria."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin._types import Array, ArrayLike, Float
from ckin.inference.density import Density
from ckin.inference.marginal import by_quadrature
from ckin.inference.maximum import Maximum
from ckin.inference.of_draws import derived_from
from ckin.population import by_sample, completed, log_readings
from ckin.population.model import of_its_assay


@dataclasses.dataclass(frozen=True)
class Criteria:
    """What models are compared by; all of them smaller is better, but the first.

    Attributes:
        log_likelihood: patients integrated out by Laplace, all constants in it.
        parameters: estimated, those at 0 included.
        readings: that the likelihood is of, those below a limit included.
        above: of them those that are not below a limit.
        exact: log likelihood by quadrature at the same estimates; `None` where there
            are too many axes for one.
    """

    log_likelihood: float
    parameters: int
    readings: int
    above: int
    exact: float | None

    @property
    def ofv(self) -> float:
        """Objective function value: -2 log likelihood."""
        return -2.0 * self.log_likelihood

    @property
    def ofv_nonmem(self) -> float:
        """The same without log 2π for each reading, as NONMEM leaves it out."""
        return self.ofv - self.above * math.log(2.0 * math.pi)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return self.ofv + 2.0 * self.parameters

    @property
    def bic(self) -> float:
        """Schwarz's, by the number of readings."""
        return self.ofv + self.parameters * math.log(self.readings)

    def told(self) -> dict[str, float | int | None]:
        """For a manifest."""
        return {
            "log_likelihood": self.log_likelihood,
            "log_likelihood_by_quadrature": self.exact,
            "ofv": self.ofv,
            "ofv_without_constants": self.ofv_nonmem,
            "aic": self.aic,
            "bic": self.bic,
            "parameters": self.parameters,
            "readings": self.readings,
        }


def criteria(density: Density, maximum: Maximum) -> Criteria:
    """Log likelihood, AIC and BIC at the peak."""
    present, below = np.asarray(density.data.present), np.asarray(density.data.below)
    exact = by_quadrature(density, jnp.asarray(maximum.u), maximum.modes)
    return Criteria(
        exact=None if exact is None else float(jnp.sum(exact)),
        log_likelihood=maximum.log_likelihood,
        parameters=density.n_hyper,
        readings=int(present.sum()),
        above=int((present & ~below).sum()),
    )


def estimates(density: Density, maximum: Maximum) -> pd.DataFrame:
    """Estimate and standard error of each population parameter and derived number.

    Each in its own unit.

    Returns:
        Indexed by parameter: `estimate`, `se` (delta method from the coordinates of the
        search; NaN where there is none).
    """
    u = jnp.asarray(maximum.u)
    derived = [*derived_from(density, u)]
    names = [*density.names, *derived]

    def stacked(u):
        values = density.constrain(u) | derived_from(density, u)
        return jnp.stack([values[name] for name in names])

    values, slope = np.asarray(stacked(u)), np.asarray(jax.jacfwd(stacked)(u))
    variance = np.diag(slope @ maximum.covariance @ slope.T)
    # Of an ω that is 0 there is no standard error, nor of what follows from it.
    gone = {f"cv_pct_{name.removeprefix('omega_')}" for name in maximum.at_zero}
    none = np.isin(names, [*maximum.at_zero, *gone])
    se = np.sqrt(np.where(~none & (variance > 0), variance, np.nan))
    values = np.where(none, 0.0, values)
    return pd.DataFrame({"estimate": values, "se": se}, index=names)


@eqx.filter_jit
def residuals(
    density: Density, u: Float[ArrayLike, " hyper"], eta: ArrayLike
) -> Float[Array, "patients samples"]:
    """IWRES: how many SDs of its error each reading is off its patient's prediction.

    NaN where padded, below the limit, or where an error law has no such thing.
    """
    hyper, population = density.hyper(jnp.asarray(u)), density.population
    phi = density.patient_phi(jnp.asarray(u), jnp.asarray(eta))
    data = completed(population, density.data, phi, hyper.sigma)
    prediction, _ = log_readings(population, phi, data, density.solver)
    sigma = by_sample(hyper.sigma, data.which)
    each = [
        assay.error.residual(prediction, data.log_value, sigma, data.sampled)
        for assay in population.assays
    ]
    seen = data.present & ~data.below
    return jnp.where(seen, of_its_assay(each, data.which), jnp.nan)


def _between_occasions(density: Density, scores: np.ndarray) -> dict[str, float]:
    """Shrinkage of what differs between occasions, over those that there are."""
    population = density.population
    had = np.arange(population.occasions) < density.data.n_occasions[:, None]
    first, found = len(population.vary), {}
    for name in population.iov:
        own = scores[:, first : first + population.occasions][had]
        found[f"omega_iov_{name}"] = 100.0 * (1.0 - float(own.std(ddof=1)))
        first += population.occasions
    return found


def shrinkage(density: Density, u: ArrayLike, eta: ArrayLike) -> dict[str, float]:
    """How far patients are drawn to the typical one, and residuals to nothing, in %.

    100 (1 - SD of η over patients), for `omega_NAME`: 0 where the data of each patient
    say where it lies, 100 where they say nothing. 100 (1 - SD of IWRES), for
    `sigma_ASSAY`: near 100 where curves go through every point. By SDs, as NONMEM does.

    Args:
        density: what was fitted.
        u: population parameters.
        eta: of each patient in SDs of the population: its mode, or its mean.

    Returns:
        By parameter; without those that cannot be told.
    """
    population = density.population
    # Of correlated patients, each parameter's own scores.
    scores = np.asarray(density.hyper(jnp.asarray(u)).spread.scores(jnp.asarray(eta)))
    found = {}
    if len(scores) > 1:
        for column, name in enumerate(population.vary):
            spread = float(scores[:, column].std(ddof=1))
            found[f"omega_{name}"] = 100.0 * (1.0 - spread)
    found |= _between_occasions(density, scores)
    off, which = np.asarray(residuals(density, u, eta)), np.asarray(density.data.which)
    for place, assay in enumerate(population.assays):
        mine = off[(which == place) & np.isfinite(off)]
        if mine.size > 1:
            found[f"sigma_{assay.name}"] = 100.0 * (1.0 - float(mine.std(ddof=1)))
    return found
