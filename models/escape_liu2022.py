"""CAR-T cells against CD19+ blasts, and CD19- blasts that escape them.

Blasts and CAR-T by µL: B CD19+ blasts, A activated CAR-T, N infused CAR-T that are not,
E CD19- blasts.

    B' = r_B B (1 - B/M) - k_B B/(B + K_B) A
    A' = r_A B/(B + K_A) A + a B/(B + K_N) N - l_A A
    N' = -a B/(B + K_N) N - l_N N
    E' = r_E E (1 - E/M) + m B - (k_B/f) E/(E + K_E) A

Infused cells are activated by CD19 and then divide on it. CD19- blasts E are there from
the start (m = 0 in the published sets) and are killed f times less. The defaults are
the published set of a CD19- relapse; `SETTINGS["response"]` is that of a response
without E. CAR-T hold CD19+ blasts while A > r_B (B + K_B)/k_B, few of them at 8 per µL.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


CODE = "authors' code (Lunan12/CAR-T-model), example set of a CD19- relapse"

SETTINGS: dict[str, dict[str, float]] = {
    # The example set of a response (and of relapses that are CD19+).
    "response": {
        "blast_growth": 0.069,
        "killing": 22.72,
        "killing_half": 5891.45,
        "division": 1.62,
        "division_half": 637.64,
        "activation": 0.65,
        "activation_half": 1808.02,
        "activated_loss": 0.12,
        "infused_loss": 3e-5,
        "capacity": 2939.1,
        "blasts_0": 2200.24,
        "escaped_0": 0.0,
        # 16.46 by µL, also from 3e8 cells: the source estimates N(0) by patient.
        "per_cell": 16.46 / 3e8,
    }
}


def value(default: float, sd_log: float = 0.5, **words: Any) -> Any:
    """A value of the authors' code; the log-normal prior around it is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=CODE, checked="V", prior=prior, **words)


class Cells(NamedTuple):
    """Cells of one patient, by µL."""

    blasts: Scalar = state("cells/uL", "CD19+ blasts", log=True)
    activated: Scalar = state("cells/uL", "activated CAR-T cells", scale=1e-5)
    infused: Scalar = state("cells/uL", "infused CAR-T, not activated", scale=1e-5)
    escaped: Scalar = state("cells/uL", "CD19- blasts", scale=1e-7)


