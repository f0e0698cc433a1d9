"""Effector and memory CAR-T cells against a tumour in mice (CARTmath).

Cells in one mouse: C effector CAR-T, M memory CAR-T, T tumour.

    C' = (φ - ρ) C + θ T M - α T C
    M' = ε C - θ T M - μ M
    T' = r T (1 - b T) - γ C T

Effectors turn into memory, and memory that meets the tumour turns back: a second
tumour is met by what the first one left. ρ holds all losses of effectors, death and
what becomes memory. The tumour is given G days before the infusion and grows alone
until then, in closed form. It shrinks while C > r (1 - b T)/γ: 1.5e4 cells of HDLM-2.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


CODE = "authors' code (CARTmath), HDLM-2 with CAR123"

SETTINGS: dict[str, dict[str, float]] = {
    # Raji with CAR19. The authors' α is 1.26e-8 to 1.46e-8, by experiment.
    "raji": {
        "growth": 0.83,
        "loss": 0.8300536,
        "recall": 2.3e-4,
        "inhibition": 1.36e-8,
        "to_memory": 1.59795,
        "memory_loss": 6.89e-7,
        "tumour_growth": 0.5071721,
        "tumour_inverse_capacity": 0.0,
        "killing": 3.365388e-8,
    }
}


def value(default: float, sd_log: float = 0.5, **words: Any) -> Any:
    """A value of the authors' code; the log-normal prior around it is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=CODE, checked="V", prior=prior, **words)


class Cells(NamedTuple):
    """Cells of one mouse."""

    effector: Scalar = state("cells", "effector CAR-T cells", scale=1e2)
    memory: Scalar = state("cells", "memory CAR-T cells", scale=1e2)
    tumour: Scalar = state("cells", "tumour cells", log=True)


class MemoryBarros2021(AbstractModel):
    """One mouse with a tumour; the equations are in the module's docstring."""

    growth: Scalar = value(
        0.265,
        0.1,
        unit="1/day",
        symbol="φ",
        doc="division of effectors",
        omega=0.1,
        estimate=True,
    )
    loss: Scalar = value(
        0.35, 0.1, unit="1/day", symbol="ρ", doc="loss of effectors, all causes"
    )
    recall: Scalar = value(
        6e-6, unit="1/(cells day)", symbol="θ", doc="memory turned back by the tumour"
    )
    inhibition: Scalar = value(
        4.5e-8,
        unit="1/(cells day)",
        symbol="α",
        doc="loss of effectors to the tumour",
    )
    to_memory: Scalar = value(
        0.15,
        unit="1/day",
        symbol="ε",
        doc="effectors turned into memory",
        omega=0.3,
        estimate=True,
    )
    memory_loss: Scalar = value(
        5e-3, unit="1/day", symbol="μ", doc="loss of memory cells"
    )
    tumour_growth: Scalar = value(
        5.650026e-2, 0.3, unit="1/day", symbol="r", doc="growth of the tumour"
    )
    tumour_inverse_capacity: Scalar = parameter(
        1.404029e-12,
        unit="1/cells",
        symbol="b",
        doc="one over the largest tumour there can be; 0: no limit",
        checked="V",
        source=CODE,
    )
    killing: Scalar = value(
        3.715843e-6, unit="1/(cells day)", symbol="γ", doc="killing of the tumour"
    )
    tumour_given: Scalar = value(
        2e6, unit="cells", symbol="T_G", doc="tumour cells given to the mouse"
    )
    days_before: Scalar = value(
        42.0, 0.2, unit="day", symbol="G", doc="days from the tumour to the infusion"
    )

    State: ClassVar = Cells
    receives: ClassVar = {"CART": "effector"}
    units: ClassVar = {
        "cart_cells": "cells",
        "memory_cells": "cells",
        "tumour_cells": "cells",
    }
    derived_units: ClassVar = {"cart_controlling": "cells"}
    usual_cart: ClassVar = 1e6
    usual_days: ClassVar = 60.0
    reference: ClassVar = (
        "Barros LRC et al. Cancers 2021;13:2941 (number of the article not checked); "
        "equations and values from the authors' code, CARTmath"
    )
    caution: ClassVar = (
        "Mice with human tumours, fitted to their tumours and not to CAR-T: doses are "
        "2e5 to 2e6 cells in all, so a protocol in cells per kg of a patient is a "
        "thousand times too much. The authors set populations below 1e-6 cells to "
        "none; that cut is not carried here, so a tumour that would be gone may "
        "return. Priors and spreads are ckin's. No assay of copies/µg was published "
        "with it, so qPCR curves cannot be fitted."
    )

    def initial(self) -> Cells:
        """The tumour on the day of infusion, after logistic growth alone."""
        grown = jnp.exp(self.tumour_growth * self.days_before)
        limit = self.tumour_inverse_capacity * self.tumour_given
        return Cells(
            jnp.zeros(()),
            jnp.zeros(()),
            self.tumour_given * grown / (1.0 + limit * (grown - 1.0)),
        )

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """Slopes; the equations are in the module's docstring."""
        recalled = self.recall * y.tumour * y.memory
        lost = self.inhibition * y.tumour
        room = 1.0 - self.tumour_inverse_capacity * y.tumour
        return Cells(
            effector=(self.growth - self.loss - lost) * y.effector + recalled,
            memory=self.to_memory * y.effector - recalled - self.memory_loss * y.memory,
            tumour=(self.tumour_growth * room - self.killing * y.effector) * y.tumour,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """Cells in the mouse."""
        return {
            "cart_cells": y.effector + y.memory,
            "memory_cells": y.memory,
            "tumour_cells": y.tumour,
        }

    def derived(self) -> dict[str, Scalar]:
        """Effectors above which a small tumour shrinks."""
        return {"cart_controlling": self.tumour_growth / self.killing}
