"""Curve metrics: noncompartmental analysis of CAR-T courses, of data and of models.

`course_metrics` takes a `Curve` and knows not where it comes from; `patient_metrics`
makes curves of a patient's samples, cycle by cycle; `group_rows` tells of groups. What
each metric is, is in `docs/metrics.md`.

    for patient in dataset.patients:
        for cycle, metrics in patient_metrics(patient, "qpcr").items():
            print(patient.id, cycle, metrics["CMAX"].value, metrics["LAMZHL"].reason)
"""

from ckin.metrics.area import BLQ_RULES as BLQ_RULES
from ckin.metrics.area import DEFAULT_BLQ as DEFAULT_BLQ
from ckin.metrics.area import auc as auc
from ckin.metrics.course import Metrics as Metrics
from ckin.metrics.course import course_metrics as course_metrics
from ckin.metrics.course import re_expansion as re_expansion
from ckin.metrics.curve import Curve as Curve
from ckin.metrics.curve import Metric as Metric
from ckin.metrics.curve import curve as curve
from ckin.metrics.draws import reading_days as reading_days
from ckin.metrics.draws import trajectory_metrics as trajectory_metrics
from ckin.metrics.groups import GroupRow as GroupRow
from ckin.metrics.groups import group_rows as group_rows
from ckin.metrics.of_data import cycle_starts as cycle_starts
from ckin.metrics.of_data import patient_metrics as patient_metrics
from ckin.metrics.parameters import PARAMETERS as PARAMETERS
from ckin.metrics.parameters import Parameter as Parameter
from ckin.metrics.table import Course as Course
from ckin.metrics.table import long_rows as long_rows
from ckin.metrics.table import write_rows as write_rows
