"""What `ckin fit` makes of --correlate, --eta, --iov, --covariate and --screen."""

import pytest

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
