"""Exponential expansion, then biphasic contraction: tisagenlecleucel in B-ALL.

    C(t) = R0 exp(ρ t)                                              t < Tmax
    C(t) = Cmax [(1-F_B) exp(-α (t-Tmax)) + F_B exp(-β (t-Tmax))]   t ≥ Tmax
    R0 = Cmax / (1 + foldx),   ρ = ln(1 + foldx) / Tmax

The paper writes foldx for 1 + foldx. At its 3,900 the two agree to 3e-4; with the 1 a
patient's cells never shrink before the peak, wherever foldx wanders (without it, two
of 34 CTL019 courses with a first sample near their peak stalled the sampler).

As an ODE: E' = ρE, then E' = -αE with M' = F_B (α-β) E - βM, and C = E + M.
The curve is measured from the first infusion and takes no dose amount: in the data
it was fitted to, antigen and not dose set the peak (exponent of dose on Cmax 0.093).
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Array, Float, Scalar
from ckin.model import AbstractModel, log_normal, logit_normal, parameter, state


TABLE_1 = "Stein 2019, Table 1 (read through nlmixr2lib Stein_2019_Tisagenlecleucel)"

# The six "omega" of Table 1. Two re-implementations read them differently: as SDs of
# the logarithm (Monolix' convention) or as variances (nlmixr2lib). Unresolved; the
# CTL019 courses favour SD for Tmax (raw SD of ln Tmax 0.31-0.43).
SPREAD = {
    "fold_expansion": 2.4,
    "tmax": 0.38,
    "cmax": 0.65,
    "alpha": 0.91,
    "memory_fraction": 0.80,
    "beta": 0.86,
}


def spread(reading: str = "SD") -> dict[str, float]:
    """Between-patient SDs of the logarithm under one reading of Table 1.

    Args:
        reading: "SD" (default) takes the printed numbers as SDs, "variance" as
            variances.
    """
    if reading == "SD":
        return dict(SPREAD)
    if reading == "variance":
        return {name: value**0.5 for name, value in SPREAD.items()}
    raise ValueError(f"reading={reading!r}: Table 1 is read as 'SD' or 'variance'")


class Copies(NamedTuple):
    """Transgene copies per µg gDNA in blood."""

    effector: Scalar = state("copies/ug", "expanding, then contracting", log=True)
    memory: Scalar = state("copies/ug", "persisting", scale=1.0)


class PhasesStein2019(AbstractModel):
    """Empirical phases of a single course; every parameter varies between patients."""

    fold_expansion: Scalar = parameter(
        3900.0,
        unit="1",
        symbol="foldx",
        doc="Cmax over the extrapolated level at infusion",
        checked="V",
        source=TABLE_1,
        prior=log_normal(3900.0, 1.0),
        omega=SPREAD["fold_expansion"],
        estimate=True,
    )
    tmax: Scalar = parameter(
        9.3,
        unit="day",
        symbol="Tmax",
        doc="day of the peak",
        checked="V",
        source=TABLE_1,
        prior=log_normal(9.3, 0.3),
        omega=SPREAD["tmax"],
        estimate=True,
    )
    cmax: Scalar = parameter(
        24_000.0,
        unit="copies/ug",
        symbol="Cmax",
        doc="peak",
        checked="V",
        source=TABLE_1,
        # Wide: in remission peaks are several times lower (science notes, FELIX).
        prior=log_normal(24_000.0, 1.0),
        omega=SPREAD["cmax"],
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
        omega=SPREAD["alpha"],
        estimate=True,
    )
    memory_fraction: Scalar = parameter(
        0.0079,
        unit="1",
        symbol="F_B",
        doc="share of the peak that persists",
        checked="V",
        source=TABLE_1,
        prior=logit_normal(0.0079, 1.0),
        omega=SPREAD["memory_fraction"],
        estimate=True,
    )
    beta: Scalar = parameter(
        0.0032,
        unit="1/day",
        symbol="β",
        doc="loss rate of persisting cells (half-life 220 d, extrapolated: follow-up "
        "was about a year)",
        checked="V",
        source=TABLE_1,
        prior=log_normal(0.0032, 0.7),
        omega=SPREAD["beta"],
        estimate=True,
    )

    State: ClassVar = Copies
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    one_course: ClassVar = True
    # After infusion cells leave the blood for a few days before they expand
    # (doi:10.1038/s41598-020-74927-8; liso-cel: lag 3.27 d,
    # doi:10.1007/s40262-021-01039-5); a curve that only rises cannot follow that.
    described_from_d: ClassVar = 3.0
    reference: ClassVar = (
        "Stein AM et al. CPT Pharmacometrics Syst Pharmacol 2019;8:285-295, "
        "doi:10.1002/psp4.12388 (tisagenlecleucel, 90 patients with B-ALL)"
    )
    caution: ClassVar = (
        "No distribution phase: samples of the first 3 days after infusion are left "
        "out of a fit unless --from-day 0 keeps them. Whether Table 1 prints spreads "
        "as SD or variance is unresolved (option --omega-reading). Covariates and "
        "tocilizumab/steroid factors of the paper were not significant and are left "
        "out."
    )

    omega_readings: ClassVar = {"SD": spread("SD"), "variance": spread("variance")}
    derived_units: ClassVar = {
        "doubling_time_d": "day",
        "contraction_half_life_d": "day",
        "terminal_half_life_d": "day",
    }

    def initial(self) -> Copies:
        """Level at infusion, R0."""
        return Copies(
            effector=self.cmax / (1.0 + self.fold_expansion), memory=jnp.zeros(())
        )

    def switch_times(self) -> tuple[Scalar, ...]:
        """The infusion and the peak."""
        return (jnp.zeros(()), self.tmax)

    def vector_field(
        self, t: Scalar, y: Copies, inputs: Mapping[str, Scalar]
    ) -> Copies:
        """Growth, then contraction into memory."""
        growing = t < self.tmax
        # Before the infusion (a lymphodepletion on day -3, say) nothing moves.
        rho = jnp.where(t < 0, 0.0, jnp.log1p(self.fold_expansion) / self.tmax)
        to_memory = self.memory_fraction * (self.alpha - self.beta)
        return Copies(
            effector=jnp.where(growing, rho, -self.alpha) * y.effector,
            memory=jnp.where(
                growing, 0.0, to_memory * y.effector - self.beta * y.memory
            ),
        )

    def closed_form(self, time_d: Float[Array, " times"]) -> Copies:
        """The equations of the module's docstring."""
        since_peak = jnp.maximum(time_d, 0.0) - self.tmax
        rho = jnp.log1p(self.fold_expansion) / self.tmax
        after = jnp.maximum(since_peak, 0.0)
        fast, slow = jnp.exp(-self.alpha * after), jnp.exp(-self.beta * after)
        growth = jnp.exp(rho * jnp.minimum(since_peak, 0.0))
        return Copies(
            effector=self.cmax * growth * fast,
            memory=self.cmax * self.memory_fraction * (slow - fast),
        )

    def quantities(self, y: Copies) -> dict[str, Scalar]:
        """Both states are read by qPCR."""
        return {"copies_per_ug": y.effector + y.memory}

    def derived(self) -> dict[str, Scalar]:
        """Half-lives and the doubling time, as clinicians quote them."""
        ln2 = math.log(2.0)
        return {
            "doubling_time_d": ln2 * self.tmax / jnp.log1p(self.fold_expansion),
            "contraction_half_life_d": ln2 / self.alpha,
            "terminal_half_life_d": ln2 / self.beta,
        }
