"""Protocols by what they take of one apheresis: rows, and the same as CSV."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from ckin.protocol import Protocol
from ckin.schedule.apheresis import Coverage, Feasible, Yields, coverage, demand
from ckin.writing import writing


@dataclasses.dataclass(frozen=True)
class ScheduleRow:
    """One protocol.

    Attributes:
        cells: of each product over all cycles.
        coverage: of one apheresis.
    """

    cells: Mapping[str, float]
    coverage: Coverage


def schedule_rows(
    plans: Mapping[str, Protocol], yields: Yields, *, weight_kg: float
) -> dict[str, ScheduleRow]:
    """What each protocol takes, by name, of the same patients.

    Args:
        plans: protocols by name.
        yields: of many patients.
        weight_kg: body weight.

    Raises:
        InputError: a dose per kg, and a weight that is not a number above 0.
    """
    rows = {}
    for name, plan in plans.items():
        cells = demand(plan, weight_kg)
        rows[name] = ScheduleRow(cells, coverage(cells, yields))
    return rows


COLUMNS = (
    *("table", "protocol", "weight_kg", "cycles", "ftc_cells_per_kg"),
    *("car_cells", "ftc_cells"),
    *("needed_cd3_q05", "needed_cd3_q50", "needed_cd3_q95"),
    *("left_cd3_q05", "left_cd3_q50", "left_cd3_q95", "chance", "chance_sd"),
)


def write_schedules(
    path: Path,
    rows: Mapping[str, ScheduleRow],
    sets: Sequence[Feasible],
    *,
    weight_kg: float,
) -> None:
    """Write protocols, and cycles by FTC dose, as CSV; all of it is model-based.

    Raises:
        InputError: a file that cannot be written.
    """
    lines = [
        {
            "table": "protocols (model-based)",
            "protocol": name,
            "car_cells": row.cells.get("CART", 0.0),
            "ftc_cells": row.cells.get("FTC", 0.0),
            **_numbers(row.coverage),
        }
        for name, row in rows.items()
    ]
    lines += [
        {
            "table": "cycles by FTC dose (model-based)",
            "protocol": next(iter(rows)),
            "cycles": row.cycles,
            "ftc_cells_per_kg": row.ftc_cells_per_kg,
            **_numbers(row.coverage),
        }
        for row in sets
    ]
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for line in lines:
            table.writerow({**line, "weight_kg": weight_kg})


def _numbers(found: Coverage) -> dict[str, float]:
    quantiles = {
        f"{name}_cd3_{quantile}": value
        for name, values in (("needed", found.needed), ("left", found.left))
        for quantile, value in zip(("q05", "q50", "q95"), values, strict=True)
    }
    return {**quantiles, "chance": found.chance, "chance_sd": found.chance_sd}
