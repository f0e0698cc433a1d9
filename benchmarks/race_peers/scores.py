"""What is reported of what the contestants measured: errors, ratios, the machine."""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .problem import Problem


# Agreement that is asked of a file of reference values: of log posteriors, and of
# gradients relative to their largest entry.
AGREES = 1e-6
# R-hat above which there is no saying how much draws are worth.
MIXED_RHAT = 1.1
# Metric -> whether more of it is better.
METRICS = {
    "value_and_grad_ms": False,
    "value_and_grad_16chains_ms": False,
    "simulate_24_ms": False,
    "simulate_1000_ms": False,
    "compile_s": False,
    "nuts.min_ess_per_s": True,
}
LIBRARIES = (
    "ckin jax jaxlib numpy scipy diffrax numpyro blackjax arviz-stats numba numbalsoda "
    "libroadrunner antimony pystan httpstan nutpie"
).split()

Points = dict[str, dict[str, Any]]


def relative_error(grad: Any, reference: Any) -> float:
    """Largest error of a gradient over the largest entry of the reference."""
    error = np.abs(np.asarray(grad) - np.asarray(reference)).max()
    return float(error / np.abs(np.asarray(reference)).max())


def checked_reference(
    own: Points, path: Path, *, asked: bool
) -> tuple[Points, dict[str, Any]]:
    """Reference values to judge by, and what is said of them.

    Args:
        own: of our own solve.
        path: a file with values at "true" and "prior".
        asked: the file was asked for, and holds even where it does not agree.

    Raises:
        FileNotFoundError: no such file, although it was asked for.
    """
    if not path.is_file() and not asked:
        return own, {"source": "own solve at rtol 1e-11"}
    given: Points = json.loads(path.read_text(encoding="utf-8"))
    said: dict[str, Any] = {"file": str(path)}
    fits = True
    for name in ("true", "prior"):
        lengths = [len(values[name]["grad"]) for values in (given, own)]
        if lengths[0] == lengths[1]:
            gap = abs(given[name]["logp"] - own[name]["logp"])
            error = relative_error(own[name]["grad"], given[name]["grad"])
            said[f"own_{name}"] = {"dlogp": gap, "grad_rel_err": error}
            fits = fits and gap < AGREES and error < AGREES
        elif asked:
            raise ValueError(f"{path}: a gradient of another length than the problem's")
        else:
            fits = False
    if not fits and not asked:
        return own, said | {"source": "own solve: the file is of another problem"}
    said["source"] = "file" if fits else "file, which our own solve does NOT agree with"
    return own | {name: given[name] for name in ("true", "prior")}, said


def scored(
    found: dict[str, Any], reference: Points, problem: Problem, cart: np.ndarray
) -> dict[str, Any]:
    """A contestant's entry: values and gradients become errors.

    Args:
        found: what it measured.
        reference: values at the two points.
        problem: the problem.
        cart: E + M at the truth, (patients, samples), of the reference.
    """
    found = dict(found)
    entry: dict[str, Any] = {}
    for name, at in found.pop("points", {}).items():
        entry[f"logp_{name}"] = at["logp"]
        entry[f"dlogp_{name}"] = at["logp"] - reference[name]["logp"]
        error = relative_error(at["grad"], reference[name]["grad"])
        entry[f"grad_rel_err_{name}"] = error
    if "cart_true" in found:
        simulated = problem.reading(np.array(found.pop("cart_true")))
        entry["sim_rel_err"] = float(
            np.abs(simulated / problem.reading(cart) - 1.0).max()
        )
    if "methods" in found:
        found["methods"] = {
            name: scored(method, reference, problem, cart)
            for name, method in found["methods"].items()
        }
    return entry | found


def at_posterior(found: Points, reference: Points) -> dict[str, Any]:
    """Worst errors at the draws of the posterior."""
    gaps = [at["logp"] - reference[name]["logp"] for name, at in found.items()]
    errors = [
        relative_error(at["grad"], reference[name]["grad"])
        for name, at in found.items()
    ]
    return {
        "n": len(gaps),
        "max_abs_dlogp": float(np.abs(gaps).max()),
        "max_grad_rel_err": max(errors),
        "dlogp_range": float(np.ptp(gaps)),
    }


def merged(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Rounds of the same timings as one: of every time in ms the median.

    The first round tells the rest; what went wrong in any round is told too.
    """
    whole = dict(rounds[0])
    for found in rounds:
        if "error" in found:
            return dict(found)
    for name in whole:
        if name.endswith("_ms"):
            whole[name] = float(np.median([found[name] for found in rounds]))
    return whole


def median_seed(runs: list[dict[str, Any]]) -> int:
    """Index of the run with the median `min_ess_per_s` (the lower of two)."""
    rates = [run.get("nuts", {}).get("min_ess_per_s", 0.0) for run in runs]
    return int(np.argsort(rates, kind="stable")[(len(rates) - 1) // 2])


def looked_up(entry: dict[str, Any], metric: str) -> float | None:
    """A metric of an entry by its dotted name."""
    value: Any = entry
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def ratios(ckin: dict[str, Any], peers: dict[str, dict]) -> dict[str, dict[str, Any]]:
    """How many times as good ckin is as each peer, by metric; below 1 it loses.

    Samplers whose chains do not agree are left out.
    """
    table = {}
    for metric, more_is_better in METRICS.items():
        ours, by_peer = looked_up(ckin, metric), {}
        for name, entry in peers.items():
            theirs = looked_up(entry, metric)
            nuts = metric.startswith("nuts.")
            if not ours or not theirs:
                continue
            if not nuts or (_mixed(ckin) and _mixed(entry)):
                by_peer[name] = ours / theirs if more_is_better else theirs / ours
        if by_peer:
            hardest = min(by_peer, key=lambda name: by_peer[name])
            table[metric] = {
                "hardest": hardest,
                "against_hardest": by_peer[hardest],
                "by_peer": by_peer,
            }
    return table


def _mixed(entry: dict[str, Any]) -> bool:
    """Whether chains agree, so that an effective sample size means anything."""
    return entry["nuts"]["rhat_max"] < MIXED_RHAT


def strict(value: Any) -> Any:
    """The same with numbers that JSON lacks (NaN, infinities) as texts."""
    if isinstance(value, dict):
        return {key: strict(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [strict(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def machine(core: int) -> dict[str, Any]:
    """Where and with what it ran."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.is_file() else ())
        if line.startswith("model name")
    ]
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    return {
        "cores": os.cpu_count(),
        "core": core,
        "cpu": names[0] if names else platform.processor(),
        "platform": platform.platform(),
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {
            name: importlib.metadata.version(name)
            for name in LIBRARIES
            if name in installed
        },
    }
