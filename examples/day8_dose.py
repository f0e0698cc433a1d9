"""The day-8 FTC dose of one patient, decided from its own readings to day 7.

Three virtual patients of the flagship model in cycle 2 of NCT03984968. Cells that are
not given stay for later cycles, which is worth something here. MODEL-BASED: what FTC
do is a prior, readings are simulated, no patient was measured.

Run: python examples/day8_dose.py
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from ckin.models.feeding_szcart01 import SETTINGS  # pyright: ignore[reportMissingImports]

from ckin.assay import qpcr
from ckin.cohort import simulate, virtual_patients
from ckin.library import load_model, load_protocol
from ckin.population import population
from ckin.schedule import (
    DaysAbove,
    Goal,
    Infusions,
    Space,
    optimise,
    patient_draws,
    people_of,
    question,
    values,
)


DAY_8 = 63.0
VARY = [
    *("recruitment_rate", "division_rate", "effector_loss", "feeder_weight"),
    *("feeder_loss", "antigen_half", "vcn"),
]
# Between patients, SD of the logarithm. Of FTC nothing is known: assumed.
OMEGA = {"feeder_weight": 0.8, "feeder_loss": 0.5, "antigen_half": 1.0}

WEIGHT_KG = 60.0
# A day above the level is worth 1e6 cells/kg that are kept.
DAYS_PER_CELL = 1e-6

plan = load_protocol("szcart01-medium").repeated(cycles=2)
model = load_model("feeding_szcart01").with_values(**SETTINGS["aplasia"])
whole = population(model, qpcr(), estimate=VARY, vary=VARY, omega=OMEGA)
people = [
    replace(patient, covariates={**patient.covariates, "WT": WEIGHT_KG})
    for patient in virtual_patients(jax.random.key(2), plan, 4)
]
made = simulate(jax.random.key(5), whole, people, sigma=0.4)
early = made.dataset.between_days(0.0, DAY_8, "to day 7 of cycle 2")
space = Space(
    plan,
    (Infusions("FTC", cycle=2, from_day=8, to_day=8, most=5e6),),
    weight_kg=WEIGHT_KG,
)
goal = Goal(
    lambda course: course["days"],
    {"days": DaysAbove("car_cells_per_ul", 1.0)},
    until_d=109.0,
    toll=DAYS_PER_CELL,
)
print("MODEL-BASED: virtual patients; what FTC do is a prior; no patient was measured")
print(
    "Days above 1 CAR-T/uL from day 8 to day 54 of cycle 2, less "
    f"{1e6 * DAYS_PER_CELL:g} for each 1e6/kg of FTC on day 8"
)
for row, patient in enumerate(early.patients):
    drawn = patient_draws(
        jax.random.key(row), whole, replace(early, patients=(patient,)), 48
    )
    best = optimise(
        question(space, goal, drawn.people), jax.random.key(9), starts=3, steps=20
    )
    # The truth, which only a simulation knows.
    truth = question(space, goal, people_of(whole, jnp.asarray(made.phi[[row]])))
    doses = np.arange(0.0, 5.01e6, 0.25e6)
    tried = np.concatenate([[best.cells_per_kg[0], 3.25e6], doses])
    true = values(truth, np.full((tried.size, 1), 7.0), tried[:, None])
    top = int(np.argmax(true[2:]))
    last = patient.samples[-1]
    print(
        f"{patient.id}: {len(patient.samples)} readings, the last {last.value:,.0f} "
        f"copies/ug on day {last.time_d - 55:.0f}; posterior worth {drawn.ess:.0f} "
        f"draws\n    decided {best.cells_per_kg[0] / 1e6:.2f}e6/kg, expected "
        f"{best.utility:.1f} d; in truth {true[0]:.1f} d, the trial's 3.25e6/kg "
        f"{true[1]:.1f} d, at best {true[2 + top]:.1f} d ({doses[top] / 1e6:.2f}e6/kg)"
    )
