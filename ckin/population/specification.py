"""What is estimated, what varies between patients, and on which scale.

Every estimated parameter has a transformed value φ: its logarithm if it is positive,
its logit if it is a fraction. A patient's φ is

    φ_i = φ_typical + Σ β · covariate_i + ω η_i ,   η_i ~ Normal(0, 1)

so that a positive parameter is log-normal between patients, with typical value (the
median patient) exp(φ_typical) and SD of the logarithm ω.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import expit, logit

from ckin._types import Array, Float
from ckin.assay import ASSAYS, Assay
from ckin.errors import InputError
from ckin.model import AbstractModel, ParameterInfo, name_of, parameters


# SD of log ω around its prior median: a factor of 1.65 either way.
OMEGA_PRIOR_SD_LOG = 0.5

# Prior SD of a covariate coefficient, on the φ scale per unit of the covariate.
BETA_PRIOR_SD = 0.5

# |φ - φ_default| of a logarithm or logit is clipped here: beyond any biology,
# so that no posterior touches it, and short of where a trial step overflows to NaN.
PHI_REACH = 30.0


@dataclasses.dataclass(frozen=True)
class CovariateEffect:
    """Effect of one data column on one parameter.

    Attributes:
        parameter: parameter that depends on it.
        column: covariate column of the data.
        level: for a categorical covariate, the category whose patients get β; `None`
            for a number.
        center: value of a numeric covariate at which the effect is nil; a positive
            parameter then goes as (x / center)^β.
    """

    parameter: str
    column: str
    level: str | None = None
    center: float = 1.0

    @property
    def name(self) -> str:
        """Name of the coefficient in a fit."""
        level = "" if self.level is None else f"_{self.level}"
        return f"beta_{self.parameter}_{self.column}{level}"

    def value(self, raw: float | str) -> float:
        """Number that β multiplies for a patient with this covariate.

        Raises:
            ValueError: a numeric covariate that is not a positive number.
        """
        if self.level is not None:
            return float(str(raw) == self.level)
        try:
            number = float(raw)
        except ValueError:
            number = math.nan
        if not number > 0:
            raise ValueError(
                f"covariate {self.column} is {raw!r}; a power effect needs a positive "
                f"number (for a category write {self.parameter}~{self.column}=LEVEL)"
            )
        return math.log(number / self.center)


class Population(eqx.Module):
    """A model, its assays, and how patients differ. Build it with `population`.

    Attributes:
        model: the typical patient; parameters that are not estimated keep its values.
        assays: what was measured, each on the same trajectory.
        estimate: parameters whose typical value is estimated.
        vary: parameters that differ between patients, a subset of `estimate`.
        omega: prior median of ω of each parameter in `vary`.
        omega_sd_log: prior SD of log ω of each parameter in `vary`.
        covariates: covariate effects.
        priors: priors that take the place of the model file's, by parameter.
    """

    model: AbstractModel
    assays: tuple[Assay, ...]
    estimate: tuple[str, ...] = eqx.field(static=True)
    vary: tuple[str, ...] = eqx.field(static=True)
    omega: tuple[float, ...] = eqx.field(static=True)
    omega_sd_log: tuple[float, ...] = eqx.field(static=True)
    covariates: tuple[CovariateEffect, ...] = eqx.field(static=True, default=())
    priors: dict[str, dist.Distribution] = eqx.field(default_factory=dict)

    @property
    def assay(self) -> Assay:
        """The assay of a population that has one."""
        (assay,) = self.assays
        return assay

    @property
    def two_part(self) -> tuple[int, ...]:
        """Places of the assays whose error has an additive part beside σ."""
        return tuple(i for i, a in enumerate(self.assays) if a.error.has_additive)

    @property
    def info(self) -> dict[str, ParameterInfo]:
        """Information of the estimated parameters, in order."""
        known = _informed(self.model, self.priors)
        return {name: known[name] for name in self.estimate}

    @property
    def vary_index(self) -> tuple[int, ...]:
        """Position in `estimate` of each parameter in `vary`."""
        return tuple(self.estimate.index(name) for name in self.vary)

    @property
    def on_grid(self) -> bool:
        """Whether trajectories of this model are solved on a grid.

        A formula needs none. Events that move with a parameter, switch times or a lag
        that is estimated, are on no grid laid beforehand.
        """
        exact = self.model.closed_form(jnp.zeros(1))
        moving = set(self.model.lags.values()) & set(self.estimate)
        return exact is None and not self.model.switch_times() and not moving

    def typical_phi(self) -> Float[Array, " estimated"]:
        """φ of the model's own values."""
        values = [getattr(self.model, name) for name in self.estimate]
        return self.to_phi(jnp.stack([jnp.asarray(v, dtype=float) for v in values]))

    def to_phi(self, values: Float[Array, "*batch estimated"]) -> Array:
        """Transformed values of the estimated parameters (last axis)."""
        return self._by_scale(values, {"log": jnp.log, "logit": logit})

    def from_phi(self, phi: Float[Array, "*batch estimated"]) -> Array:
        """Inverse of `to_phi`, of any φ (see `PHI_REACH`).

        What follows the estimated parameters in φ is left out (`population.wells`).
        """
        phi = phi[..., : len(self.estimate)]
        middle = self.typical_phi()
        reach = jnp.array(
            [
                jnp.inf if info.scale == "identity" else PHI_REACH
                for info in self.info.values()
            ]
        )
        phi = jnp.clip(phi, middle - reach, middle + reach)
        return self._by_scale(phi, {"log": jnp.exp, "logit": expit})

    def _by_scale(self, array, change):
        columns = [
            change.get(info.scale, lambda v: v)(array[..., index])
            for index, info in enumerate(self.info.values())
        ]
        return jnp.stack(columns, axis=-1)

    def patient_model(
        self, phi: Float[Array, " estimated"], known: Mapping[str, Array]
    ) -> AbstractModel:
        """Model of one patient: φ of the estimated parameters, and known values."""
        values = self.from_phi(phi)
        named = {name: values[index] for index, name in enumerate(self.estimate)}
        return self.model.with_values(**named, **known)


