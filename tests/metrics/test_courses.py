"""From patients to curves and groups: cycles, repeats, recognised tables, draws."""

import math

import numpy as np
import pytest

from ckin.dataset import ColumnMap, Patient, Sample, read_dataset, recognised
from ckin.metrics import (
    Metric,
    group_rows,
    patient_metrics,
    reading_days,
    trajectory_metrics,
)
from ckin.metrics.draws import over_draws
from ckin.metrics.of_data import data_curves
from ckin.protocol import Dose


LIMIT = 25.0


def sample(time_d, value, cycle=1, *, after=False, assay="qpcr"):
    below = value < LIMIT
    return Sample(
        time_d=float(time_d),
        assay=assay,
        value=LIMIT if below else float(value),
        below=below,
        limit=LIMIT,
        after=after,
        cycle=cycle,
        row=0,
    )


def patient(samples, infusions=(0.0,), baseline=()):
    doses = tuple(
        Dose(float(day), "CART", cells=1e8, cycle=cycle)
        for cycle, day in enumerate(infusions, start=1)
    )
    return Patient("P1", doses, tuple(samples), tuple(baseline), {}, (), ())


def test_times_are_from_the_first_infusion_of_the_cycle():
    one = patient(
        [sample(7, 500), sample(28, 50), sample(66, 900, 2), sample(87, 60, 2)],
        infusions=(0, 56),
    )
    found = patient_metrics(one, "qpcr")
    assert found[1]["TMAX"].value == 7.0
    assert found[2]["TMAX"].value == 10.0
    assert found[2]["RCMAX"].value == pytest.approx(1.8)
    assert "RCMAX" not in found[1]


def test_a_split_infusion_is_one_cycle_counted_from_its_first_part():
    doses = tuple(Dose(day, "CART", cells=1e8, cycle=1) for day in (0.0, 1.0, 2.0))
    one = Patient("P1", doses, (sample(9, 500),), (), {}, (), ())
    assert patient_metrics(one, "qpcr")[1]["TMAX"].value == 9.0


def test_a_sample_after_the_next_infusion_is_of_that_cycle_whatever_it_is_numbered():
    late = sample(60, 800, cycle=1)
    curves = data_curves(patient([sample(10, 300), late], infusions=(0, 56)), "qpcr")
    assert curves[1].time_d.tolist() == [10.0]
    assert curves[2].time_d.tolist() == [4.0]


def test_a_sample_at_the_next_infusion_is_drawn_before_it_unless_it_says_after():
    pre, post = sample(56, 40), sample(56, 70, after=True)
    curves = data_curves(patient([pre, post, sample(60, 90)], (0, 56)), "qpcr")
    assert curves[1].time_d.tolist() == [56.0]
    assert curves[2].time_d.tolist() == [0.0, 4.0]
    assert curves[2].start == 40.0


def test_before_the_first_infusion_there_are_no_cells_whatever_was_read():
    one = patient([sample(7, 500)], baseline=[sample(-1, 300), sample(0, 200)])
    curve = data_curves(one, "qpcr")[1]
    assert curve.start == 0.0
    assert curve.time_d.tolist() == [7.0]


def test_a_level_a_week_before_the_next_infusion_tells_where_it_starts():
    near = data_curves(patient([sample(50, 80), sample(60, 90)], (0, 56)), "qpcr")
    far = data_curves(patient([sample(48, 80), sample(60, 90)], (0, 56)), "qpcr")
    gone = data_curves(patient([sample(50, 0), sample(60, 90)], (0, 56)), "qpcr")
    assert (near[2].start, far[2].start, gone[2].start) == (80.0, None, 0.0)


def test_a_cycle_without_samples_and_samples_without_a_cycle_say_so():
    empty = patient_metrics(patient([sample(7, 500)], infusions=(0, 56)), "qpcr")
    assert empty[2]["CMAX"].reason == "no sample in this cycle"
    lost = patient_metrics(patient([sample(7, 500), sample(60, 1, 2)]), "qpcr")
    assert lost[2]["CMAX"].reason == "no CAR-T infusion recorded in this cycle"


def test_assays_are_not_mixed():
    one = patient([sample(7, 500), sample(10, 9000, assay="flow")])
    assert patient_metrics(one, "qpcr")[1]["CMAX"].value == 500.0


def values(*numbers):
    return {f"P{i}": {"CMAX": Metric(n)} for i, n in enumerate(numbers)}


def test_a_group_is_told_by_geometric_mean_and_geometric_cv():
    (row,) = group_rows({"all": values(10.0, 1000.0)})
    assert row.mean == pytest.approx(100.0)
    # SD of ln 10 and ln 1000 is ln(100)/√2.
    spread = math.log(100.0) / math.sqrt(2.0)
    assert row.cv_pct == pytest.approx(100 * math.sqrt(math.expm1(spread**2)))
    assert (row.n, row.total, row.lowest, row.highest) == (2, 2, 10.0, 1000.0)


