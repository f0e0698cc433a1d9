"""CAR-T cells, leukaemia and B cells in B-ALL: one competition for antigen.

Cells in the whole body: C CAR-T, L leukaemia, B normal CD19+ B cells.

    C' = ρ_C (L + B) C + p - C/τ_C        L' = ρ_L L - α L C
    B' = i - α B C - B/τ_B

    law `marrow`     p                        i          I
    reduced          0                        0
    progenitors      β ρ_C I C                I/τ_I      I0 / (1 + C/C50)
    curated          β ρ_C I                  I/τ_I      I0 / (1 + C/C50)

`reduced` is equations 4 of the paper (BioModels BIOMD0000001011): no B cells are made,
and CAR-T live on what there is. The other two add immature B cells I, which CAR-T see
with the share β and which follow CAR-T without delay (equation 3, BIOMD0000001012).
In the SBML file of the curators p has no factor C, so that CAR-T would arise from
nothing; in the paper's full model it has. `progenitors` has it, `curated` is the file
as it stands.

CAR-T grow while (L + B) > 1/(ρ_C τ_C): 6.3e9 cells at the paper's values. A second
infusion expands only above that. Relapse is ρ_L after L was low: dividing by L is what
the model has, extinction it has not.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, law, log_normal, logit_normal, parameter, state


SBML = "BioModels BIOMD0000001011 and BIOMD0000001012"


def reduced(model: "BallLeonTriana2021", cart: Scalar) -> tuple[Scalar, Scalar]:
    """No B cells are made: equations 4 of the paper."""
    del model
    return jnp.zeros_like(cart), jnp.zeros_like(cart)


def progenitors(model: "BallLeonTriana2021", cart: Scalar) -> tuple[Scalar, Scalar]:
    """Immature B cells mature, and stimulate each CAR-T cell, as in the paper."""
    seen, made = curated(model, cart)
    return seen * cart, made


def curated(model: "BallLeonTriana2021", cart: Scalar) -> tuple[Scalar, Scalar]:
    """The same as the curated SBML has it: CAR-T made by immature cells, whatever C."""
    immature = model.immature_0 / (1.0 + cart / model.immature_half)
    seen = model.immature_seen * model.stimulation * immature
    return seen, immature / model.maturation_time


class Cells(NamedTuple):
    """Cells in the whole body of one patient."""

    cart: Scalar = state("cells", "CAR-T cells", scale=1e4)
    leukaemia: Scalar = state("cells", "leukaemia", log=True)
    b_cells: Scalar = state("cells", "normal CD19+ B cells", scale=1e6)


class BallLeonTriana2021(AbstractModel):
    """CAR-T of one patient with B-ALL; the equations are in the module's docstring."""

    stimulation: Scalar = parameter(
        0.25 * 4.5e-11,
        unit="1/(cells day)",
        symbol="ρ_C",
        doc="growth of CAR-T per antigen cell (a quarter of α)",
        checked="V",
        source=SBML,
        prior=log_normal(0.25 * 4.5e-11, 0.7),
        omega=0.5,
        estimate=True,
    )
    killing: Scalar = parameter(
        4.5e-11,
        unit="1/(cells day)",
        symbol="α",
        doc="killing of leukaemia and B cells per CAR-T cell",
        checked="V",
        source=SBML,
        prior=log_normal(4.5e-11, 0.7),
        omega=0.5,
        estimate=True,
    )
    cart_lifetime: Scalar = parameter(
        14.0,
        unit="day",
        symbol="τ_C",
        doc="mean lifetime of CAR-T cells",
        checked="V",
        source=SBML,
        prior=log_normal(14.0, 0.4),
        omega=0.4,
        estimate=True,
    )
    leukaemia_growth: Scalar = parameter(
        1.0 / 30.0,
        unit="1/day",
        symbol="ρ_L",
        doc="growth of leukaemia",
        checked="V",
        source=SBML,
        prior=log_normal(1.0 / 30.0, 0.5),
    )
    b_cell_lifetime: Scalar = parameter(
        60.0,
        unit="day",
        symbol="τ_B",
        doc="mean lifetime of B cells",
        checked="V",
        source=SBML,
        prior=log_normal(60.0, 0.5),
    )
    leukaemia_0: Scalar = parameter(
        5e10,
        unit="cells",
        symbol="L(0)",
        doc="leukaemia at the start",
        checked="V",
        source=SBML,
        prior=log_normal(5e10, 1.0),
        omega=1.0,
        estimate=True,
    )
    b_cells_0: Scalar = parameter(
        2.5e10,
        unit="cells",
        symbol="B(0)",
        doc="B cells at the start",
        checked="V",
        source=SBML,
        prior=log_normal(2.5e10, 1.0),
    )
    immature_0: Scalar = parameter(
        1e7,
        unit="cells",
        symbol="I0",
        doc="immature B cells in the absence of CAR-T (not in `reduced`)",
        checked="V",
        source="BioModels BIOMD0000001012",
        prior=log_normal(1e7, 1.0),
    )
    immature_half: Scalar = parameter(
        1e9,
        unit="cells",
        symbol="C50",
        doc="CAR-T cells that halve the immature B cells (not in `reduced`)",
        checked="V",
        source="BioModels BIOMD0000001012",
        prior=log_normal(1e9, 1.0),
    )
    maturation_time: Scalar = parameter(
        6.0,
        unit="day",
        symbol="τ_I",
        doc="days in which immature B cells mature (not in `reduced`)",
        checked="V",
        source="BioModels BIOMD0000001012",
        prior=log_normal(6.0, 0.4),
    )
    immature_seen: Scalar = parameter(
        0.1,
        unit="1",
        symbol="β",
        doc="share of immature B cells that carry CD19 (not in `reduced`)",
        checked="V",
        source="BioModels BIOMD0000001012",
        prior=logit_normal(0.1, 1.0),
    )
    copies_per_cell: Scalar = parameter(
        1.9e-7,
        unit="copies/(ug cells)",
        symbol="s",
        doc="copies/µg gDNA read for each CAR-T cell in the body",
        source="assumption, not in the paper: 2% of cells in 4.2 L of blood with 4,000 "
        "nucleated cells/µL, one copy a cell",
        prior=log_normal(1.9e-7, 1.0),
    )

    marrow: Callable[..., Any] = law(
        reduced, progenitors, curated, doc="B cells that the marrow makes, (p, i)"
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "cart"}
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "cart_cells": "cells",
        "leukaemia_cells": "cells",
        "b_cells": "cells",
    }
    derived_units: ClassVar = {"antigen_threshold": "cells"}
    reference: ClassVar = (
        "León-Triana O et al. Commun Nonlinear Sci Numer Simul 2021;94:105570, "
        "doi:10.1016/j.cnsns.2020.105570; values from BioModels BIOMD0000001011 and "
        "BIOMD0000001012"
    )
    caution: ClassVar = (
        "A qualitative model of the paper, not fitted to patients: priors and spreads "
        "are ckin's. CAR-T are one population without memory, so nothing persists "
        "longer than τ_C once antigen is gone. The paper starts from 1e7 CAR-T cells, "
        "about 1.7e5 per kg; protocols give their own dose."
    )

    def initial(self) -> Cells:
        """Antigen, and no CAR-T yet."""
        return Cells(jnp.zeros(()), self.leukaemia_0, self.b_cells_0)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        seen, made = self.marrow(self, y.cart)
        antigen = y.leukaemia + y.b_cells
        return Cells(
            cart=self.stimulation * antigen * y.cart
            + seen
            - y.cart / self.cart_lifetime,
            leukaemia=(self.leukaemia_growth - self.killing * y.cart) * y.leukaemia,
            b_cells=made
            - (self.killing * y.cart + 1.0 / self.b_cell_lifetime) * y.b_cells,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """Cells in the body, and CAR-T as qPCR would read them."""
        return {
            "copies_per_ug": self.copies_per_cell * y.cart,
            "cart_cells": y.cart,
            "leukaemia_cells": y.leukaemia,
            "b_cells": y.b_cells,
        }

    def derived(self) -> dict[str, Scalar]:
        """Antigen above which CAR-T grow."""
        return {"antigen_threshold": 1.0 / (self.stimulation * self.cart_lifetime)}
