"""Writing any valid data set and reading it gives the same records."""

import csv
import io
import itertools
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ckin.dataset import ColumnMap, DataError, Dataset, Patient, Sample, read_dataset
from ckin.protocol import Dose, InputWindow


NAMES: list[str] = [
    *("ID", "TIME", "EVID", "AMT", "CMT", "DUR", "DV", "DVID", "CENS", "LIMIT"),
    *("AFTER", "OCC", "WT", "ARM", "age"),
]
UNITS = {"qpcr": "copies/ug", "flow": "cells/uL", "bcrabl": "%"}
COLUMNS = ColumnMap(units={**UNITS, "AMT": "cells"}, covariates=("age",))

days = st.floats(-60.0, 600.0)
positive = st.floats(1e-6, 1e9)
ids = st.text("abcXYZ019-_é ,;\"'", min_size=1, max_size=8).filter(
    lambda text: text == text.strip()
)


@st.composite
def cells(draw) -> dict[str, str]:
    """One observation, without its patient."""
    limit = draw(st.none() | positive)
    below = limit is not None and draw(st.booleans())
    value = limit if below else draw(positive.map(lambda v: v + (limit or 0.0)))
    return {
        "TIME": repr(draw(days)),
        "EVID": "0",
        "DV": draw(st.sampled_from(["", "0", repr(value)])) if below else repr(value),
        "DVID": draw(st.sampled_from(sorted(UNITS))),
        "CENS": "1" if below else draw(st.sampled_from(["", "0"])),
        "LIMIT": "" if limit is None else repr(limit),
        "AFTER": draw(st.sampled_from(["", "0", "1"])),
        "OCC": str(draw(st.integers(1, 4))),
    }


@st.composite
def patients(draw) -> list[dict[str, str]]:
    """Rows of one patient, by time."""
    starts = sorted(draw(st.lists(st.floats(0.0, 400.0), max_size=3, unique=True)))
    rows = [
        {"TIME": repr(t), "EVID": "1", "AMT": repr(draw(positive)), "CMT": "CART"}
        | {"OCC": str(cycle)}
        for cycle, t in enumerate(starts, start=1)
    ]
    for t in draw(st.lists(days, max_size=3, unique=True)):
        amount = repr(draw(positive))
        rows.append({"TIME": repr(t), "EVID": "1", "AMT": amount, "CMT": "FTC"})
        rows[-1]["OCC"] = "1"
        rows[-1]["DUR"] = draw(st.sampled_from(["", "0", "0.5"]))
    for t in draw(st.lists(days, max_size=2, unique=True)):
        rows.append({"TIME": repr(t), "EVID": "2", "CMT": "LD"})
    for t in draw(st.lists(days, max_size=3, unique=True)):
        level = repr(draw(st.floats(0.0, 1.0)))
        what = draw(st.sampled_from(["TKI", "DASATINIB", "STEROID"]))
        rows.append({"TIME": repr(t), "EVID": "2", "AMT": level, "CMT": what})
    for t in draw(st.lists(days, max_size=1)):
        rows.append({"TIME": repr(t), "EVID": "3"})
    rows += draw(st.lists(cells(), max_size=8))
    fixed = {
        "WT": repr(draw(st.floats(3.0, 150.0))),
        "ARM": draw(st.sampled_from(["", "high", "1"])),
        "age": repr(draw(st.floats(0.0, 90.0))),
    }
    rows = [row | fixed for row in rows] or [cells_at_day_1() | fixed]
    return sorted(rows, key=lambda row: float(row["TIME"]))


def cells_at_day_1() -> dict[str, str]:
    return {"TIME": "1", "EVID": "0", "DV": "5", "DVID": "qpcr", "OCC": "1"}


@st.composite
def files(draw) -> list[dict[str, str]]:
    """Rows of a file: patients one after the other, no two rows alike."""
    rows = []
    for patient in draw(st.lists(ids, min_size=1, max_size=4, unique=True)):
        rows += [{"ID": patient} | row for row in draw(patients())]
    alike = {tuple(row.get(name, "") for name in NAMES): row for row in rows}
    return list(alike.values())


