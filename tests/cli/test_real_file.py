"""The real file, as it lies: CTL019 courses, which may not be shipped."""

import json

import pandas as pd
import pytest
from typed import typed


@pytest.fixture(scope="module")
def fitted(request, tmp_path_factory):
    """Folder of a quick fit (MAP) of the real file, and what was printed."""
    folder = request.getfixturevalue("external_data") / "ctl019"
    out = tmp_path_factory.mktemp("ctl019") / "fit"
    options = {
        "--model": ["phases_stein2019"],
        "--map": [
            "patient=ID",
            "day=TIME",
            "copies_per_ug=DV",
            "vcn_per_cell=IGNORE",
            "visit_label=IGNORE",
        ],
        "--where": ["matrix=PB"],
        "--unit": ["qpcr=copies/ug"],
        "--limit": ["qpcr=25"],
        "--error": ["student_t"],
        "--method": ["map"],
        "--draws": ["100"],
        "--out": [str(out)],
    }
    words = [w for name, values in options.items() for v in values for w in (name, v)]
    result = typed("fit", folder / "qpcr.csv", *words)
    # Converged or not: 1 is an accident's code too.
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1), result.output
    return out, result


def test_a_real_file_is_read_as_it_lies_and_everything_set_aside_is_counted(fitted):
    out, result = fitted
    manifest = json.loads((out / "manifest.json").read_text())
    notes = " ".join(manifest["data"]["notes"])
    assert manifest["patients"] == 34
    # Counted apart from ckin in the table: 559 blood samples, 80 not after day 0,
    # 70 more before day 3.
    assert manifest["samples"] == 559 - 80 - 70
    for words in ("80 samples at or before the first infusion", "70 samples before"):
        assert words in notes
        assert words in result.output


def test_a_real_file_gives_kinetics_that_the_literature_knows(fitted):
    """Wide bounds: a quick approximation, of patients who mostly have CLL."""
    out, _ = fitted
    table = pd.read_csv(out / "summary.csv")
    summary = dict(zip(table["parameter"], map(float, table["q50"]), strict=True))
    # Published for CD19 CAR-T: 4.3 d (tisa-cel, B-ALL) and 5.0 d (liso-cel).
    assert 2.5 < summary["contraction_half_life_d"] < 8.0
    # B-ALL 24,000 copies/µg; CLL expands less.
    assert 3_000 < summary["cmax"] < 40_000
    assert 8.0 < summary["tmax"] < 18.0
