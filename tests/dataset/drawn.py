"""Random data sets, and a plain one: what laws of files are tried on."""

import dataclasses
from typing import Any

from hypothesis import strategies as st

from ckin.dataset import Dataset, Patient, Sample
from ckin.protocol import Dose, InputWindow


UNITS = {"qpcr": "copies/ug", "ddpcr": "copies/ug", "flow": "cells/uL"}
LAST = 2 * 36_525.0  # how long the reader lets the last level of a TKI hold

days = st.floats(0.01, 600.0)
positive = st.floats(1e-6, 1e9)
ids = st.text("abcXYZ019-_é ,;\"'", min_size=1, max_size=8).filter(
    lambda text: text == text.strip()
)


def sample(time_d: float, value: float, limit: float | None, **words) -> Sample:
    """A sample that is below its limit where its value is."""
    below = limit is not None and value < limit
    shown = limit if below and limit is not None else value
    given = {"assay": "qpcr", "after": False, "cycle": 1, "row": 0} | words
    return Sample(time_d=time_d, value=shown, below=below, limit=limit, **given)


@st.composite
def samples(draw, time_d) -> Sample:
    assay = draw(st.sampled_from(sorted(UNITS)))
    partitions = st.none() | st.integers(1, 30_000)
    return sample(
        draw(time_d),
        draw(positive),
        draw(st.none() | positive),
        assay=assay,
        after=draw(st.booleans()),
        cycle=draw(st.integers(1, 4)),
        examined=draw(st.none() | positive),
        partitions=draw(partitions) if assay == "ddpcr" else None,
    )


def in_order(rows: list[Sample]) -> tuple[Sample, ...]:
    """By time, and no two alike: a reader takes a repeated row for a slip."""
    return tuple(sorted(dict.fromkeys(rows), key=lambda row: (row.time_d, row.after)))


@st.composite
def patients(draw, name: str, per_kg: bool) -> dict[str, Any]:
    """Fields of a patient. Not the patient: checking its types takes random numbers
    that hypothesis does not draw."""
    unit = "cells_per_kg" if per_kg else "cells"
    later = draw(st.lists(days, max_size=3, unique=True))
    doses = [Dose(0.0, "CART", **{unit: draw(positive)})]
    doses += [
        Dose(
            t,
            draw(st.sampled_from(["CART", "FTC"])),
            duration_d=draw(st.sampled_from([0.0, 0.5])),
            **{unit: draw(positive)},
        )
        for t in sorted(later)
    ]
    levels = sorted(draw(st.lists(days, max_size=3, unique=True)))
    what = draw(st.sampled_from(["tki", "imatinib", "steroid"]))
    covariates: dict[str, float | str] = {"WT": draw(st.floats(3.0, 150.0))}
    if draw(st.booleans()):
        covariates |= {"ARM": draw(st.sampled_from(["high", "1"])), "SEX": "F"}
    if draw(st.booleans()):
        covariates["AGE"] = draw(st.floats(0.0, 90.0))
    return dict(
        id=name,
        doses=tuple(doses),
        samples=in_order(draw(st.lists(samples(days), max_size=6))),
        baseline=in_order(draw(st.lists(samples(st.floats(-60.0, -0.1)), max_size=2))),
        covariates=covariates,
        windows=tuple(
            InputWindow(what, draw(st.floats(0.0, 1.0)), start, stop)
            for start, stop in zip(levels, [*levels, LAST][1:], strict=True)
        ),
        lymphodepletion_d=tuple(
            sorted(draw(st.lists(st.floats(-9.0, 600.0), max_size=2, unique=True)))
        ),
        resets_d=tuple(draw(st.lists(days, max_size=1))),
    )


def dataset_of(*made: Patient, synthetic: bool = True) -> Dataset:
    used = {row.assay for p in made for row in (*p.samples, *p.baseline)}
    units = {assay: UNITS[assay] for assay in sorted(used)}
    return Dataset("made", made, units, synthetic, (), "")


@st.composite
def datasets(draw) -> tuple[list[dict[str, Any]], bool]:
    """Fields of every patient, and whether they are synthetic."""
    per_kg = draw(st.booleans())
    names = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    return [draw(patients(name, per_kg)) for name in names], draw(st.booleans())


def without_rows(dataset: Dataset) -> list[Patient]:
    """The patients, less the row numbers that only a file gives."""
    return [
        dataclasses.replace(
            patient,
            samples=tuple(dataclasses.replace(s, row=0) for s in patient.samples),
            baseline=tuple(dataclasses.replace(s, row=0) for s in patient.baseline),
        )
        for patient in dataset.patients
    ]


PLAIN = Patient(
    id="1",
    doses=(Dose(0.0, "CART", cells=3e8),),
    samples=(sample(7.0, 1234.5678, 25.123), sample(300.0, 1.0, 50.456)),
    baseline=(sample(0.0, 1.0, 25.0),),
    covariates={"WT": 60.0},
    windows=(),
    lymphodepletion_d=(-3.0,),
)
