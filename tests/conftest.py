import os
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]

# What XLA compiles is kept between runs; `make clean` removes it. JAX reads these when
# it is imported, in subprocesses too. Programs with run-time checks (every diffrax
# solve) are kept only under EQX_ON_ERROR=nan, which turns the checks into NaN.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

import ckin  # noqa: E402


assert jnp.zeros(()).dtype == "float64", f"{ckin.__name__} switches 64-bit floats on"

# A red test must be red again on the next machine: no deadline, no random seed.
# The slow tier draws more of the same (`make test-slow`).
steady = {"deadline": None, "derandomize": True}
hypothesis.settings.register_profile("ckin", max_examples=40, **steady)
hypothesis.settings.register_profile("bulk", max_examples=400, **steady)
hypothesis.settings.load_profile("ckin")

EXTERNAL = "CKIN_EXTERNAL_DATA"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep a file, or one model's laws, on one worker: they share what they compile.

    The mark xdist_group would say the same, but pytest-xdist 3.8 passes it over under
    pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    models = [path.stem for path in (ROOT / "models").glob("*.py")]

    class ByFileAndModel(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            about = [name for name in models if name in test.partition("[")[2]]
            return f"{file}@{','.join(about)}"

    return ByFileAndModel(config, log)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(20190714)


@pytest.fixture(scope="session")
def external_data() -> Path:
    """Folder of data sets that may not be shipped; tests that want it are skipped."""
    folder = os.environ.get(EXTERNAL, "")
    if not folder:
        pytest.skip(f"set {EXTERNAL} to the folder of the external data sets")
    path = Path(folder)
    # Set and wrong is a mistake, not a reason to skip.
    assert path.is_dir(), f"{EXTERNAL}={folder} is not a folder"
    return path
