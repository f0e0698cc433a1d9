"""A patient whose parameters differ between occasions (cycles).

An occasion begins at an event, which says in the event table which one it is. From
there on the equations have the parameters of that occasion; what is in the patient then
stays.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array, ArrayLike, Float, Int
from ckin.model import AbstractModel
from ckin.protocol import EventTable


class Changing(eqx.Module):
    """A model with values of some parameters by occasion.

    Attributes:
        base: the values of all others.
        values: of each parameter that differs, shape (occasions,).
    """

    base: AbstractModel
    values: dict[str, Float[Array, " occasions"]]

    def at(self, occasion: Int[ArrayLike, ""]) -> AbstractModel:
        """The model of one occasion, counted from 0."""
        # A sum over occasions, and not a gather: lanes of patients stay side by side.
        chosen = {
            name: jnp.sum(
                jnp.where(jnp.arange(each.shape[0]) == occasion, each, 0.0), axis=0
            )
            for name, each in self.values.items()
        }
        return self.base.with_values(**chosen)


Patientlike = AbstractModel | Changing


def at_occasion(model: Patientlike, occasion: Array | int | None) -> AbstractModel:
    """The model that holds on an occasion: the same on all, unless it is `Changing`.

    Raises:
        ValueError: a model that changes, under events that tell no occasions.
    """
    if not isinstance(model, Changing):
        return model
    if occasion is None:
        raise ValueError(
            "parameters differ between occasions, and the event table tells none"
        )
    return model.at(occasion)


def base_of(model: Patientlike) -> AbstractModel:
    """The model whatever the occasion: for its equations, states and lags."""
    return model.base if isinstance(model, Changing) else model


def occasions_at(
    events: EventTable, time_d: Float[Array, " times"], after: Array | None
) -> Int[Array, " times"]:
    """Occasion of each sample: that of the last event before it, or at it if `after`.

    Raises:
        ValueError: events that tell no occasions.
    """
    if events.occasion is None:
        raise ValueError("the event table tells no occasions")
    early, late = (
        jnp.searchsorted(jnp.asarray(events.time_d), time_d, side=side) - 1
        for side in ("left", "right")
    )
    last = early if after is None else jnp.where(after, late, early)
    return jnp.asarray(events.occasion)[jnp.maximum(last, 0)]


def quantities_of(
    model: Patientlike, states, occasion: Int[Array, " times"] | None = None
) -> dict[str, Float[Array, " times"]]:
    """Quantities of the model at each time, by name.

    Args:
        model: the patient's model.
        states: at each time.
        occasion: at each time, where the model changes between occasions.
    """
    if not isinstance(model, Changing):
        return jax.vmap(model.quantities)(states)
    assert occasion is not None
    return jax.vmap(lambda y, o: model.at(o).quantities(y))(states, occasion)
