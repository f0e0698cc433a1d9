"""The phases of `phases_stein2019` and `phases_ogasawara2021` without a switch.

A gate opens over about a day instead of at once: γ(t) = 1 / (1 + exp(-s (t-Tmax))) is
the share of cells that contract (1-γ is the gate g that lets them grow).

    E' = [ρ (o-γ) - α γ] E        M' = [ρ (o-γ) - β γ] M        C = E + M

    law `onset`    o                             Tlag       limit s → ∞
    none           1                             0          phases_stein2019
    lag            1 / (1 + exp(-s (t-Tlag)))    f Tmax     phases_ogasawara2021

    ρ = ln(1 + foldx) / (Tmax - Tlag)

M is the share F_B that is going to persist, E the rest; they grow alike, so before the
peak no assay tells them apart. The integral of a logistic function is a softplus,
sp(x) = ln(1 + exp(x)), so with a = sp(s (t-Tmax))/s, and w = t (none) or
sp(s (t-Tlag))/s (lag),

    C = Cmax exp(ρ (w - a - (Tmax-Tlag))) [(1-F_B) exp(-α a) + F_B exp(-β a)]

exactly. Cmax is the height at which the lines of growth and contraction meet on a log
scale, NOT the peak. For F_B = 0, and s (Tmax-Tlag) ≫ 1, the peak is lower and later:

    Cmax exp(-H (ρ+α)/s),  H = -p ln p - (1-p) ln(1-p),  p = ρ/(ρ+α)
    at Tmax + ln(ρ/α)/s

(0.89 Cmax, 0.43 days late at the defaults); F_B moves the peak by less than itself.
There is one peak where s > α - β. The distance to the model with switches is largest at
them, (ρ+α) ln2/s in ln C at Tmax, and falls as exp(-s |t-Tmax|) away from them.

What it is for: ln C has a continuous slope in Tmax, also across the time of a sample;
with a switch that slope jumps by ρ + α there, and a likelihood has a kink.
"""

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ckin._types import Array, Float, Scalar
from ckin.model import AbstractModel, law, log_normal, logit_normal, parameter, state


TABLE_1 = "Stein 2019, Table 1 (as in phases_stein2019)"
# What onset=lag takes to be liso-cel: doi:10.1007/s40262-021-01039-5, abstract (lag
# 3.27 d, doubling 0.755 d, Tmax 9.29 d, half-lives 5.00 and 352 d).
LISO_CEL = {
    "fold_expansion": 2.0 ** ((9.29 - 3.27) / 0.755) - 1.0,
    "tmax": 9.29,
    "lag_share": 3.27 / 9.29,
    "alpha": math.log(2.0) / 5.00,
    "beta": math.log(2.0) / 352.0,
}

Onset = tuple[Array, Array, Array]


def none(model: "PhasesSmooth", t: Array) -> Onset:
    """Cells grow from the infusion on."""
    del model
    return jnp.ones_like(t), t, jnp.zeros_like(t)


def lag(model: "PhasesSmooth", t: Array) -> Onset:
    """Cells begin to grow around Tlag, a share of Tmax so that it is before it."""
    start = model.lag_share * model.tmax
    opened, width = _gate(t - start, model.steepness)
    return opened, width, start * jnp.ones_like(t)


def _gate(since: Array, steepness: Array) -> tuple[Array, Array]:
    """A logistic function of time, and its integral from long before."""
    x = steepness * since
    return jax.nn.sigmoid(x), jax.nn.softplus(x) / steepness


class Copies(NamedTuple):
    """Transgene copies per µg gDNA in blood."""

    contracting: Scalar = state("copies/ug", "cells that contract fast", log=True)
    persisting: Scalar = state("copies/ug", "cells that persist", log=True)


