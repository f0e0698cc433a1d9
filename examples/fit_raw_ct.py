"""A fit that starts from raw Ct: SYNTHETIC patients on three plates, then `ckin fit`.

Run: python examples/fit_raw_ct.py
Then: ckin fit ct_patients_synthetic.csv --wells ct_plates_synthetic.csv \
          --model phases_stein2019 --method map --out fit_raw_ct
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from ckin.assay import qpcr
from ckin.cohort import simulate
from ckin.ct import CtData, CtSample, Plate, Standard, draw_wells, write_wells
from ckin.dataset import read_dataset, write_dataset
from ckin.library import dataset_path, load_model
from ckin.population import population


PATIENTS, WELLS = Path("ct_patients_synthetic.csv"), Path("ct_plates_synthetic.csv")
# The third plate ran badly: an efficiency of 82%.
INTERCEPT, SLOPE = np.array([37.4, 38.0, 39.5]), np.array([-3.33, -3.45, -3.85])

# Doses and sample times of the bundled synthetic cohort, its first cycle only.
people = read_dataset(dataset_path("szcart01_synthetic")).first_cycles(1)
whole = population(load_model("phases_stein2019"), qpcr())
cohort = simulate(jax.random.key(3), whole, people.patients, sigma=0.0)

standards = tuple(
    Standard(10.0**decade, None, 0) for decade in range(1, 7) for _ in range(2)
)
plates = tuple(Plate(name, standards, (None, None)) for name in ("A", "B", "C"))
samples, log_exact = [], []
for number, (patient, exact) in enumerate(
    zip(cohort.dataset.patients, cohort.ipred, strict=True)
):
    plate = plates[number % len(plates)].name
    for sample, level in zip(
        patient.samples, exact[len(patient.baseline) :], strict=True
    ):
        name = f"{patient.id}-d{sample.time_d:g}"
        wells = (None, None, None)
        samples.append(
            CtSample(name, plate, patient.id, sample.time_d, 1, 200.0, wells, 0)
        )
        log_exact.append(np.log(level))
drawn = draw_wells(
    jax.random.key(4),
    CtData(str(WELLS), plates, tuple(samples)),
    np.array(log_exact),
    INTERCEPT,
    SLOPE,
    tau=0.2,
    sigma=0.4,
)
write_wells(drawn, WELLS)
# The other file has doses and covariates, and no qPCR.
bare = tuple(dataclasses.replace(p, samples=(), baseline=()) for p in people.patients)
write_dataset(dataclasses.replace(people, patients=bare, units={}), PATIENTS)
print(f"SYNTHETIC files written: {PATIENTS}, {WELLS}")
