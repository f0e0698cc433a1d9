"""docs/files.md says what is so: its examples are read, and no column is left out."""

import re
from pathlib import Path

import pytest

from ckin.dataset import COLUMNS, read_dataset, write_dataset
from ckin.dataset.columns import ASSAYS, MONOLIX, OTHER_EVENTS


PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
# A table, and the column map that stands right below it, if there is one.
EXAMPLES = re.findall(r"```csv\n(.*?)```\n(?:\n```toml\n(.*?)```\n)?", PAGE, re.DOTALL)


def read(number: int, folder: Path):
    table, side = EXAMPLES[number]
    (folder / "trial.csv").write_text(table, encoding="utf-8")
    if side:
        (folder / "trial.toml").write_text(side, encoding="utf-8")
    return read_dataset(folder / "trial.csv")


def test_the_page_has_its_examples():
    assert len(EXAMPLES) == PAGE.count("```csv") == 6
    assert sum(bool(side) for _, side in EXAMPLES) == PAGE.count("```toml") == 3


@pytest.mark.parametrize("number", range(6))
def test_an_example_is_read_and_can_be_written(number, tmp_path):
    dataset = read(number, tmp_path)
    assert all(patient.samples for patient in dataset.patients)
    for convention in ("ckin", "nonmem", "monolix"):
        out = tmp_path / f"{convention}.csv"
        write_dataset(dataset, out, convention=convention)
        again = read_dataset(out)
        assert [len(p.samples) for p in again.patients] == [
            len(p.samples) for p in dataset.patients
        ]


def test_what_the_examples_say_is_what_the_page_says(tmp_path):
    samples = [
        [
            (s.assay, round(s.time_d, 4), round(s.value, 2), s.below)
            for s in read(number, tmp_path).patients[0].samples
        ]
        for number in range(6)
        if not (tmp_path / "trial.toml").unlink(missing_ok=True)
    ]
    assert samples == [
        # 3 copies in 0.2 ug; 1 copy beside 32,000 of ABL1, in %.
        [
            ("qpcr", 7.0, 1200.0, False),
            ("qpcr", 28.0, 15.0, True),
            ("bcrabl", 28.0, 0.0, True),
        ],
        # A quarter of an hour, and 67 minutes; what was drawn at the dose is set aside.
        [("conc", 0.0104, 2.84, False), ("conc", 0.0467, 10.5, False)],
        [("qpcr", 7.0, 1200.0, False), ("qpcr", 28.0, 25.0, True)],
        # On the day of the dose, after it; a week less 90 minutes; noon.
        [
            ("qpcr", 0.0, 80.0, False),
            ("qpcr", 6.9375, 1200.0, False),
            ("qpcr", 28.0625, 300.0, False),
        ],
        [("qpcr", 7.0, 1199.91, False), ("flow", 14.0, 24.53, False)],
        [("qpcr", 7.0, 1200.0, False), ("qpcr", 28.0, 25.0, True)],
    ]


def test_the_page_names_every_column_assay_and_event():
    for word in (*COLUMNS, *MONOLIX, *ASSAYS, *OTHER_EVENTS):
        assert re.search(rf"\b{word}\b", PAGE.replace("\n", " ")), word
