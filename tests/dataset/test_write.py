"""Writing any data set and reading it gives the same patients."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
from drawn import PLAIN, dataset_of, datasets, sample, without_rows
from hypothesis import given

from ckin.dataset import Change, Patient, read_dataset, write_dataset
from ckin.errors import InputError
from ckin.protocol import Dose, InputWindow, event_table


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


CHANGING = dataclasses.replace(
    PLAIN,
    covariates={"WT": 60.0, "STEROID": 0.0, "SITE": "a"},
    changes={
        # With a sample of its own, and where there is no other record.
        "STEROID": (Change(7.0, 1.0, 0.0), Change(21.0, 0.0, 7.0)),
        "WT": (Change(300.0, 62.5, 100.0),),
        "SITE": (Change(100.0, "b", 21.0),),
    },
)


@pytest.mark.parametrize("convention", ["ckin", "nonmem", "monolix"])
def test_covariates_that_change_read_back_as_they_changed(tmp_path, convention):
    path = tmp_path / "trial.csv"
    write_dataset(dataset_of(CHANGING), path, convention=convention)
    (read,) = without_rows(read_dataset(path))
    assert read.changes == CHANGING.changes
    assert read == CHANGING


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
