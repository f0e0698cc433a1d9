"""The event table as one model sees it: cells arrive late, equations switch."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array
from ckin.model import AbstractModel
from ckin.protocol import EventTable


def as_the_model_sees(model: AbstractModel, events: EventTable) -> EventTable:
    """Events of one patient with the model's lags and switch times worked in.

    Everything may depend on parameters; only the number of rows is fixed.
    """
    events = jax.tree.map(jnp.asarray, events)
    return _with_switches(model, lagged(model, events))


def lagged(model: AbstractModel, events: EventTable) -> EventTable:
    """Cells of each product with a lag given that much later (`AbstractModel.lags`).

    Only cells are late; what is on its way at a reset still arrives.

    Args:
        model: the patient's model.
        events: of one patient.
    """
    for product in model.receives:
        if product in model.lags:
            events = _late(events, product, getattr(model, model.lags[product]))
    return events


def arriving(model: AbstractModel, events: EventTable) -> EventTable:
    """`lagged`, of a batch of patients who share the lags of `model`."""
    if not set(model.receives) & set(model.lags):
        return events
    return jax.vmap(lambda own: lagged(model, own))(events)


def with_doses(events: EventTable, time_d: Array, cells: Array) -> EventTable:
    """Events of one patient with further doses, whose times and sizes may be traced.

    The order of events is sorted out by time, so a derivative by a time holds until
    that dose meets another event.

    Args:
        events: of one patient.
        time_d: of the doses, none before the first event, shape (doses,).
        cells: of every product, shape (doses, products).
    """
    events = jax.tree.map(jnp.asarray, events)
    return _inserted(events, jnp.asarray(time_d), jnp.asarray(cells))[0]


def _late(events: EventTable, product: str, lag_d: Array) -> EventTable:
    """One product `lag_d` later, in rows of its own behind those of the others."""
    column = events.products.index(product)
    n = events.time_d.shape[0]
    cells = jnp.asarray(events.cells)
    own = jnp.zeros_like(cells).at[:, column].set(cells[:, column])
    rest = eqx.tree_at(lambda e: e.cells, events, cells - own)
    merged, order = _inserted(rest, jnp.asarray(events.time_d) + lag_d, own)
    if events.rate is None:
        return merged
    # What runs in began as many of its own rows ago as have come by: counted, so that
    # no two times are compared.
    come = jnp.cumsum(order >= n) - 1
    rate = jnp.asarray(events.rate)[:, column]
    late = jnp.where(come < 0, 0.0, rate[jnp.maximum(come, 0)])
    return eqx.tree_at(
        lambda e: e.rate, merged, jnp.asarray(merged.rate).at[:, column].set(late)
    )


def _with_switches(model: AbstractModel, events: EventTable) -> EventTable:
    """The model's switch times as events at which nothing is given."""
    switches = model.switch_times()
    if not switches:
        return events
    times = jnp.stack([jnp.asarray(t, dtype=float) for t in switches])
    # A switch before the first event is past by then: it becomes an empty event there.
    times = jnp.maximum(times, events.time_d[0])
    nothing = jnp.zeros((times.size, len(events.products)))
    merged, _ = _inserted(events, times, nothing)
    return merged


def _inserted(
    events: EventTable, time_d: Array, cells: Array
) -> tuple[EventTable, Array]:
    """Further rows at `time_d` that give `cells`; what is held there goes on.

    Returns:
        The table, and for each row its place among (old rows, further rows).
    """
    known = jnp.asarray(events.time_d)
    order = jnp.argsort(jnp.concatenate([known, time_d]), stable=True)
    holder = jnp.searchsorted(known, time_d, side="right") - 1

    def merge(rows, inserted) -> Array:
        return jnp.concatenate([jnp.asarray(rows), inserted])[order]

    def held(rows):
        return None if rows is None else merge(rows, jnp.asarray(rows)[holder])

    level = jnp.asarray(events.level)[holder]
    if events.slope is not None:
        since = time_d - known[holder]
        level = level + since[:, None] * jnp.asarray(events.slope)[holder]
    never = jnp.zeros(time_d.shape)
    merged = EventTable(
        time_d=merge(known, time_d),
        cells=merge(events.cells, cells),
        lymphodepletion=merge(events.lymphodepletion, never),
        level=merge(events.level, level),
        products=events.products,
        inputs=events.inputs,
        rate=held(events.rate),
        slope=held(events.slope),
        reset=None if events.reset is None else merge(events.reset, never),
        occasion=held(events.occasion),
    )
    return merged, order