def write(rows: list[dict[str, str]], names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(text: str) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.csv"
        path.write_text(text, encoding="utf-8")
        return read_dataset(path, COLUMNS)


def expected(rows: list[dict[str, str]]) -> list[Patient]:
    """The patients of rows that start in row 2 of a file, written out plainly."""
    by_id: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in enumerate(rows, start=2):
        by_id.setdefault(row["ID"], []).append((number, row))
    made = []
    for name, mine in by_id.items():
        doses, samples, depletions, resets = [], [], [], []
        levels: dict[str, list[tuple[float, float]]] = {}
        for number, row in mine:
            t = float(row["TIME"])
            if row["EVID"] == "1":
                amount, cycle = float(row["AMT"]), int(row["OCC"])
                lasts = float(row.get("DUR") or 0)
                doses.append(
                    Dose(t, row["CMT"], cells=amount, cycle=cycle, duration_d=lasts)
                )
            elif row["EVID"] == "3":
                resets.append(t)
            elif row.get("CMT") == "LD":
                depletions.append(t)
            elif row["EVID"] == "2":
                mine_of = levels.setdefault(row["CMT"].lower(), [])
                mine_of.append((t, float(row["AMT"])))
            else:
                below = row.get("CENS") == "1"
                limit = float(row["LIMIT"]) if row.get("LIMIT") else None
                value = float(row["LIMIT"] if below else row["DV"])
                samples.append(
                    Sample(
                        time_d=t,
                        assay=row["DVID"],
                        value=value,
                        below=below,
                        limit=limit,
                        after=row.get("AFTER") == "1",
                        cycle=int(row["OCC"]),
                        row=number,
                    )
                )
        samples.sort(key=lambda s: (s.time_d, s.after))
        carts = [dose.time_d for dose in doses if dose.product == "CART"]
        start = min(carts or [dose.time_d for dose in doses], default=0.0)
        early = [s for s in samples if (s.time_d, s.after) <= (start, False)]
        windows = [
            InputWindow(name, level, t, end)
            for name, steps in levels.items()
            for (t, level), (end, _) in itertools.pairwise([*steps, (73_050.0, 0.0)])
        ]
        row = mine[0][1]
        arm = {"ARM": row["ARM"]} if row["ARM"] else {}
        made.append(
            Patient(
                id=name,
                doses=tuple(doses),
                samples=tuple(samples[len(early) :]),
                baseline=tuple(early),
                covariates={"WT": float(row["WT"]), "age": float(row["age"])} | arm,
                windows=tuple(windows),
                lymphodepletion_d=tuple(depletions),
                resets_d=tuple(resets),
            )
        )
    return made


@given(files())
def test_what_is_written_is_read(rows):
    assert list(read(write(rows, NAMES)).patients) == expected(rows)


@given(files(), st.permutations(NAMES))
def test_the_order_of_columns_changes_nothing(rows, names):
    one, other = read(write(rows, NAMES)), read(write(rows, list(names)))
    assert one.patients == other.patients
    assert one.units == other.units
    assert one.notes == other.notes


@given(files(), st.integers(1, 4))
def test_first_cycles_of_first_cycles_are_the_smaller(rows, n):
    dataset = read(write(rows, NAMES))
    part = dataset.first_cycles(n)
    assert part.first_cycles(n).patients == part.patients
    for whole, patient in zip(dataset.patients, part.patients, strict=True):
        assert set(patient.samples) <= set(whole.samples)
        assert all(d.cycle <= n for d in (*patient.doses, *patient.samples))
        assert patient.baseline == whole.baseline


@given(files(), st.data())
def test_a_damaged_file_is_read_or_refused(rows, data):
    text = write(rows, NAMES)
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text(st.sampled_from('0159-.,;"#\n\t eEN<'), max_size=4))
    gone = data.draw(st.integers(0, 4))
    try:
        dataset = read(text[:at] + damage + text[at + gone :])
    except DataError as error:
        faults = error.faults
    else:
        faults = ()
        assert dataset.patients
    assert all(fault.expected and fault.fix for fault in faults)
