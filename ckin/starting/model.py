"""My model in one line: CAR-T cells that divide on antigen and kill it.

    C' = ρ A/(A + K) C - δ C        A' = -κ C A

`ckin new-model` wrote this file. It runs as it is; write your own equations over these.

    ckin models THIS_FILE.py                      its card, and whether its units close
    ckin simulate --model THIS_FILE.py --protocol szcart01-cart1 --out virtual.csv
    ckin fit virtual.csv --model THIS_FILE.py --out fit

A model describes ONE patient. Time is in days from the first infusion.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


class Cells(NamedTuple):
    """The state: what changes with time, each with its unit."""

    # What starts empty is linear, and `scale` is a small but noticeable amount of it.
    cart: Scalar = state("cells", "CAR-T cells", scale=1e5)
    # What is never empty may be followed by its logarithm (`log=True`).
    antigen: Scalar = state("cells", "cells with the antigen", log=True)


class MyModel(AbstractModel):
    """One sentence about the patient that this model describes."""

    # A parameter has a value, a unit and a source. `prior` is of its typical value
    # (median and SD of the logarithm), `omega` how much patients differ (SD of the
    # logarithm), `estimate=True` what a fit estimates unless told otherwise.
    division: Scalar = parameter(
        0.9,
        unit="1/day",
        symbol="ρ",
        doc="growth of CAR-T where there is antigen enough",
        source="write where it is from",
        prior=log_normal(0.9, 0.3),
        omega=0.2,
        estimate=True,
    )
    contraction: Scalar = parameter(
        0.16,
        unit="1/day",
        symbol="δ",
        doc="loss of CAR-T",
        source="write where it is from",
        prior=log_normal(0.16, 0.5),
        omega=0.4,
        estimate=True,
    )
    killing: Scalar = parameter(
        1e-10,
        unit="1/(cells day)",
        symbol="κ",
        doc="killing of antigen cells per CAR-T cell",
        source="write where it is from",
        prior=log_normal(1e-10, 1.0),
    )
    antigen_half: Scalar = parameter(
        1e8,
        unit="cells",
        symbol="K",
        doc="antigen at which CAR-T grow at half the rate",
        source="write where it is from",
        prior=log_normal(1e8, 1.0),
    )
    antigen_0: Scalar = parameter(
        1e10,
        unit="cells",
        symbol="A(0)",
        doc="antigen cells at the start",
        source="write where it is from",
        prior=log_normal(1e10, 1.0),
    )
    copies_per_cell: Scalar = parameter(
        2e-7,
        unit="copies/(ug cells)",
        symbol="s",
        doc="copies/µg gDNA read for each CAR-T cell in the body",
        source="2% of cells in 4.2 L of blood with 4,000 nucleated cells/µL",
        prior=log_normal(2e-7, 0.7),
        omega=0.3,
        estimate=True,
    )

    State: ClassVar = Cells
    # The product of a protocol, CART or FTC, and the state that its cells enter.
    receives: ClassVar = {"CART": "cart"}
    # What `quantities` returns: `copies_per_ug` is what the assay qpcr reads.
    units: ClassVar = {"copies_per_ug": "copies/ug", "antigen_cells": "cells"}
    reference: ClassVar = "your source"
    caution: ClassVar = "a starting file: nothing in it was fitted to anything"

    def initial(self) -> Cells:
        """The state before the first event: antigen, and no CAR-T yet."""
        return Cells(cart=jnp.zeros(()), antigen=self.antigen_0)

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """How fast each state changes, in its unit per day."""
        stimulation = y.antigen / (y.antigen + self.antigen_half)
        return Cells(
            cart=(self.division * stimulation - self.contraction) * y.cart,
            antigen=-self.killing * y.cart * y.antigen,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """What an assay can see."""
        return {
            "copies_per_ug": self.copies_per_cell * y.cart,
            "antigen_cells": y.antigen,
        }
