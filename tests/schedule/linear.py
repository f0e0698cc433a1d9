"""A linear model of given cells: optima known on paper."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from toys import TOY

from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state


DECAY = 0.3


class Cells(NamedTuple):
    given: Scalar = state("cells", "CAR-T given")
    fed: Scalar = state("cells", "FTC given")


class Decay(AbstractModel):
    """Cells are lost at one rate."""

    rate: Scalar = parameter(DECAY, unit="1/day", doc="loss", source=TOY)
    lag: Scalar = parameter(0.0, unit="day", doc="until FTC arrive", source=TOY)

    State: ClassVar = Cells
    units: ClassVar = {"fed": "cells", "given": "cells"}
    receives: ClassVar = {"CART": "given", "FTC": "fed"}
    reference: ClassVar = TOY

    def initial(self):
        return Cells(jnp.zeros(()), jnp.zeros(()))

    def vector_field(self, t, y, inputs):
        return Cells(-self.rate * y.given, -self.rate * y.fed)

    def quantities(self, y):
        return {"fed": y.fed, "given": y.given}


class LateDecay(Decay):
    """The same, with FTC that take their time."""

    lags: ClassVar = {"FTC": "lag"}
