"""The model of the race problem, written as anyone would write a model of their own.

    E' = (rho f - dE - kEM) E + kME f M        f = A / (K + A)
    M' = kEM E - (dM + kME f) M
    A' = (gA (1 - A/Amax) - kk E - dA) A

E: effector CAR-T, M: memory CAR-T, A: cells that carry antigen. CAR-T infused enter E,
feeding cells (FTC) enter A. qPCR reads s (E + M) + floor. Names are those of the
problem files of `race.py`, and "cells" are in their arbitrary unit.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state


SOURCE = "the race problem: synthetic, of no patient"
# Effectors before the infusion, and the least antigen: a logarithm needs some.
TRACE = 1e-12


def rate(default: float, doc: str, omega: float | None = None) -> Any:
    """A rate that is estimated."""
    return parameter(
        default,
        unit="1/day",
        doc=doc,
        source=SOURCE,
        prior=log_normal(default, 0.5),
        omega=omega,
        estimate=True,
    )


def constant(default: float, unit: str, doc: str) -> Any:
    """A number that the problem gives."""
    return parameter(default, unit=unit, doc=doc, source=SOURCE)


class Cells(NamedTuple):
    """Cells of one patient."""

    effector: Scalar = state("cells", "effector CAR-T", log=True)
    memory: Scalar = state("cells", "memory CAR-T")
    antigen: Scalar = state("cells", "cells that carry antigen", log=True)


class RaceModel(AbstractModel):
    """One patient of the race; the equations are in the module's docstring."""

    rho: Scalar = rate(1.0, "division of effectors at full stimulation", omega=0.3)
    dE: Scalar = rate(0.3, "death of effectors", omega=0.3)
    kEM: Scalar = rate(0.015, "effectors becoming memory", omega=0.3)
    kk: Scalar = rate(0.001, "killing of antigen cells, of each effector", omega=0.3)
    kME: Scalar = rate(0.2, "memory becoming effectors at full stimulation")
    dM: Scalar = rate(0.025, "death of memory cells")

    K: Scalar = constant(2.0, "cells", "antigen of half-maximal stimulation")
    gA: Scalar = constant(0.03, "1/day", "growth of antigen cells")
    Amax: Scalar = constant(5000.0, "cells", "antigen cells at which growth ends")
    dA: Scalar = constant(0.04, "1/day", "death of antigen cells that nobody kills")
    s: Scalar = constant(50.0, "copies/ug", "copies read of each CAR-T cell")
    floor: Scalar = constant(1.0, "copies/ug", "copies read of a sample without any")
    antigen_0: Scalar = parameter(
        30.0,
        unit="cells",
        doc="antigen cells before the infusion",
        source=SOURCE,
        column="A0",
    )

    State: ClassVar = Cells
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    receives: ClassVar = {"CART": "effector", "FTC": "antigen"}
    reference: ClassVar = f"{SOURCE}; see benchmarks/race.py"

    def initial(self) -> Cells:
        """No CAR-T cells, and the patient's own antigen."""
        return Cells(
            effector=jnp.array(TRACE),
            memory=jnp.zeros(()),
            antigen=jnp.maximum(self.antigen_0, TRACE),
        )

    def vector_field(self, t: Scalar, y: Cells, inputs: Mapping[str, Scalar]) -> Cells:
        """The equations of the module's docstring."""
        f = y.antigen / (self.K + y.antigen)
        recalled = self.kME * f * y.memory
        logistic = self.gA * (1.0 - y.antigen / self.Amax)
        return Cells(
            effector=(self.rho * f - self.dE - self.kEM) * y.effector + recalled,
            memory=self.kEM * y.effector - self.dM * y.memory - recalled,
            antigen=(logistic - self.kk * y.effector - self.dA) * y.antigen,
        )

    def quantities(self, y: Cells) -> dict[str, Scalar]:
        """QPCR reads both kinds of CAR-T cells."""
        return {"copies_per_ug": self.s * (y.effector + y.memory) + self.floor}
