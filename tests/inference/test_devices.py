"""Chains shared out over two devices draw what they draw on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


# Prints the draws of the toy cohort, on as many devices as XLA_FLAGS makes.
SCRIPT = """
import json, sys
import jax
sys.path.insert(0, sys.argv[1])
from toys import QPCR, Line, line_cohort, made
import ckin
from ckin.inference import fit
from ckin.population import population

result = fit(
    line_cohort(6, [6]), population(made(Line), QPCR),
    chains=2, warmup=50, draws=50, seed=4,
)
print(json.dumps({
    "devices": len(jax.devices()),
    "u": result.u[:, :5].tolist(),
}))
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs():
    folder = Path(__file__).resolve().parents[1]
    made = []
    for devices in (1, 2):
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder)],
            env={**os.environ, "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        made.append(json.loads(done.stdout.splitlines()[-1]))
    return made


def test_the_devices_are_used(runs):
    assert [run["devices"] for run in runs] == [1, 2]


def test_two_devices_draw_what_one_draws(runs):
    one, two = (run["u"] for run in runs)
    flat = lambda draws: [x for chain in draws for draw in chain for x in draw]
    # Means are summed in another order, and 50 transitions make 1e-16 grow to 1e-4.
    # Other random numbers would differ by the posterior's SD, 0.1 and more.
    assert flat(one) == pytest.approx(flat(two), rel=0.0, abs=5e-3)
