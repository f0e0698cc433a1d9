"""What a design can tell: Fisher information of the population parameters.

Each patient's readings are taken as normal around their prediction, with

    V = J Ω Jᵀ + R

(J the forward sensitivities, R the inverse of what single readings tell), so a mean
parameter is told Jᵀ V⁻¹ J and a variance parameter ½ tr(V⁻¹ V' V⁻¹ V'): the reduced
population Fisher information of PFIM and PopED, on φ (log, logit) scales. Each patient
is linearised at its own η drawn from the population, or at η = 0 (first order).

What a single reading tells comes from the assay's own likelihood: the mean of minus its
second derivative over readings drawn from it, those under the limit left-censored. A
reading far below its limit tells nothing; a Student-t one less than a normal one.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpyro.distributions.transforms import biject_to

from ckin._types import Array, ArrayLike, Float
from ckin.dataset import Dataset
from ckin.design.sensitivity import Sensitivities, sensitivities
from ckin.errors import InputError
from ckin.inference.density import Density, Hyper, prior_sites
from ckin.population import Packed, Population
from ckin.population.hyper import patient_phi
from ckin.population.model import (
    by_sample,
    of_its_assay,
    reading_log_likelihoods,
)


# Readings drawn to say what one tells: their second derivative is a constant for normal
# ones above a limit, so few are needed.
READINGS = 64
# Change of log σ over which it is seen how fast readings tell less.
SIGMA_STEP = 0.02
# A direction of the parameters whose posterior is narrower than the prior by less than
# this is not identified by the design.
LEAST_CONTRACTION = 0.1


def as_design(dataset: Dataset) -> Dataset:
    """The samples of a data set without what was read: each carries its limit.

    `pack` of it gives `log_value` the limit of every sample (of one without a limit:
    a value that no reading is under), which is what `information` wants.
    """

    def blank(sample):
        value = 1e-12 if sample.limit is None else sample.limit
        return dataclasses.replace(sample, value=value, below=False)

    patients = tuple(
        dataclasses.replace(p, samples=tuple(blank(s) for s in p.samples))
        for p in dataset.patients
    )
    return dataclasses.replace(dataset, patients=patients)


@dataclasses.dataclass(frozen=True)
class Information:
    """What a design tells of the population parameters.

    Attributes:
        names: of the parameters, as a fit names them.
        values: their assumed values, each in its own unit.
        scale: "log", "logit" or "identity": what the matrices are in.
        matrix: Fisher information, (parameters, parameters).
        prior_sd: SD of the priors on the same scale.
        eta_shrinkage: of each varying parameter: share of its variance between
            patients that their own readings leave unknown, 0 to 1.
        patients: how many patients the design has.
        unsolved: patients who could not be solved; they tell nothing.
    """

    names: tuple[str, ...]
    values: np.ndarray
    scale: tuple[str, ...]
    matrix: np.ndarray
    prior_sd: np.ndarray
    eta_shrinkage: Mapping[str, float]
    patients: int
    unsolved: int

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the posterior: information and prior together."""
        return np.linalg.inv(self.matrix + np.diag(self.prior_sd**-2.0))

    @property
    def contraction(self) -> np.ndarray:
        """1 - posterior variance / prior variance of each parameter, 0 to 1."""
        return 1.0 - np.diag(self.covariance) / self.prior_sd**2

    @property
    def standard_errors(self) -> np.ndarray:
        """From the readings alone; infinite where they tell nothing."""
        scale = np.sqrt(np.maximum(np.diag(self.matrix), 1e-300))
        sizes, directions = np.linalg.eigh(self.matrix / np.outer(scale, scale))
        with np.errstate(divide="ignore"):
            inverse = 1.0 / np.where(sizes > 1e-12, sizes, 0.0)
        with np.errstate(invalid="ignore"):
            share = np.where(directions**2 > 1e-12, directions**2 * inverse, 0.0)
        return np.sqrt(share.sum(axis=1)) / scale

    def log_det(self) -> float:
        """Log determinant of information and prior together: the D-criterion."""
        return float(np.linalg.slogdet(self.matrix + np.diag(self.prior_sd**-2.0))[1])

    def table(self) -> pd.DataFrame:
        """One row a parameter: value, RSE% or SE, and what is known after the trial."""
        after = np.sqrt(np.diag(self.covariance))
        return pd.DataFrame(
            {
                "parameter": self.names,
                "value": self.values,
                "scale": self.scale,
                "prior_sd": self.prior_sd,
                "se_readings": self.standard_errors,
                "sd_posterior": after,
                "contraction": self.contraction,
            }
        )

    def weak_directions(self) -> list[dict[str, float]]:
        """Combinations that the trial leaves as the prior has them.

        Each is {parameter: loading}, in prior SDs, the strongest loadings first.
        """
        whitened = self.matrix * np.outer(self.prior_sd, self.prior_sd)
        sizes, directions = np.linalg.eigh(whitened)
        found = []
        for size, direction in zip(sizes, directions.T, strict=True):
            if size / (1.0 + size) >= LEAST_CONTRACTION:
                continue
            order = np.argsort(-np.abs(direction))
            kept = [k for k in order if abs(direction[k]) > 0.3]
            found.append({self.names[k]: float(direction[k]) for k in kept})
        return found


