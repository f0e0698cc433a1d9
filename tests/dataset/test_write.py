"""Writing any data set and reading it gives the same patients."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.dataset import Dataset, Patient, Sample, read_dataset, write_dataset
from ckin.errors import InputError
from ckin.protocol import Dose, InputWindow, event_table


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


@given(datasets())
def test_what_is_written_reads_back_the_same(drawn):
    made, synthetic = drawn
    dataset = dataset_of(*(Patient(**fields) for fields in made), synthetic=synthetic)
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / "trial.csv", Path(folder) / "again.csv"
        write_dataset(dataset, path)
        read = read_dataset(path)
        assert without_rows(read) == without_rows(dataset)
        assert read.units == dataset.units
        assert read.synthetic == dataset.synthetic
        write_dataset(read, again)
        assert again.read_bytes() == path.read_bytes()


PLAIN = Patient(
    id="1",
    doses=(Dose(0.0, "CART", cells=3e8),),
    samples=(sample(7.0, 1234.5678, 25.123), sample(300.0, 1.0, 50.456)),
    baseline=(sample(0.0, 1.0, 25.0),),
    covariates={"WT": 60.0},
    windows=(),
    lymphodepletion_d=(-3.0,),
)


def test_synthetic_data_say_so_in_their_first_line(tmp_path: Path):
    write_dataset(dataset_of(PLAIN), tmp_path / "trial.csv")
    text = (tmp_path / "trial.csv").read_text(encoding="utf-8")
    assert text.startswith("# SYNTHETIC")
    write_dataset(dataset_of(PLAIN, synthetic=False), tmp_path / "trial.csv")
    text = (tmp_path / "trial.csv").read_text(encoding="utf-8")
    assert "synthetic" not in text.lower()


def test_rounding_leaves_a_sample_on_its_side_of_the_limit(tmp_path: Path):
    edge = dataclasses.replace(
        PLAIN, samples=(sample(7.0, 25.0349, 25.0348), sample(9.0, 25.1, 25.1049))
    )
    write_dataset(dataset_of(edge), tmp_path / "trial.csv", digits=3)
    read = read_dataset(tmp_path / "trial.csv").patients[0].samples
    assert [row.below for row in read] == [False, True]
    assert [row.value for row in read] == [25.0, 25.1]


def test_predictions_stand_beside_what_was_measured(tmp_path: Path):
    write_dataset(dataset_of(PLAIN), tmp_path / "trial.csv", [[1e-6, 1000.0, 2.0]])
    lines = (tmp_path / "trial.csv").read_text(encoding="utf-8").splitlines()
    header = lines.index(next(line for line in lines if line.startswith("ID,")))
    cells = [line.split(",")[-1] for line in lines[header:]]
    # Lymphodepletion and the dose are no observations.
    assert cells == ["IPRED", "", "1e-06", "", "1000", "2"]
    assert without_rows(read_dataset(tmp_path / "trial.csv")) == [PLAIN]


def test_a_tki_that_ends_reads_back_as_the_same_course(tmp_path: Path):
    windows = (
        InputWindow("tki", 0.5, -30.0, 20.0),
        InputWindow("tki", 1.0, 10.0, 40.0),
    )
    patient = dataclasses.replace(PLAIN, windows=windows)
    write_dataset(dataset_of(patient), tmp_path / "trial.csv")
    (read,) = read_dataset(tmp_path / "trial.csv").patients
    for time_d in (-31.0, -30.0, 5.0, 10.0, 15.0, 20.0, 39.0, 40.0, 500.0):
        # A dose makes an event at a time of our own.
        probe = (*PLAIN.doses, Dose(time_d, "FTC", cells=1.0))
        levels = []
        for course in (windows, read.windows):
            table = event_table(
                probe, weight_kg=60.0, windows=course, inputs={"tki": 0.0}
            )
            (at,) = [i for i, t in enumerate(table.time_d) if t == time_d]
            levels.append(float(table.level[at, 0]))
        assert levels[0] == levels[1], time_d


def test_doses_in_both_units_are_written_in_cells(tmp_path: Path):
    doses = (*PLAIN.doses, Dose(7.0, "FTC", cells_per_kg=5e6))
    write_dataset(
        dataset_of(dataclasses.replace(PLAIN, doses=doses)), tmp_path / "t.csv"
    )
    (read,) = read_dataset(tmp_path / "t.csv").patients
    assert [dose.cells for dose in read.doses] == [3e8, 5e6 * 60.0]


def test_a_side_file_of_somebody_else_is_left_alone(tmp_path: Path):
    side = tmp_path / "trial.toml"
    side.write_text('ignore = ["note"]\n', encoding="utf-8")
    with pytest.raises(InputError, match="trial.toml"):
        write_dataset(dataset_of(PLAIN), tmp_path / "trial.csv")
    assert not (tmp_path / "trial.csv").exists()
    assert side.read_text(encoding="utf-8") == 'ignore = ["note"]\n'


def test_a_side_file_goes_when_no_covariate_needs_it(tmp_path: Path):
    path = tmp_path / "trial.csv"
    aged = dataclasses.replace(PLAIN, covariates={"WT": 60.0, "AGE": 30.0})
    write_dataset(dataset_of(aged), path)
    assert read_dataset(path).patients[0].covariates == {"WT": 60.0, "AGE": 30.0}
    write_dataset(dataset_of(PLAIN), path)
    assert without_rows(read_dataset(path)) == [PLAIN]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "#7"}, "does not survive"),
        ({"id": '"#7"'}, "does not survive"),
        ({"id": "NA"}, "does not survive"),
        ({"id": "two\nlines"}, "does not survive"),
        ({"covariates": {"SITE": " a"}}, "does not survive"),
        ({"samples": PLAIN.samples[:1] * 2}, "the same record twice"),
        ({"windows": (InputWindow("il6", 1.0, 0.0, 1.0),)}, "'il6'"),
        (
            {
                "doses": (*PLAIN.doses, Dose(7.0, "FTC", cells_per_kg=5e6)),
                "covariates": {},
            },
            "give WT",
        ),
        (
            dict.fromkeys(("doses", "samples", "baseline", "lymphodepletion_d"), ()),
            "no record",
        ),
    ],
)
def test_what_no_file_can_hold_is_refused(change: dict, words: str, tmp_path: Path):
    patient = dataclasses.replace(PLAIN, **change)
    with pytest.raises(InputError, match=words):
        write_dataset(dataset_of(patient), tmp_path / "trial.csv")
    assert not list(tmp_path.iterdir())


def test_a_file_without_patients_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no patient"):
        write_dataset(dataset_of(), tmp_path / "trial.csv")


def test_one_id_for_two_patients_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="two patients '1'"):
        write_dataset(dataset_of(PLAIN, PLAIN), tmp_path / "trial.csv")


def test_predictions_that_fit_no_sample_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="3 samples and 1 pred"):
        write_dataset(dataset_of(PLAIN), tmp_path / "trial.csv", [[1.0]])
