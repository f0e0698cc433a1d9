"""Theophylline: our metrics against WinNonlin's, subject by subject.

Phoenix WinNonlin 6.3/7.0 on R's Theoph, linear-up log-down, extravascular; as printed
in the validation of NonCompart (Han S, github asancpt/NonCompart-tests, validation.md,
tests 1 and 2; Kim H et al. Transl Clin Pharmacol 2018;26:10-15). Hours stand for days.
"""

import csv

import numpy as np
import pytest

from ckin.metrics import auc, course_metrics, curve


CMAX = [10.50, 8.33, 8.20, 8.60, 11.40, 6.44, 7.09, 7.56, 9.03, 10.21, 8.00, 9.75]
TMAX = [1.12, 1.92, 1.02, 1.07, 1.00, 1.15, 3.48, 2.02, 0.63, 3.55, 0.98, 3.52]
AUC_LAST = [
    *(147.2347485, 88.7312755, 95.8781978, 102.6336232, 118.1793538, 71.6970150),
    *(87.9692274, 86.8065635, 83.9374360, 135.5760701, 77.8934723, 115.2202082),
]
HALF_LIFE = [
    *(14.3043776, 6.6593416, 6.7660874, 6.9812467, 8.0022640, 7.8949979),
    *(7.8466683, 8.5100379, 8.4059988, 9.2469158, 7.2612365, 6.2865082),
]
POINTS = [3, 4, 3, 3, 4, 7, 4, 6, 3, 3, 3, 3]
FROM = [9.05, 7.03, 9.00, 9.02, 7.02, 2.03, 6.98, 3.53, 8.80, 9.38, 9.03, 9.03]
R2_ADJUSTED = [
    *(0.9999995, 0.9957931, 0.9986499, 0.9978483, 0.9979708, 0.9978896),
    *(0.9980053, 0.9887655, 0.9988873, 0.9990174, 0.9999965, 0.9987936),
]
# Printed to seven decimals.
ROUNDED = 1e-7


@pytest.mark.parametrize("subject", range(1, 13))
def test_metrics_are_those_of_winnonlin(external_data, subject):
    with (external_data / "theoph" / "theoph.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["Subject"] == str(subject)]
    time = np.array([float(row["Time"]) for row in rows])
    level = np.array([float(row["conc"]) for row in rows])
    got = course_metrics(curve(time, level, level == 0))
    at = subject - 1
    assert got["CMAX"].value == CMAX[at]
    assert got["TMAX"].value == TMAX[at]
    area = auc(time, level, 0.0, time[-1])
    assert area == pytest.approx(AUC_LAST[at], abs=ROUNDED)
    assert got["LAMZHL"].value == pytest.approx(HALF_LIFE[at], abs=ROUNDED)
    assert got["LAMZNPT"].value == POINTS[at]
    assert got["LAMZLL"].value == FROM[at]
    assert got["LAMZUL"].value == time[-1]
    assert got["R2ADJ"].value == pytest.approx(R2_ADJUSTED[at], abs=ROUNDED)
