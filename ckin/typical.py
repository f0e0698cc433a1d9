"""The typical course of a model, and its figure."""

from pathlib import Path

import jax
import numpy as np

from ckin._types import Float
from ckin.errors import InputError
from ckin.library import load_model, load_protocol
from ckin.model import AbstractModel, name_of
from ckin.plot import save
from ckin.plot.typical import typical_course
from ckin.protocol import Dose, EventTable, cells_text, event_table
from ckin.solve import solve
from ckin.writing import writing


PROTOCOL, WEIGHT_KG = "szcart01-cart1", 60.0
TIMES = 721


def typical_quantities(
    model: AbstractModel, time_d: Float[np.ndarray, " times"], events: EventTable
) -> dict[str, Float[np.ndarray, " times"]]:
    """Quantities of the patient whose parameters are all typical, by name.

    Args:
        model: the model, at the values wanted.
        time_d: days from the first infusion.
        events: what is given.

    Raises:
        InputError: the solver did not come to the end.
    """
    path = solve(model, events, time_d)
    if not path.ok:
        raise InputError(
            f"{name_of(model)} could not be solved to day {time_d[-1]:g}: look for "
            "rates that are too fast, or a state whose `scale` is far too small"
        )
    found = jax.vmap(model.quantities)(path.states)
    return {name: np.asarray(values) for name, values in found.items()}


def draw_typical_course(name_or_path: str, path: str | Path) -> None:
    """Draw the typical course of a model after one infusion: .png or .svg.

    Raises:
        InputError: no such model, one that cannot be solved, a file not writable.
    """
    model = load_model(name_or_path)
    events, given = one_infusion(model)
    time_d = np.linspace(0.0, model.usual_days, TIMES)
    figure = typical_course(
        time_d,
        typical_quantities(model, time_d, events),
        model.units,
        {"CART": (0.0,)} if model.receives else {},
        title=f"{name_of(model)}: typical values",
        note=f"{given}. Computed: nobody was measured.",
    )
    with writing(path):
        save(figure, path)


def one_infusion(model: AbstractModel) -> tuple[EventTable, str]:
    """What a typical course begins with, and that in words.

    The CAR-T that are usual for the model, or else those of a protocol for a patient of
    60 kg; nothing for a model of one course.
    """
    if not model.receives:
        events = event_table((), weight_kg=WEIGHT_KG, inputs=model.inputs)
        return events, "A first infusion"
    if model.usual_cart is None:
        plan = load_protocol(PROTOCOL)
        given = f"CAR-T as in {PROTOCOL}, {WEIGHT_KG:g} kg"
        return plan.events(WEIGHT_KG, model.inputs), given
    doses = [Dose(0.0, "CART", cells=model.usual_cart)]
    events = event_table(doses, weight_kg=WEIGHT_KG, inputs=model.inputs)
    return events, f"{cells_text(model.usual_cart)} CAR-T cells in all"