class AbstractGatedPhases(AbstractModel):
    """Phases with gates instead of switches, times what the level does by itself."""

    fold_expansion: Scalar = parameter(
        3900.0,
        unit="1",
        symbol="foldx",
        doc="Cmax over the level at infusion",
        checked="V",
        source=TABLE_1,
        prior=log_normal(3900.0, 1.0),
        omega=2.4,
        estimate=True,
    )
    tmax: Scalar = parameter(
        9.3,
        unit="day",
        symbol="Tmax",
        doc="day on which half of the gate to contraction is open",
        checked="V",
        source=TABLE_1,
        prior=log_normal(9.3, 0.3),
        omega=0.38,
        estimate=True,
    )
    lag_share: Scalar = parameter(
        3.27 / 9.29,
        unit="1",
        symbol="f",
        doc="end of the lag as a share of Tmax (not in `none`)",
        checked="C",
        source="Ogasawara 2021, abstract: lag 3.27 d over Tmax 9.29 d",
        prior=logit_normal(0.352, 0.5),
    )
    cmax: Scalar = parameter(
        24_000.0,
        unit="copies/ug",
        symbol="Cmax",
        doc="where growth and contraction meet; the peak is a little lower",
        checked="V",
        source=TABLE_1,
        prior=log_normal(24_000.0, 1.0),
        omega=0.65,
        estimate=True,
    )
    alpha: Scalar = parameter(
        0.16,
        unit="1/day",
        symbol="α",
        doc="contraction rate after the peak (half-life 4.3 d)",
        checked="V",
        source=TABLE_1,
        prior=log_normal(0.16, 0.5),
        omega=0.91,
        estimate=True,
    )
    memory_fraction: Scalar = parameter(
        0.0079,
        unit="1",
        symbol="F_B",
        doc="share of the cells that persists",
        checked="V",
        source=TABLE_1,
        prior=logit_normal(0.0079, 1.0),
        omega=0.80,
        estimate=True,
    )
    beta: Scalar = parameter(
        0.0032,
        unit="1/day",
        symbol="β",
        doc="loss rate of persisting cells (half-life 220 d, extrapolated)",
        checked="V",
        source=TABLE_1,
        prior=log_normal(0.0032, 0.7),
        omega=0.86,
        estimate=True,
    )
    steepness: Scalar = parameter(
        4.0,
        unit="1/day",
        symbol="s",
        doc="steepness of the gates: from 10% to 90% open in 4.4/s days",
        source="assumption: the turn takes about a day, less than the time between "
        "samples, which therefore do not tell it",
        prior=log_normal(4.0, 0.5),
    )

    onset: Callable[..., Any] = law(
        none, lag, doc="when growth begins: (share of cells, its integral, Tlag)"
    )

    State: ClassVar = Copies
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    one_course: ClassVar = True
    # Of the default form, for the reason in phases_stein2019.
    described_from_d: ClassVar = 3.0
    derived_units: ClassVar = {
        "doubling_time_d": "day",
        "contraction_half_life_d": "day",
        "terminal_half_life_d": "day",
        "lag_d": "day",
        "peak_over_cmax": "1",
        "peak_after_tmax_d": "day",
    }

    @abc.abstractmethod
    def wandered(self, t: Array) -> tuple[Array, Array]:
        """What is added to the logarithm of the level by day `t`, and its slope."""

    def _growth(self, start: Array) -> Array:
        """The rate ρ if growth begins at `start`."""
        return jnp.log1p(self.fold_expansion) / (self.tmax - start)

    def initial(self) -> Copies:
        """The curve at infusion."""
        return Copies(*(one[0] for one in self.closed_form(jnp.zeros(1))))

    def switch_times(self) -> tuple[Scalar, ...]:
        """The infusion: what is given before it (lymphodepletion) moves nothing."""
        return (jnp.zeros(()),)

    def vector_field(
        self, t: Scalar, y: Copies, inputs: Mapping[str, Scalar]
    ) -> Copies:
        """Growth that turns into contraction; see the module's docstring."""
        opened, _, start = self.onset(self, t)
        closed, _ = _gate(t - self.tmax, self.steepness)
        growth = self._growth(start) * (opened - closed)
        _, drift = self.wandered(t)
        fast = growth - self.alpha * closed + drift
        slow = growth - self.beta * closed + drift
        return Copies(
            contracting=jnp.where(t < 0, 0.0, fast) * y.contracting,
            persisting=jnp.where(t < 0, 0.0, slow) * y.persisting,
        )

    def closed_form(self, time_d: Float[Array, " times"]) -> Copies:
        """The equation of the module's docstring."""
        t = jnp.maximum(time_d, 0.0)
        _, grown, start = self.onset(self, t)
        _, gone = _gate(t - self.tmax, self.steepness)
        rise = self._growth(start) * (grown - gone - (self.tmax - start))
        rise += self.wandered(t)[0]
        share = self.memory_fraction
        return Copies(
            contracting=self.cmax * (1.0 - share) * jnp.exp(rise - self.alpha * gone),
            persisting=self.cmax * share * jnp.exp(rise - self.beta * gone),
        )

    def quantities(self, y: Copies) -> dict[str, Scalar]:
        """Both states are read by qPCR."""
        return {"copies_per_ug": y.contracting + y.persisting}

    def derived(self) -> dict[str, Scalar]:
        """Half-lives, doubling time, and where the peak is (for F_B = 0)."""
        ln2 = math.log(2.0)
        _, _, start = self.onset(self, jnp.zeros(()))
        rho, alpha = self._growth(start), self.alpha
        turn = rho + alpha
        # (ρ+α) H, the entropy of the module's docstring.
        entropy = -rho * jnp.log(rho / turn) - alpha * jnp.log(alpha / turn)
        return {
            "doubling_time_d": ln2 / rho,
            "contraction_half_life_d": ln2 / alpha,
            "terminal_half_life_d": ln2 / self.beta,
            "lag_d": start,
            "peak_over_cmax": jnp.exp(-entropy / self.steepness),
            "peak_after_tmax_d": jnp.log(rho / alpha) / self.steepness,
        }


class PhasesSmooth(AbstractGatedPhases):
    """Empirical phases of a single course with gates instead of switches."""

    reference: ClassVar = (
        "ckin; the phases are those of Stein AM et al. CPT Pharmacometrics Syst "
        "Pharmacol 2019;8:285-295, doi:10.1002/psp4.12388, and Ogasawara K et al. Clin "
        "Pharmacokinet 2021, doi:10.1007/s40262-021-01039-5. A sigmoid in place of the "
        "switch was proposed by Li Y, Cheng Y 2026 (preprint, "
        "doi:10.64898/2026.03.01.708827; abstract only, its equations were not read)"
    )
    caution: ClassVar = (
        "Values were estimated with switches; here Cmax is above the peak, see the "
        "model's file for by how much. Samples of the first 3 days are left out of a "
        "fit, as for phases_stein2019; with onset=lag --from-day 0 keeps them, and "
        "lag_share has to be named to be estimated. The defaults are tisagenlecleucel "
        "in both forms; for liso-cel set fold_expansion=250, tmax=9.29, alpha=0.139, "
        "beta=0.00197. The steepness is assumed, and qPCR once in some days cannot "
        "estimate it."
    )

    def wandered(self, t: Array) -> tuple[Array, Array]:
        """Nothing."""
        return jnp.zeros_like(t), jnp.zeros_like(t)