def test_a_ratio_is_of_geometric_means_with_the_interval_of_welch():
    from scipy import stats

    one, other = [100.0, 200.0, 400.0], [50.0, 50.0, 100.0, 300.0]
    _, row = group_rows({"low": values(*other), "high": values(*one)})
    test = stats.ttest_ind(np.log(one), np.log(other), equal_var=False)
    interval = test.confidence_interval(0.90)
    centre = np.exp(np.log(one).mean() - np.log(other).mean())
    assert row.ratio == pytest.approx(centre)
    assert row.ratio_interval == pytest.approx(np.exp([interval.low, interval.high]))


def test_cycles_are_compared_within_patients():
    """Twofold in everyone: no doubt about the ratio, however patients differ."""
    first, second = values(10.0, 100.0, 1000.0), values(20.0, 200.0, 2000.0)
    _, row = group_rows({"cycle 1": first, "cycle 2": second}, paired=True)
    assert row.ratio == pytest.approx(2.0)
    assert row.ratio_interval == pytest.approx((2.0, 2.0))


def test_a_median_of_intervals_lies_between_the_medians_of_their_ends():
    ends = [(7.0, 14.0), (28.0, 60.0), (60.0, math.inf)]
    patients = {
        str(i): {"PERSIST": Metric(low=low, high=high, reason="an interval")}
        for i, (low, high) in enumerate(ends)
    }
    (row,) = group_rows({"all": patients})
    assert row.median == (28.0, 60.0)
    assert (row.n, row.total) == (2, 3)


TABLE = """patient,matrix,day,copies_per_ug,visit
A,PB,-1,0,pre
A,PB,7,900,day 7
A,BM,28,80,day 28
A,PB,28,4.5,day 28
"""


def test_a_table_is_recognised_by_its_column_names(tmp_path):
    file = tmp_path / "samples.csv"
    file.write_text(TABLE)
    found = recognised(file, ColumnMap())
    assert found is not None
    assert found.materials == ("PB", "BM")
    told = " ".join(found.notes)
    for words in ("patient taken for ID", "read as below 4.5", "not read: visit"):
        assert words in told
    columns = ColumnMap.from_options(limit=["qpcr=25"], where=["matrix=PB"])
    stated = recognised(file, columns)
    assert stated is not None
    assert stated.materials == ("PB",)
    assert "read as below" not in " ".join(stated.notes)
    one = read_dataset(file, stated.columns).patients[0]
    assert [s.below for s in one.samples] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "ID,TIME,DV\nA,7,900\n",
        "patient,when,copies_per_ug\nA,7,900\n",
        "patient,day,reading\nA,7,900\n",
    ],
)
def test_what_is_in_our_columns_or_in_no_known_ones_is_not_recognised(tmp_path, text):
    file = tmp_path / "samples.csv"
    file.write_text(text)
    assert recognised(file, ColumnMap()) is None


def test_a_map_of_the_users_own_is_not_second_guessed(tmp_path):
    file = tmp_path / "samples.csv"
    file.write_text(TABLE)
    assert recognised(file, ColumnMap.from_options(map=["day=TIME"])) is None


def test_metrics_of_draws_are_medians_with_90_percent_intervals():
    """Exponentials of 101 rates: their half-lives are known, and so are quantiles."""
    days = reading_days(200.0)
    rates = np.linspace(0.05, 0.15, 101)
    level = 1e4 * np.exp(-rates[:, None] * days)
    found = trajectory_metrics({1: (days, level)}, limit=0.0)[1]
    half_life = found["LAMZHL"]
    # The k-th of 101 has the quantile (k + 1/2)/101 of its order: no interpolation.
    for got, rate in (
        (half_life.value, 0.10),
        (half_life.low, 0.145),
        (half_life.high, 0.055),
    ):
        assert got == pytest.approx(math.log(2) / rate, rel=0.01)
    assert found["TMAX"].value == 1.0


def test_persistence_of_draws_is_where_they_cross_the_limit():
    days = reading_days(365.0)
    level = np.tile(1e4 * np.exp(-0.1 * days), (20, 1))
    crossing = math.log(1e4 / LIMIT) / 0.1
    found = trajectory_metrics({1: (days, level)}, limit=LIMIT)[1]["PERSIST"]
    # Readings at that time are a day apart.
    assert found.value == pytest.approx(crossing, abs=0.5)


def test_a_draw_that_could_not_be_solved_is_counted():
    days = reading_days(100.0)
    level = np.tile(1e4 * np.exp(-0.1 * days), (10, 1))
    level[:3] = np.nan
    found = trajectory_metrics({1: (days, level)}, limit=0.0)[1]["CMAX"]
    assert found.note == "30% of draws without: the model could not be solved"
    level[:] = np.nan
    found = trajectory_metrics({1: (days, level)}, limit=0.0)[1]["CMAX"]
    assert found.reason == (
        "none in most draws, most often: the model could not be solved"
    )


def test_a_level_that_half_of_the_draws_have_below_the_limit_is_no_number():
    draws = [Metric(100.0)] * 4 + [Metric(low=0.0, high=25.0, reason="below")] * 6
    found = over_draws("CM6", draws, 10)
    assert found.value is None
    assert (found.low, found.high) == (0.0, 100.0)
