"""Visual predictive checks: bins, bands that cover, and what correction changes."""

import jax
import numpy as np
import pandas as pd
import pytest
from replicated import LIMIT, read_as

from ckin.check import bins_of, replicate, typical_prediction, vpc


OTHERS = 60


def of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one statistic."""
    return table.query("statistic == @name", local_dict={"name": name})


@pytest.fixture(scope="module")
def others(density, truth):
    return replicate(density, np.tile(truth, (OTHERS, 1)), jax.random.key(3))


def test_a_bin_never_parts_equal_times_and_holds_every_sample():
    time_d = np.repeat([0.0, 1.0, 1.5, 7.0, 30.0], [3, 40, 2, 20, 5])
    edges = bins_of(time_d, 3)
    place = np.searchsorted(edges, time_d, side="right") - 1
    assert edges[0] <= time_d.min()
    assert place.min() == 0
    assert place.max() == len(edges) - 2
    counts = np.bincount(place)
    assert counts.sum() == time_d.size
    assert (counts > 0).all()


def test_bins_of_distinct_times_hold_equally_many():
    counts = np.histogram(np.linspace(0, 9, 120), bins_of(np.linspace(0, 9, 120), 6))[0]
    assert counts.tolist() == [20] * 6


@pytest.mark.parametrize("limit", [0.0, LIMIT], ids=["none", "some"])
def test_bands_hold_the_models_own_data_as_often_as_they_say(
    seen, others, replicates, limit
):
    tables = [vpc(read_as(seen, own, limit), replicates, bins=6) for own in others]
    inside = {
        name: np.mean([of(t, name)["inside"] for t in tables])
        for name in ("q10", "q50", "q90", "below")
    }
    # 60 cohorts x 6 days, those of a cohort going together: 0.9 +- 0.04 for quantiles.
    # Bands of shares have steps (thirtieths), and hold more.
    for name in ("q10", "q50", "q90"):
        assert inside[name] >= 0.85, name
    if limit == 0.0:
        assert max(inside["q10"], inside["q50"], inside["q90"]) <= 0.955
    assert inside["below"] >= 0.85


def test_a_wrong_level_falls_out_of_the_band(seen, others, replicates):
    table = vpc(read_as(seen, others[0] + 1.5), replicates, bins=6)
    assert of(table, "q50")["inside"].to_numpy().mean() < 0.5


def test_correction_changes_nothing_where_all_designs_are_equal(
    density, truth, seen, others, replicates
):
    own = read_as(seen, others[0])
    typical = typical_prediction(density, truth)
    plain = vpc(own, replicates, bins=6)
    corrected = vpc(own, replicates, typical=typical, bins=6)
    for column in ("observed", "low", "middle", "high"):
        np.testing.assert_allclose(plain[column], corrected[column], rtol=1e-12)


def test_correction_takes_out_what_times_within_a_bin_add(
    density, truth, seen, others, replicates
):
    """A steep line in one bin: corrected, 10% to 90% is that of patients alone."""
    own = read_as(seen, others[0], 0.0)
    typical = typical_prediction(density, truth)
    steep = np.linspace(0.0, -6.0, 6)
    moved = read_as(seen, others[0] + steep, 0.0)
    plain = vpc(moved, replicates + steep, bins=1)
    fixed = vpc(moved, replicates + steep, typical=typical + steep, bins=1)
    width = lambda t: np.log(t["observed"][2] / t["observed"][0])
    flat = vpc(own, replicates, typical=typical, bins=1)
    assert width(fixed) == pytest.approx(width(flat))
    assert width(plain) > width(fixed) + 1.0


def test_a_quantile_below_the_limit_is_no_number_and_counts_as_below(
    seen, others, replicates
):
    own = read_as(seen, others[0], 1e4)
    table = vpc(own, replicates, bins=6)
    middle = of(table, "q50")
    assert np.isnan(middle["observed"].to_numpy()).all()
    assert middle["inside"].to_numpy().all()
    share = of(table, "below")
    np.testing.assert_allclose(share["observed"], own.below.mean(axis=0), rtol=1e-12)