class EscapeLiu2022(AbstractModel):
    """One patient with B-ALL; the equations are in the module's docstring."""

    blast_growth: Scalar = value(
        0.086, unit="1/day", symbol="r_B", doc="growth of CD19+ blasts"
    )
    capacity: Scalar = value(
        19988.53, unit="cells/uL", symbol="M", doc="most blasts there can be"
    )
    killing: Scalar = value(
        8.6, unit="1/day", symbol="k_B", doc="blasts killed by a CAR-T cell a day"
    )
    killing_half: Scalar = value(
        794.99, unit="cells/uL", symbol="K_B", doc="blasts at which that is halved"
    )
    division: Scalar = value(
        1.7,
        0.25,
        unit="1/day",
        symbol="r_A",
        doc="division of activated CAR-T among many blasts",
        omega=0.2,
        estimate=True,
    )
    division_half: Scalar = value(
        827.08, unit="cells/uL", symbol="K_A", doc="blasts at which that is halved"
    )
    activation: Scalar = value(
        0.19, unit="1/day", symbol="a", doc="activation of infused CAR-T"
    )
    activation_half: Scalar = value(
        93066.8, unit="cells/uL", symbol="K_N", doc="blasts at which that is halved"
    )
    activated_loss: Scalar = value(
        0.04,
        unit="1/day",
        symbol="l_A",
        doc="loss of activated CAR-T",
        omega=0.4,
        estimate=True,
    )
    infused_loss: Scalar = value(
        0.073, unit="1/day", symbol="l_N", doc="loss of infused CAR-T"
    )
    escaped_growth: Scalar = value(
        0.1, unit="1/day", symbol="r_E", doc="growth of CD19- blasts"
    )
    escape_rate: Scalar = parameter(
        0.0,
        unit="1/day",
        symbol="m",
        doc="CD19+ blasts that lose CD19",
        checked="V",
        source=CODE,
    )
    spared: Scalar = value(
        7.9, unit="1", symbol="f", doc="how many times less CD19- blasts are killed"
    )
    escaped_half: Scalar = value(
        5956.03,
        unit="cells/uL",
        symbol="K_E",
        doc="CD19- blasts that halve the killing",
    )
    blasts_0: Scalar = value(
        17212.23,
        1.0,
        unit="cells/uL",
        symbol="B(0)",
        doc="CD19+ blasts at the start",
        omega=1.0,
        estimate=True,
    )
    escaped_0: Scalar = parameter(
        19.89,
        unit="cells/uL",
        symbol="E(0)",
        doc="CD19- blasts at the start",
        checked="V",
        source=CODE,
    )
    per_cell: Scalar = parameter(
        1e-9,
        unit="1/uL",
        symbol="v",
        doc="infused CAR-T by µL for each cell given",
        source="assumption: the 0.3 by µL of the set from 3e8 cells (5e6/kg, 60 kg)",
        # Wide: four logarithms lie between the two published sets.
        prior=log_normal(1e-9, 2.0),
    )
    copies_per_cell: Scalar = parameter(
        38.0,
        unit="copies uL/(ug cells)",
        symbol="s",
        doc="copies/µg gDNA read for each activated CAR-T cell by µL",
        source="assumption: one copy a cell, 4,000 nucleated cells/µL",
        prior=log_normal(38.0, 1.0),
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "infused"}
    viable: ClassVar = {"CART": "per_cell"}
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "car_cells_per_ul": "cells/uL",
        "blasts_per_ul": "cells/uL",
        "escaped_per_ul": "cells/uL",
    }
    reference: ClassVar = (
        "Liu L et al. J Immunother Cancer 2022 (preprint "
        "doi:10.1101/2021.09.21.21263913); equations and example sets from "
        "the authors' code"
    )
    caution: ClassVar = (
        "The code names no units: days and cells by µL are ckin's reading. Values are "
        "single example sets and not population means, and spreads are ckin's. The "
        "default set starts from the blasts of patient 3 of the authors' relapses and "
        "has ten times the CAR-T measured there on day 14 (2,900 for 290). The "
        "paper observes A and not A + N, and so do copies_per_ug here: the infused "
        "cells of the first days are not seen. The share of blasts in the marrow that "
        "the authors compute from B is left out."
    )

    def initial(self) -> Cells:
        """Blasts, and no CAR-T yet."""
        nothing = jnp.zeros(())
        return Cells(self.blasts_0, nothing, nothing, self.escaped_0)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        activated = self.activation * y.blasts / (y.blasts + self.activation_half)
        divided = self.division * y.blasts / (y.blasts + self.division_half)
        killed = self.killing * y.activated / (y.blasts + self.killing_half)
        reached = self.killing / self.spared * y.activated
        growth = self.blast_growth * (1.0 - y.blasts / self.capacity)
        growth_escaped = self.escaped_growth * (1.0 - y.escaped / self.capacity)
        return Cells(
            blasts=(growth - killed) * y.blasts,
            activated=(divided - self.activated_loss) * y.activated
            + activated * y.infused,
            infused=-(activated + self.infused_loss) * y.infused,
            escaped=(growth_escaped - reached / (y.escaped + self.escaped_half))
            * y.escaped
            + self.escape_rate * y.blasts,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """Activated CAR-T as assays read them, and blasts."""
        return {
            "copies_per_ug": self.copies_per_cell * y.activated,
            "car_cells_per_ul": y.activated,
            "blasts_per_ul": y.blasts,
            "escaped_per_ul": y.escaped,
        }
