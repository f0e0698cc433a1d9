"""What `ckin fit` makes of --correlate, --eta, --iov, --covariate and --screen."""

import pytest
from typed import typed

from ckin.analysis import Analysis, build_population
from ckin.dataset import read_dataset
from ckin.errors import InputError
from ckin.library import dataset_path


@pytest.fixture(scope="module")
def data():
    return read_dataset(dataset_path("szcart01_synthetic"))


def test_options_become_a_population(data):
    analysis = Analysis(
        "feeding_szcart01",
        vary=("recruitment_rate", "division_rate"),
        correlate=("division_rate, recruitment_rate",),
        eta="student_t",
        iov=("recruitment_rate",),
        covariates=("recruitment_rate~exp(WT@60)",),
        screen=True,
    )
    whole = build_population(analysis, data)
    assert whole.blocks == (("recruitment_rate", "division_rate"),)
    assert whole.n_heavy == 2
    assert whole.occasions == data.n_cycles == 4
    cycles = [f"recruitment_rate@{cycle}" for cycle in (1, 2, 3, 4)]
    assert whole.eta_names == ("recruitment_rate", "division_rate", *cycles)
    (effect,) = whole.covariates
    assert (effect.form, effect.center) == ("exp", 60.0)
    assert not whole.plain


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iov": ("alpha",)}, "--iov alpha: phases_stein2019 describes one course"),
        ({"correlate": ("alpha",)}, "at least two parameters, with commas"),
        ({"correlate": ("alpha,cmx",)}, "did you mean cmax"),
        ({"eta": "cauchy"}, "choose normal, student_t"),
        ({"screen": True}, "name the covariates to screen"),
        (
            {"screen": True, "method": "ml", "covariates": ("cmax~WT",)},
            "maximum likelihood has none",
        ),
        ({"covariates": ("memory_fraction~linear(WT)",)}, "logit scale"),
    ],
)
def test_options_that_cannot_be_are_refused(data, options, words):
    with pytest.raises(InputError, match=words):
        build_population(Analysis("phases_stein2019", **options), data)


CHANGING = """# unit qpcr copies/ug
ID,TIME,EVID,AMT,CMT,DV,STEROID
1,0,1,1e8,CART,.,0
1,7,0,.,.,500,0
1,9,2,.,.,.,1
1,14,0,.,.,200,.
2,0,1,1e8,CART,.,0
2,7,0,.,.,400,0
"""


def told(tmp_path, *options):
    """What `ckin fit` says of a file whose column STEROID changes."""
    file = tmp_path / "trial.csv"
    file.write_text(CHANGING, encoding="utf-8")
    same = [
        "fit",
        str(file),
        "--map",
        "STEROID=COVARIATE",
        "--out",
        str(tmp_path / "f"),
    ]
    found = typed(*same, *options)
    assert not isinstance(found.exception, Exception), found.exception
    return found.exit_code, " ".join(found.output.split())


def test_a_formula_in_one_piece_refuses_a_covariate_that_changes(tmp_path):
    acts = ("--model", "phases_stein2019", "--covariate", "alpha~exp(STEROID)")
    code, words = told(tmp_path, *acts)
    assert code == 2
    assert "row 5, column STEROID: it changes within patient 1" in words
    assert "phases_stein2019, a formula in one piece, which cannot change" in words
    code, words = told(tmp_path, *acts, "--carry", "backwards")
    assert code == 2
    assert "--carry backwards: did you mean backward" in words
