"""What the timing scripts share: medians, and runs in a process of their own."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def since(began: float) -> float:
    """Seconds since a reading of `time.perf_counter`."""
    return time.perf_counter() - began


def median_s(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of so many runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(since(began))
    return float(np.median(times))


def peak_mb() -> float:
    """Largest memory this process has had, Python and JAX included (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def alone(
    script: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a script prints as JSON on its last line, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
