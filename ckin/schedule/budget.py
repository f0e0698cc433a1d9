"""What all infusions of a course may cost together."""

import dataclasses
from collections.abc import Mapping

from ckin.protocol import Protocol
from ckin.schedule.apheresis import Yields, demand


@dataclasses.dataclass(frozen=True)
class Budget:
    """What all infusions of a protocol may cost together, fixed ones as well.

    Attributes:
        total: in any unit.
        price: in that unit, of one cell of each product; others cost nothing.
    """

    total: float
    price: Mapping[str, float]

    def __hash__(self) -> int:
        """A space is part of a compiled program, and its budget with it."""
        return hash((self.total, *sorted(self.price.items())))

    def cost(self, plan: Protocol, weight_kg: float) -> float:
        """Of all infusions of a protocol."""
        cells = demand(plan, weight_kg)
        return sum((self.price.get(name, 0.0) * n for name, n in cells.items()), 0.0)


def cells_budget(product: str, cells: float) -> Budget:
    """So many cells of one product in all."""
    return Budget(cells, {product: 1.0})


def apheresis_budget(yields: Yields) -> Budget:
    """The CD3+ cells that one patient collected, shared by all products.

    Args:
        yields: of one patient (`typical_yields`, or a patient whose own are known).
    """
    if yields.collected.shape != (1,):
        raise ValueError(f"yields of {yields.collected.shape[0]} patients: give one")
    price = {name: 1.0 / float(each[0]) for name, each in yields.per_cell.items()}
    return Budget(float(yields.collected[0]), price)
