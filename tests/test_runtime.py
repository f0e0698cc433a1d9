"""What a command sets before it compiles, and that the environment comes first."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from ckin import runtime


SCRIPT = """
import os
from ckin import runtime
runtime.prepare()
import jax
print(len(jax.devices()))
print(jax.config.jax_compilation_cache_dir)
print(os.environ["EQX_ON_ERROR"])
"""
SET = (
    *("EQX_ON_ERROR", "JAX_COMPILATION_CACHE_DIR", "JAX_NUM_CPU_DEVICES"),
    *("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "XLA_FLAGS"),
)


def prepared(**environment: str) -> list[str]:
    """What a process has after `prepare`, in this environment."""
    clean = {key: value for key, value in os.environ.items() if key not in SET}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**clean, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_command_keeps_what_it_compiles_and_uses_every_core(tmp_path):
    devices, folder, checks = prepared(XDG_CACHE_HOME=str(tmp_path))
    assert int(devices) == runtime.usable_cores()
    assert folder == str(tmp_path / "ckin" / "xla") or sys.platform != "linux"
    assert checks == "nan"


def test_the_environment_comes_first(tmp_path):
    mine = str(tmp_path / "mine")
    found = prepared(
        JAX_COMPILATION_CACHE_DIR=mine, JAX_NUM_CPU_DEVICES="1", EQX_ON_ERROR="raise"
    )
    assert found == ["1", mine, "raise"]
    found = prepared(XLA_FLAGS="--xla_force_host_platform_device_count=3")
    assert found[0] == "3"


FLAGS = "import os, ckin, jax; jax.devices(); print(os.environ['XLA_FLAGS'])"


WHOLE = f"--xla_backend_extra_options={runtime.WHOLE_LOOPS}"
# Only of jaxlibs that know it: others stop.
LEAN = [runtime.LEAN_FUSIONS] * (version("jaxlib").startswith("0.10."))


@pytest.mark.parametrize(
    ("mine", "kept"),
    [
        ([], [WHOLE, *LEAN]),
        (
            ["--xla_force_host_platform_device_count=2"],
            ["--xla_force_host_platform_device_count=2", WHOLE, *LEAN],
        ),
        (
            ["--xla_backend_extra_options=a=b"],
            ["--xla_backend_extra_options=a=b", *LEAN],
        ),
    ],
)
def test_importing_ckin_sets_flags_of_xla_unless_told_otherwise(mine, kept):
    done = subprocess.run(
        [sys.executable, "-c", FLAGS],
        env={**os.environ, "XLA_FLAGS": " ".join(mine)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == kept
