"""Whether a model is well formed: what its equations say at states drawn at random.

    faults(load_model("my_model.py"))      # [] or sentences that say what to mend

A wrong unit does not stop a solver, it only gives wrong numbers. So the equations are
asked: a slope must not depend on the unit in which anything is counted.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from ckin.model import AbstractModel, parameters, states
from ckin.units import dimensions


# How far a unit is stretched when the equations are asked about it: no number that a
# model would have of its own, and no power of one.
STRETCH = 1.37
# Numbers of the equations that have a unit and are meant to be negligible (one cell
# among a million) change a slope by less.
NEGLIGIBLE = 1e-4
# Decades around the usual size of a state from which states are drawn.
DECADES = 1.0
DRAWS = 8
# A day in the first phase of any model; others are after its switches.
EARLY = 2.0


def faults(model: AbstractModel) -> list[str]:
    """What is wrong with the equations of a model, as sentences; [] if nothing is.

    Looked at, with the parameters as they are and states drawn at random: slopes are
    finite, a state that is empty does not fall further, every state is written by
    something, and the units of parameters and states close.

    Args:
        model: the model.
    """
    found = _not_finite(model)
    if found:
        return found
    return _below_zero(model) + _never_written(model) + _open_units(model)


def _days(model: AbstractModel) -> list[float]:
    """One day in each phase of the model."""
    return [EARLY, *(float(switch) + 1.0 for switch in model.switch_times())]


def _slopes(model: AbstractModel, y, day: float) -> dict[str, float]:
    levels = {name: jnp.asarray(level) for name, level in model.inputs.items()}
    slopes = model.vector_field(jnp.asarray(day), y, levels)
    return {name: float(value) for name, value in slopes._asdict().items()}


def _drawn(model: AbstractModel) -> list:
    """States of the usual size of each, within a decade or so."""
    rng = np.random.default_rng(0)
    usual = model.initial()
    found = []
    for _ in range(DRAWS):
        sizes = 10.0 ** rng.uniform(-DECADES, DECADES, len(usual))
        found.append(
            type(usual)(
                *(
                    jnp.asarray(size * (float(value) or info.scale))
                    for size, value, info in zip(
                        sizes, usual, states(model).values(), strict=True
                    )
                )
            )
        )
    return found


def _not_finite(model: AbstractModel) -> list[str]:
    """Initial state, and slopes there and at drawn states."""
    for name, value in model.initial()._asdict().items():
        if not np.isfinite(float(value)):
            return [
                f"initial: {name} is {float(value)}; a course starts from a finite "
                "number"
            ]
    places = itertools.product((model.initial(), *_drawn(model)), _days(model))
    for y, day in places:
        for name, slope in _slopes(model, y, day).items():
            if not np.isfinite(slope):
                at = ", ".join(f"{n}={float(v):.3g}" for n, v in y._asdict().items())
                return [
                    f"vector_field: the slope of {name} is {slope} on day {day:g} "
                    f"where {at}; look for a division by zero, or the logarithm or "
                    "power of nothing"
                ]
    return []


def _below_zero(model: AbstractModel) -> list[str]:
    """States that are empty and fall."""
    found = {}
    for y, day in itertools.product(_drawn(model), _days(model)):
        for name, info in states(model).items():
            if info.log:
                continue
            empty = y._replace(**{name: jnp.zeros(())})
            slope = _slopes(model, empty, day)[name]
            if slope < 0.0:
                found[name] = (
                    f"vector_field: {name} falls by {-slope:.3g} {info.unit}/day where "
                    "there is none of it, so it would go below zero; losses have to be "
                    f"in proportion to {name}"
                )
    return list(found.values())


def _never_written(model: AbstractModel) -> list[str]:
    """States that nothing ever changes."""
    moved = set(model.receives.values())
    for y in _drawn(model):
        after = model.lymphodeplete(y)
        moved |= {n for n in y._fields if float(getattr(after, n)) != getattr(y, n)}
        for day in _days(model):
            slopes = _slopes(model, y, day)
            moved |= {name for name, slope in slopes.items() if slope != 0.0}
    return [
        f"vector_field: nothing ever changes {name} (no slope, no product enters it, "
        "lymphodepletion leaves it); write its slope, or make it a parameter"
        for name in states(model)
        if name not in moved
    ]


def _open_units(model: AbstractModel) -> list[str]:
    """Slopes that change their meaning with the unit in which something is counted."""
    infos = {**parameters(model), **states(model)}
    bases = sorted({base for info in infos.values() for base in dimensions(info.unit)})
    found = {}
    for base in bases:
        for name in _changed(model, base):
            found.setdefault(name, []).append(base)
    return [
        f"units: the slope of {name} is not in {states(model)[name].unit}/day: count "
        f"{' or '.join(wrong)} in another unit and it comes out different; one of the "
        "parameters in it has the wrong unit, or a number with a unit is written into "
        "the equation"
        for name, wrong in found.items()
    ]


def _changed(model: AbstractModel, base: str) -> list[str]:
    """States whose slope does not follow when `base` is counted in another unit."""

    def factor(unit: str) -> float:
        return STRETCH ** dimensions(unit).get(base, 0)

    other = model.with_values(
        **{
            name: getattr(model, name) * factor(info.unit)
            for name, info in parameters(model).items()
        }
    )
    wrong = []
    for y, day in itertools.product(_drawn(model), _days(model)):
        moved = type(y)(
            *(
                value * factor(info.unit)
                for value, info in zip(y, states(model).values(), strict=True)
            )
        )
        before = _slopes(model, y, day)
        after = _slopes(other, moved, day * factor("day"))
        for name, info in states(model).items():
            expected = before[name] * factor(info.unit) / factor("day")
            if abs(after[name] - expected) > NEGLIGIBLE * abs(expected):
                wrong.append(name)
    return [name for name in states(model) if name in wrong]