def _informed(
    model: AbstractModel, priors: Mapping[str, dist.Distribution]
) -> dict[str, ParameterInfo]:
    """Parameters of the model, with these priors in place of their own."""
    return {
        name: dataclasses.replace(info, prior=priors[name]) if name in priors else info
        for name, info in parameters(model).items()
    }


def population(
    model: AbstractModel,
    assay: Assay | Sequence[Assay],
    *,
    estimate: Sequence[str] | None = None,
    vary: Sequence[str] | None = None,
    covariates: Sequence[CovariateEffect] = (),
    priors: Mapping[str, dist.Distribution] | None = None,
    omega: Mapping[str, float] | None = None,
    omega_sd_log: Mapping[str, float] | None = None,
) -> Population:
    """Choose what is estimated and what varies; by default, as the model file says.

    Args:
        model: the typical patient.
        assay: what was measured, or several such on the same trajectory.
        estimate: parameters whose typical value is estimated.
        vary: parameters that vary between patients; each is estimated too.
        covariates: covariate effects, on estimated parameters.
        priors: priors of typical values to use instead of the model file's.
        omega: prior medians of ω to use instead of the model file's. Parameters that
            do not vary here are passed over.
        omega_sd_log: prior SDs of log ω to use instead of `OMEGA_PRIOR_SD_LOG`.

    Raises:
        InputError: a name that the model lacks, or a parameter without a prior.
    """
    priors, omega, omega_sd_log = priors or {}, omega or {}, omega_sd_log or {}
    acting = [effect.parameter for effect in covariates]
    for name in [*(estimate or ()), *(vary or ()), *acting, *priors]:
        _check_known(name, model)
    for name in [*omega, *omega_sd_log]:
        _check_known(name, model)
    known = _informed(model, priors)
    if estimate is None:
        estimate = tuple(name for name, info in known.items() if info.estimate)
    for name in [*estimate, *(vary or ()), *acting]:
        if known[name].prior is None:
            raise InputError(
                f"parameter {name} of {name_of(model)} has no prior, "
                "so it cannot be estimated: give it one in the model file"
            )
    if vary is None:
        vary = tuple(n for n in estimate if known[n].omega is not None)
    estimate = tuple(dict.fromkeys([*estimate, *vary]))
    for effect in covariates:
        if effect.parameter not in estimate:
            raise InputError(
                f"covariate {effect.column} acts on {effect.parameter}, which is not "
                f"estimated; estimated are {', '.join(estimate)}"
            )
    spread = {name: omega.get(name, known[name].omega or 0.3) for name in vary}
    doubt = {name: omega_sd_log.get(name, OMEGA_PRIOR_SD_LOG) for name in vary}
    assays = (assay,) if isinstance(assay, Assay) else tuple(assay)
    names = [each.name for each in assays]
    if not names or len(set(names)) < len(names):
        raise InputError(f"assays: {', '.join(names) or 'none'}; name each once")
    for each in assays:
        if each.quantity not in model.units:
            able = [name for name, a in ASSAYS.items() if a().quantity in model.units]
            able += model.assays
            raise InputError(
                f"assay {each.name}: {name_of(model)} does not describe "
                f"{each.quantity}; it has {', '.join(model.units)}, for the assays "
                f"{', '.join(able) or 'none'}"
            )
    return Population(
        model=model,
        assays=assays,
        estimate=estimate,
        vary=tuple(vary),
        omega=tuple(float(spread[name]) for name in vary),
        omega_sd_log=tuple(float(doubt[name]) for name in vary),
        covariates=tuple(covariates),
        priors=dict(priors),
    )


def _check_known(name: str, model: AbstractModel) -> None:
    known = parameters(model)
    if name not in known:
        raise InputError(
            f"{name_of(model)} has no parameter {name!r}; it has {', '.join(known)}"
        )
