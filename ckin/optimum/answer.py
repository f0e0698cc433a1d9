"""A question answered: the best schedule by gradient, beside what else could be done.

answer = answer_inquiry(read_inquiry("my_question.toml"))
answer.best.plan, answer.best.utility
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Float
from ckin.errors import InputError
from ckin.optimum.inquiry import Inquiry
from ckin.optimum.who import Whom, many
from ckin.protocol import Protocol
from ckin.scenario.compare import Outcomes, run
from ckin.scenario.scenario import Arm, quantity_of
from ckin.schedule import (
    Apheresis,
    Best,
    CapCheck,
    Question,
    Space,
    cap_checks,
    coverage,
    demand,
    draw_yields,
    front,
    lattice,
    optimise,
    question,
    values_and_means,
    with_total,
)
from ckin.solve import Solver


# Schedules of a grid beyond which it is left out, unless the file names its doses.
MOST_GRID = 3000
# Doses of a grid where the file names none: from the least to the most in so many.
GRID_LEVELS = 5
# Schedules of a grid whose caps are looked at, best first.
MOST_CHECKED = 20
# Virtual patients who say whether one apheresis is enough.
HARVESTS = 10_000
BEST, GRID, AS_IT_IS, NOTHING = "optimised", "grid", "as it is", "least"
# What each key is for.
FOR_STARTS, FOR_YIELDS = 0, 1

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Tried:
    """A schedule beside the others.

    Attributes:
        name: `BEST`, `GRID`, `AS_IT_IS` or `NOTHING`.
        plan: the protocol.
        days: from day 1 of the cycle, of every slot (day 1 is 0).
        cells_per_kg: of every slot.
        utility: expected, less what soft caps take.
        means: expected outcomes by name.
        caps: the exact check of each cap.
        faults: rules of the space that it breaks.
        cost: of the budget; NaN without one.
        covered: share of patients whose apheresis is enough; `None` where nobody says
            how a product is made.
        solves: courses of one patient solved to find it; 0 of what was not sought.
        seconds: that took, compilation included.
    """

    name: str
    plan: Protocol
    days: np.ndarray
    cells_per_kg: np.ndarray
    utility: float
    means: dict[str, float]
    caps: tuple[CapCheck, ...]
    faults: tuple[str, ...]
    cost: float
    covered: float | None
    solves: int = 0
    seconds: float = 0.0

    @property
    def feasible(self) -> bool:
        """Whether it keeps every rule and every cap."""
        return not self.faults and all(check.kept for check in self.caps)


@dataclasses.dataclass(frozen=True)
class Front:
    """What more and fewer cells buy.

    Attributes:
        totals: budgets.
        best: the best schedule of each.
        cost: what each takes of its budget.
        means: expected outcomes of each, by name.
    """

    totals: tuple[float, ...]
    best: tuple[Best, ...]
    cost: Float[np.ndarray, " budgets"]
    means: dict[str, Float[np.ndarray, " budgets"]]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every schedule that a grid tried.

    Attributes:
        cost: of each of the budget.
        utility: of each.
        means: expected outcomes of each, by name.
    """

    cost: Float[np.ndarray, " schedules"]
    utility: Float[np.ndarray, " schedules"]
    means: dict[str, Float[np.ndarray, " schedules"]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        inquiry: the question.
        whom: the patients.
        space: what could be decided.
        best: the best schedule, and how it was found.
        tried: it, and what it is compared with.
        units: of each outcome by name.
        grid: every schedule of the grid, or `None`.
        front: the best schedules of several budgets, or `None`.
        courses: everyone under each schedule of `tried`.
        notes: what a reader must know besides.
    """

    inquiry: Inquiry
    whom: Whom
    space: Space
    best: Best
    tried: tuple[Tried, ...]
    units: dict[str, str]
    grid: Grid | None
    front: Front | None
    courses: Outcomes
    notes: tuple[str, ...]


def answer_inquiry(
    inquiry: Inquiry,
    whom: Whom | None = None,
    *,
    grid: bool = True,
    pareto: bool = False,
    report: Report = lambda *_: None,
) -> Answer:
    """The best schedule, and what it is compared with.

    Args:
        inquiry: the question.
        whom: the patients; by default those that the question draws.
        grid: whether to try a grid as well.
        pareto: whether to look at several budgets.
        report: called with (stage, done, total).

    Raises:
        InputError: what the model, the fit or the budget cannot answer.
    """
    if pareto and inquiry.budget is None:
        raise InputError(
            f"--pareto: question {inquiry.name} has no [budget], of which a front "
            "would be; add one"
        )
    whom = many(inquiry) if whom is None else whom
    shares = inquiry.shares or (0.25, 0.5, 0.75, 1.0, 1.5)
    space = inquiry.space(whom.weight_kg)
    wide = inquiry.space(whom.weight_kg, max(1.0, *shares) if pareto else 1.0)
    asked, quantity = _asked(inquiry, whom, wide)
    key = jax.random.key(inquiry.seed)
    look = _Look(inquiry, whom, space, asked)
    report("climb", 0, 1)
    began = time.perf_counter()
    best = optimise(
        asked,
        jax.random.fold_in(key, FOR_STARTS),
        starts=inquiry.starts,
        steps=inquiry.steps,
        name=f"{inquiry.name}-optimised",
        total=None if space.budget is None else space.budget.total,
    )
    seconds = time.perf_counter() - began
    report("climb", 1, 1)
    tried = [look.at_best(best, seconds)]
    points, notes = None, []
    if grid:
        found = _try_grid(look, report)
        points = found if isinstance(found, Grid) else None
        notes += [found] if isinstance(found, str) else []
        tried += look.from_grid
    tried += look.others()
    notes += look.notes
    curve = _front(look, best, shares, key, report) if pareto else None
    report("courses", 0, 1)
    arms = tuple(Arm(each.name, each.plan, each.name) for each in tried)
    courses = run(inquiry.scenario(arms), people=whom.people)
    report("courses", 1, 1)
    units = whom.people.whole.model.units
    return Answer(
        inquiry=inquiry,
        whom=whom,
        space=space,
        best=best,
        tried=tuple(tried),
        units={
            o.name: o.kind.unit.replace("level", units[quantity[o.of]])
            for o in inquiry.outcomes
        },
        grid=points,
        front=curve,
        courses=courses,
        notes=tuple([*notes, *_notes(whom, best)]),
    )


def _asked(
    inquiry: Inquiry, whom: Whom, space: Space
) -> tuple[Question, dict[str, str]]:
    model = whom.people.whole.model
    names = [o.of for o in inquiry.outcomes] + [cap.quantity for cap in inquiry.caps]
    quantity = {name: quantity_of(model, name) for name in names}
    # A grid is not exact where a model switches at times of its own.
    solver = Solver(adjoint=dfx.ForwardMode()) if model.switch_times() else None
    goal = inquiry.goal(quantity)
    return question(space, goal, whom.models, solver=solver), quantity


def _notes(whom: Whom, best: Best) -> list[str]:
    notes = list(whom.people.notes)
    if best.unsolved:
        notes.append(f"{best.unsolved} patients could not be solved, and are left out")
    if whom.ess is not None:
        notes.append(f"the draws of {whom.patient} are worth {whom.ess:.0f}")
    model = whom.people.whole.model
    if "FTC" in model.receives:
        notes.append(
            "what FTC do rests on priors until data of FTC come: no FTC data are public"
        )
    return notes


class _Look:
    """Schedules looked at one by one."""

    def __init__(self, inquiry: Inquiry, whom: Whom, space: Space, asked: Question):
        self.inquiry, self.whom, self.space, self.asked = inquiry, whom, space, asked
        self.notes: list[str] = []
        self.from_grid: list[Tried] = []
        key = jax.random.fold_in(jax.random.key(inquiry.seed), FOR_YIELDS)
        self._yields = draw_yields(key, Apheresis(), HARVESTS)

    def at(self, name: str, days: np.ndarray, cells: np.ndarray, **how) -> Tried:
        """One schedule, valued, checked and priced."""
        utility, means = values_and_means(self.asked, days[None], cells[None])
        title = f"{self.inquiry.name}-{name.replace(' ', '-')}"
        plan = self.space.protocol(days, cells, title)
        time_d = self.space.times(jnp.asarray(days))
        return Tried(
            name=name,
            plan=plan,
            days=days,
            cells_per_kg=cells,
            utility=float(utility[0]),
            means={n: float(each[0]) for n, each in means.items()},
            caps=cap_checks(self.asked, time_d, jnp.asarray(cells)),
            faults=self.space.faults(plan),
            cost=self.cost(plan),
            covered=self._covered(plan),
            **how,
        )

    def cost(self, plan: Protocol) -> float:
        """Of the budget; NaN without one."""
        budget = self.space.budget
        return np.nan if budget is None else budget.cost(plan, self.whom.weight_kg)

    def _covered(self, plan: Protocol) -> float | None:
        cells = demand(plan, self.whom.weight_kg)
        if set(cells) - set(self._yields.per_cell):
            return None
        return coverage(cells, self._yields).chance

    def at_best(self, best: Best, seconds: float) -> Tried:
        """The schedule that was found."""
        days, cells = np.array(best.days) - 1.0, np.array(best.cells_per_kg)
        return self.at(BEST, days, cells, solves=best.solves, seconds=seconds)

    def others(self) -> list[Tried]:
        """The protocol as it is, and as little as may be given."""
        slots = self.space.slots
        first = np.concatenate(
            [
                choice.from_day - 1.0 + choice.apart_d * np.arange(choice.n)
                for choice in self.space.choices
            ]
        )
        least = np.array([slot.least for slot in slots])
        days, cells, known = first.copy(), np.zeros(len(slots)), True
        at = 0
        for choice in self.space.choices:
            own = [
                dose
                for dose in self.space.plan.doses
                if (dose.product, dose.cycle) == (choice.product, choice.cycle)
                and choice.from_day <= self.space.plan.day_of(dose) <= choice.to_day
            ]
            known = known and len(own) <= choice.n
            for place, dose in enumerate(own[: choice.n]):
                days[at + place] = self.space.plan.day_of(dose) - 1.0
                cells[at + place] = dose.total(self.whom.weight_kg)
            at += choice.n
        cells = cells / self.whom.weight_kg
        found = []
        if not known:
            self.notes.append(
                "the protocol gives more infusions than are open, and is not compared"
            )
        elif np.any(cells > 0):
            found.append(self.at(AS_IT_IS, days, cells))
        return [*found, self.at(NOTHING, first, least)]


def _levels(inquiry: Inquiry) -> list[float]:
    """Doses of a grid: those of the file, or a few from the least to the most."""
    if inquiry.levels:
        return list(inquiry.levels)
    found = {
        float(np.round(x / inquiry.step) * inquiry.step)
        for choice in inquiry.choices
        for x in np.linspace(choice.least, choice.most, GRID_LEVELS)
    }
    ends = {x for c in inquiry.choices for x in (c.least, c.most)}
    return sorted(found | ends)


def _try_grid(look: _Look, report: Report) -> Grid | str:
    """Every schedule of the grid; or why there is none."""
    inquiry = look.inquiry
    days, cells = lattice(look.space, _levels(inquiry))
    if not len(days):
        return "no schedule of the grid is within the budget"
    if len(days) > MOST_GRID and not inquiry.levels:
        return (
            f"a grid of {len(days)} schedules was left out; name fewer doses in [grid] "
            "to have it tried"
        )
    began = time.perf_counter()
    utility, means = values_and_means(
        look.asked, days, cells, lambda done, total: report("grid", done, total)
    )
    for index in np.argsort(-utility)[:MOST_CHECKED]:
        top = look.at(
            GRID,
            days[index],
            cells[index],
            solves=look.asked.n * len(days),
            seconds=time.perf_counter() - began,
        )
        if top.feasible:
            look.from_grid.append(top)
            break
    else:
        look.notes.append(
            f"none of the best {MOST_CHECKED} schedules of the grid keeps the caps"
        )
    return Grid(_costs(look, days, cells), utility, means)


def _costs(look: _Look, days: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """What schedules take of the budget; NaN without one."""
    space, budget = look.space, look.space.budget
    if budget is None:
        return np.full(len(days), np.nan)
    price = np.array([budget.price.get(slot.product, 0.0) for slot in space.slots])
    fixed = budget.cost(space.base, look.whom.weight_kg)
    return fixed + cells @ price * look.whom.weight_kg


def _front(
    look: _Look, best: Best, shares: Sequence[float], key, report: Report
) -> Front:
    budget = look.space.budget
    assert budget is not None  # `answer_inquiry` asks for it
    # Budgets that do not pay for what is given anyway are no points.
    totals = []
    for share in sorted(shares):
        try:
            with_total(look.space, share * budget.total)
        except InputError as error:
            look.notes.append(f"{share:g} of the budget: {error}")
            continue
        totals.append(share * budget.total)
    del best
    found = front(
        look.asked,
        jax.random.fold_in(key, FOR_STARTS),
        totals,
        starts=look.inquiry.starts,
        steps=look.inquiry.steps,
        report=lambda done, total: report("budgets", done, total),
    )
    days = np.array([each.days for each in found]) - 1.0
    cells = np.array([each.cells_per_kg for each in found])
    _, means = values_and_means(look.asked, days, cells)
    return Front(tuple(totals), found, _costs(look, days, cells), means)
