"""`ckin simulate --assay`: the same patients by several assays, as counts or not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typed import typed

from ckin.dataset import read_dataset


WANTED = ("simulate", "--model", "feeding_szcart01", "--protocol", "szcart01-cart1")
PLATE = """
name = "plate"
title = "CAR-T in a well"
source = "made up for a test"
assumptions = ["all of it"]
[cycles]
count = 1
[[doses]]
product = "CART"
day = 1
cells = 1250
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Readings (patient, day) of each assay: qpcr alone, and beside two others."""
    folder, read = tmp_path_factory.mktemp("watched"), {}
    more = ("--assay", "qpcr", "--assay", "flow", "--assay", "bcrabl")
    more += ("--examined", "flow=3", "--examined", "bcrabl=32000")
    for name, options in (("alone", ()), ("three", more)):
        file = folder / f"{name}.csv"
        short = ("--n", 2, "--horizon", 30, "--out", file)
        made = typed(*WANTED, *short, *options)
        assert made.exit_code == 0, made.output
        read[name] = read_dataset(file)
    return read


def samples(dataset, assay):
    return [s for p in dataset.patients for s in p.samples if s.assay == assay]


def test_counts_are_whole_numbers_and_limits_are_one_of_them(watched):
    for assay, amount in (("flow", 3.0), ("bcrabl", 320.0)):
        found = samples(watched["three"], assay)
        assert len(found) == len(samples(watched["alone"], "qpcr"))
        counts = np.array([sample.value for sample in found]) * amount
        # As many digits as a float has.
        np.testing.assert_allclose(counts, np.round(counts), rtol=1e-9)
        assert all(s.limit == pytest.approx(1.0 / amount) for s in found)
        assert all(sample.below for sample in found if sample.value < 1.0 / amount)


def test_another_assay_changes_nothing_of_the_first(watched):
    alone, three = (samples(watched[name], "qpcr") for name in ("alone", "three"))
    assert [s.value for s in alone] == [s.value for s in three]
    assert [s.limit for s in alone] == [s.limit for s in three]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--assay", "flo"), "--assay flo: choose qpcr"),
        (("--assay", "il6"), "does not describe il6_pg_per_ml"),
        (("--limit", "flow=1"), "flow is not simulated; simulated are qpcr"),
        (("--limit", "qpcr=0"), "--limit qpcr=0: expected above 0"),
        (("--examined", "qpcr"), "--examined qpcr: expected NAME=VALUE"),
        (("--error", "studnt"), "--error studnt: did you mean student_t?"),
        (("--error", "flow=normal"), "flow is not simulated; simulated are qpcr"),
        (("--error", "counts"), "is examined of each sample: --examined qpcr=AMOUNT"),
        (("--error", "partitions"), "it needs EXAMINED and PARTITIONS of each sample"),
        (("--error", "additive"), "say it: --sigma qpcr=SIZE"),
        (("--error", "combined"), "say it: --sigma add_qpcr=SIZE"),
        (("--sigma", "flow=1"), "--sigma flow=1: expected NAME=MEDIAN"),
    ],
)
def test_what_cannot_be_read_ends_with_code_2(tmp_path, options, told):
    made = typed(*WANTED, "--n", 1, "--out", tmp_path / "x.csv", *options)
    assert made.exit_code == 2, made.output
    assert told in " ".join(made.output.split())


def strayed(tmp_path, *options) -> np.ndarray:
    """DV over IPRED of what is above its limit."""
    file = tmp_path / "strayed.csv"
    model = ("--model", "phases_stein2019", "--protocol", "szcart01-cart1")
    asked = ("--n", 60, "--limit", "qpcr=1e-3", "--out", file)
    made = typed("simulate", *model, *asked, *options)
    assert made.exit_code == 0, made.output
    table = pd.read_csv(file, comment="#")
    read = (table["EVID"] == 0) & (table["CENS"] == 0)
    dv, ipred = (table.loc[read, name].to_numpy(float) for name in ("DV", "IPRED"))
    return dv / ipred


@pytest.mark.parametrize(
    ("options", "law"),
    [
        ((), stats.norm(scale=0.5)),
        (("--sigma", "qpcr=0.2"), stats.norm(scale=0.2)),
        (("--error", "student_t", "--sigma", "qpcr=0.3"), stats.t(4, scale=0.3)),
    ],
)
def test_readings_stray_by_the_law_that_was_asked_for(tmp_path, options, law):
    found = np.log(strayed(tmp_path, *options))
    assert found.size > 800
    # One chance in a thousand for a right law, at this seed or another.
    assert stats.kstest(found, law.cdf).pvalue > 1e-3
    # And its tails, to 4 SDs: of a t 4% lie beyond three scales, of a normal 0.3%.
    scale = law.kwds["scale"]
    share = 2.0 * law.sf(3.0 * scale)
    sd = np.sqrt(share * (1.0 - share) / found.size)
    assert abs(np.mean(np.abs(found) > 3.0 * scale) - share) < 4.0 * sd


def test_a_proportional_error_is_of_the_reading_and_not_of_its_logarithm(tmp_path):
    told = ("--error", "proportional", "--sigma", "qpcr=0.1")
    found = strayed(tmp_path, *told) - 1.0
    assert stats.kstest(found, stats.norm(scale=0.1).cdf).pvalue > 1e-3


def test_a_stream_has_one_assay_without_error(tmp_path):
    to = ("--n", 1, "--out", tmp_path / "x.nc")
    for more in (("--assay", "qpcr", "--assay", "flow"), ("--error", "student_t")):
        made = typed(*WANTED, *to, *more)
        assert made.exit_code == 2
        assert "one assay without error" in " ".join(made.output.split())


def test_a_well_is_read_with_the_error_of_a_well_and_the_dose_of_a_patient_is_told(
    tmp_path,
):
    well = ("--model", "carrgo_brummer2022", "--assay", "cell_index", "--n", 1)
    patient = ("--protocol", "szcart01-cart1", "--out", tmp_path / "patient.csv")
    made = typed("simulate", *well, *patient)
    assert made.exit_code == 0, made.output
    said = " ".join(made.output.split())
    assert "usual in it are 1250 CAR-T cells in all" in said
    assert "the protocol gives 300e6" in said

    plan = tmp_path / "plate.toml"
    plan.write_text(PLATE, encoding="utf-8")
    made = typed("simulate", *well, "--protocol", plan, "--out", tmp_path / "wells.csv")
    assert made.exit_code == 0, made.output
    assert "is no patient" not in made.output
    found = samples(read_dataset(tmp_path / "wells.csv"), "cell_index")
    # After a week the index is near 0.5, and an error of 1% is added, not one of 50%.
    late = [sample.value for sample in found if sample.time_d >= 10.0]
    assert late
    assert np.std(np.log(late)) < 0.05
