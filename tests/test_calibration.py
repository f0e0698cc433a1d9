"""Laws of calibration: what ranks say of samplers that are right and of wrong ones."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from typed import typed

from ckin import calibration
from ckin.calibration import (
    LIKELIHOOD,
    RANKED,
    Design,
    as_json,
    calibrate,
    replicate,
)
from ckin.calibration_report import write_report
from ckin.errors import InputError
from ckin.ranked import by_name, ecdf, judged, uniforms
from ckin.simulation import Watch


DESIGN = Design("phases_stein2019", "szcart01-cart1", patients=4)


def told(number: int, ranks: dict[str, int], converged: bool = True) -> dict:
    return {
        "number": number,
        "truth": dict.fromkeys(ranks, 0.0),
        "ranks": ranks,
        "of": RANKED,
        "converged": converged,
        "reasons": [],
        "divergences": 0,
        "below_limit_pct": 20.0,
        "seconds": 1.0,
    }


def normal_ranks(
    n: int,
    *,
    shift: float = 0.0,
    width: float = 1.0,
    noise: float = 1.0,
    higher: float = 0.0,
) -> list[dict]:
    """A normal mean with known answer, by a sampler that is off by so much.

    One reading of this noise; truths higher than their prior by so much.
    """
    rng = np.random.default_rng(1)
    found = []
    for number in range(n):
        ranks, prior = {}, {}
        for name in ("a", "b"):
            truth = rng.normal() + higher
            variance = noise**2 / (1.0 + noise**2)
            middle = variance * (truth + noise * rng.normal()) / noise**2
            sd = np.sqrt(variance)
            draws = middle + sd * (width * rng.normal(size=RANKED) + shift)
            ranks[name] = int((draws < truth).sum())
            prior[name] = float(norm.cdf(truth))
        found.append({**told(number, ranks), "prior": prior})
    return found


def test_a_sampler_that_is_right_is_calibrated():
    found = judged(normal_ranks(200))
    assert found.calibrated
    for row in found.coverage.to_dict("records"):
        # Binomial of 200: 4 SDs.
        for level in (50, 80, 90, 95):
            sd = np.sqrt(level * (100 - level) / 200)
            assert abs(row[f"in_{level}_pct"] - level) < 4.0 * sd
        assert row["in_90_low"] < 90.0 < row["in_90_high"]


@pytest.mark.parametrize("wrong", [{"shift": 0.7}, {"width": 0.6}, {"width": 1.8}])
def test_a_sampler_that_is_off_or_too_sure_or_too_unsure_is_found_out(wrong):
    assert not judged(normal_ranks(200, **wrong)).calibrated


def test_the_luck_of_the_prior_is_taken_out_of_mean_ranks_and_an_error_is_not():
    # Readings that tell next to nothing: ranks are places in the prior.
    lucky = judged(normal_ranks(200, noise=5.0, higher=0.5))
    for row in lucky.coverage.to_dict("records"):
        assert row["mean_rank"] - 0.5 > 3.0 * row["mean_rank_error"]
        # A tenth of the luck comes from the data, and 4 SDs.
        assert abs(row["given_prior"] - 0.5) < 0.01 + 4.0 * row["given_prior_error"]
        assert row["given_prior_error"] < 0.5 * row["mean_rank_error"]
    wrong = judged(normal_ranks(200, noise=5.0, shift=0.3))
    for row in wrong.coverage.to_dict("records"):
        assert row["given_prior"] < 0.5 - 4.0 * row["given_prior_error"]


def test_mean_ranks_stand_where_places_in_the_prior_are_not_told():
    records = normal_ranks(50)
    del records[3]["prior"]
    found = judged(records).coverage
    assert np.isnan(found["given_prior"].to_numpy()).all()
    assert np.all(np.abs(found["mean_rank"].to_numpy() - 0.5) < 0.1)


def test_the_band_holds_all_of_a_uniform_sample_as_often_as_it_says():
    rng, n, inside = np.random.default_rng(2), 100, 0
    for _ in range(200):
        _, found, low, high = ecdf(rng.uniform(size=n), 1)
        inside += bool(((found >= low) & (found <= high)).all())
    # 95% of 200, 4 SDs (and the band itself is found by simulation).
    assert 177 <= inside <= 200


def test_ranks_of_a_right_fit_are_uniform_numbers():
    ranks = pd.DataFrame({"rank": np.arange(RANKED + 1), "of": RANKED})
    values = uniforms(ranks)
    assert ((values > 0.0) & (values < 1.0)).all()
    assert (np.floor(values * (RANKED + 1)) == ranks["rank"]).all()


def counted(calls: list[int]):
    def run(design, numbers):
        # In any order, as a cluster returns them.
        for number in reversed(numbers):
            calls.append(number)
            yield told(number, {"a": number % (RANKED + 1), "b": 5})

    return run


def test_what_was_done_is_not_done_again_and_more_go_on(tmp_path):
    calls: list[int] = []
    first = calibrate(DESIGN, tmp_path, replicates=20, run=counted(calls))
    assert sorted(calls) == list(range(20))
    again = calibrate(DESIGN, tmp_path, replicates=20, run=counted(calls))
    assert len(calls) == 20
    pd.testing.assert_frame_equal(first.ranks, again.ranks)
    calibrate(DESIGN, tmp_path, replicates=25, run=counted(calls))
    assert sorted(calls[20:]) == list(range(20, 25))
    calibrate(DESIGN, tmp_path, replicates=20, anew=True, run=counted(calls))
    assert len(calls) == 45


def test_an_interrupted_calibration_keeps_what_was_finished(tmp_path):
    def dies(design, numbers):
        yield told(numbers[0], {"a": 1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(DESIGN, tmp_path, replicates=20, run=dies)
    calls: list[int] = []
    calibrate(DESIGN, tmp_path, replicates=20, run=counted(calls))
    assert sorted(calls) == list(range(1, 20))


def test_another_design_in_the_folder_is_refused(tmp_path):
    calibrate(DESIGN, tmp_path, replicates=20, run=counted([]))
    other = Design("phases_stein2019", "szcart01-cart1", patients=5)
    with pytest.raises(InputError, match="patients was 4, is now 5"):
        calibrate(other, tmp_path, replicates=20, run=counted([]))


def test_a_design_survives_json():
    design = Design(
        "phases_stein2019",
        "szcart01-cart1",
        watch=Watch(
            ("qpcr",), {"qpcr": 25.0}, errors=("student_t",), sigmas=("qpcr=0.3",)
        ),
        vary=("cmax",),
        correlate=("cmax,tmax",),
        eta="student_t",
        iov=("tmax",),
        values={"cmax": 1e4},
    )
    assert calibration._design(as_json(design)) == design


def test_the_report_names_what_is_outside_and_what_did_not_converge(tmp_path):
    records = normal_ranks(100, shift=1.0)
    records[3]["converged"] = False
    records[4] = {**records[4], "ranks": {}, "converged": None}
    lines = write_report(DESIGN, judged(records), tmp_path)
    assert lines[0] == "NOT CALIBRATED: ranks outside the band for a, b"
    assert "1 of 99 fits did not converge" in lines[1]
    assert "1 cohorts left out" in lines[2]
    assert (tmp_path / "rank_ecdf.png").stat().st_size > 10_000


def test_the_command_says_calibrated_or_not_by_its_exit_code(tmp_path, monkeypatch):
    right, wrong = normal_ranks(60), normal_ranks(60, shift=1.5)
    asked = ["calibrate", "--model", "phases_stein2019", "--protocol"]
    asked += ["szcart01-cart1", "--replicates", "60", "--out"]
    for name, records, code in (("right", right, 0), ("wrong", wrong, 1)):
        monkeypatch.setattr(calibration, "_here", lambda _, n, r=records: iter(r))
        found = typed(*asked, tmp_path / name)
        assert found.exit_code == code, found.output
        assert "no patient measured" in found.output
    found = typed(*asked, tmp_path / "x", "--method", "vi")
    assert found.exit_code == 2


@pytest.mark.slow
def test_a_replicate_is_its_seed_and_ranks_everything(tmp_path):
    design = Design(
        "phases_stein2019",
        "szcart01-cart1",
        patients=4,
        watch=Watch(("qpcr",), {"qpcr": 50.0}),
        vary=("cmax",),
        chains=2,
        warmup=100,
        draws=50,
        seed=3,
    )
    told_design = as_json(design)
    once, again = (replicate(told_design, 1) for _ in range(2))
    other = replicate(told_design, 2)
    for record in (once, again):
        record.pop("seconds")
    assert once == again
    assert other["truth"] != once["truth"]
    assert set(once["ranks"]) == {*once["truth"], LIKELIHOOD}
    assert all(0 <= rank <= once["of"] == RANKED for rank in once["ranks"].values())
    json.dumps(once)


@pytest.mark.slow
def test_patients_who_are_correlated_and_cycles_that_differ_are_ranked_too():
    design = Design(
        str(Path(__file__).parent / "scenario" / "linear.py"),
        "szcart01-two-cycles",
        patients=3,
        horizon_d=56.0,
        estimate=("loss", "scale"),
        vary=("loss", "scale"),
        correlate=("loss,scale",),
        eta="student_t",
        iov=("loss",),
        method="map",
        draws=50,
    )
    record = replicate(as_json(design), 0)
    assert {"omega_iov_loss", "corr_loss_scale"} <= set(record["truth"])
    assert set(record["ranks"]) == {*record["truth"], LIKELIHOOD}
    assert -1.0 < record["truth"]["corr_loss_scale"] < 1.0


@pytest.mark.slow
def test_a_cluster_gives_the_same_replicates(tmp_path):
    from ckin.cluster import dask_runs

    design = Design(
        "phases_stein2019",
        "szcart01-cart1",
        patients=3,
        vary=("cmax",),
        method="map",
        chains=2,
        draws=100,
    )
    with dask_runs(workers=1) as run:
        far = calibrate(design, tmp_path / "far", replicates=3, run=run)
    here = calibrate(design, tmp_path / "here", replicates=3)
    pd.testing.assert_frame_equal(far.ranks, here.ranks)


@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_of_this_machine_with_one_message(tmp_path):
    asked = [sys.executable, "-c", "from ckin.cli import main; main()", "calibrate"]
    asked += ["--model", DESIGN.model, "--protocol", DESIGN.protocol]
    asked += ["--method", "map", "--dask", "local", "--out", str(tmp_path / "out")]
    # A shell starts what it runs in the background deaf to the keyboard.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        asked,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    done = lambda: len(list((tmp_path / "out" / "replicates").glob("*.json")))
    while not done() and process.poll() is None:
        time.sleep(0.1)
    # As the keyboard does: to the command and to all that it started.
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 130, text
    *progress, last = text.strip().splitlines()
    assert all("replicates" in line for line in progress), text
    assert last.startswith("interrupted; finished replicates are kept in"), text
    assert done() < 200


def test_groups_keep_their_order():
    rows = {"number": [0, 0], "parameter": ["z", "a"], "rank": [1, 2], "of": [9, 9]}
    assert list(by_name(pd.DataFrame(rows))) == ["z", "a"]
