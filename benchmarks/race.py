"""The race: ckin against the libraries people use, on one hierarchical CAR-T posterior.

    pip install -e . && pip install -r benchmarks/requirements-race.txt
    python benchmarks/race.py --problem problem.json --json race.json

The problem (`race_peers/problem.py` states it; any file of its schema will do) goes
through ckin's public interface: a CSV, the model file `race_model.py`, priors, `fit`.
Beside it, in the same run, the peers:

    diffrax      Tsit5, PIDController, RecursiveCheckpointAdjoint, vmap; NumPyro's NUTS
    lsoda        numbalsoda's LSODA, variational equations by hand, all compiled
    dop853       numbalsoda's DOP853, simulation only
    roadrunner   libroadrunner's CVODE, simulation only
    stan         PyStan: ode_rk45, ode_bdf, ode_adjoint; Stan's NUTS
    nutpie       nutpie's NUTS on the gradient of `lsoda`

Each runs in a process of its own, one after the other, on the same core and one thread:
first the timings (`--rounds` of them in turn, of which the median counts), then NUTS.
Quote ratios of one run, not milliseconds. A peer that is not installed is reported so.
float64; peers' solvers at rtol 1e-6, atol 1e-8. Errors are against
`race_peers/reference.py`, or a file of values where there is one (`--reference`, or
`reference.json` beside the problem). Gradient errors are max|g - ref| / max|ref|.

ckin's grid is laid for readings within `--grid-error` (log10), for draws of the prior
before the timings (`grid_s` says in how long, compilation included) and inside `fit`.
ckin's NUTS does `--chains`, `--warmup`, `--draws`, each seed in a process of its own,
and its wall time is that of the whole `fit` call. A peer's NUTS gets `--peer-nuts-s`
seconds and does as much of the same as fits; its counts stand beside its numbers, and
what numba and Stan need to compile is not in its wall time (`compile_s` has it). ESS
and R-hat are over all that is sampled: log typical values, log omega, log sigma, eta.
Linux only: cores are pinned.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from race_peers import PEERS
from race_peers.problem import Problem, load_problem
from race_peers.scores import (
    at_posterior,
    checked_reference,
    machine,
    median_seed,
    merged,
    ratios,
    scored,
    strict,
)
from race_peers.table import show


WORKER = Path(__file__).with_name("race_peers") / "worker.py"
# Lines of a failed worker that are reported.
TAIL_LINES = 5


class Runner:
    """Runs contestants, one after the other, each in a process of its own.

    Attributes:
        task: what every task holds: problem, core, counts of NUTS.
        folder: for tasks, logs and what contestants write.
    """

    def __init__(self, task: dict[str, Any], folder: Path):
        self._task = task | {"cache": str(folder / "cache")}
        self._folder = folder
        self._count = 0

    def run(
        self, module: str, part: str, install: str = "ckin", **more: Any
    ) -> dict[str, Any]:
        """What a part of a contestant found; "error" is in it where it failed."""
        self._count += 1
        folder = self._folder / f"{self._count}_{module}"
        folder.mkdir()
        out, log = folder / "out.json", folder / "log.txt"
        task = self._task | {"module": module, "part": part, "install": install} | more
        task |= {"out": str(out), "folder": str(folder)}
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        print(f"{module} {part} ...", end=" ", flush=True)
        began = time.perf_counter()
        with log.open("wb") as stream:
            code = _finished(folder / "task.json", stream)
        print(f"{time.perf_counter() - began:.0f} s", flush=True)
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        # A sampler that had to be killed has said so beforehand.
        killed = code == -signal.SIGKILL and "error" in found.get("nuts", {})
        if code != 0 and not killed:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = " | ".join(lines[-TAIL_LINES:])
            found["error"] = f"the process ended with code {code}: {tail}"
        return found

    def timings(self, names: list[str], rounds: int) -> dict[str, dict[str, Any]]:
        """Timings of ckin and of these peers, in turn, the rounds put together."""
        timed = [name for name in names if PEERS[name].timed]
        found: dict[str, list] = {name: [] for name in ("ckin", *timed)}
        for _ in range(rounds):
            found["ckin"].append(self.run("ckin_density", "timings"))
            for name in timed:
                install = PEERS[name].install
                found[name].append(self.run(f"peer_{name}", "timings", install))
        return {name: merged(runs) for name, runs in found.items()}

    def peer_nuts(self, name: str, timings: dict[str, Any]) -> dict[str, Any]:
        """NUTS of a peer; nothing where its timings failed."""
        if "error" in timings:
            return {}
        return self.run(f"peer_{name}", "nuts", PEERS[name].install, timings=timings)


def _finished(task: Path, log: Any) -> int:
    """Exit code of a worker; it and what it started do not outlive an interruption."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(WORKER), str(task)],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def race(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that goes into the JSON file, which is written as results come."""
    problem = load_problem(args.problem)
    runner = Runner(
        {
            "problem": str(args.problem.resolve()),
            "core": args.core,
            "chains": args.chains,
            "warmup": args.warmup,
            "grid_error": args.grid_error,
            "draws": args.draws,
            "seed": 0,
            "peer_nuts_s": args.peer_nuts_s,
        },
        folder,
    )
    result: dict[str, Any] = {"problem": _described(args, problem)}
    result["machine"] = machine(args.core)
    timings = runner.timings(args.peers, args.rounds)
    fits = [runner.run("ckin_nuts", "nuts", seed=seed) for seed in range(args.seeds)]
    chosen = fits[median_seed(fits)] if fits else {}
    solved = runner.run("reference", "values", posterior=chosen.get("posterior", []))
    if "error" in solved:
        raise RuntimeError(f"there is no reference: {solved['error']}")
    beside = args.problem.with_name("reference.json")
    reference, result["reference"] = checked_reference(
        solved["points"], args.reference or beside, asked=args.reference is not None
    )
    cart = np.array(solved["cart_true"])
    ckin = scored(timings["ckin"], reference, problem, cart)
    ckin |= {key: chosen[key] for key in ("nuts", "error") if key in chosen}
    if "points" in chosen:
        ckin["posterior_points"] = at_posterior(chosen["points"], reference)
    if args.seeds > 1:
        ckin["nuts_by_seed"] = [fit.get("nuts", fit) for fit in fits]
    result |= {"ckin": ckin, "peers": {}, "ratios": {}}
    write(args.json, result)
    for name in args.peers:
        found = timings.get(name, {})
        if PEERS[name].samples and args.peer_nuts_s > 0:
            found = found | runner.peer_nuts(name, found)
        result["peers"][name] = scored(found, reference, problem, cart)
        result["ratios"] = ratios(ckin, result["peers"])
        write(args.json, result)
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(strict(result), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _described(args: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    return {
        "file": str(args.problem),
        "patients": problem.n_patients,
        "samples": int(problem.y.size),
        "samples_below_limit": int(problem.cens.sum()),
        "dimensions": problem.n_dim,
        "large_cohort": int(problem.big_a0.size),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", type=Path, required=True, help="problem file")
    parser.add_argument("--json", type=Path, required=True, help="where results go")
    parser.add_argument("--reference", type=Path, help="file of reference values")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--core", type=int, default=min(os.sched_getaffinity(0)), help="core to use"
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="repeats of the timings, taken in turn"
    )
    parser.add_argument("--seeds", type=int, default=1, help="NUTS runs of ckin")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument(
        "--grid-error",
        type=float,
        default=2e-5,
        help="log10 of a reading that ckin's grid may err by",
    )
    parser.add_argument(
        "--peer-nuts-s",
        type=float,
        default=300.0,
        help="seconds that a peer's NUTS may take; 0: none",
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="ckin-race-") as folder:
        result = race(args, Path(folder))
    show(result)
    return int("error" in result["ckin"])


if __name__ == "__main__":
    sys.exit(main())
