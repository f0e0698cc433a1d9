"""FTC on day 8 or later: the flagship's curves, from prior assumptions. Not data.

Run: python examples/what_if_ftc.py
"""

import jax
import numpy as np

from ckin.assay import qpcr
from ckin.library import load_model, load_protocol
from ckin.population import population
from ckin.simulation import protocol_curves


trial = load_protocol("szcart01-high").repeated(cycles=2)
arms = {
    f"second FTC on day {8 + later}": trial.delayed("FTC", day=8, by_days=later)
    for later in (0, 7, 14)
}
time_d = np.arange(0.0, 140.0, 0.5)
readings = protocol_curves(
    jax.random.key(0),
    population(load_model("feeding_szcart01"), qpcr()),
    arms,
    time_d,
    n=40,
    weight_kg=62.0,
)
print("What-if from prior assumptions, 40 virtual patients; copies/µg, median")
for label, each in readings.items():
    days = (63, 70, 77, 84, 112)
    values = [np.nanmedian(each[:, time_d == day]) for day in days]
    row = ", ".join(f"day {d}: {v:,.0f}" for d, v in zip(days, values, strict=True))
    print(f"{label:>24}  {row}")
