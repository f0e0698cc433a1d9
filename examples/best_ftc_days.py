"""When and how much FTC, under one budget: the best schedule by gradient, and a grid.

Cycle 2 of NCT03984968 in the flagship model, nothing left for CAR-T to meet but FTC.
MODEL-BASED: what FTC do is a prior; no patient was measured.

Run: python examples/best_ftc_days.py
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from ckin.models.feeding_szcart01 import SETTINGS  # pyright: ignore[reportMissingImports]

from ckin.assay import qpcr
from ckin.library import load_model, load_protocol
from ckin.population import population
from ckin.schedule import (
    Apheresis,
    Area,
    DaysAbove,
    Goal,
    Infusions,
    Space,
    cells_budget,
    cells_per_gained_day,
    demand,
    lattice,
    optimise,
    prior_people,
    question,
    typical_yields,
    values,
)


WEIGHT_KG = 60.0
PEOPLE = 32
# Two infusions of the registry's middle level, 3.25e6/kg, to be shared out as is best.
BUDGET_PER_KG = 6.5e6
# What qPCR does not tell of FTC, and what varies between patients.
UNCERTAIN = [
    *("recruitment_rate", "division_rate", "effector_loss", "memory_fraction"),
    *("feeder_weight", "feeder_loss", "antigen_need", "antigen_ratio_half"),
    *("antigen_half", "kill_rate"),
]

trial = load_protocol("szcart01-medium").repeated(cycles=2)
space = Space(
    trial,
    (Infusions("FTC", cycle=2, n=2, from_day=1, to_day=29, most=5e6),),
    cells_budget("FTC", BUDGET_PER_KG * WEIGHT_KG),
    WEIGHT_KG,
)
# Cycle 2 begins on day 56 after the first infusion; it is followed for 53 days, until
# the drugs of a third cycle would begin.
auc = Goal(
    lambda course: jnp.log(course["area"]),
    {"area": Area("car_cells_per_ul")},
    until_d=109.0,
)
above = Goal(
    lambda course: course["days"],
    {"days": DaysAbove("car_cells_per_ul", 1.0)},
    until_d=109.0,
)
model = load_model("feeding_szcart01").with_values(**SETTINGS["aplasia"])
people = prior_people(
    jax.random.key(0), population(model, qpcr(), estimate=UNCERTAIN), PEOPLE
)

print("MODEL-BASED: what FTC do is a prior; no patient was measured")
print(f"{PEOPLE} patients of the prior, FTC {BUDGET_PER_KG:g}/kg in all in cycle 2\n")
none = space.protocol(np.zeros(2), np.zeros(2), "no FTC")
one = typical_yields(Apheresis())
for label, goal in (
    ("log of the area under CAR-T/uL, cycle 2", auc),
    ("days above 1 CAR-T/uL, cycle 2", above),
):
    asked = question(space, goal, people)
    began = time.perf_counter()
    best = optimise(asked, jax.random.key(1), starts=6, steps=30)
    seconds = time.perf_counter() - began
    # The fine grid: every two whole days, and the budget in five splits.
    days, cells = lattice(space, [1.5e6, 2.5e6, 3.25e6, 4e6, 5e6])
    spent = np.isclose(cells.sum(axis=1), BUDGET_PER_KG)
    days, cells = days[spent], cells[spent]
    began = time.perf_counter()
    tried = values(asked, days, cells)
    grid_seconds = time.perf_counter() - began
    top = int(np.argmax(tried))
    of_trial, no_ftc = values(
        asked, np.array([[0.0, 7.0], [0.0, 7.0]]), np.array([[3.25e6] * 2, [0.0] * 2])
    )
    told = ", ".join(
        f"day {day} {amount / 1e6:.2f}e6/kg"
        for day, amount in zip(best.days, best.cells_per_kg, strict=True)
    )
    grid = ", ".join(
        f"day {day + 1:.0f} {amount / 1e6:.2f}e6/kg"
        for day, amount in zip(days[top], cells[top], strict=True)
    )
    print(f"Expected {label}")
    print(f"  no FTC                        {no_ftc:8.3f}")
    print(f"  trial: 3.25e6/kg, days 1, 8   {of_trial:8.3f}")
    print(f"  best by gradient              {best.utility:8.3f}  {told}")
    print(f"    before rounding {best.before_rounding:.4f}, lost {best.lost:.4f}")
    print(f"    {best.solves // PEOPLE} schedules' worth of solves, {seconds:.0f} s")
    print(f"  best of {len(days)} grid points      {tried[top]:8.3f}  {grid}")
    print(f"    {len(days)} schedules' worth of solves, {grid_seconds:.0f} s")
    reached = ", ".join(f"{value:.3f}" for value in best.reached)
    print(f"  starts reached {reached}; unsolved patients: {best.unsolved}")
    print(f"  rules broken: {list(space.faults(best.plan)) or 'none'}")
    if goal is above:
        cost = cells_per_gained_day(
            demand(best.plan, WEIGHT_KG),
            demand(none, WEIGHT_KG),
            one,
            best.utility - no_ftc,
        )
        print(f"  for each day gained over no FTC: {cost:.2g} CD3+ cells to start from")
    print()
