"""The detection limit that follows from how much of a sample was examined."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin import assay
from ckin.dataset import ASSAYS, Sample, read_dataset
from ckin.dataset.examined import EXAMINED
from ckin.library import load_model


COUNTED = sorted(set(EXAMINED) - {"qpcr"})
HEADER = "ID,TIME,DV,DVID,CENS,LIMIT,EXAMINED\n"


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("examined") / "trial.csv"

    def read(rows: str, assay: str, unit: str = ""):
        stated = f"# unit {assay} {unit or ASSAYS[assay][-1]}\n"
        path.write_text(stated + HEADER + rows)
        return read_dataset(path)

    return read


def only_sample(dataset) -> Sample:
    (patient,) = dataset.patients
    (sample,) = patient.samples
    return sample


def test_every_assay_of_a_model_is_one_that_a_file_may_report_in_that_unit():
    assert set(assay.ASSAYS) == set(ASSAYS)
    units = load_model("feeding_szcart01").units
    made = {name: make().quantity for name, make in assay.ASSAYS.items()}
    told = {
        name: units[quantity] for name, quantity in made.items() if quantity in units
    }
    assert set(told) == set(ASSAYS) - {"il6", "cell_index"}
    assert all(unit in ASSAYS[name] for name, unit in told.items())


@pytest.mark.parametrize("assay", COUNTED)
@given(examined=st.floats(1e-3, 1e7), said=st.sampled_from(["0,{},0", ".,{},1"]))
def test_nothing_found_is_less_than_one_count(read, assay, examined, said):
    rows = f"1,7,{said.format(assay)},.,{examined!r}\n"
    sample = only_sample(read(rows, assay))
    assert sample.below
    assert sample.value == sample.limit
    assert math.isclose(sample.value * examined, 1.0)
    assert sample.examined == examined


def test_no_copy_beside_10_000_of_abl1_is_mr4(read):
    dataset = read("1,7,0,bcrabl,0,.,10000\n", "bcrabl", "%")
    assert only_sample(dataset).limit == 0.01
    assert dataset.units == {"bcrabl": "%"}
    note = "1 bcrabl sample: the limit is one copy in the ABL1 examined"
    assert note in dataset.notes


@given(examined=st.floats(1e-3, 1e3))
def test_a_qpcr_at_its_limit_is_found_in_95_percent_of_reactions(read, examined):
    sample = only_sample(read(f"1,7,0,qpcr,0,.,{examined!r}\n", "qpcr"))
    copies = sample.value * examined
    # Three copies: 95.02%.
    assert 1 - math.exp(-copies) == pytest.approx(0.95, abs=5e-4)


@pytest.mark.parametrize(
    ("rows", "limit"),
    [
        ("1,7,0,qpcr,0,25,0.2\n", 25.0),
        ("1,7,40,qpcr,1,.,0.2\n", 40.0),
        ("1,7,0,qpcr,1,30,0.2\n", 30.0),
    ],
)
def test_a_limit_that_is_stated_goes_before_what_was_examined(read, rows, limit):
    dataset = read(rows, "qpcr")
    assert only_sample(dataset).limit == limit
    assert not any("examined" in note for note in dataset.notes)


def test_what_was_found_has_no_limit_from_what_was_examined(read):
    sample = only_sample(read("1,7,2,qpcr,0,.,0.2\n", "qpcr"))
    assert (sample.value, sample.below, sample.limit) == (2.0, False, None)
