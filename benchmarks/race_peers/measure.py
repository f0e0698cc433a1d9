"""What is measured of every contestant: milliseconds, and what its draws are worth."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np


# Chains that are evaluated together.
LANES = 16
# All samplers of the race, ckin's included: at most 2^8 gradients a transition.
MAX_TREE_DEPTH, TARGET_ACCEPTANCE = 8, 0.8
# A warm-up shorter than this leaves step size and metric as they happened to be.
SHORT_WARMUP = 150
# Fewer draws than these have no effective sample size.
LEAST_DRAWS = 8


def median_ms(run: Callable[[], Any], seconds: float = 3.0) -> float:
    """Median of 5 to 200 calls after a first one, milliseconds.

    Args:
        run: what to time; it returns when the work is done.
        seconds: after which no further call starts.
    """
    run()
    times = []
    began = time.perf_counter()
    while len(times) < 5 or (
        time.perf_counter() - began < seconds and len(times) < 200
    ):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(times)), 4)


def lanes_ms(run: Callable[[], Any]) -> dict[str, float]:
    """Time of a call that evaluates `LANES` chains, and of each of them."""
    whole = median_ms(run)
    return {
        "value_and_grad_16chains_ms": whole,
        "value_and_grad_16chains_per_chain_ms": round(whole / LANES, 4),
    }


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a NUTS run may be."""

    chains: int
    warmup: int
    draws: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader must know of the run."""
        if self.warmup >= SHORT_WARMUP:
            return {"warmup": self.warmup}
        return {"warmup": self.warmup, "note": "warm-up too short to adapt"}


def plan(task: dict, gradient_ms: float, gradients: int = 2**MAX_TREE_DEPTH) -> Plan:
    """What fits into `peer_nuts_s`: fewer chains first, then fewer transitions.

    Args:
        task: what is wanted.
        gradient_ms: time of one gradient.
        gradients: of a transition, to plan by.
    """
    transition_s = 1e-3 * gradient_ms * gradients
    affordable = max(2 * LEAST_DRAWS, int(task["peer_nuts_s"] / transition_s))
    wanted = task["warmup"] + task["draws"]
    chains = int(np.clip(affordable // wanted, 1, task["chains"]))
    share = min(1.0, affordable / chains / wanted)
    draws = max(LEAST_DRAWS, int(share * task["draws"]))
    return Plan(chains, int(share * task["warmup"]), draws)


def usable(chains: list[np.ndarray], planned: Plan) -> np.ndarray | None:
    """Draws to judge of a run that was stopped: whole chains, or what the first has.

    Args:
        chains: draws of each chain that began, each (draws, dimensions).
        planned: what was to be run.

    Returns:
        (chains, draws, dimensions), or None where no chain is through its warm-up.
    """
    whole = [rows for rows in chains if len(rows) == planned.draws]
    if whole:
        return np.stack(whole)
    if chains and len(chains[0]) >= LEAST_DRAWS:
        return chains[0][None]
    return None


def not_through(planned: Plan, wall_s: float, done: str) -> dict[str, Any]:
    """What is reported of a run that ended before it had draws to judge."""
    return {
        "error": f"stopped after {wall_s:.0f} s with {done}: not through "
        f"{planned.warmup} of warm-up and {LEAST_DRAWS} draws",
        "wall_s": round(wall_s, 2),
        **planned.facts,
    }


def judged(draws: np.ndarray, wall_s: float, **facts: Any) -> dict[str, Any]:
    """Effective sample size and R-hat over all quantities that were sampled.

    Args:
        draws: (chains, draws, dimensions), unconstrained. A single chain is halved for
            R-hat.
        wall_s: seconds of everything: compilation, starts, warm-up, draws.
        facts: what else is to be reported.
    """
    import xarray as xr
    from arviz_stats.sampling_diagnostics import ess, rhat

    def dataset(values):
        return xr.Dataset({"x": (("chain", "draw", "quantity"), values)})

    chains, n, dimensions = draws.shape
    bulk = ess(dataset(draws), method="bulk")["x"].to_numpy()
    if chains == 1:
        halves = draws[:, : n - n % 2].reshape(2, n // 2, dimensions)
    else:
        halves = draws
    return {
        "wall_s": round(wall_s, 2),
        "min_bulk_ess": float(bulk.min()),
        "median_bulk_ess": float(np.median(bulk)),
        "min_ess_per_s": float(bulk.min() / wall_s),
        "rhat_max": float(rhat(dataset(halves))["x"].max()),
        "chains": chains,
        "draws": n,
        **facts,
    }


def at_points(
    points: dict[str, np.ndarray],
    value_and_grad: Callable[[np.ndarray], tuple[Any, Any]],
) -> dict[str, dict[str, Any]]:
    """Log posterior and gradient at named points, as a JSON file takes them."""
    values = {}
    for name, x in points.items():
        value, grad = value_and_grad(x)
        values[name] = {"logp": float(value), "grad": np.asarray(grad).tolist()}
    return values
