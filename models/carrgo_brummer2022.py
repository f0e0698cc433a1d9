"""CAR-T cells against glioma cells in a well, with dexamethasone (CARRGO).

Cell indices, the impedance of a well: x glioma cells, y CAR-T cells; D dexamethasone,
of what is given at the start.

    x' = ρ x (1 - x/K) - c0 D x - κ1 x y
    y' = κ2 x y - (θ + c3 D) y
    D' = (steroid - D) ln 2 / h

CARRGO (Sahoo 2020) is c0 = c3 = 0. The authors write D = exp(-t ln 2/h), one addition
together with the CAR-T: that is D(0) = 1 here. The input `steroid` is ckin's: a level
that is held in the medium, which D follows. Without either, c0 and c3 do nothing.

CAR-T grow while x > θ/κ2. They control a full well if κ2 K > θ, and then x ends, in
damped waves, at θ/κ2 and y at (ρ/κ1) (1 - θ/(κ2 K)).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, normal, parameter, state
from ckin.units import HOURS_PER_DAY


FITS = "authors' table of fits (CARRGODEX), PBT1 with 1,250 CAR-T, no dexamethasone"
CODE = "authors' code (CARRGODEX)"


def per_day(per_hour: float) -> float:
    """A rate of the source, which counts hours, in a day."""
    return per_hour * HOURS_PER_DAY


# The tables' standard errors (SE) of the default row, by day or 1/index: what a fit of
# one well is held to.
STANDARD_ERRORS: dict[str, float] = {
    "growth": per_day(0.002637951),
    "inverse_capacity": 0.002881498,
    "killing": per_day(0.006383794),
    "stimulation": per_day(0.000498444),
    "loss": per_day(0.00031469),
}

SETTINGS: dict[str, dict[str, float]] = {
    # The same plate with 0.1 µg/mL dexamethasone, wells C9 and C10. Its θ is that of
    # the row without; c0 and c3 are negative: more tumour, and more CAR-T.
    "dexamethasone": {
        "growth": per_day(0.019773679),
        "inverse_capacity": 0.110623316,
        "killing": per_day(0.060176215),
        "stimulation": per_day(0.035106589),
        "loss": per_day(0.023015543),
        "growth_inhibition": per_day(-0.222473942),
        "cart_inhibition": per_day(-0.168979001),
        "dexamethasone_0": 1.0,
        "tumour_0": 0.54215,
    },
}


def value(default: float, sd_log: float = 0.5, **words: Any) -> Any:
    """A value of the authors' fits; the log-normal prior around it is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=FITS, checked="V", prior=prior, **words)


def effect(**words: Any) -> Any:
    """An effect of dexamethasone; 0 in the row, where there was none."""
    source = f"{FITS}: 0; with it see SETTINGS['dexamethasone']"
    prior = normal(0.0, per_day(0.2))
    return parameter(
        0.0, unit="1/day", source=source, checked="V", prior=prior, **words
    )


class Well(NamedTuple):
    """One well of a plate."""

    tumour: Scalar = state("index", "glioma cells", log=True)
    cart: Scalar = state("index", "CAR-T cells", scale=1e-3)
    dexamethasone: Scalar = state("1", "dexamethasone, of what is given", scale=1e-2)


