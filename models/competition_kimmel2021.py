"""CAR-T compete with normal T cells for room, and B cells fall: lymphodepletion counts.

Cells/µL: N normal T cells, C CAR-T. Cells in the body: B tumour.

    N' = -r_N N ln((N+C)/K_N)
    C' = -r_C C ln((N+C)/K_C)
    B' = r_B B - γ_B B C/(k_B + C)
    r_C = ρ_C + b (N+C-K_N)² / (a (N+C)² + (N+C-K_N)²)

Both grow as Gompertz towards one capacity, K_N for normal and K_C < K_N for CAR-T. So
CAR-T grow only while all T cells together are fewer than K_C, that is after
lymphodepletion; once N recovers to K_N they die out, whatever antigen is left. A second
infusion without lymphodepletion does not expand.

The source starts on the day of infusion, with N_0 normal T cells. Lymphodepletion is τ
days earlier and leaves what grows to N_0 until then, K_N (N_0/K_N)^exp(r_N τ); of CAR-T
it leaves the same share.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


FITTED = "Kimmel 2021 (ZUMA-1 medians); BioModels BIOMD0000001041"


def value(
    default: float,
    sd_log: float = 0.3,
    checked: str = "V",
    source: str = FITTED,
    **words,
) -> Any:
    """A value of the source; the log-normal prior around it is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=source, checked=checked, prior=prior, **words)


class Cells(NamedTuple):
    """T cells by µL of blood, tumour in the body."""

    normal: Scalar = state("cells/uL", "normal T cells", log=True)
    cart: Scalar = state("cells/uL", "CAR-T cells", scale=1e-3)
    tumour: Scalar = state("cells", "CD19+ tumour cells", log=True)


class CompetitionKimmel2021(AbstractModel):
    """One patient with lymphoma; the equations are in the module's docstring."""

    normal_capacity: Scalar = value(
        500.0, unit="cells/uL", symbol="K_N", doc="normal T cells once recovered"
    )
    cart_capacity: Scalar = value(
        139.0,
        unit="cells/uL",
        symbol="K_C",
        doc="all T cells below which CAR-T grow (6.96e10 cells, IQR 6.15-9.65e10)",
        omega=0.3,
        estimate=True,
    )
    normal_growth: Scalar = value(
        0.17, unit="1/day", symbol="r_N", doc="recovery of normal T cells"
    )
    cart_growth: Scalar = value(
        0.0251,
        unit="1/day",
        symbol="ρ_C",
        doc="growth rate of CAR-T at full recovery (IQR 0.0208-0.0354)",
    )
    shape: Scalar = value(
        0.423,
        unit="1",
        symbol="a",
        doc="how fast that rate falls with T cells (the IQR printed, 0.100-0.302, "
        "leaves the fitted value out)",
    )
    depleted_growth: Scalar = value(
        0.525,
        unit="1/day",
        symbol="b",
        doc="what depletion adds to the growth rate of CAR-T (IQR 0.467-0.522)",
        omega=0.2,
        estimate=True,
    )
    tumour_growth: Scalar = value(
        0.1,
        1.0,
        "I",
        "ckin's within the range of Kimmel 2021, Table 1, 0.01-0.5 (its simulations "
        "0.105-0.265, BIOMD0000001041 0.01)",
        unit="1/day",
        symbol="r_B",
        doc="growth of the tumour",
    )
    killing: Scalar = value(
        1.15, unit="1/day", symbol="γ_B", doc="killing by many CAR-T (IQR 0.64-1.35)"
    )
    killing_half: Scalar = value(
        4.05, unit="cells/uL", symbol="k_B", doc="CAR-T that kill at half that rate"
    )
    normal_0: Scalar = value(
        500.0,
        source="ckin: a patient before lymphodepletion, at K_N",
        checked="I",
        unit="cells/uL",
        symbol="N(0)",
        doc="normal T cells before the first event",
    )
    normal_depleted: Scalar = value(
        6.0,
        unit="cells/uL",
        symbol="N_0",
        doc="normal T cells on the day of infusion, after lymphodepletion",
    )
    depletion_lead: Scalar = parameter(
        3.0,
        unit="day",
        symbol="τ",
        doc="days from lymphodepletion to the infusion at which N_0 was counted",
        checked="U",
        source="recalled, not read: axicabtagene ciloleucel follows it by three days",
    )
    tumour_0: Scalar = value(
        9.486e10, 1.0, unit="cells", symbol="B_0", doc="tumour at the start (94.86 ml)"
    )
    per_cell: Scalar = parameter(
        2e-9,
        unit="1/uL",
        symbol="v",
        doc="cells/µL for each CAR-T cell given",
        checked="C",
        source=f"{FITTED}: 500 cells/µL are 2.5e11 cells, 0.36 cells/µL are 1.8e8",
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "cart"}
    viable: ClassVar = {"CART": "per_cell"}
    units: ClassVar = {
        "car_cells_per_ul": "cells/uL",
        "t_cells_per_ul": "cells/uL",
        "tumour_cells": "cells",
    }
    derived_units: ClassVar = {"depleted_rate": "1/day"}
    reference: ClassVar = (
        "Kimmel GJ et al. Proc R Soc B 2021;288:20210229 (axicabtagene ciloleucel; "
        "BioModels BIOMD0000001041)"
    )
    caution: ClassVar = (
        "CAR-T see no antigen here: their growth is room and nothing else, so "
        "feeding cells cannot act. r_B and k_B, and k_B and γ_B, were not "
        "identifiable (correlations 0.94 and -0.96). The source has no "
        "lymphodepletion, only the count after it: CAR-T infused sooner than τ "
        "after it expand more here than anyone measured, and those of an earlier "
        "cycle grow in those days too, so that lymphodepletion alone revives them "
        "(the paper deems it possible). The source is also stochastic, this is its "
        "mean. The tumour has no capacity: after a relapse it grows beyond any "
        "body. Priors and spreads are ckin's."
    )

    def initial(self) -> Cells:
        """Before lymphodepletion, without CAR-T."""
        return Cells(self.normal_0, jnp.zeros(()), self.tumour_0)

    def lymphodeplete(self, y: Cells) -> Cells:
        """Normal T cells down to what is N_0 after τ days, CAR-T in proportion."""
        # Gompertz: ln(N/K_N) shrinks by exp(-r_N τ) until the infusion.
        back = jnp.exp(self.normal_growth * self.depletion_lead)
        share = (self.normal_depleted / self.normal_capacity) ** back
        left = jnp.minimum(self.normal_capacity * share / y.normal, 1.0)
        return y._replace(normal=left * y.normal, cart=left * y.cart)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        total = y.normal + jnp.maximum(y.cart, 0.0)
        missing = (total - self.normal_capacity) ** 2
        depleted = missing / (self.shape * total**2 + missing)
        rate = self.cart_growth + self.depleted_growth * depleted
        normal_room = jnp.log(total / self.normal_capacity)
        cart_room = jnp.log(total / self.cart_capacity)
        killed = self.killing * y.cart / (self.killing_half + y.cart)
        return Cells(
            normal=-self.normal_growth * normal_room * y.normal,
            cart=-rate * cart_room * y.cart,
            tumour=(self.tumour_growth - killed) * y.tumour,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """T cells in blood, as flow cytometry counts them, and the tumour."""
        return {
            "car_cells_per_ul": y.cart,
            "t_cells_per_ul": y.normal + y.cart,
            "tumour_cells": y.tumour,
        }

    def derived(self) -> dict[str, Scalar]:
        """Growth rate r_C in an empty host."""
        return {"depleted_rate": self.cart_growth + self.depleted_growth}
