"""A model of your own, in a file of your own: CAR-T cells that wane at one rate.

Try it:  ckin models examples/my_model.py
         ckin fit trial.csv --model examples/my_model.py --out fit
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


class Cells(NamedTuple):
    """The whole body."""

    cart: Scalar = state("cells", "CAR-T cells", scale=1e6)


class Waning(AbstractModel):
    """Infused cells that neither divide nor meet antigen."""

    loss: Scalar = parameter(
        0.1,
        unit="1/day",
        symbol="k",
        doc="loss rate",
        source="an example, not a publication",
        prior=log_normal(0.1, 1.0),
        omega=0.3,
        estimate=True,
    )
    copies_per_cell_dose: Scalar = parameter(
        1e-5,
        unit="copies/ug",
        symbol="s",
        doc="copies/µg gDNA read for each cell in the body",
        source="an example, not a publication",
        prior=log_normal(1e-5, 1.0),
        omega=0.3,
        estimate=True,
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "cart"}
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = "an example of how to write a model, not a publication"

    def initial(self) -> Cells:
        """Nobody has CAR-T cells before the infusion."""
        return Cells(cart=jnp.zeros(()))

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """One rate for all."""
        return Cells(cart=-self.loss * y.cart)

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """A reading in proportion to the cells."""
        return {"copies_per_ug": self.copies_per_cell_dose * y.cart}
