"""CAR-T that die at one rate: every outcome is known on paper."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


TOY = "made up for a test"


class Cells(NamedTuple):
    cart: Scalar = state("cells", "CAR-T", scale=1e6)
    ftc: Scalar = state("cells", "FTC", scale=1e6)


class Linear(AbstractModel):
    """C' = -k C, F' = -k F; read as s C / W, and FTC as s F / W."""

    loss: Scalar = parameter(
        0.1, unit="1/day", doc="loss", source=TOY, symbol="k",
        prior=log_normal(0.1, 0.3), omega=0.2, estimate=True,
    )  # fmt: skip
    scale: Scalar = parameter(
        1e-6, unit="copies/(ug cells)", doc="read of a cell per kg", source=TOY,
        symbol="s", prior=log_normal(1e-6, 0.2),
    )  # fmt: skip
    weight_kg: Scalar = parameter(
        60.0, unit="kg", doc="body weight", source=TOY, column="WT"
    )

    State: ClassVar = Cells
    units: ClassVar = {"copies_per_ug": "copies/ug", "ftc_cells_per_ul": "cells/uL"}
    receives: ClassVar = {"CART": "cart", "FTC": "ftc"}
    reference: ClassVar = TOY

    def initial(self):
        return Cells(jnp.zeros(()), jnp.zeros(()))

    def vector_field(self, t, y, inputs):
        return Cells(-self.loss * y.cart, -self.loss * y.ftc)

    def quantities(self, y):
        return {
            "copies_per_ug": self.scale * y.cart / self.weight_kg * 60.0,
            "ftc_cells_per_ul": self.scale * y.ftc / self.weight_kg * 60.0,
        }
