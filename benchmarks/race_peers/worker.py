"""The process of one contestant. Run by `benchmarks/race.py`:

    python -P benchmarks/race_peers/worker.py TASK.json

The task is pinned to one core and one thread before any library is loaded. What it
measures is written to the file `out` as it goes, so that a task that had to be stopped
leaves what it has.
"""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any


# Libraries read these when they are loaded.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def pin(core: int) -> None:
    """This process on one core, its libraries on one thread, JAX on the CPU."""
    os.sched_setaffinity(0, {core})
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    os.environ["JAX_PLATFORMS"] = "cpu"
    # A cache on disk would hide what compiling costs.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def contestant(module: str) -> Any:
    """A module of this package.

    The package is loaded by its place, not from `sys.path`: with `benchmarks` there,
    numba would take `benchmarks/coverage.py` for the tool of that name.
    """
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "race_peers", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None  # the file is there
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["race_peers"] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"race_peers.{module}")


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    pin(task["core"])
    found: dict[str, Any] = {}

    def save(**entries: Any) -> None:
        found.update(entries)
        Path(task["out"]).write_text(json.dumps(found), encoding="utf-8")

    try:
        module = contestant(task["module"])
    except ModuleNotFoundError as missing:
        save(error=f"no module {missing.name}: pip install {task['install']}")
        return
    getattr(module, task["part"])(task, save)


if __name__ == "__main__":
    main()
