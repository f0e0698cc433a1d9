"""Doses -> an event table: what the solver takes.

One row per moment, everything given at that moment added up. Events are consumed once
each, by index; nothing ever compares two floating-point times.
"""

from collections.abc import Iterable, Mapping, Sequence

import equinox as eqx
import jax
import numpy as np

from ckin._types import Array, Float
from ckin.protocol.doses import PRODUCTS, Dose, InputWindow


class EventTable(eqx.Module):
    """What happens to one patient, in order of time (or a batch: a leading axis).

    Attributes:
        time_d: days, shape (events,), not decreasing.
        cells: cells given, shape (events, products), in the order of `products`.
        lymphodepletion: 1.0 where lymphodepletion happens, shape (events,).
        level: level of every input from this event to the next, shape
            (events, inputs), in the order of `inputs`.
    """

    time_d: Float[Array | np.ndarray, "*batch events"]
    cells: Float[Array | np.ndarray, "*batch events products"]
    lymphodepletion: Float[Array | np.ndarray, "*batch events"]
    level: Float[Array | np.ndarray, "*batch events inputs"]
    products: tuple[str, ...] = eqx.field(static=True)
    inputs: tuple[str, ...] = eqx.field(static=True)


def event_table(
    doses: Iterable[Dose],
    *,
    weight_kg: float,
    lymphodepletion_d: Sequence[float] = (),
    windows: Iterable[InputWindow] = (),
    inputs: Mapping[str, float] | None = None,
) -> EventTable:
    """Events of one patient, from doses, lymphodepletion days and input windows.

    Doses at the same time are added, whatever their order; where windows of one input
    overlap the highest level holds.

    Args:
        doses: the patient's doses.
        weight_kg: body weight, for doses per kg.
        lymphodepletion_d: days of lymphodepletion.
        windows: when an input leaves its usual level.
        inputs: usual level of each input of the model (`AbstractModel.inputs`);
            windows of inputs that are not in it are passed over.
    """
    doses, windows = tuple(doses), tuple(windows)
    usual = dict(inputs or {})
    windows = tuple(window for window in windows if window.name in usual)
    moments = {dose.time_d for dose in doses} | set(lymphodepletion_d)
    for window in windows:
        moments |= {window.start_d, window.stop_d}
    # A patient without any event still has a start to integrate from.
    time_d = np.array(sorted(moments) or [0.0])
    products = tuple(PRODUCTS)
    cells = np.zeros((time_d.size, len(products)))
    for dose in doses:
        row = int(np.flatnonzero(time_d == dose.time_d)[0])
        cells[row, products.index(dose.product)] += dose.total(weight_kg)
    level = np.tile(np.array(list(usual.values()), dtype=float), (time_d.size, 1))
    for column, name in enumerate(usual):
        for row, start in enumerate(time_d):
            levels = [
                window.level
                for window in windows
                if window.name == name and window.start_d <= start < window.stop_d
            ]
            level[row, column] = max(levels, default=usual[name])
    return EventTable(
        time_d=time_d,
        cells=cells,
        lymphodepletion=np.isin(time_d, list(lymphodepletion_d)).astype(float),
        level=level,
        products=products,
        inputs=tuple(usual),
    )


def pad_events(table: EventTable, n_events: int) -> EventTable:
    """The same table with empty events appended at its last time.

    An appended event gives nothing, and the segment after it has no length.
    """
    extra = n_events - table.time_d.shape[0]
    if extra < 0:
        raise ValueError(f"cannot pad {table.time_d.shape[0]} events to {n_events}")

    def repeat_last(rows):
        return np.concatenate([rows, np.repeat(rows[-1:], extra, axis=0)])

    def zeros_after(rows):
        return np.concatenate([rows, np.zeros((extra, *rows.shape[1:]))])

    return EventTable(
        time_d=repeat_last(table.time_d),
        cells=zeros_after(table.cells),
        lymphodepletion=zeros_after(table.lymphodepletion),
        level=repeat_last(table.level),
        products=table.products,
        inputs=table.inputs,
    )


def stack_events(tables: Sequence[EventTable]) -> EventTable:
    """Event tables of several patients as one batch, padded to the longest."""
    most = max(table.time_d.shape[0] for table in tables)
    padded = [pad_events(table, most) for table in tables]
    return jax.tree.map(lambda *rows: np.stack(rows), *padded)
