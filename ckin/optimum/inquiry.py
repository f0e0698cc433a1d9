"""A question about a schedule: what is open, what it may cost, what a course is worth.

`read_inquiry` makes one of a TOML file; `ckin.optimum.answer` answers it.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp

from ckin._types import Array
from ckin.model import AbstractModel
from ckin.protocol import Protocol
from ckin.scenario.scenario import Arm, Outcome, PeopleSpec, Scenario, Worth
from ckin.schedule import (
    Area,
    Budget,
    Cap,
    DaysAbove,
    Goal,
    Infusions,
    Last,
    Measure,
    SmoothMax,
    Space,
)
from ckin.schedule.follow import TINY


@dataclasses.dataclass(frozen=True)
class Inquiry:
    """A question that gradients can answer.

    Attributes:
        name: of the question.
        title: in a line.
        model: name or path of a model; `None`: that of the fit.
        people: over whom the utility is averaged: as many draws as patients.
        plan: the protocol in which some infusions are open.
        choices: what is open.
        follow_d: day of the course on which it ends.
        outcomes: numbers of a course, by name (`MEASURED`).
        worths: the utility, a sum.
        budget: of everything together, or `None`; of a weight of `budget_per_kg`.
        budget_unit: of its total.
        budget_per_kg: the total is one for each kg of body weight.
        caps: quantity or assay, level, share and weight of each.
        toll: utility that a cell/kg of what is open costs.
        step: cells/kg to which a dose can be prescribed.
        levels: cells/kg of an infusion that a grid tries; none: five.
        starts: of the climb.
        steps: of the climb, from each start.
        shares: budgets of a front, as shares of `budget`.
        front_of: the outcome that a front shows; "": the utility.
        seed: of every random number.
        assumptions: what it takes for granted.
        source: where the question is from.
        text: the file it was read from.
    """

    name: str
    title: str
    model: str | None
    people: PeopleSpec
    plan: Protocol
    choices: tuple[Infusions, ...]
    follow_d: float
    outcomes: tuple[Outcome, ...]
    worths: tuple[Worth, ...]
    budget: Budget | None = None
    budget_unit: str = ""
    budget_per_kg: bool = False
    caps: tuple[Cap, ...] = ()
    toll: float = 0.0
    step: float = 5e4
    levels: tuple[float, ...] = ()
    starts: int = 6
    steps: int = 30
    shares: tuple[float, ...] = ()
    front_of: str = ""
    seed: int = 0
    assumptions: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    text: str = ""

    def budget_at(self, weight_kg: float) -> Budget | None:
        """The budget of somebody of this weight."""
        if self.budget is None or not self.budget_per_kg:
            return self.budget
        total = self.budget.total * weight_kg
        return dataclasses.replace(self.budget, total=total)

    def space(self, weight_kg: float, share: float = 1.0) -> Space:
        """What may be decided for somebody of this weight.

        Args:
            weight_kg: body weight.
            share: of the budget.

        Raises:
            InputError: what cannot be decided, or not paid for.
        """
        budget = self.budget_at(weight_kg)
        if budget is not None:
            budget = dataclasses.replace(budget, total=share * budget.total)
        return Space(self.plan, self.choices, budget, weight_kg, self.step)

    def goal(self, quantity: Mapping[str, str]) -> Goal:
        """What a course is worth.

        Args:
            quantity: of the model, by what outcomes and caps are of.
        """
        return Goal(
            utility_of(self.worths),
            {o.name: measure_of(o, quantity[o.of]) for o in self.outcomes},
            until_d=self.follow_d,
            caps=tuple(
                dataclasses.replace(cap, quantity=quantity[cap.quantity])
                for cap in self.caps
            ),
            toll=self.toll,
        )

    def scenario(self, arms: tuple[Arm, ...] = ()) -> Scenario:
        """The same people as a scenario draws them, under these arms.

        Args:
            arms: what is followed; the protocol as it is by default.
        """
        return Scenario(
            name=self.name,
            title=self.title,
            model=self.model,
            people=self.people,
            arms=arms or (Arm("as-it-is", self.plan),),
            outcomes=self.outcomes,
            follow_d=self.follow_d,
            seed=self.seed,
        )


def measure_of(outcome: Outcome, quantity: str) -> Measure:
    """The smooth measure that an outcome is."""
    if outcome.metric == "AUC":
        return Area(quantity)
    if outcome.metric == "CEND":
        return Last(quantity)
    assert outcome.level is not None  # the file is asked for it
    if outcome.metric == "DABOVE":
        return DaysAbove(quantity, outcome.level)
    return SmoothMax(quantity, outcome.level)


def utility_of(worths: tuple[Worth, ...]) -> Callable[[Mapping[str, Array]], Array]:
    """The utility of a course from its measures."""

    def utility(found: Mapping[str, Array]) -> Array:
        total = jnp.zeros(())
        for term in worths:
            value = found[term.outcome]
            if term.scale == "log2":
                part = jnp.log2(jnp.maximum(value, TINY))
            else:
                part = value / term.per
            total = total + term.weight * part
        return total

    return utility


def receives_all(model: AbstractModel, choices: tuple[Infusions, ...]) -> list[str]:
    """Products that are open and that a model does not receive."""
    return [c.product for c in choices if c.product not in model.receives]
