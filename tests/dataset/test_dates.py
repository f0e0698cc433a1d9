"""A file with dates is the file with days, whenever its patients were treated."""

import datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.dataset import ColumnMap, DataError, Dataset, read_dataset, write_dataset


UNIT = "# unit qpcr copies/ug\n"
HEADER = "ID,DATE,AMT,CMT,DV,AFTER\n"
MINUTE = datetime.timedelta(minutes=1)
# Ways in which people write a moment that can be read in one way only.
WRITTEN = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:00",
    "%Y/%m/%d %H:%M:00.0",
    "%Y%m%dT%H:%M",
    "%d-%b-%Y %H:%M",
    "%d%b%Y:%H:%M:00",
    "%d %B %Y %H:%M",
)

starts = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2050, 1, 1)).map(
    lambda t: t.replace(second=0, microsecond=0)
)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("dates") / "trial.csv"

    def read(text: str, columns: ColumnMap | None = None) -> Dataset:
        path.write_text(UNIT + text)
        return read_dataset(path, columns)

    return read


def table(start: datetime.datetime, minutes: list[int], written: str | None) -> str:
    """A dose at `start` and samples around it, with dates or (without a form) days."""
    rows = []
    for minute in sorted({0, *minutes}):
        moment = start + minute * MINUTE
        when = moment.strftime(written) if written else repr(minute / (24 * 60))
        rows.append(f"a,{when},," + f",{1000 + abs(minute)},\n")
        if minute == 0:
            rows.append(f"a,{when},1e8,CART,,\n")
    return (HEADER if written else HEADER.replace("DATE", "TIME")) + "".join(rows)


minutes_around = st.lists(st.integers(-60_000, 600_000), max_size=6)


@given(start=starts, minutes=minutes_around, written=st.sampled_from(WRITTEN))
def test_dates_are_the_days_between_them(read, start, minutes, written):
    with_dates = read(table(start, minutes, written))
    with_days = read(table(start, minutes, None))
    assert with_dates.patients == with_days.patients


@given(start=starts, other=starts, minutes=minutes_around)
def test_nothing_tells_when_a_patient_was_treated(
    tmp_path_factory, read, start, other, minutes
):
    folder = tmp_path_factory.mktemp("written")
    written = []
    for number, day_0 in enumerate((start, other)):
        dataset = read(table(day_0, minutes, WRITTEN[0]))
        write_dataset(dataset, folder / f"{number}.csv")
        written.append(((folder / f"{number}.csv").read_bytes(), dataset.notes))
    assert written[0] == written[1]


@given(day=st.dates(datetime.date(1990, 1, 1), datetime.date(2050, 1, 1)))
def test_the_order_of_day_and_month_is_asked_for(read, day):
    rows = "a,{},1e8,CART,,\na,{},,,5,\n"
    later = day + datetime.timedelta(days=9)
    for order, form in (("DMY", "%d/%m/%Y"), ("MDY", "%m.%d.%Y")):
        text = HEADER + rows.format(day.strftime(form), later.strftime(form))
        dataset = read(text, ColumnMap(units={"DATE": order}))
        assert dataset.patients[0].samples[0].time_d == 9.0
        with pytest.raises(DataError, match="--unit DATE=DMY if the day comes first"):
            read(text)


def times(dataset: Dataset) -> list[float]:
    (patient,) = dataset.patients
    return [round(24 * s.time_d, 6) for s in (*patient.baseline, *patient.samples)]


def test_nonmem_has_the_time_of_day_in_time(read):
    dataset = read(
        "ID,DATE,TIME,AMT,CMT,DV\n"
        "a,2024-03-01,10:00,1e8,CART,.\na,2024-03-02,9:30,.,.,5\n"
    )
    assert times(dataset) == [23.5]


def test_without_a_time_of_day_a_sample_is_before_the_dose_unless_it_says_after(read):
    dataset = read(
        "ID,DATE,CLOCK,AMT,CMT,DV,AFTER\n"
        "a,2024-03-01,,,,5,0\na,2024-03-01,10:00,1e8,CART,,\na,2024-03-01,,,,6,1\n"
        "a,2024-03-02,,,,7,0\n"
    )
    (patient,) = dataset.patients
    assert [s.value for s in patient.baseline] == [5.0]
    assert [s.value for s in patient.samples] == [6.0, 7.0]
    # The day after: noon, 26 h after the dose at 10:00.
    assert times(dataset) == [0.0, 0.0, 26.0]
    assert any(
        note.startswith("3 rows without a time of day: taken at the time of a dose")
        for note in dataset.notes
    )


