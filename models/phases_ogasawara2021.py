"""A lag, exponential expansion, then biphasic contraction: liso-cel in lymphoma.

    C(t) = C0                                                       t < Tlag
    C(t) = C0 2^((t-Tlag)/DT)                                       Tlag ≤ t < Tmax
    C(t) = Cmax [(1-F_B) 2^(-(t-Tmax)/hα) + F_B 2^(-(t-Tmax)/hβ)]   t ≥ Tmax
    Tmax = Tlag + G,   C0 = Cmax 2^(-G/DT)

DT is the doubling time, hα and hβ are half-lives. The days of growth G are the
parameter and Tmax is computed: both positive, so no patient peaks before the lag ends.

As an ODE: E' = 0, then E' = ρE, then E' = -αE with M' = F_B (α-β) E - βM, and
C = E + M, where ρ = ln2/DT, α = ln2/hα, β = ln2/hβ. With Tlag = 0 the curve is that of
`phases_stein2019`, parametrised by the doubling time.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Array, Float, Scalar
from ckin.model import AbstractModel, log_normal, logit_normal, parameter, state


ABSTRACT = "Ogasawara 2021, abstract"
# What the abstract leaves out, from the fit of another product with the same phases.
SURROGATE = "surrogate, not in the abstract: tisagenlecleucel, Stein 2019, Table 1"
LN2 = math.log(2.0)


class Copies(NamedTuple):
    """Transgene copies per µg gDNA in blood."""

    effector: Scalar = state("copies/ug", "waiting, expanding, contracting", log=True)
    memory: Scalar = state("copies/ug", "persisting", scale=1.0)


class PhasesOgasawara2021(AbstractModel):
    """Empirical phases of a single course, with a lag before the expansion."""

    lag: Scalar = parameter(
        3.27,
        unit="day",
        symbol="Tlag",
        doc="days after infusion before cells expand (95% CI 2.71-3.97)",
        checked="V",
        source=ABSTRACT,
        prior=log_normal(3.27, 0.3),
        omega=0.3,
        estimate=True,
    )
    growth_days: Scalar = parameter(
        9.29 - 3.27,
        unit="day",
        symbol="G",
        doc="days from the end of the lag to the peak",
        checked="C",
        source=f"{ABSTRACT}: Tmax 9.29 d (95% CI 8.81-9.70) less the lag 3.27 d",
        prior=log_normal(6.02, 0.3),
        omega=0.35,
        estimate=True,
    )
    doubling_time: Scalar = parameter(
        0.755,
        unit="day",
        symbol="DT",
        doc="doubling time of the expansion (95% CI 0.667-0.821)",
        checked="V",
        source=ABSTRACT,
        prior=log_normal(0.755, 0.3),
        omega=0.3,
        estimate=True,
    )
    cmax: Scalar = parameter(
        24_000.0,
        unit="copies/ug",
        symbol="Cmax",
        doc="peak",
        checked="U",
        source=SURROGATE,
        prior=log_normal(24_000.0, 1.0),
        omega=1.0,
        estimate=True,
    )
    contraction_half_life: Scalar = parameter(
        5.00,
        unit="day",
        symbol="hα",
        doc="half-life of the decline after the peak (95% CI 4.15-5.90)",
        checked="V",
        source=ABSTRACT,
        prior=log_normal(5.00, 0.5),
        omega=0.91,
        estimate=True,
    )
    memory_fraction: Scalar = parameter(
        0.0079,
        unit="1",
        symbol="F_B",
        doc="share of the peak that persists",
        checked="U",
        source=SURROGATE,
        prior=logit_normal(0.0079, 1.0),
        omega=0.80,
        estimate=True,
    )
    terminal_half_life: Scalar = parameter(
        352.0,
        unit="day",
        symbol="hβ",
        doc="half-life of persisting cells (95% CI 241-647)",
        checked="V",
        source=ABSTRACT,
        prior=log_normal(352.0, 0.7),
        omega=0.86,
        estimate=True,
    )

    State: ClassVar = Copies
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    one_course: ClassVar = True
    reference: ClassVar = (
        "Ogasawara K et al. Clin Pharmacokinet 2021, doi:10.1007/s40262-021-01039-5 "
        "(lisocabtagene maraleucel, 261 patients with large B-cell lymphoma)"
    )
    caution: ClassVar = (
        "From the abstract only: it names the phases and gives population means of "
        "lag, doubling time, Tmax and both half-lives. Cmax and F_B are those of "
        "another product, and every spread between patients is ckin's assumption or "
        "Stein 2019's. How the paper writes the lag was not read: here the level "
        "stays at C0, the one from which cells start to expand, so samples of the "
        "first days count (from day 0). The peak of infused cells in the first hours "
        "and their way out of the blood are not described; leave such samples out "
        "with --from-day."
    )
    derived_units: ClassVar = {
        "tmax_d": "day",
        "fold_expansion": "1",
        "level_in_lag": "copies/ug",
    }

    def initial(self) -> Copies:
        """Level during the lag, C0."""
        return Copies(
            effector=self.cmax * jnp.exp2(-self.growth_days / self.doubling_time),
            memory=jnp.zeros(()),
        )

    def switch_times(self) -> tuple[Scalar, ...]:
        """The infusion, the end of the lag and the peak."""
        return (jnp.zeros(()), self.lag, self.lag + self.growth_days)

    def vector_field(
        self, t: Scalar, y: Copies, inputs: Mapping[str, Scalar]
    ) -> Copies:
        """Waiting, growth, then contraction into memory."""
        contracting = t >= self.lag + self.growth_days
        rho = jnp.where(t < self.lag, 0.0, LN2 / self.doubling_time)
        alpha, beta = LN2 / self.contraction_half_life, LN2 / self.terminal_half_life
        to_memory = self.memory_fraction * (alpha - beta)
        return Copies(
            effector=jnp.where(contracting, -alpha, rho) * y.effector,
            memory=jnp.where(
                contracting, to_memory * y.effector - beta * y.memory, 0.0
            ),
        )

    def closed_form(self, time_d: Float[Array, " times"]) -> Copies:
        """The equations of the module's docstring."""
        grown = jnp.clip(time_d - self.lag, 0.0, self.growth_days)
        after = jnp.maximum(time_d - self.lag - self.growth_days, 0.0)
        growth = jnp.exp2((grown - self.growth_days) / self.doubling_time)
        fast = jnp.exp2(-after / self.contraction_half_life)
        slow = jnp.exp2(-after / self.terminal_half_life)
        return Copies(
            effector=self.cmax * growth * fast,
            memory=self.cmax * self.memory_fraction * (slow - fast),
        )

    def quantities(self, y: Copies) -> dict[str, Scalar]:
        """Both states are read by qPCR."""
        return {"copies_per_ug": y.effector + y.memory}

    def derived(self) -> dict[str, Scalar]:
        """The day of the peak, the expansion, and the level from which it starts."""
        fold = jnp.exp2(self.growth_days / self.doubling_time)
        return {
            "tmax_d": self.lag + self.growth_days,
            "fold_expansion": fold,
            "level_in_lag": self.cmax / fold,
        }
