"""CAR-T cells against a solid tumour, fed by B cells that carry a second target.

Cells: C CAR-T in the tumour, T tumour, C_b CAR-T in blood, B normal CD19+ B cells.

    C'   = k C_b + ρ_C C T/(g_T + T) - α_1 C T/(g_C + C) - C/τ_C
    T'   = ρ_T T - α_2 C T
    C_b' = ρ_b C_b B/(g_B + B) - (1/τ_C + k) C_b
    B'   = -α_B B C_b - B/τ_B

CAR-T of two targets are infused into the blood, expand on B cells there, whatever the
tumour does, and enter it at rate k: antigen outside the tumour feeds them, which is the
nearest published relative of feeding cells. Without B cells and blood
(`SETTINGS["tumour_only"]`: 4e8 CAR-T start in the tumour) it is that of one target.

In blood CAR-T grow while ρ_b B/(g_B + B) > 1/τ_C + k, that is above B = 6.2e9 cells;
the tumour shrinks while C > ρ_T/α_2 = 8e7 cells.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


WITH_B_CELLS = "BioModels BIOMD0000001014"
BOTH = "BioModels BIOMD0000001013 and BIOMD0000001014"

# BIOMD0000001013: no B cells, nothing in blood, a smaller tumour; α_1 is another there.
SETTINGS: dict[str, dict[str, float]] = {
    "tumour_only": {
        "cart_0": 4e8,
        "b_cells_0": 0.0,
        "tumour_0": 6.7e9,
        "inactivation": 0.04,
    }
}


def value(default: float, source: str, sd_log: float = 0.5, **words: Any) -> Any:
    """A value of the curated SBML, with a log-normal prior around it that is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=source, checked="V", prior=prior, **words)


class Cells(NamedTuple):
    """Cells of one patient."""

    cart: Scalar = state("cells", "CAR-T cells in the tumour", scale=1e4)
    tumour: Scalar = state("cells", "tumour", log=True)
    cart_blood: Scalar = state("cells", "CAR-T cells in blood", scale=1e4)
    b_cells: Scalar = state("cells", "normal CD19+ B cells", scale=1e6)


class DualTargetLeonTriana2021(AbstractModel):
    """One patient with a solid tumour; the equations are in the module's docstring."""

    division: Scalar = value(
        0.9,
        BOTH,
        0.3,
        unit="1/day",
        symbol="ρ_C",
        doc="division of CAR-T in the tumour",
    )
    tumour_half: Scalar = value(
        1e10, BOTH, unit="cells", symbol="g_T", doc="tumour of half-maximal stimulation"
    )
    inactivation: Scalar = value(
        0.02,
        f"{WITH_B_CELLS} (0.04 in BIOMD0000001013)",
        unit="1/day",
        symbol="α_1",
        doc="inactivation of CAR-T by the tumour",
    )
    cart_half: Scalar = value(
        2e9, BOTH, unit="cells", symbol="g_C", doc="CAR-T at which that is halved"
    )
    cart_lifetime: Scalar = value(
        7.0,
        BOTH,
        0.4,
        unit="day",
        symbol="τ_C",
        doc="mean lifetime of CAR-T cells",
        omega=0.3,
        estimate=True,
    )
    tumour_growth: Scalar = value(
        0.02, BOTH, unit="1/day", symbol="ρ_T", doc="growth of the tumour"
    )
    killing: Scalar = value(
        2.5e-10, BOTH, unit="1/(cells day)", symbol="α_2", doc="killing of the tumour"
    )
    entry: Scalar = value(
        0.2, WITH_B_CELLS, unit="1/day", symbol="k", doc="CAR-T from blood into tumour"
    )
    division_blood: Scalar = value(
        0.9,
        WITH_B_CELLS,
        0.3,
        unit="1/day",
        symbol="ρ_b",
        doc="division of CAR-T in blood",
        omega=0.2,
        estimate=True,
    )
    b_cells_half: Scalar = value(
        1e10,
        WITH_B_CELLS,
        unit="cells",
        symbol="g_B",
        doc="B cells of half-maximal stimulation",
    )
    killing_b_cells: Scalar = value(
        4.5e-11,
        WITH_B_CELLS,
        unit="1/(cells day)",
        symbol="α_B",
        doc="killing of B cells",
    )
    b_cell_lifetime: Scalar = value(
        60.0, WITH_B_CELLS, unit="day", symbol="τ_B", doc="mean lifetime of B cells"
    )
    cart_0: Scalar = parameter(
        0.0,
        unit="cells",
        symbol="C(0)",
        doc="CAR-T in the tumour at the start",
        checked="V",
        source=f"{WITH_B_CELLS} (4e8 in BIOMD0000001013)",
    )
    tumour_0: Scalar = value(
        3.35e10,
        f"{WITH_B_CELLS} (6.7e9 in BIOMD0000001013)",
        1.0,
        unit="cells",
        symbol="T(0)",
        doc="tumour at the start",
    )
    b_cells_0: Scalar = value(
        2.5e10,
        WITH_B_CELLS,
        1.0,
        unit="cells",
        symbol="B(0)",
        doc="B cells at the start",
        omega=0.7,
        estimate=True,
    )
    copies_per_cell: Scalar = parameter(
        1e-5,
        unit="copies/(ug cells)",
        symbol="s",
        doc="copies/µg gDNA read for each CAR-T cell in blood",
        source="assumption, not in the paper: 4.2 L of blood with 4,000 nucleated "
        "cells/µL, one copy a cell",
        prior=log_normal(1e-5, 1.0),
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "cart_blood"}
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "cart_cells": "cells",
        "cart_blood_cells": "cells",
        "tumour_cells": "cells",
        "b_cells": "cells",
    }
    derived_units: ClassVar = {"cart_controlling": "cells"}
    reference: ClassVar = (
        "León-Triana O et al. Cancers 2021;13:703; values from "
        "BioModels BIOMD0000001013 and BIOMD0000001014"
    )
    caution: ClassVar = (
        "A model of solid tumours, not of leukaemia, and of a design on paper: CAR-T "
        "with two targets. Priors and spreads are ckin's. No memory, no return of B "
        "cells. The source starts from 2e8 CAR-T cells in blood."
    )

    def initial(self) -> Cells:
        """Tumour and B cells; no CAR-T in blood yet."""
        return Cells(self.cart_0, self.tumour_0, jnp.zeros(()), self.b_cells_0)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        stimulated = self.division * y.tumour / (self.tumour_half + y.tumour)
        inactivated = self.inactivation * y.tumour / (self.cart_half + y.cart)
        fed = self.division_blood * y.b_cells / (self.b_cells_half + y.b_cells)
        loss = 1.0 / self.cart_lifetime
        return Cells(
            cart=self.entry * y.cart_blood + (stimulated - inactivated - loss) * y.cart,
            tumour=(self.tumour_growth - self.killing * y.cart) * y.tumour,
            cart_blood=(fed - loss - self.entry) * y.cart_blood,
            b_cells=-(self.killing_b_cells * y.cart_blood + 1.0 / self.b_cell_lifetime)
            * y.b_cells,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """Cells in the body, and CAR-T in blood as qPCR would read them."""
        return {
            "copies_per_ug": self.copies_per_cell * y.cart_blood,
            "cart_cells": y.cart,
            "cart_blood_cells": y.cart_blood,
            "tumour_cells": y.tumour,
            "b_cells": y.b_cells,
        }

    def derived(self) -> dict[str, Scalar]:
        """CAR-T in the tumour above which it shrinks."""
        return {"cart_controlling": self.tumour_growth / self.killing}
