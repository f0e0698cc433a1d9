"""Doses -> an event table: what the solver takes.

One row per moment, everything given at that moment added up. What goes on until the
next moment stands there too: cells running in, levels of inputs. Events are consumed
once each, by index; nothing ever compares two floating-point times.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import equinox as eqx
import jax
import numpy as np

from ckin._types import Array, Float, Int
from ckin.protocol.doses import PRODUCTS, Dose, InputWindow


class EventTable(eqx.Module):
    """What happens to one patient, in order of time (or a batch: a leading axis).

    At one time the order is: reset, lymphodepletion, cells of every product.

    Attributes:
        time_d: days, shape (events,), not decreasing.
        cells: cells given, shape (events, products), in the order of `products`.
        lymphodepletion: 1.0 where lymphodepletion happens, shape (events,).
        level: level of every input at this event, shape (events, inputs), in the
            order of `inputs`.
        products: names of the columns of `cells`.
        inputs: names of the columns of `level`.
        rate: cells per day that run in from this event to the next, shape
            (events, products); `None` where nothing ever runs in.
        slope: change of the levels per day until the next event, shape
            (events, inputs); `None` where every level is held.
        reset: 1.0 where the patient is as before the first event again, shape
            (events,); `None` where that never happens.
        occasion: which set of parameters holds from this event on, from 0, shape
            (events,); `None` where there is one.
    """

    time_d: Float[Array | np.ndarray, "*batch events"]
    cells: Float[Array | np.ndarray, "*batch events products"]
    lymphodepletion: Float[Array | np.ndarray, "*batch events"]
    level: Float[Array | np.ndarray, "*batch events inputs"]
    products: tuple[str, ...] = eqx.field(static=True)
    inputs: tuple[str, ...] = eqx.field(static=True)
    # Absent where not needed, so that patients without them do not pay for them.
    rate: Float[Array | np.ndarray, "*batch events products"] | None = None
    slope: Float[Array | np.ndarray, "*batch events inputs"] | None = None
    reset: Float[Array | np.ndarray, "*batch events"] | None = None
    occasion: Int[Array | np.ndarray, "*batch events"] | None = None


def event_table(
    doses: Iterable[Dose],
    *,
    weight_kg: float,
    lymphodepletion_d: Sequence[float] = (),
    windows: Iterable[InputWindow] = (),
    inputs: Mapping[str, float] | None = None,
    resets_d: Sequence[float] = (),
    products: Sequence[str] = tuple(PRODUCTS),
    occasion_starts_d: Sequence[float] | None = None,
) -> EventTable:
    """Events of one patient, from doses, lymphodepletion days and input windows.

    Doses at the same time are added, whatever their order; one of no cells is none.
    Where held windows of one input overlap the highest level holds.

    Args:
        doses: the patient's doses.
        weight_kg: body weight, for doses per kg.
        lymphodepletion_d: days of lymphodepletion.
        windows: when an input leaves its usual level.
        inputs: usual level of each input of the model (`AbstractModel.inputs`);
            windows of inputs that are not in it are passed over.
        resets_d: days on which the patient is as before the first event again, before
            anything given then. What is running in stops.
        products: columns of the table; doses of others are passed over.
        occasion_starts_d: days on which occasions begin, not decreasing, the first of
            them before or at the first event; infinity where one never comes; `None`
            where there is one occasion. A later one is an event, be anything given or
            not.

    Raises:
        ValueError: a window with a slope overlaps another of the same input.
    """
    usual = dict(inputs or {})
    windows = [window for window in windows if window.name in usual]
    _check_slopes(windows)
    each = [(d, d.total(weight_kg)) for d in doses if d.product in products]
    # A dose of no cells is no dose: it does not begin a course either.
    given = [(dose, cells) for dose, cells in each if cells > 0]
    # So short a time that a float cannot tell start from stop is no time.
    at_once = [pair for pair in given if pair[0].stop_d == pair[0].time_d]
    running = [
        (dose, cells, _stops(dose, resets_d))
        for dose, cells in given
        if dose.stop_d > dose.time_d
    ]
    moments = {dose.time_d for dose, _ in given} | {*lymphodepletion_d, *resets_d}
    moments |= {stop_d for *_, stop_d in running}
    for window in windows:
        moments |= {window.start_d, window.stop_d}
    # A patient without any event still has a start to integrate from.
    first_d = min(moments, default=0.0)
    begun = [float(t) for t in occasion_starts_d or () if first_d < t < np.inf]
    time_d = np.array(sorted({first_d, *moments, *begun}))
    row_of = {moment: row for row, moment in enumerate(time_d.tolist())}
    cells, rate = np.zeros((2, time_d.size, len(products)))
    column_of = {product: column for column, product in enumerate(products)}
    for dose, amount in at_once:
        cells[row_of[dose.time_d], column_of[dose.product]] += amount
    for dose, amount, stop_d in running:
        rows = slice(row_of[dose.time_d], row_of[stop_d])
        # By the times as floats have them, so that every cell given arrives.
        per_day = amount / (dose.stop_d - dose.time_d)
        rate[rows, column_of[dose.product]] += per_day
    level, slope = _levels(time_d, windows, usual)
    return EventTable(
        time_d=time_d,
        cells=cells,
        lymphodepletion=np.isin(time_d, list(lymphodepletion_d)).astype(float),
        level=level,
        products=tuple(products),
        inputs=tuple(usual),
        rate=rate if running else None,
        slope=slope if slope.any() else None,
        reset=np.isin(time_d, list(resets_d)).astype(float) if resets_d else None,
        occasion=_occasions(time_d, occasion_starts_d),
    )


def cycle_starts(given: Iterable[tuple[int, float]], n: int) -> tuple[float, ...]:
    """Days on which `n` cycles begin: each with the first that is given in it.

    One in which nothing is given begins with the next, and lasts no time; after the
    last that has anything, never (infinity).

    Args:
        given: cycle (from 1) and day of everything that is given.
        n: number of cycles.
    """
    starts = np.full(n, np.inf)
    for cycle, time_d in given:
        starts[cycle - 1] = min(starts[cycle - 1], time_d)
    return tuple(np.minimum.accumulate(starts[::-1])[::-1].tolist())


def _occasions(
    time_d: np.ndarray, starts_d: Sequence[float] | None
) -> np.ndarray | None:
    if starts_d is None:
        return None
    begun = np.searchsorted(np.asarray(starts_d, dtype=float), time_d, side="right")
    return np.maximum(begun - 1, 0)


def _stops(dose: Dose, resets_d: Sequence[float]) -> float:
    """When an infusion ends: run in, or stopped by a reset."""
    return min([dose.stop_d, *(t for t in resets_d if t > dose.time_d)])


def _check_slopes(windows: Sequence[InputWindow]) -> None:
    for one in windows:
        for other in windows:
            overlap = one.start_d < other.stop_d and other.start_d < one.stop_d
            if one is not other and one.name == other.name and one.slope and overlap:
                raise ValueError(
                    f"input {one.name!r} has two courses between day {other.start_d:g} "
                    f"and day {one.stop_d:g}, and one of them is a straight line: "
                    "which of them holds?"
                )


def _levels(
    time_d: np.ndarray, windows: Sequence[InputWindow], usual: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Level of every input at each event, and its change per day until the next."""
    level = np.tile(np.array(list(usual.values()), dtype=float), (time_d.size, 1))
    slope = np.zeros_like(level)
    for column, name in enumerate(usual):
        mine = [window for window in windows if window.name == name]
        for row, start in enumerate(time_d.tolist()):
            open_now = [window for window in mine if window.holds_at(start)]
            if open_now:
                highest = max(open_now, key=lambda w, t=start: w.level_at(t))
                level[row, column] = highest.level_at(start)
                slope[row, column] = highest.slope
    return level, slope


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
        rate=None if table.rate is None else repeat_last(table.rate),
        slope=None if table.slope is None else repeat_last(table.slope),
        reset=None if table.reset is None else zeros_after(table.reset),
        occasion=None if table.occasion is None else repeat_last(table.occasion),
    )


def stack_events(tables: Sequence[EventTable]) -> EventTable:
    """Event tables of several patients as one batch, padded to the longest."""
    most = max(table.time_d.shape[0] for table in tables)
    alike = _alike([pad_events(table, most) for table in tables])
    return jax.tree.map(lambda *rows: np.stack(rows), *alike)


def _alike(tables: Sequence[EventTable]) -> list[EventTable]:
    """Tables that all have what any of them has."""
    like = {"rate": "cells", "slope": "level", "reset": "lymphodepletion"}
    wanted = {n for n in like for table in tables if getattr(table, n) is not None}
    return [
        dataclasses.replace(
            table,
            **{
                name: np.zeros_like(getattr(table, like[name]))
                for name in wanted
                if getattr(table, name) is None
            },
        )
        for table in tables
    ]
