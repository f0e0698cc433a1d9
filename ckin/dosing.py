"""A protocol for anyone: what is given is a fixed part and a part per kg of weight.

One event table and one grid serve patients of every weight, and so one compiled program
does: doses per kg become cells inside it.
"""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np

from ckin._types import Array, ArrayLike
from ckin.model import AbstractModel, parameters
from ckin.protocol import EventTable, Protocol, pad_events
from ckin.solve import Grid, lagged, pad_grid


class Dosing(eqx.Module):
    """A protocol for anyone: what an event gives is a fixed part and one per kg.

    Attributes:
        events: its events; `cells` and `rate` are the fixed part.
        grid: steps that hold them and the samples; the same.
        events_per_kg: `cells` and `rate` of the events per kg of weight.
        grid_per_kg: of the steps.
    """

    events: EventTable
    grid: Grid
    events_per_kg: list
    grid_per_kg: list

    def at(self, weight_kg: Array) -> tuple[EventTable, Grid]:
        """Events and grid of a patient of this weight."""
        return (
            _shifted(self.events, self.events_per_kg, weight_kg),
            _shifted(self.grid, self.grid_per_kg, weight_kg),
        )


def _by_weight(table: EventTable | Grid) -> list:
    """What of a table may go by weight: cells at once, and those that run in."""
    return [table.cells] if table.rate is None else [table.cells, table.rate]


def _shifted(table: Any, per_kg: list, weight_kg: ArrayLike) -> Any:
    """The table with so many kg's worth more of everything."""
    more = [x + weight_kg * y for x, y in zip(_by_weight(table), per_kg, strict=True)]
    return eqx.tree_at(_by_weight, table, more)


def dosing(
    model: AbstractModel,
    protocol: Protocol,
    grid: Grid,
    weight_kg: float,
    *,
    by_cycle: bool = False,
) -> Dosing:
    """A protocol for patients of any weight.

    Args:
        model: whose inputs and lags count; everyone has its lags.
        protocol: what is given.
        grid: steps that hold it, laid for one patient of `weight_kg`.
        weight_kg: of that patient.
        by_cycle: the events tell the cycle, as those that `grid` was laid for.
    """
    one, two = (
        protocol.events(weight, model.inputs, by_cycle=by_cycle)
        for weight in (1.0, 2.0)
    )
    per_kg = [b - a for a, b in zip(_by_weight(one), _by_weight(two), strict=True)]
    share = lagged(model, eqx.tree_at(_by_weight, one, per_kg))
    steps_per_kg = _on_steps(grid, share)
    return Dosing(
        events=_shifted(one, per_kg, -1.0),
        # At that weight the grid holds fixed + weight * per_kg.
        grid=_shifted(grid, steps_per_kg, -weight_kg),
        events_per_kg=per_kg,
        grid_per_kg=steps_per_kg,
    )


def _on_steps(grid: Grid, events: EventTable) -> list:
    """Cells and rates of events on the steps of a grid that holds these events."""
    start_d = np.asarray(grid.start_d)
    at = np.searchsorted(np.asarray(events.time_d), start_d, side="right") - 1
    cells, *rate = (np.asarray(x)[np.clip(at, 0, None)] for x in _by_weight(events))
    # Steps that give are of no length, and where nothing is given nothing is shared.
    given = np.any(np.asarray(grid.cells) > 0, axis=1, keepdims=True)
    return [np.where(given, cells, 0.0), *rate]


def weighed(model: AbstractModel) -> list[str]:
    """Parameters that stand for body weight."""
    known = parameters(model)
    return [name for name, info in known.items() if info.column == "WT"]


def with_rates(one: Dosing) -> Dosing:
    """The same, with rates of nothing where it has none: as others that have some."""
    if one.events.rate is not None:
        return one
    events, grid = one.events, one.grid
    return Dosing(
        events=dataclasses.replace(events, rate=np.zeros_like(events.cells)),
        grid=dataclasses.replace(grid, rate=np.zeros_like(grid.cells)),
        events_per_kg=[*one.events_per_kg, np.zeros_like(one.events_per_kg[0])],
        grid_per_kg=[*one.grid_per_kg, np.zeros_like(one.grid_per_kg[0])],
    )


def held(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows with the last one repeated, up to `size`."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - rows.shape[0], axis=0)])


def padded(one: Dosing, steps: int, events: int, times: int) -> Dosing:
    """The same with empty steps and events, and its last reading repeated."""
    n_steps, n_events = one.grid.start_d.shape[0], one.events.time_d.shape[0]
    more = lambda rows, n: np.pad(rows, ((0, n), *((0, 0),) * (rows.ndim - 1)))
    read_at = held(np.asarray(one.grid.read_at), times)
    return Dosing(
        events=pad_events(one.events, events),
        grid=dataclasses.replace(pad_grid(one.grid, steps), read_at=read_at),
        events_per_kg=[more(x, events - n_events) for x in one.events_per_kg],
        grid_per_kg=[more(x, steps - n_steps) for x in one.grid_per_kg],
    )