def test_day_0_is_the_first_car_t_given_and_not_another_event(read):
    dataset = read(
        "ID,DATE,EVID,AMT,CMT,DV\n"
        "a,2024-02-25,2,.,LD,.\na,2024-02-28,1,1e8,FTC,.\na,2024-02-29,1,0,CART,.\n"
        "a,2024-03-01,1,1e8,CART,.\na,2024-03-08,0,.,.,5\n"
    )
    (patient,) = dataset.patients
    assert patient.first_infusion_d == 0.0
    assert patient.lymphodepletion_d == (-5.0,)
    assert patient.samples[0].time_d == 7.0


def test_dates_of_a_workbook_are_read_as_dates(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    day = datetime.datetime(2024, 3, 1)
    for row in (
        ("# unit qpcr copies/ug",),
        ("ID", "DATE", "CLOCK", "AMT", "CMT", "DV"),
        ("a", day, datetime.time(10, 30), 1e8, "CART", None),
        ("a", day + datetime.timedelta(days=2), datetime.time(22, 30), None, None, 5),
    ):
        sheet.append(row)
    book.save(tmp_path / "trial.xlsx")
    assert times(read_dataset(tmp_path / "trial.xlsx")) == [60.0]


DOSE = "a,2024-03-01,1e8,CART,,\n"
WRONG = {
    "order unknown": ("03/04/2021", "a date that can be read in one way only"),
    "two-digit year": ("03/04/21", "a year of four digits"),
    "two-digit year, month named": ("3 Mar 21", "a year of four digits"),
    "two-digit year and a time": ("03/04/21 10:30", "a year of four digits"),
    "no such day": ("2024-02-30", "a day of the calendar"),
    "no such hour": ("2024-03-02 25:10", "a time of day"),
    "no day": ("2024-03", "a date such as 2024-03-01"),
    "a number": ("45352", "a date such as 2024-03-01"),
    "words": ("last week", "a date such as 2024-03-01"),
    "no such month": ("3 Mai 2024", "a date such as 2024-03-01"),
    "another zone": ("2024-03-02T10:30+02:00", "write local time"),
    "half a day": ("2024-03-02 10:30 PM", "write local time"),
    "nothing": (".", "found nothing"),
    "before the dose": ("2024-02-20", "earlier than row 3"),
    "another century": ("3024-03-02", "within a century"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_date_is_a_fault_of_its_row(read, name):
    cell, says = WRONG[name]
    with pytest.raises(DataError) as error:
        read(HEADER + DOSE + f"a,{cell},,,5,\n")
    (fault,) = error.value.faults
    assert (fault.row, fault.column) == (4, "DATE")
    assert says in str(fault)


@pytest.mark.parametrize(
    ("text", "row", "column", "says"),
    [
        (HEADER + "a,2024-03-01,,,5,\n", 3, "DATE", "no infusion of patient 'a'"),
        (
            "ID,DATE,TIME,AMT,CMT,DV\na,2024-03-01,0,1,CART,.\na,2024-03-01,3,.,.,5\n",
            3,
            "TIME",
            "--map DATE=IGNORE reads TIME alone",
        ),
        (
            "ID,DATE,CLOCK,AMT,CMT,DV\na,2024-03-01T10:00,10:00,1,CART,.\n",
            3,
            "CLOCK",
            "nothing beside a date with a time",
        ),
        ("ID,DATE,CLOCK,AMT,CMT,DV\na,2024-03-01,10h,1,CART,.\n", 3, "CLOCK", "10:30"),
        ("ID,TIME,AMT,CMT,DV\na,2024-03-01,1,CART,.\n", 3, "TIME", "the column DATE"),
    ],
)
def test_dates_that_cannot_be_used_are_a_fault(read, text, row, column, says):
    with pytest.raises(DataError) as error:
        read(text)
    assert any(
        (fault.row, fault.column) == (row, column) and says in str(fault)
        for fault in error.value.faults
    ), str(error.value)


@pytest.mark.parametrize("birth", ["1961-04-03", "3/4/1961", "3 Apr 1961"])
def test_no_other_date_is_read(read, birth):
    text = f"ID,TIME,DV,BIRTH\na,1,5,{birth}\n"
    for columns in (None, ColumnMap(covariates=("BIRTH",))):
        with pytest.raises(DataError, match="column BIRTH") as error:
            read(text, columns)
        assert birth not in str(error.value)
    dataset = read(text, ColumnMap(ignore=("BIRTH",)))
    assert not any(patient.covariates for patient in dataset.patients)
