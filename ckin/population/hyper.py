"""Population parameters as sites of NumPyro, and as the likelihood takes them.

`sample_hyper` draws the sites, `hyper_of` turns their values into centres of φ, spread
and σ. The model and every engine pass through the same `hyper_of`.
"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import special

from ckin._types import Array, Float
from ckin.population.effects import contributions
from ckin.population.pack import Packed
from ckin.population.screening import sample_screened, screened, z_of
from ckin.population.specification import (
    LKJ_CONCENTRATION,
    OMEGA_PRIOR_SD_LOG,
    Population,
)
from ckin.population.variation import Spread
from ckin.population.wells import sample_curves, with_curves


class Hyper(eqx.Module):
    """Population parameters in the form the likelihood of a patient takes them.

    Attributes:
        centre: φ of each patient before its own variation, (patients, estimated), then
            what each occasion adds to `Population.iov`, which is 0 here, and β of
            covariates that change, per SD. Where wells are fitted, the curves of their
            plates follow (`population.wells`).
        omega: SDs of the columns of η, shape (varying,).
        sigma: σ of each assay (error SD of the natural log, or what its law says); then
            additive parts of combined errors; of a well, in cycles, last.
        mixing: Cholesky factor of the correlations of η; `None` where there are none.
        n_heavy: so many of the first columns of η are Student's t.
    """

    centre: Float[Array, "patients estimated"]
    omega: Float[Array, " varying"]
    sigma: Float[Array, " errors"]
    mixing: Float[Array, "varying varying"] | None = None
    n_heavy: int = eqx.field(static=True, default=0)

    @property
    def spread(self) -> Spread:
        """How patients differ."""
        return Spread(self.omega, self.mixing, self.n_heavy)


def locations(
    population: Population,
    typical_phi: Float[Array, " estimated"],
    beta: Float[Array, " effects"],
    data: Packed,
) -> Float[Array, "patients phi"]:
    """φ of each patient before between-patient variation: typical value, covariates."""
    where = jnp.array(
        [population.estimate.index(e.parameter) for e in population.covariates],
        dtype=int,
    )
    centre = jnp.broadcast_to(typical_phi, (data.n_patients, typical_phi.shape[0]))
    added = contributions(population.covariates, data.covariates, beta)
    centre = centre.at[:, where].add(added)
    changing = [place for place, e in enumerate(population.covariates) if e.changes]
    # What an occasion adds is nothing, on the whole.
    more = population.n_phi - len(changing) - centre.shape[1]
    centre = jnp.pad(centre, ((0, 0), (0, more)))
    if not changing:
        return centre
    scale = jnp.array([population.covariates[place].scale for place in changing])
    shared = beta[jnp.array(changing)] * scale
    shared = jnp.broadcast_to(shared, (data.n_patients, len(changing)))
    return jnp.concatenate([centre, shared], axis=1)


def patient_phi(
    population: Population,
    centre: Float[Array, "patients estimated"],
    spread: Spread | Float[Array, " varying"],
    eta: Float[Array, "patients varying"],
) -> Float[Array, "patients estimated"]:
    """φ of each patient: centre plus its deviation on the parameters that vary.

    Args:
        population: says which parameters vary.
        centre: from `locations`.
        spread: how patients differ; SDs alone for patients without correlations.
        eta: standard normal.
    """
    if not isinstance(spread, Spread):
        spread = Spread(spread, None, population.n_heavy)
    where = jnp.array(population.vary_index, dtype=int)
    return centre.at[:, where].add(spread.deviations(eta))


def block_site(block: tuple[str, ...]) -> str:
    """NumPyro site of the Cholesky factor of a block's correlations."""
    return f"corr_cholesky_{'_'.join(block)}"


