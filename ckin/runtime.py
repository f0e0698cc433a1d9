"""JAX as a command of ckin wants it, set before anything is compiled.

A library leaves these settings to its user; a command line has to choose. Whatever the
environment already says stands.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import jax


# How XLA compiles a loop for the CPU. A loop over fewer bytes than this becomes one
# native function. Otherwise each array operation of each turn is started on its own,
# which costs more than the arithmetic of a few hundred lanes: measured, a gradient is
# 2.3 times as fast (docs/methods.md).
WHOLE_LOOPS = (
    f"xla_cpu_small_while_loop_byte_threshold={2**40},xla_cpu_disable_loop_unrolling"
)

# jaxlib 0.10, the last for Python 3.11, makes an MLIR context for every fused operation
# outside loops. Without, a gradient compiles in half the time and is as fast. Later
# ones have no such flag, and stop at a flag that they do not know.
LEAN_FUSIONS = "--xla_cpu_use_fusion_emitters=false"
WITH_LEAN_FUSIONS = "0.10."

# Seconds of compiling under which a program is not worth keeping: a fit has a hundred
# small ones of 30 ms each, whose files have 1 MB together and are read in 0.5 s.
WORTH_KEEPING_S = 0.0


# What JAX calls the making of a program: put to XLA, and made by it or from the cache.
_COMPILING = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


@contextlib.contextmanager
def compile_clock() -> Iterator[Callable[[], float]]:
    """Seconds of compiling since it was entered; tracing is not in it."""
    spent: list[float] = []

    def heard(event: str, duration_secs: float, **_: str | int) -> None:
        if event in _COMPILING:
            spent.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield lambda: sum(spent)
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def cache_folder() -> Path:
    """Folder of what was compiled, where this system keeps caches of a user."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ckin" / "xla"


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_up_xla() -> None:
    """Set `WHOLE_LOOPS` and `LEAN_FUSIONS`, unless the environment has its own.

    Has to come before JAX is used for the first time; later it does nothing.
    """
    wanted = [f"--xla_backend_extra_options={WHOLE_LOOPS}"]
    if version("jaxlib").startswith(WITH_LEAN_FUSIONS):
        wanted.append(LEAN_FUSIONS)
    flags = os.environ.get("XLA_FLAGS", "")
    for flag in wanted:
        if flag.split("=")[0] not in flags:
            flags = f"{flags} {flag}".strip()
    os.environ["XLA_FLAGS"] = flags


def prepare() -> None:
    """Keep compiled programs between runs, and make a device of every core.

    Has to come before JAX is used and before equinox is imported.
    """
    # Programs with run-time checks, as every diffrax solve is, are kept only if a
    # failed check gives NaN; a failed solve is told by its result all the same.
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING_S)
    made = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not made and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", usable_cores())
