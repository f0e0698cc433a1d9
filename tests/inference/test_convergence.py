"""Laws of the verdict: each way to fail is told, and only those."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from toys import QPCR, line_cohort

from ckin.inference.convergence import diagnostics, verdict
from ckin.inference.density import make_density
from ckin.inference.results import summarise
from ckin.library import load_model
from ckin.population import pack, population


GOOD = {"r_hat": 1.001, "ess_bulk": 900.0, "ess_tail": 700.0}


def judged(divergences=0, draws=2000, unsolved=0, **worse):
    table = pd.DataFrame([GOOD, {**GOOD, **worse}], index=["tmax", "cmax"])
    return verdict(table, divergences=divergences, draws=draws, unsolved=unsolved)


def test_a_good_fit_has_no_reason_against_it():
    assert judged() == judged(divergences=10)  # half a percent is allowed
    assert judged().converged
    assert judged().reasons == ()


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        ({"r_hat": 1.05}, "R-hat of cmax is 1.050"),
        ({"ess_bulk": 120.0}, "bulk effective sample size of cmax is 120"),
        ({"ess_tail": 90.0}, "tail effective sample size of cmax is 90"),
        ({"divergences": 11}, "11 of 2000 transitions diverged"),
        ({"unsolved": 3}, "3 solves failed"),
        ({"r_hat": np.nan}, "of cmax cannot be computed"),
        ({"ess_tail": np.nan}, "of cmax cannot be computed"),
    ],
)
def test_each_way_to_fail_is_told(worse, words):
    found = judged(**worse)
    assert not found.converged
    assert len(found.reasons) == 1
    assert words in found.reasons[0]


def test_several_reasons_are_all_told():
    assert len(judged(r_hat=1.2, ess_bulk=10.0, divergences=500).reasons) == 3


def test_further_reasons_end_a_convergence_and_come_last():
    good, bad = judged(), judged(r_hat=1.2)
    assert good.also(()) == good
    assert not good.also(("too coarse",)).converged
    assert bad.also(("too coarse",)).reasons == (*bad.reasons, "too coarse")
    assert bad.also(("too coarse",)).longer_helps


def test_chains_apart_have_a_large_r_hat_and_independent_draws_a_full_ess():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(4, 500))
    apart = drawn + np.array([[0.0], [0.0], [0.0], [3.0]])
    each = {"good": (("chain", "draw"), drawn), "apart": (("chain", "draw"), apart)}
    table = diagnostics(xr.Dataset(each)).to_dict()
    assert table["r_hat"]["good"] < 1.01
    assert table["r_hat"]["apart"] > 1.3
    # 2000 independent draws; the estimate's own error is some 10%.
    assert table["ess_bulk"]["good"] > 1500
    assert table["ess_bulk"]["apart"] < 50


def test_one_chain_is_judged_not_to_tell():
    drawn = np.random.default_rng(0).normal(size=(1, 500))
    table = diagnostics(xr.Dataset({"tmax": (("chain", "draw"), drawn)}))
    found = verdict(table, divergences=0, draws=500, unsolved=0)
    assert not found.converged
    assert "cannot be computed" in found.reasons[0]


def test_an_infinite_draw_has_a_summary_without_an_sd():
    """The CV% of an ω of 40 is; a warning is an error here."""
    whole = population(load_model("phases_stein2019"), QPCR)
    density = make_density(whole, pack(line_cohort(2, (3,)), whole))
    rng = np.random.default_rng(0)
    u = np.asarray(density.start) + 0.1 * rng.normal(size=(2, 50, density.n_hyper))
    u[0, 0, density.names.index("omega_tmax")] = np.log(40.0)
    summary, _ = summarise(density, u)
    endless = summary.loc[np.isinf(summary["mean"])]
    assert len(endless) > 0
    assert endless["parameter"].str.startswith("cv_pct_").all()
    assert endless["sd"].isna().all()
    assert np.isfinite(endless[["q05", "q50"]]).all(axis=None)
