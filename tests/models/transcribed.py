"""Models of BioModels, transcribed by hand into Antimony and run by libroadrunner.

An independent reading of the source and an independent solver (CVODE): what a model
file is held to.
"""

import functools
from pathlib import Path

import antimony
import jax
import numpy as np
import roadrunner

from ckin.model import AbstractModel
from ckin.protocol import Dose, event_table
from ckin.solve import Solver, solve


FOLDER = Path(__file__).parent / "antimony"
# Both solvers at 1e-10 a step.
TIGHT = 1e-10


def as_sbml(text: str) -> str:
    """SBML of a model in Antimony."""
    antimony.clearPreviousLoads()
    if antimony.loadAntimonyString(text) < 0:
        raise ValueError(antimony.getLastError())
    return str(antimony.getSBMLString(antimony.getMainModuleName()))


@functools.cache
def sbml(name: str) -> str:
    """SBML of `antimony/NAME.ant`."""
    return as_sbml((FOLDER / f"{name}.ant").read_text())


def by_roadrunner(name: str, time_d: np.ndarray, **changed: float):
    """`course_of` a transcription, by the file's name without `.ant`."""
    return course_of(sbml(name), time_d, **changed)


def course_of(text: str, time_d: np.ndarray, **changed: float):
    """Every species at `time_d` by name, arrays of shape (times,).

    Args:
        text: the model, as SBML.
        time_d: increasing times, the first of them 0.
        changed: other values of its parameters or initial amounts.
    """
    runner = roadrunner.RoadRunner(text)
    integrator = runner.getIntegrator()
    integrator.setValue("relative_tolerance", TIGHT)
    integrator.setValue("absolute_tolerance", 1e-12)
    integrator.setValue("maximum_num_steps", 1_000_000)
    for parameter, value in changed.items():
        runner[parameter] = value
    species = list(runner.model.getFloatingSpeciesIds())
    runner.timeCourseSelections = ["time", *(f"[{one}]" for one in species)]
    found = np.asarray(runner.simulate(times=np.asarray(time_d, float).tolist()))
    return {one: found[:, 1 + column] for column, one in enumerate(species)}


def states_of(
    model: AbstractModel, time_d: np.ndarray, cart: float = 0.0
) -> dict[str, np.ndarray]:
    """States of ckin's model at `time_d` after `cart` CAR-T cells on day 0, by name."""
    doses = [Dose(0.0, "CART", cells=cart)] if cart else []
    events = event_table(doses, weight_kg=60.0, inputs=model.inputs)
    # What was given is there at time 0, as in a file that starts with it.
    after = np.asarray(time_d) == 0.0
    path = solve(
        model, events, time_d, after=after, solver=Solver(rtol=TIGHT, atol=TIGHT)
    )
    assert path.ok
    return {name: np.asarray(value) for name, value in path.states._asdict().items()}


def slopes_of(model: AbstractModel, y, day: float = 0.0) -> dict[str, float]:
    """Slopes of ckin's model at one state, by name."""
    levels = {name: jax.numpy.asarray(level) for name, level in model.inputs.items()}
    slopes = model.vector_field(jax.numpy.asarray(day), y, levels)
    return {name: float(value) for name, value in slopes._asdict().items()}
