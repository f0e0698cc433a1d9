"""What is estimated, what varies between patients, and on which scale.

Every estimated parameter has a transformed value φ: its logarithm if it is positive,
its logit if it is a fraction. A patient's φ is

    φ_i = φ_typical + Σ β · covariate_i + ω η_i ,   η_i ~ Normal(0, 1)

so that a positive parameter is log-normal between patients, with typical value (the
median patient) exp(φ_typical) and SD of the logarithm ω. Patients may be correlated in
blocks of parameters or heavy-tailed (`ckin.population.variation`), and parameters may
differ between the cycles of a patient: then φ goes on with a column for each parameter
and cycle, what is added to φ of that parameter in that cycle.

Where a covariate changes, φ_i above is that of its value at the first event, and

    φ_i(t) = φ_i + Σ (what the covariate adds at t - what it added at first) .

φ goes on with a column for each such β, times `CovariateEffect.scale`.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import expit, logit

from ckin._types import Array, Float
from ckin.assay import Assay
from ckin.model import AbstractModel, ParameterInfo, parameters
from ckin.population.effects import CovariateEffect, contributions
from ckin.population.pieces import COURSE, CYCLE
from ckin.solve import Changing, Patientlike


# SD of log ω around its prior median: a factor of 1.65 either way.
OMEGA_PRIOR_SD_LOG = 0.5

# Concentration of the LKJ prior of correlations: 1 would be uniform over matrices; 2 is
# a little in favour of none, and keeps the posterior off ±1.
LKJ_CONCENTRATION = 2.0

# Prior median of ω between the cycles of a patient, on the φ scale: half of what
# patients usually differ by.
IOV_OMEGA = 0.2

# What η of patients may be turned into.
ETAS = ("normal", "student_t")

# |φ - φ_default| of a logarithm or logit is clipped here: beyond any biology,
# so that no posterior touches it, and short of where a trial step overflows to NaN.
PHI_REACH = 30.0


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
        blocks: groups of parameters in `vary` that are correlated within each.
        eta: how patients are distributed, one of `ETAS`.
        screen: covariate coefficients have a horseshoe prior (`population.screening`).
        iov: parameters that differ between the occasions (cycles) of a patient.
        iov_omega: prior median of ω between occasions, of each parameter in `iov`.
        occasions: so many there are, of the patient who has most.
    """

    model: AbstractModel
    assays: tuple[Assay, ...]
    estimate: tuple[str, ...] = eqx.field(static=True)
    vary: tuple[str, ...] = eqx.field(static=True)
    omega: tuple[float, ...] = eqx.field(static=True)
    omega_sd_log: tuple[float, ...] = eqx.field(static=True)
    covariates: tuple[CovariateEffect, ...] = eqx.field(static=True, default=())
    priors: dict[str, dist.Distribution] = eqx.field(default_factory=dict)
    blocks: tuple[tuple[str, ...], ...] = eqx.field(static=True, default=())
    eta: str = eqx.field(static=True, default="normal")
    screen: bool = eqx.field(static=True, default=False)
    iov: tuple[str, ...] = eqx.field(static=True, default=())
    iov_omega: tuple[float, ...] = eqx.field(static=True, default=())
    occasions: int = eqx.field(static=True, default=1)

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
        known = informed(self.model, self.priors)
        return {name: known[name] for name in self.estimate}

    @property
    def changing(self) -> tuple[CovariateEffect, ...]:
        """Effects of covariates that change within patients."""
        return tuple(effect for effect in self.covariates if effect.changes)

    @property
    def n_phi(self) -> int:
        """Length of φ of a patient: estimated, `iov` by occasion, β of `changing`."""
        return self._n_added + len(self.changing)

    @property
    def _n_added(self) -> int:
        """So many of φ are estimated parameters, or added to one in a cycle."""
        return len(self.estimate) + len(self.iov) * self.occasions

    @property
    def spread_names(self) -> dict[str, str]:
        """Parameter that each ω is of, by the name of the ω (without `omega_`)."""
        between = {f"iov_{name}": name for name in self.iov}
        return {name: name for name in self.vary} | between

    @property
    def eta_names(self) -> tuple[str, ...]:
        """What each column of η moves; `NAME@2` is a parameter in the second cycle."""
        return (
            *self.vary,
            *(f"{name}@{n + 1}" for name in self.iov for n in range(self.occasions)),
        )

    @property
    def vary_index(self) -> tuple[int, ...]:
        """Position in φ of what each column of η moves."""
        own = tuple(self.estimate.index(name) for name in self.vary)
        return (*own, *range(len(self.estimate), self._n_added))

    @property
    def spreads(self) -> tuple[float, ...]:
        """Prior median of ω of each column of η."""
        return (
            *self.omega,
            *(w for w in self.iov_omega for _ in range(self.occasions)),
        )

    @property
    def n_heavy(self) -> int:
        """So many of the first columns of η are heavy-tailed."""
        return len(self.vary) if self.eta == "student_t" else 0

    @property
    def plain(self) -> bool:
        """Whether φ is its centre plus ω η: no correlations, tails, cycles, changes."""
        return not (self.blocks or self.n_heavy or self.iov or self.changing)

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

    def on_occasions(
        self, phi: Float[Array, "*batch phi"]
    ) -> Float[Array, "*batch occasions estimated"]:
        """Values of the estimated parameters on each occasion, from φ."""
        return self.from_phi(self._in_cycles(phi))

    def _in_cycles(self, phi: Float[Array, "*batch phi"]) -> Array:
        """φ of the estimated parameters in each cycle, (*batch, cycles, estimated)."""
        n = len(self.estimate)
        shape = (*phi.shape[:-1], len(self.iov), self.occasions)
        added = phi[..., n : self._n_added].reshape(shape)
        whole = jnp.repeat(phi[..., None, :n], self.occasions, axis=-2)
        where = jnp.array([self.estimate.index(name) for name in self.iov], dtype=int)
        return whole.at[..., where].add(jnp.swapaxes(added, -1, -2))

    def _in_pieces(
        self, phi: Float[Array, " phi"], known: Mapping[str, Array]
    ) -> Array:
        """Values of the estimated parameters in each piece of a patient's course.

        Args:
            phi: of the patient.
            known: says what changing covariates are, and which cycle it is.
        """
        effects, course = self.changing, known[COURSE]
        cycle = known.get(CYCLE, jnp.zeros(course.shape[0], dtype=int))
        scale = jnp.array([effect.scale for effect in effects])
        beta = phi[self._n_added : self.n_phi] / scale
        added = contributions(effects, course, beta)
        where = jnp.array([self.estimate.index(e.parameter) for e in effects])
        whole = self._in_cycles(phi)[cycle]
        # What holds at first is in φ already.
        return self.from_phi(whole.at[:, where].add(added - added[0]))

    def by_name(self, phi: Float[Array, "*batch phi"]) -> dict[str, Array]:
        """Values of the estimated parameters by name, and of each cycle (`NAME@2`)."""
        values = self.from_phi(phi)
        told = {name: values[..., index] for index, name in enumerate(self.estimate)}
        if not self.iov:
            return told
        each = self.on_occasions(phi)
        return told | {
            f"{name}@{cycle + 1}": each[..., cycle, self.estimate.index(name)]
            for name in self.iov
            for cycle in range(self.occasions)
        }

    def patient_model(
        self, phi: Float[Array, " estimated"], known: Mapping[str, Array]
    ) -> Patientlike:
        """Model of one patient: φ of the estimated parameters, and known values.

        `Changing` where parameters differ between occasions, or change with a
        covariate: then `known` has its course (`population.pieces`), without which it
        stays as it was at first.
        """
        values = self.from_phi(phi)
        named = {name: values[index] for index, name in enumerate(self.estimate)}
        plain = {name: v for name, v in known.items() if name not in (COURSE, CYCLE)}
        model = self.model.with_values(**named, **plain)
        moved, each = dict.fromkeys(self.iov), None
        if COURSE in known:
            each = self._in_pieces(phi, known)
            moved |= dict.fromkeys(effect.parameter for effect in self.changing)
        elif self.iov:
            each = self.on_occasions(phi)
        if each is None:
            return model
        own = {name: each[:, self.estimate.index(name)] for name in moved}
        return Changing(model, own)


def informed(
    model: AbstractModel, priors: Mapping[str, dist.Distribution]
) -> dict[str, ParameterInfo]:
    """Parameters of the model, with these priors in place of their own."""
    return {
        name: dataclasses.replace(info, prior=priors[name]) if name in priors else info
        for name, info in parameters(model).items()
    }
