"""The variables that the solver carries: logarithms, and cells in units of their scale.

A model file writes plain units. What is here turns its states, its vector field and
what is given into those variables, and back.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, states


# A state on log scale is read back as exp of a clipped logarithm, so that a
# population killed for months underflows neither to 0 (0/0 in its growth rate) nor
# to inf on a rejected trial step. e^±300 is far outside any number of cells; 32-bit
# floats end at e^±87, and so does what is carried in them.
LOG_STATE_LIMIT, LOG_STATE_LIMIT_32 = 300.0, 80.0


def to_solver_scale(model: AbstractModel, y: Any) -> Any:
    """The solver's variables: logarithm of `log` states, the others by their scale."""
    return _by_state(
        model, lambda info, v: jnp.log(v) if info.log else v / info.scale, y
    )


def within_limits(model: AbstractModel, w: Any) -> Any:
    """The solver's variables with logarithms clipped to `LOG_STATE_LIMIT`."""
    double = jnp.result_type(float) == jnp.float64
    limit = LOG_STATE_LIMIT if double else LOG_STATE_LIMIT_32
    return _by_state(
        model, lambda info, v: jnp.clip(v, -limit, limit) if info.log else v, w
    )


def from_solver_scale(model: AbstractModel, w: Any) -> Any:
    """Inverse of `to_solver_scale`; works on scalars and on arrays."""
    return _by_state(model, lambda info, v: _exp(v) if info.log else v * info.scale, w)


def _exp(v: Any) -> Any:
    """Exponential function, plus the smallest number there is.

    XLA turns a division by exp(v) into a second exponential, of -v, which costs three
    times a division. A sum it leaves alone.
    """
    return jnp.exp(v) + jnp.finfo(jnp.result_type(float)).tiny


def solver_vector_field(
    model: AbstractModel,
    t: Scalar,
    w: Any,
    inputs: Mapping[str, Scalar],
    entering: Mapping[str, Scalar] | None = None,
) -> Any:
    """The vector field in the solver's variables: dw/dt = f(y)/y where w = log y.

    Logarithms have to be `within_limits`, or nearly so.

    Args:
        model: the patient's model.
        t: days from the first infusion.
        w: the solver's variables.
        inputs: level of each input now.
        entering: cells of each product that run in per day.
    """
    y = from_solver_scale(model, w)
    slopes = _receiving(model, model.vector_field(t, y, inputs), entering or {})
    return _by_state(
        model, lambda info, v, dv: dv / (v if info.log else info.scale), y, slopes
    )


def _by_state(model: AbstractModel, change, y: Any, *others: Any) -> Any:
    """Apply `change(info, value, ...)` to every state."""
    infos = states(model).values()
    return type(y)(*(change(*each) for each in zip(infos, y, *others, strict=True)))


def give(
    model: AbstractModel,
    y: Any,
    cells: Mapping[str, Scalar],
    lymphodepletion: Scalar,
) -> Any:
    """State after an event: lymphodepletion first, then every product at once.

    Args:
        model: the patient's model.
        y: state just before, in plain units.
        cells: cells given of each product; products that the model does not
            receive are passed over (see `AbstractModel.receives`).
        lymphodepletion: 1 if lymphodepletion happens now, else 0.
    """
    depleted = model.lymphodeplete(y)
    y = type(y)(
        *(
            jnp.where(lymphodepletion > 0, after, before)
            for after, before in zip(depleted, y, strict=True)
        )
    )
    return _receiving(model, y, cells)


def _receiving(model: AbstractModel, y: Any, cells: Mapping[str, Scalar]) -> Any:
    """`y` with what is alive of the cells of each product in the state they enter."""
    for product, name in model.receives.items():
        if product in cells:
            alive = cells[product]
            if product in model.viable:
                alive = getattr(model, model.viable[product]) * alive
            y = y._replace(**{name: getattr(y, name) + alive})
    return y
