"""Sensitivity on the toy: log of the last level is log s - k T, a sum of two parts."""

import numpy as np
import pytest
from questions import ARMS, FOLLOW_D, OUTCOMES, scenario

from ckin.errors import InputError
from ckin.scenario import PeopleSpec, sensitivity


PRIOR = PeopleSpec(source="prior", draw=("loss", "scale"), draws=4, patients=3)
END = tuple(outcome for outcome in OUTCOMES if outcome.name == "end")
# Priors of the toy: log-normal, 0.1 and 1e-6, SD 0.3 and 0.2 of the logarithm.
LOSS, LOSS_SD, SCALE_SD = 0.1, 0.3, 0.2


@pytest.fixture(scope="module")
def asked():
    arms = (ARMS[0], ARMS[2])
    return scenario(arms, people=PRIOR, outcomes=END)


def test_a_tornado_is_the_closed_form(asked):
    rows = sensitivity(asked, "tornado")
    reach = 1.6448536269514722
    alone = {r["parameter"]: r for r in rows if not r["against"]}
    assert set(alone) == {"loss", "scale"}
    for name, row in alone.items():
        assert row["base"] == pytest.approx(np.log(300.0) - LOSS * FOLLOW_D, rel=1e-3)
        if name == "scale":
            ends = row["base"] + np.array([-1, 1]) * reach * SCALE_SD
        else:
            tried = LOSS * np.exp(np.array([-1, 1]) * reach * LOSS_SD)
            assert [row["at_low"], row["at_high"]] == pytest.approx(tried.tolist())
            ends = np.log(300.0) - tried * FOLLOW_D
        # Steps err by 1e-4 of a level, and the level falls to 1e-7.
        assert [row["value_low"], row["value_high"]] == pytest.approx(
            ends.tolist(), abs=2e-3
        )
    # Twice the dose is twice the level, whatever the parameters.
    for row in rows:
        if row["against"]:
            assert row["base"] == pytest.approx(np.log(2.0))
            assert row["reach"] == pytest.approx(0.0, abs=1e-10)


def test_sobols_indices_are_shares_of_a_sum(asked):
    rows = sensitivity(asked, "sobol", base_points=256)
    spread = np.expm1(LOSS_SD**2) * np.exp(LOSS_SD**2) * LOSS**2 * FOLLOW_D**2
    share = {"loss": spread, "scale": SCALE_SD**2}
    whole = sum(share.values())
    alone = {r["parameter"]: r for r in rows if not r["against"]}
    for name, row in alone.items():
        exact = share[name] / whole
        # 90% intervals of SALib, and the ends of the priors that are cut off.
        for index in ("first", "total"):
            reach = 3.0 * row[f"{index}_error"] + 0.02
            assert row[index] == pytest.approx(exact, abs=reach), (name, index)
    # Nothing moves the ratio of double to one: there is no variance to share.
    assert all(np.isnan(row["total"]) for row in rows if row["against"])


def test_what_has_no_prior_is_refused(asked):
    typical = scenario(ARMS[:2], people=PeopleSpec(source="typical"))
    with pytest.raises(InputError, match='source = "prior"'):
        sensitivity(typical, "tornado")
    with pytest.raises(InputError, match="choose tornado or sobol"):
        sensitivity(asked, "morris")
