"""Problems for the law tests, as data: every model, how to solve it, what to give it.

Every table and every sample vector has one shape, so that a model is compiled once
for all laws.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections import Counter

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ckin.models
from ckin.model import AbstractModel, name_of, parameters
from ckin.protocol import (
    PRODUCTS,
    Dose,
    EventTable,
    InputWindow,
    event_table,
    pad_events,
)
from ckin.solve import Solver, solve
from ckin.solve.adaptive import MAX_STEPS


WEIGHT_KG = 60.0
N_EVENTS = 14
DOSES = (
    Dose(0.0, "CART", cells_per_kg=5e6),
    Dose(2.0 / 24.0, "FTC", cells_per_kg=5e6),
    Dose(7.0, "FTC", cells_per_kg=5e6),
    Dose(56.0, "CART", cells=2e8, cycle=2),
    Dose(56.0, "FTC", cells=1e8, cycle=2),
)
LYMPHODEPLETION_D = (-3.0, 53.0)
# One sample before everything, two at a dose (day 7 and day 56), none at a switch.
SAMPLE_D = np.array(
    [-4.0, 0.04, 0.5, 3.0, 7.0, 10.0, 14.0, 21.0, 28.0, 56.0, 60.0, 70.0, 120.0, 300.0]
)
DOSE_SAMPLES = np.flatnonzero(np.isin(SAMPLE_D, [7.0, 56.0]))
# Tight enough that agreement to 1e-6 tests the equations and not the tolerance.
RTOL, ATOL = 1e-10, 1e-10
# IL-6 is cleared within the hour, which an explicit solver follows for 240 days. At the
# usual tolerance every draw is solved within the usual budget; at this one, where steps
# are 2.5 times as short, 3 draws of 50 are not.
STEPS = {"il6_free_bound": 16384}


def default(cls: type[AbstractModel]) -> AbstractModel:
    """The model with every parameter at its default."""
    # Pyright takes the abstract class variables for fields without a default.
    return cls()  # pyright: ignore[reportCallIssue]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and one way to solve it."""

    name: str
    cls: type[AbstractModel]
    solver: Solver

    @property
    def model(self) -> AbstractModel:
        return default(self.cls)

    @property
    def exact(self) -> bool:
        return self.solver.method is None and has_closed_form(self.model)

    @property
    def time_d(self) -> np.ndarray:
        # A model of one course is a curve from the first infusion on.
        return np.maximum(SAMPLE_D, 0.01) if self.cls.one_course else SAMPLE_D


def shipped() -> dict[str, type[AbstractModel]]:
    """Every model of the package by the name of its file."""
    found = {}
    for entry in pkgutil.iter_modules(ckin.models.__path__):
        module = importlib.import_module(f"ckin.models.{entry.name}")
        classes = [
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, AbstractModel)
            and cls.__module__ == module.__name__
            and not inspect.isabstract(cls)
        ]
        assert len(classes) == 1, f"{entry.name} defines {len(classes)} models, not one"
        found[entry.name] = classes[0]
    return found


def has_closed_form(model: AbstractModel) -> bool:
    return jax.eval_shape(model.closed_form, jnp.ones(1)) is not None


MODELS = shipped()
# One with every feature of the engine, one with switches and a closed form.
CORE = ("feeding_szcart01", "phases_stein2019")


def cases(*, fast: bool = True) -> list:
    """Every model by its equations, and by its closed form where it has one.

    Args:
        fast: whether all are in the fast tier, or the models of `CORE` alone: for laws
            that compile a program of their own for every model.
    """
    found = []
    for name, cls in MODELS.items():
        budget = STEPS.get(name, MAX_STEPS)
        ode = Solver(method=dfx.Tsit5(), rtol=RTOL, atol=ATOL, max_steps=budget)
        ways = {"ode": ode}
        if has_closed_form(default(cls)):
            ways["exact"] = Solver(rtol=RTOL, atol=ATOL)
        for way, solver in ways.items():
            case = Case(f"{name}-{way}", cls, solver)
            marks = () if fast or name in CORE else (pytest.mark.slow,)
            found.append(pytest.param(case, id=case.name, marks=marks))
    return found


def each_model() -> list:
    """Every model, for laws about what is written and not about what is solved."""
    return [pytest.param(cls, id=name) for name, cls in MODELS.items()]


def events_of(
    model: AbstractModel, doses: tuple[Dose, ...] = DOSES, *, others: bool = True
) -> EventTable:
    """The course, padded: `doses` and, with `others`, lymphodepletion and inputs."""
    others = others and not type(model).one_course
    table = event_table(
        [given_to(type(model), dose) for dose in doses],
        weight_kg=WEIGHT_KG,
        lymphodepletion_d=LYMPHODEPLETION_D if others else (),
        windows=[InputWindow(name, 0.5, 20.0, 30.0) for name in model.inputs]
        if others
        else (),
        inputs=model.inputs,
    )
    return pad_events(table, N_EVENTS)


def share(cls: type[AbstractModel]) -> float:
    """Of the doses of a patient, what is given where there is none: a mouse, a well."""
    return 1.0 if cls.usual_cart is None else cls.usual_cart / DOSES[0].total(WEIGHT_KG)


def given_to(cls: type[AbstractModel], dose: Dose) -> Dose:
    """The dose in cells of what the model describes."""
    cells = share(cls) * dose.total(WEIGHT_KG)
    return dataclasses.replace(dose, cells=cells, cells_per_kg=None)


def rows_at_day_0(model: AbstractModel, rows: list[dict[str, float]]) -> EventTable:
    """One row for each of `rows` (product to cells), all at day 0."""
    empty = event_table((), weight_kg=WEIGHT_KG, inputs=model.inputs)
    table = pad_events(empty, len(rows))
    cells = np.array([[row.get(product, 0.0) for product in PRODUCTS] for row in rows])
    table = dataclasses.replace(table, cells=share(type(model)) * cells)
    return pad_events(table, N_EVENTS)


@functools.cache
def draw(cls: type[AbstractModel], seed: int) -> AbstractModel:
    """What anyone would estimate or let vary, from its prior; the rest at default."""
    key = jax.random.key(seed)
    values = {}
    for name, info in parameters(cls).items():
        key, used = jax.random.split(key)
        if info.prior is not None and (info.estimate or info.omega is not None):
            values[name] = info.prior.sample(used)
    return default(cls).with_values(**values)


def estimated(cls: type[AbstractModel]) -> list[str]:
    return [name for name, info in parameters(cls).items() if info.estimate]


# How often `trajectory` was traced, by model, way of solving and number of events.
TRACES: Counter = Counter()


def quantities_at(model, events, time_d, after, solver):
    """Trajectory, and its quantities by name, arrays of shape (times,)."""
    path = solve(model, events, time_d, after=after, solver=solver)
    return path, jax.vmap(model.quantities)(path.states)


@eqx.filter_jit
def _compiled(model, events, time_d, after, solver):
    TRACES[traced_as(model, events, solver)] += 1
    return quantities_at(model, events, time_d, after, solver)


def traced_as(model, events, solver) -> tuple:
    return name_of(model), solver.method is None, events.time_d.shape[0]


def trajectory(case: Case, model=None, events=None, *, after=None):
    """Trajectory and quantities of the case, compiled once a case."""
    model = case.model if model is None else model
    events = events_of(model) if events is None else events
    after = np.zeros(case.time_d.shape, bool) if after is None else after
    return _compiled(model, events, case.time_d, after, case.solver)


def stack(trees: list):
    """One tree with a leading axis, of trees of the same structure."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
