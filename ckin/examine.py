"""Whether a model is well formed: what its equations say at states drawn at random.

    faults(model)         # [] or sentences that say what to mend
    open_units(model)     # the same of units

A wrong unit does not stop a solver, it only gives wrong numbers. So the equations are
asked: a slope must not depend on the unit in which anything is counted.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.model import AbstractModel, parameters, states
from ckin.units import dimensions


# How far a unit is stretched when the equations are asked about it: no number that a
# model would have of its own, and no power of one.
STRETCH = 1.37
# Numbers of the equations that have a unit and are meant to be negligible (one cell
# among a million) change a slope by less.
NEGLIGIBLE = 1e-4
# Decades below and above its initial size in which a state is drawn; what starts empty
# is drawn above its scale, and may become many.
DECADES = (-1.0, 1.0)
DECADES_OF_EMPTY = (-1.0, 7.0)
DRAWS = 64
# A day in the first phase of any model; others are after its switches.
EARLY = 2.0

Slopes = dict[str, Float[np.ndarray, " draws"]]


def faults(model: AbstractModel) -> list[str]:
    """What is wrong with the equations of a model, as sentences; [] if nothing is.

    Looked at, with the parameters as they are and states drawn at random: slopes are
    finite, a state that is empty does not fall further, and every state is written by
    something.

    Args:
        model: the model.
    """
    return _not_finite(model) or _below_zero(model) + _never_written(model)


def open_units(model: AbstractModel) -> list[str]:
    """Where units do not close, as sentences; [] where they do.

    A doubt rather than a fault: a constant of nature written into an equation has a
    unit too.

    Args:
        model: the model.
    """
    infos = {**parameters(model), **states(model)}
    bases = sorted({base for info in infos.values() for base in dimensions(info.unit)})
    y = _drawn(model)
    slopes = {day: _slopes(model, y, day) for day in _days(model)}
    found: dict[str, list[str]] = {}
    for base in bases:
        for name in _changed(model, base, y, slopes):
            found.setdefault(name, []).append(base)
    return [
        f"units: the slope of {name} is not in {states(model)[name].unit}/day: count "
        f"{' or '.join(wrong)} in another unit and it comes out different; one of the "
        "parameters in it has the wrong unit, or a number with a unit is written into "
        "the equation"
        for name, wrong in found.items()
    ]


def _days(model: AbstractModel) -> list[float]:
    """One day in each phase of the model."""
    return [EARLY, *(float(switch) + 1.0 for switch in model.switch_times())]


def _drawn(model: AbstractModel):
    """States drawn at random: arrays of shape (draws,)."""
    rng = np.random.default_rng(0)
    drawn = []
    for value, info in zip(model.initial(), states(model).values(), strict=True):
        usual = float(value)
        decades = DECADES if usual else DECADES_OF_EMPTY
        size = usual or info.scale
        drawn.append(jnp.asarray(size * 10.0 ** rng.uniform(*decades, DRAWS)))
    return model.State(*drawn)


def _slopes(model: AbstractModel, y, day: float) -> Slopes:
    """Slope of each state at every draw."""
    slopes = _slopes_of_draws(model, y, jnp.asarray(day))
    return {name: np.asarray(value) for name, value in slopes._asdict().items()}


@eqx.filter_jit
def _slopes_of_draws(model: AbstractModel, y, day: Array):
    levels = {name: jnp.asarray(level) for name, level in model.inputs.items()}
    return jax.vmap(lambda one: model.vector_field(day, one, levels))(y)


def _not_finite(model: AbstractModel) -> list[str]:
    """Initial state, and slopes there and at drawn states."""
    first = model.initial()
    for name, value in first._asdict().items():
        if not np.isfinite(float(value)):
            return [
                f"initial: {name} is {float(value)}; a course starts from a finite "
                "number"
            ]
    y = jax.tree.map(lambda one, drawn: jnp.append(one, drawn), first, _drawn(model))
    for day in _days(model):
        for name, slope in _slopes(model, y, day).items():
            for bad in np.flatnonzero(~np.isfinite(slope)).tolist():
                at = ", ".join(
                    f"{n}={float(v[bad]):.3g}" for n, v in y._asdict().items()
                )
                return [
                    f"vector_field: the slope of {name} is {slope[bad]} on day {day:g} "
                    f"where {at}; look for a division by zero, or the logarithm or "
                    "power of nothing"
                ]
    return []


def _below_zero(model: AbstractModel) -> list[str]:
    """States that are empty and fall."""
    y, found = _drawn(model), {}
    for name, info in states(model).items():
        empty = y._replace(**{name: jnp.zeros(DRAWS)})
        for day in _days(model):
            lowest = np.min(_slopes(model, empty, day)[name])
            if not info.log and lowest < 0.0:
                found[name] = (
                    f"vector_field: {name} falls by {-lowest:.3g} {info.unit}/day "
                    "where there is none of it, so it would go below zero; losses have "
                    f"to be in proportion to {name}"
                )
    return list(found.values())


def _never_written(model: AbstractModel) -> list[str]:
    """States that nothing ever changes."""
    y = _drawn(model)
    after = jax.vmap(model.lymphodeplete)(y)
    moved = set(model.receives.values())
    moved |= {n for n in y._fields if np.any(getattr(after, n) != getattr(y, n))}
    for day in _days(model):
        moved |= {n for n, slope in _slopes(model, y, day).items() if np.any(slope)}
    return [
        f"vector_field: nothing ever changes {name} (no slope, no product enters it, "
        "lymphodepletion leaves it); write its slope, or make it a parameter"
        for name in states(model)
        if name not in moved
    ]


def _changed(
    model: AbstractModel, base: str, y, slopes: dict[float, Slopes]
) -> list[str]:
    """States whose slope does not follow when `base` is counted in another unit.

    Args:
        model: the model.
        base: what is counted in another unit.
        y: states, arrays of shape (draws,).
        slopes: the model's slopes at `y` on each day.
    """

    def factor(unit: str) -> float:
        return STRETCH ** dimensions(unit).get(base, 0)

    infos = states(model)
    other = model.with_values(
        **{
            name: getattr(model, name) * factor(info.unit)
            for name, info in parameters(model).items()
        }
    )
    counted = type(y)(
        *(
            value * factor(info.unit)
            for value, info in zip(y, infos.values(), strict=True)
        )
    )
    wrong = set()
    for day, before in slopes.items():
        after = _slopes(other, counted, day * factor("day"))
        for name, info in infos.items():
            expected = before[name] * factor(info.unit) / factor("day")
            # What nearly cancels is judged by what is usual.
            size = np.maximum(
                np.abs(expected), NEGLIGIBLE * np.median(np.abs(expected))
            )
            if np.any(np.abs(after[name] - expected) > NEGLIGIBLE * size):
                wrong.add(name)
    return [name for name in infos if name in wrong]
