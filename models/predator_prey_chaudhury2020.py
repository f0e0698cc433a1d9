"""CAR-T cells hunt tumour cells, which feed them: two forms of one review.

E expanding CAR-T, P persistent CAR-T, U tumour, in one arbitrary unit (the SBML of
BIOMD0000001025 calls it cells per µL).

law `contact` = saturable (equations 7-9, BioModels BIOMD0000001025; Fc: cure)

    t ≤ Tmax   E' = ρ E U / (EC50ρ + E + U)      P' = 0
    t > Tmax   E' = -(kEP + kE) E                P' = kEP E - β P
    U' = Fc g U (1 - lg U / lg Umax) - d E U / (EC50d + E + U)
    Fc = 1 / (1 + (Ucrit/U)^h)

law `contact` = mass_action (Lotka and Volterra; equations 4-5, BIOMD0000001024)

    E' = r E U - kE E        U' = γ U - δ E U        P' = -β P, and P = 0

In `saturable` E peaks on day Tmax, whatever the tumour. Below Ucrit the tumour stops
growing, which stands for cure. The logarithm lg U / lg Umax is of a number: it is the
unit of U that makes Umax > 1 and the growth below one unit faster than g. In
`mass_action` r U - kE ln U + δ E - γ ln E never changes: cells come back for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, law, log_normal, parameter, state


EC50 = "BioModels BIOMD0000001025"
LOTKA_VOLTERRA = "BioModels BIOMD0000001024"
STEIN = f"{EC50}, where it is that of Stein 2019"


class Cells(NamedTuple):
    """Amounts in the arbitrary unit of the paper."""

    expanding: Scalar = state("1", "CAR-T cells that expand, then contract", log=True)
    persistent: Scalar = state("1", "CAR-T cells that persist")
    tumour: Scalar = state("1", "tumour cells", log=True)


def saturable(model: "PredatorPreyChaudhury2020", t: Scalar, y: Cells) -> Cells:
    """Contacts saturate, and expansion ends on day Tmax: equations 7-9."""
    cart, tumour = y.expanding, y.tumour
    met = cart * tumour
    growing = t < model.tmax
    # 1 / (1 + (Ucrit/U)^h) by logarithms: the power overflows where U is tiny.
    grows = jax.nn.sigmoid(
        model.cure_steepness * (jnp.log(tumour) - jnp.log(model.tumour_critical))
    )
    room = 1.0 - jnp.log(tumour) / jnp.log(model.tumour_max)
    return Cells(
        expanding=jnp.where(
            growing,
            model.expansion * met / (model.expansion_half + cart + tumour),
            -(model.conversion + model.contraction) * cart,
        ),
        persistent=jnp.where(
            growing, 0.0, model.conversion * cart - model.persistent_loss * y.persistent
        ),
        tumour=grows * model.tumour_growth * tumour * room
        - model.killing * met / (model.killing_half + cart + tumour),
    )


def mass_action(model: "PredatorPreyChaudhury2020", t: Scalar, y: Cells) -> Cells:
    """Predator and prey of Lotka and Volterra: equations 4-5."""
    del t
    met = y.expanding * y.tumour
    return Cells(
        expanding=model.contact_expansion * met - model.contraction * y.expanding,
        persistent=-model.persistent_loss * y.persistent,
        tumour=model.free_growth * y.tumour - model.contact_killing * met,
    )


class PredatorPreyChaudhury2020(AbstractModel):
    """CAR-T cells and the tumour that feeds them; two forms, see the module."""

    expansion: Scalar = parameter(
        8.8,
        unit="1/day",
        symbol="ρ",
        doc="largest growth rate of CAR-T cells (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(8.8, 0.5),
    )
    expansion_half: Scalar = parameter(
        1.0,
        unit="1",
        symbol="EC50ρ",
        doc="cells at which growth is half of the largest (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(1.0, 1.0),
    )
    tmax: Scalar = parameter(
        9.3,
        unit="day",
        symbol="Tmax",
        doc="day on which expansion ends (not in `mass_action`)",
        checked="V",
        source=STEIN,
        prior=log_normal(9.3, 0.3),
        omega=0.38,
        estimate=True,
    )
    contraction: Scalar = parameter(
        0.16,
        unit="1/day",
        symbol="kE",
        doc="loss of expanding CAR-T cells",
        checked="V",
        source=f"{EC50} and {LOTKA_VOLTERRA}, where it is that of Stein 2019",
        prior=log_normal(0.16, 0.5),
        omega=0.5,
        estimate=True,
    )
    conversion: Scalar = parameter(
        0.0012,
        unit="1/day",
        symbol="kEP",
        doc="expanding to persistent CAR-T cells (not in `mass_action`)",
        checked="V",
        source=STEIN,
        prior=log_normal(0.0012, 0.7),
        omega=0.8,
        estimate=True,
    )
    persistent_loss: Scalar = parameter(
        0.0032,
        unit="1/day",
        symbol="β",
        doc="loss of persistent CAR-T cells (no matter in `mass_action`)",
        checked="V",
        source=STEIN,
        prior=log_normal(0.0032, 0.7),
        omega=0.86,
        estimate=True,
    )
    tumour_growth: Scalar = parameter(
        0.2,
        unit="1/day",
        symbol="g",
        doc="growth of a tumour of one unit (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(0.2, 0.5),
    )
    killing: Scalar = parameter(
        0.35,
        unit="1/day",
        symbol="d",
        doc="largest killing rate per tumour cell (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(0.35, 0.5),
        omega=0.5,
    )
    killing_half: Scalar = parameter(
        10.0,
        unit="1",
        symbol="EC50d",
        doc="cells at which killing is half of the largest (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(10.0, 1.0),
    )
    tumour_critical: Scalar = parameter(
        0.1,
        unit="1",
        symbol="Ucrit",
        doc="tumour below which growth stops: cure (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(0.1, 1.0),
    )
    cure_steepness: Scalar = parameter(
        3.0,
        unit="1",
        symbol="h",
        doc="how sharply growth stops at Ucrit (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(3.0, 0.3),
    )
    tumour_max: Scalar = parameter(
        1000.0,
        unit="1",
        symbol="Umax",
        doc="tumour that grows no further, above 1 (not in `mass_action`)",
        checked="V",
        source=EC50,
        prior=log_normal(1000.0, 0.7),
    )
    contact_expansion: Scalar = parameter(
        0.0018,
        unit="1/day",
        symbol="r",
        doc="growth of CAR-T cells per tumour unit (only in `mass_action`)",
        checked="V",
        source=f"{LOTKA_VOLTERRA} (ρ there)",
        prior=log_normal(0.0018, 0.5),
    )
    free_growth: Scalar = parameter(
        0.15,
        unit="1/day",
        symbol="γ",
        doc="exponential growth of the tumour (only in `mass_action`)",
        checked="V",
        source=f"{LOTKA_VOLTERRA} (g there)",
        prior=log_normal(0.15, 0.5),
    )
    contact_killing: Scalar = parameter(
        1.5e-4,
        unit="1/day",
        symbol="δ",
        doc="killing of tumour per CAR-T unit (only in `mass_action`)",
        checked="V",
        source=f"{LOTKA_VOLTERRA} (d there)",
        prior=log_normal(1.5e-4, 0.5),
    )
    cart_0: Scalar = parameter(
        10.0,
        unit="1",
        symbol="E(0)",
        doc="CAR-T cells infused",
        checked="V",
        source=f"{EC50} and {LOTKA_VOLTERRA}",
        prior=log_normal(10.0, 1.0),
    )
    tumour_0: Scalar = parameter(
        900.0,
        unit="1",
        symbol="U(0)",
        doc="tumour at the infusion",
        checked="V",
        source=f"{EC50} and {LOTKA_VOLTERRA}",
        prior=log_normal(900.0, 1.0),
        omega=1.0,
    )
    copies_per_unit: Scalar = parameter(
        1.0,
        unit="copies/ug",
        symbol="κ",
        doc="copies/µg gDNA read for one unit of CAR-T cells",
        source="assumption, not in the paper: at 1 `saturable` peaks at 22,800 "
        "copies/µg at its defaults, near the 24,000 of Stein 2019",
        prior=log_normal(1.0, 1.0),
        estimate=True,
    )

    contact: Callable[..., Any] = law(
        saturable, mass_action, doc="what becomes of CAR-T and tumour, the slopes"
    )

    State: ClassVar = Cells
    units: ClassVar = {"copies_per_ug": "copies/ug", "cart": "1", "tumour": "1"}
    one_course: ClassVar = True
    derived_units: ClassVar = {"tumour_threshold": "1", "cart_threshold": "1"}
    reference: ClassVar = (
        "Chaudhury A et al. J Clin Pharmacol 2020;60(S1), doi:10.1002/jcph.1691; "
        "values from BioModels BIOMD0000001025 and BIOMD0000001024"
    )
    caution: ClassVar = (
        "Examples of a review, in arbitrary units and not fitted to patients: priors "
        "and spreads are ckin's, and so is copies_per_unit. The infused cells are "
        "part of the model (cart_0); the dose of a protocol changes nothing. A fit "
        "estimates only what a qPCR curve shows of `saturable`; with "
        "contact=mass_action name what to estimate. In `mass_action` a tumour that "
        "was killed to a thousandth of a cell grows back."
    )

    def initial(self) -> Cells:
        """Infused cells and tumour."""
        return Cells(self.cart_0, jnp.zeros(()), self.tumour_0)

    def switch_times(self) -> tuple[Scalar, ...]:
        """The infusion and the end of the expansion."""
        return (jnp.zeros(()), self.tmax)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        slopes = self.contact(self, t, y)
        # The cells of `initial` are there from day 0 on; nothing moves before.
        return Cells(*(jnp.where(t < 0, 0.0, slope) for slope in slopes))

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """All CAR-T cells, also as qPCR would read them, and the tumour."""
        cart = y.expanding + y.persistent
        return {
            "copies_per_ug": self.copies_per_unit * cart,
            "cart": cart,
            "tumour": y.tumour,
        }

    def derived(self) -> dict[str, Scalar]:
        """Where predator and prey stand still in `mass_action`."""
        return {
            "tumour_threshold": self.contraction / self.contact_expansion,
            "cart_threshold": self.free_growth / self.contact_killing,
        }
