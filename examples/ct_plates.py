"""Raw Ct of two SYNTHETIC plates: wells drawn from a known truth, then read back.

Run: python examples/ct_plates.py
Then: ckin ct ct_wells_synthetic.csv --out observed.csv
"""

from pathlib import Path

import jax
import numpy as np

from ckin.ct import CtData, CtSample, Plate, Standard, draw_wells, write_wells


FILE = Path("ct_wells_synthetic.csv")
DAYS = (1.0, 4.0, 7.0, 10.0, 14.0, 21.0, 28.0, 60.0, 90.0, 180.0)
# A made-up course: copies/µg on those days.
COPIES_PER_UG = (8.0, 60.0, 3e3, 2e4, 1.2e4, 2.5e3, 7e2, 60.0, 20.0, 4.0)
# Little DNA while the count is low.
DNA_NG = (60.0, 60.0, 100.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0)
# Efficiencies of 99% and 93%: the second plate starts later, and its slope is steeper.
INTERCEPT, SLOPE = (37.4, 38.1), (-3.35, -3.50)

standards = tuple(
    Standard(10.0**decade, None, 0) for decade in range(1, 7) for _ in range(3)
)
plates = tuple(Plate(name, standards, (None, None)) for name in ("run1", "run2"))
samples = tuple(
    CtSample(
        name=f"{patient}-d{day:g}",
        plate=plates[number].name,
        patient=patient,
        time_d=day,
        cycle=1,
        dna_ng=dna,
        cts=(None, None, None),
        row=0,
    )
    for number, patient in enumerate(("synthetic1", "synthetic2"))
    for day, dna in zip(DAYS, DNA_NG, strict=True)
)
drawn = draw_wells(
    jax.random.key(7),
    CtData(str(FILE), plates, samples),
    np.log(np.tile(COPIES_PER_UG, 2)),
    np.array(INTERCEPT),
    np.array(SLOPE),
    tau=0.2,
    sigma=0.3,
)
write_wells(drawn, FILE)
print(f"SYNTHETIC wells written: {FILE}")