def point(
    density: Density,
    *,
    omega: Mapping[str, float] | None = None,
    sigma: Mapping[str, float] | None = None,
) -> Float[Array, " hyper"]:
    """Coordinates of the model's own values; ω and σ as given or as in the prior."""
    population = density.population
    given = {
        name: float(getattr(population.model, name)) for name in population.estimate
    }
    given |= {f"omega_{name}": value for name, value in (omega or {}).items()}
    given |= {f"sigma_{name}": value for name, value in (sigma or {}).items()}
    sites = prior_sites(density)
    u = [
        biject_to(sites[name].support).inv(jnp.asarray(given[name], dtype=float))
        if name in given
        else density.start[index]
        for index, name in enumerate(density.names)
    ]
    return jnp.stack(u)


def prior_sd(density: Density) -> np.ndarray:
    """SD of each prior on the scale of u: half the middle 68% of it."""
    found = []
    for site in prior_sites(density).values():
        ends = site.icdf(jnp.array([0.158655, 0.841345]))
        low, high = biject_to(site.support).inv(ends)
        found.append(0.5 * float(high - low))
    return np.array(found)


@eqx.filter_jit
def reading_information(
    population: Population,
    design: Packed,
    log_reading: Float[Array, "patients samples"],
    sigma: Float[Array, " assays"],
    key: Array,
) -> Float[Array, "patients samples"]:
    """What each reading tells of its own log prediction, expected over readings.

    Args:
        population: says by which laws readings err.
        design: samples, `log_value` their limits (`as_design`).
        log_reading: error-free readings.
        sigma: error SD of each assay.
        key: of the readings that are drawn.
    """
    spread = jnp.broadcast_to(by_sample(sigma, design.which), log_reading.shape)

    def bend(key):
        each = [
            assay.draw(key, log_reading, spread, design.sampled)
            for assay in population.assays
        ]
        drawn = of_its_assay(each, design.which)
        below = drawn < design.log_value
        read = eqx.tree_at(
            lambda d: (d.log_value, d.below),
            design,
            (jnp.where(below, design.log_value, drawn), below),
        )

        def slope(prediction):
            total = lambda p: jnp.sum(
                reading_log_likelihoods(population, p, read, spread)
            )
            return jax.grad(total)(prediction)

        return -jax.jvp(slope, (log_reading,), (jnp.ones_like(log_reading),))[1]

    told = jax.vmap(bend)(jax.random.split(key, READINGS)).mean(axis=0)
    return jnp.where(design.present, jnp.maximum(told, 0.0), 0.0)


class Told(eqx.Module):
    """What every reading of a design tells, before it is added up.

    Attributes:
        hyper: the population that is taken to be true.
        sens: readings and sensitivities of everyone.
        told: information of each reading on its log prediction, 0 where padded.
        fading: how fast it falls with log σ (2 for normal readings).
        own: 1 where a sample is of an assay, (patients, samples, assays).
        centre_by_u: derivative of everyone's centre by u.
        spread_by_u: of (log ω, log σ).
        vary: position of the varying parameters in φ.
    """

    hyper: Hyper
    sens: Sensitivities
    told: Float[Array, "patients samples"]
    fading: Float[Array, "patients samples"]
    own: Float[Array, "patients samples assays"]
    centre_by_u: Float[Array, "patients estimated hyper"]
    spread_by_u: Float[Array, "spreads hyper"]
    vary: tuple[int, ...] = eqx.field(static=True)

    def matrix(self, weights: Float[ArrayLike, "#patients #samples"] = 1.0):
        """Information on u, (hyper, hyper), and what of each η's variance is left.

        Args:
            weights: how often each sample is taken; need not be whole.
        """
        of_centre, spread, left = _blocks(self, self.told * weights, weights)
        matrix = jnp.einsum(
            "nia,nij,njb->ab", self.centre_by_u, of_centre, self.centre_by_u
        )
        return matrix + self.spread_by_u.T @ spread @ self.spread_by_u, left