def correlation_names(block: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the correlations of a block, row by row of the lower triangle."""
    return tuple(
        f"corr_{block[column]}_{block[row]}"
        for row in range(len(block))
        for column in range(row)
    )


class CorrelationPrior(dist.TransformedDistribution):
    """What LKJ says of one correlation of a block: 2 Beta(a, a) - 1.

    a = concentration - 1 + size / 2 (Lewandowski, Kurowicka and Joe, J Multivar Anal
    2009;100:1989-2001).
    """

    def __init__(self, size: int) -> None:
        self.a = LKJ_CONCENTRATION - 1.0 + 0.5 * size
        share = dist.Beta(self.a, self.a)
        stretched = dist.transforms.AffineTransform(
            -1.0, 2.0, domain=dist.constraints.unit_interval
        )
        super().__init__(share, stretched)

    def icdf(self, q):
        """Quantiles; NumPyro's of a Beta need another library."""
        return 2.0 * special.betaincinv(self.a, self.a, np.asarray(q)) - 1.0


def sample_hyper(population: Population, data: Packed) -> dict[str, Array]:
    """NumPyro sites of the population parameters, but for curves; values by site."""
    priors: dict[str, dist.Distribution] = {}
    for name, info in population.info.items():
        assert info.prior is not None  # `population` refuses such a parameter
        priors[name] = info.prior
    for name, median, sd_log in zip(
        population.vary, population.omega, population.omega_sd_log, strict=True
    ):
        priors[f"omega_{name}"] = dist.LogNormal(jnp.log(median), sd_log)
    for name, median in zip(population.iov, population.iov_omega, strict=True):
        prior = dist.LogNormal(jnp.log(median), OMEGA_PRIOR_SD_LOG)
        priors[f"omega_iov_{name}"] = prior
    for block in population.blocks:
        priors[block_site(block)] = dist.LKJCholesky(len(block), LKJ_CONCENTRATION)
    values = _sampled(priors)
    if population.screen:
        values |= sample_screened(population, data.n_patients)
    else:
        values |= _sampled({e.name: e.prior() for e in population.covariates})
    errors = {f"sigma_{assay.name}": assay.sigma_prior for assay in population.assays}
    for place in population.two_part:
        assay = population.assays[place]
        errors[f"sigma_add_{assay.name}"] = assay.additive_prior
    return values | _sampled(errors) | sample_curves(data.standards)


def _sampled(priors: Mapping[str, dist.Distribution]) -> dict[str, Array]:
    return {
        name: jnp.asarray(numpyro.sample(name, prior)) for name, prior in priors.items()
    }


def hyper_of(
    population: Population, data: Packed, values: Mapping[str, Array]
) -> Hyper:
    """Centres, spread and σ from the values of the sites of `sample_hyper`."""
    typical = jnp.stack([values[name] for name in population.estimate])
    omega = [values[f"omega_{name}"] for name in population.vary]
    # One ω of a parameter between occasions, and a column of η for each occasion.
    for name in population.iov:
        omega += [values[f"omega_iov_{name}"]] * population.occasions
    names = [f"sigma_{assay.name}" for assay in population.assays]
    names += [f"sigma_add_{population.assays[i].name}" for i in population.two_part]
    centre, sigma = with_curves(
        locations(
            population,
            population.to_phi(typical),
            coefficients(population, values),
            data,
        ),
        jnp.stack([values[name] for name in names]),
        values,
        data.standards,
    )
    return Hyper(
        centre=centre,
        omega=jnp.stack(omega) if omega else jnp.zeros(0),
        sigma=sigma,
        mixing=_mixing(population, values),
        n_heavy=population.n_heavy,
    )


def coefficients(population: Population, values: Mapping[str, Array]) -> Array:
    """β of every covariate effect, from the sites."""
    if not population.covariates:
        return jnp.zeros(0)
    if population.screen:
        return screened(population, values)
    return jnp.stack([values[effect.name] for effect in population.covariates])


def _mixing(population: Population, values: Mapping[str, Array]) -> Array | None:
    """Cholesky factor of the correlations of all columns of η."""
    if not population.blocks:
        return None
    mixing = jnp.eye(len(population.eta_names))
    for block in population.blocks:
        at = np.array([population.vary.index(name) for name in block])
        mixing = mixing.at[at[:, None], at].set(values[block_site(block)])
    return mixing


def told_values(
    population: Population, values: Mapping[str, Array]
) -> dict[str, Array]:
    """Numbers that people read, by name, from the values of the sites.

    As many as there are coordinates: correlations in place of their Cholesky factors,
    coefficients in place of what a horseshoe makes them from.
    """
    told = dict(values)
    for block in population.blocks:
        factor = told.pop(block_site(block))
        matrix = factor @ factor.T
        rows, columns = np.tril_indices(len(block), -1)
        told |= zip(correlation_names(block), matrix[rows, columns], strict=True)
    if population.screen:
        names = [effect.name for effect in population.covariates]
        told |= zip(names, screened(population, values), strict=True)
    return told


def site_values(population: Population, told: Mapping[str, Array]) -> dict[str, Array]:
    """Values of the sites from the numbers that people read: undoes `told_values`."""
    values = dict(told)
    for block in population.blocks:
        rows, columns = np.tril_indices(len(block), -1)
        each = jnp.stack([values.pop(name) for name in correlation_names(block)])
        lower = jnp.zeros((len(block),) * 2).at[rows, columns].set(each)
        matrix = lower + lower.T + jnp.eye(len(block))
        values[block_site(block)] = jnp.linalg.cholesky(matrix)
    if population.screen:
        values |= z_of(population, values)
    return values
