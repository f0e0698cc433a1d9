"""Fits that end early and go on: what a person sees, and what the draws are."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typed import typed

from ckin import analysis
from ckin.inference.checkpoint import open_checkpoint


CHAINS, WARMUP, DRAWS = 2, 100, 50


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four synthetic patients of one cycle."""
    file = tmp_path_factory.mktemp("data") / "few.csv"
    made = typed(
        *("simulate", "--model", "phases_stein2019", "--protocol", "szcart01-cart1"),
        *("--n", 4, "--seed", 1, "--limit", "qpcr=50", "--out", file),
    )
    assert made.exit_code == 0, made.output
    return file


def command(data: Path, out: Path, *more: int | str) -> list[str]:
    asked = ["fit", str(data), "--model", "phases_stein2019", "--out", str(out)]
    asked += ["--vary", "cmax", "--method", "nuts", "--chains", str(CHAINS)]
    asked += ["--warmup", str(WARMUP), "--draws", str(DRAWS)]
    return [*asked, *map(str, more)]


# What needs no sampler


def test_interrupted_says_how_to_go_on(data, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(analysis, "run_fit", interrupted)
    monkeypatch.setattr(sys, "argv", ["ckin", "fit", "my data.csv", "--force"])
    found = typed(*command(data, tmp_path / "fit"))
    assert found.exit_code == 130
    assert "kept in" in found.output
    assert "ckin fit 'my data.csv' --resume" in found.output


def test_an_interrupted_fit_is_not_written_over_by_mistake(data, tmp_path):
    open_checkpoint(tmp_path / "fit" / "checkpoint", {}, draws=1, resume=False)
    found = typed(*command(data, tmp_path / "fit"))
    assert found.exit_code == 2
    assert "--resume" in found.output
    assert "--force" in found.output


def test_to_start_anew_and_to_go_on_is_one_wish_too_many(data, tmp_path):
    found = typed(*command(data, tmp_path / "fit", "--resume", "--force"))
    assert found.exit_code == 2
    assert "give one of them" in found.output


def test_another_fit_in_the_folder_is_refused(data, tmp_path):
    folder = tmp_path / "fit" / "checkpoint"
    open_checkpoint(folder, {"settings": {"seed": 7}}, draws=DRAWS, resume=False)
    found = typed(*command(data, tmp_path / "fit", "--resume"))
    assert found.exit_code == 2
    assert "seed was 7, is now 0" in found.output


# In a process of its own


# Runs what follows it, with a limit on the size of a file.
LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


def start(asked: list[str], limit: int | None = None) -> subprocess.Popen:
    limited = [] if limit is None else [sys.executable, "-c", LIMITED, str(limit)]
    return subprocess.Popen(
        [*limited, sys.executable, "-m", "ckin.cli", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As the command sets it: what is compiled is then kept for the next start.
        env=os.environ | {"EQX_ON_ERROR": "nan", "JAX_NUM_CPU_DEVICES": "2"},
    )


def finished(asked: list[str], limit: int | None = None) -> tuple[int, str]:
    process = start(asked, limit)
    text, _ = process.communicate(timeout=1200)
    return process.returncode, text


def steps(out: Path) -> int:
    return len(list((out / "checkpoint").glob("*.npz")))


def draws(out: Path) -> dict[str, np.ndarray]:
    found = {}
    for group in ("posterior", "sample_stats", "log_likelihood"):
        with xr.open_dataset(
            out / "posterior.nc", group=group, engine="h5netcdf"
        ) as table:
            found |= {f"{group}.{k}": v.to_numpy() for k, v in table.data_vars.items()}
    return found


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """A fit that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "fit"
    code, text = finished(command(data, out))
    assert code in (0, 1), text
    return out


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_gives_the_same_draws_bit_for_bit(
    data, whole, tmp_path
):
    out, chance, kills = tmp_path / "fit", random.Random(20261127), []
    last = steps(whole)
    # In the start, in warm-up, in sampling, and wherever the dice fall.
    for target in (0, chance.randint(1, 5), chance.randint(6, last - 1), last - 1):
        process = start(command(data, out, "--resume"))
        while steps(out) < target and process.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.5 if target else 8.0))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills.append(steps(out))
    code, text = finished(command(data, out, "--resume"))
    assert code in (0, 1), text
    assert kills == sorted(kills)
    assert f"resumed: {kills[-1]}" in text or kills[-1] == last
    one, other = draws(whole), draws(out)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert (whole / "summary.csv").read_bytes() == (out / "summary.csv").read_bytes()


@pytest.mark.slow
def test_a_finished_fit_says_so_and_gives_more_draws_on_demand(data, whole):
    before = draws(whole)
    code, text = finished(command(data, whole, "--resume"))
    assert code in (0, 1), text
    assert "finished already" in text
    np.testing.assert_array_equal(
        draws(whole)["posterior.cmax"], before["posterior.cmax"]
    )
    had = before["posterior.cmax"].shape[1]
    longer = [*command(data, whole, "--resume"), "--draws", str(had + 25)]
    code, text = finished(longer)
    assert code in (0, 1), text
    after = draws(whole)["posterior.cmax"]
    assert after.shape[1] >= had + 25
    np.testing.assert_array_equal(after[:, :had], before["posterior.cmax"])


@pytest.mark.slow
def test_interrupting_from_the_keyboard_keeps_what_was_done(data, tmp_path):
    out = tmp_path / "fit"
    # A shell starts what it runs in the background deaf to the keyboard.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start(command(data, out))
    signal.signal(signal.SIGINT, before)
    while steps(out) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert "--resume" in text
    assert steps(out) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("limit", [20_000, 60_000], ids=["a step", "the results"])
def test_a_full_disk_ends_with_a_message(data, tmp_path, limit):
    """A limit on the size of a file is the full disk that a test can have."""
    out = tmp_path / "fit"
    asked = [*command(data, out), "--method", "map", "--draws", "400"]
    code, text = finished(asked, limit)
    assert code == 2, text
    assert "cannot be written (File too large)" in text
    assert "Traceback" not in text
    json.loads((out / "checkpoint" / "index.json").read_text())
    code, text = finished([*asked, "--resume"])
    assert code in (0, 1), text