class CarrgoBrummer2022(AbstractModel):
    """One well of glioma cells; the equations are in the module's docstring."""

    growth: Scalar = value(
        per_day(0.230303627),
        unit="1/day",
        symbol="ρ",
        doc="growth of glioma cells",
        omega=0.1,
        estimate=True,
    )
    inverse_capacity: Scalar = value(
        0.558779003,
        unit="1/index",
        symbol="1/K",
        doc="one over the largest index there can be",
        estimate=True,
    )
    killing: Scalar = value(
        per_day(0.399998831),
        unit="1/(index day)",
        symbol="κ1",
        doc="killing of glioma cells by CAR-T",
        omega=0.2,
        estimate=True,
    )
    stimulation: Scalar = value(
        per_day(0.046346801),
        unit="1/(index day)",
        symbol="κ2",
        doc="growth of CAR-T on glioma cells",
        estimate=True,
    )
    loss: Scalar = value(
        per_day(0.023015543),
        unit="1/day",
        symbol="θ",
        doc="loss of CAR-T",
        estimate=True,
    )
    growth_inhibition: Scalar = effect(
        symbol="c0", doc="loss of glioma cells to dexamethasone; below 0: more growth"
    )
    cart_inhibition: Scalar = effect(
        symbol="c3", doc="loss of CAR-T to dexamethasone; below 0: less is lost"
    )
    dexamethasone_half_life: Scalar = parameter(
        3.33 / HOURS_PER_DAY,
        unit="day",
        symbol="h",
        doc="half-life of dexamethasone in the well (3.33 hours)",
        source=CODE,
        checked="V",
        prior=log_normal(3.33 / HOURS_PER_DAY, 0.2),
    )
    dexamethasone_0: Scalar = parameter(
        0.0,
        unit="1",
        symbol="D(0)",
        doc="dexamethasone at the start: 0 none, 1 as in the well of c0 and c3",
        source=f"{FITS}: none",
        checked="V",
    )
    tumour_0: Scalar = parameter(
        0.4633,
        unit="index",
        symbol="x(0)",
        doc="index of glioma cells when CAR-T are added",
        source="authors' readings (CARRGODEX) at 26.58 hours, the start of that fit",
        checked="V",
        prior=log_normal(0.4633, 0.3),
    )
    index_per_cell: Scalar = parameter(
        1e-4,
        unit="index/cells",
        symbol="v",
        doc="index of a CAR-T cell given",
        source=f"{FITS}: 1,250 cells are 0.125 of the index",
        checked="V",
    )

    State: ClassVar = Well
    receives: ClassVar = {"CART": "cart"}
    viable: ClassVar = {"CART": "index_per_cell"}
    inputs: ClassVar = {"steroid": 0.0}
    usual_cart: ClassVar = 1250.0
    usual_days: ClassVar = 6.0
    units: ClassVar = {
        "cell_index": "index",
        "cart_index": "index",
        "dexamethasone": "1",
    }
    derived_units: ClassVar = {
        "tumour_capacity": "index",
        "tumour_coexisting": "index",
        "cart_coexisting": "index",
    }
    reference: ClassVar = (
        "Brummer AB et al. PLoS Comput Biol 2022;18:e1009504, "
        "doi:10.1371/journal.pcbi.1009504; equations, fits and readings from the "
        "authors' repository, CARRGODEX. CARRGO: Sahoo P et al. J R Soc Interface "
        "2020;17:20190734"
    )
    caution: ClassVar = (
        "A plate, followed for six days: no patient, no copies/µg, and a dose of a "
        "patient is hundreds of thousands of times too much. One pair of wells; only "
        "glioma cells are read, and CAR-T are what the fit makes of them. ρ and K are "
        "of these wells too: those without CAR-T were fitted with 0.045/h and 5.3. "
        "c0 and c3 differ from well to well, and in sign between lines. The table of "
        "fits heads dexamethasone as µg/mL and is in g/mL, by the authors' file of the "
        "plate. Priors, spreads and `steroid` are ckin's."
    )

    def initial(self) -> Well:
        """Glioma cells, what dexamethasone is given with the CAR-T, and no CAR-T."""
        return Well(self.tumour_0, jnp.zeros(()), self.dexamethasone_0)

    def vector_field(self, t: Scalar, y: Well, inputs: Mapping[str, Scalar]) -> Well:
        """Slopes; the equations are in the module's docstring."""
        room = 1.0 - self.inverse_capacity * y.tumour
        lost = self.growth_inhibition * y.dexamethasone + self.killing * y.cart
        loss = self.loss + self.cart_inhibition * y.dexamethasone
        decay = jnp.log(2.0) / self.dexamethasone_half_life
        return Well(
            tumour=(self.growth * room - lost) * y.tumour,
            cart=(self.stimulation * y.tumour - loss) * y.cart,
            dexamethasone=decay * (inputs["steroid"] - y.dexamethasone),
        )

    def quantities(self, y: Well) -> dict[str, Scalar]:
        """The index as the plate reads it, of glioma cells alone, and the others."""
        return {
            "cell_index": y.tumour,
            "cart_index": y.cart,
            "dexamethasone": y.dexamethasone,
        }

    def derived(self) -> dict[str, Scalar]:
        """The full well, and where glioma and CAR-T cells stand still together."""
        capacity = 1.0 / self.inverse_capacity
        tumour = self.loss / self.stimulation
        cart = self.growth / self.killing * (1.0 - tumour / capacity)
        return {
            "tumour_capacity": capacity,
            "tumour_coexisting": tumour,
            "cart_coexisting": cart,
        }