def _blocks(all_told: Told, told: Float[Array, "patients samples"], weights):
    """Information on each centre, on all (log ω, log σ), and what is left of η."""
    vary, omega = jnp.array(all_told.vary, dtype=int), all_told.hyper.omega

    # Of σ a reading tells what it tells of itself, as a share of the best of its kind;
    # the same reading twice is one reading of twice the precision.
    best = jnp.max(all_told.told, axis=1, keepdims=True)
    share = all_told.told / jnp.where(best > 0, best, 1.0) * jnp.minimum(weights, 1.0)

    def one(jacobian, w, seen, own):
        varying = jacobian[:, vary] * omega
        root = jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1.0)), 0.0)[:, None]
        half = root * varying
        precision = jnp.eye(len(vary)) + half.T @ half
        # V⁻¹ = √W M √W by Woodbury: nothing is divided by what a reading tells.
        middle = jnp.eye(w.shape[0]) - half @ jnp.linalg.solve(precision, half.T)
        weighted = root * jacobian
        of_centre = weighted.T @ middle @ weighted
        gram = half.T @ middle @ half
        of_omega = 2.0 * gram**2
        moved = (middle @ half) ** 2
        cross = jnp.einsum("tk,t,ta->ka", moved, seen, own)
        of_sigma = 0.5 * jnp.einsum("ta,t,ts,s,sb->ab", own, seen, middle**2, seen, own)
        spread = jnp.block([[of_omega, cross], [cross.T, of_sigma]])
        return of_centre, spread, jnp.diag(jnp.linalg.inv(precision))

    of_centre, spread, left = jax.vmap(one)(
        all_told.sens.jacobian, told, all_told.fading * share, all_told.own
    )
    return of_centre, spread.sum(axis=0), left.mean(axis=0)


def check_plain(population: Population) -> None:
    """Refuse patients whose information is not worked out here.

    Raises:
        InputError: correlated or heavy-tailed patients, or cycles that differ.
    """
    if not population.plain:
        raise InputError(
            "what a design tells is worked out for independent normal patients: "
            "leave out --correlate, --eta and --iov"
        )


def what_is_told(
    density: Density,
    u: Float[Array, " hyper"],
    key: Array,
    *,
    first_order: bool = False,
) -> Told:
    """What every reading of a design tells; see `information`."""
    population, design = density.population, density.data
    check_plain(population)
    hyper = density.hyper(u)
    key_eta, key_readings = jax.random.split(key)
    eta = jax.random.normal(key_eta, density.eta_shape) * (not first_order)
    phi = patient_phi(population, hyper.centre, hyper.spread, eta)
    sens = sensitivities(population, design, phi)

    def told_at(sigma):
        return reading_information(
            population, design, sens.log_reading, sigma, key_readings
        )

    told, less = told_at(hyper.sigma), told_at(hyper.sigma * jnp.exp(SIGMA_STEP))
    known = told > 0
    ratio = jnp.where(known, less, 1.0) / jnp.where(known, told, 1.0)
    fading = -jnp.log(jnp.maximum(ratio, 1e-12)) / SIGMA_STEP
    own = jax.nn.one_hot(design.which, hyper.sigma.shape[0]) * design.present[..., None]

    def spreads(u):
        hyper = density.hyper(u)
        return jnp.log(jnp.concatenate([hyper.omega, hyper.sigma]))

    return Told(
        hyper=hyper,
        sens=sens,
        told=told,
        fading=jnp.clip(fading, 0.0, 2.0),
        own=own,
        centre_by_u=jax.jacfwd(lambda u: density.hyper(u).centre)(u),
        spread_by_u=jax.jacfwd(spreads)(u),
        vary=population.vary_index,
    )


def information(
    density: Density,
    u: Float[Array, " hyper"],
    key: Array,
    *,
    first_order: bool = False,
) -> Information:
    """Fisher information of a design about the population parameters.

    Args:
        density: population and design (`pack` of `as_design`).
        u: the parameters that are taken to be true (`point`).
        key: of the patients' η and of readings.
        first_order: linearise everyone at η = 0, as PFIM does by default.

    Returns:
        `Information`.
    """
    told = what_is_told(density, u, key, first_order=first_order)
    matrix, left = eqx.filter_jit(Told.matrix)(told)
    values, sites = density.constrain(u), prior_sites(density)
    return Information(
        names=density.names,
        values=np.array([float(values[name]) for name in density.names]),
        scale=tuple(_scale(sites[name]) for name in density.names),
        matrix=np.asarray(matrix),
        prior_sd=prior_sd(density),
        eta_shrinkage={
            name: float(each)
            for name, each in zip(density.population.vary, left, strict=True)
        },
        patients=density.data.n_patients,
        unsolved=int(np.sum(~np.asarray(told.sens.solved))),
    )


def _scale(site) -> str:
    """What u of this prior is."""
    name = type(biject_to(site.support)).__name__
    return {"ExpTransform": "log", "SigmoidTransform": "logit"}.get(name, "identity")
