# pyright: reportMissingImports=false
"""nutpie's NUTS on the LSODA gradient of `peer_lsoda`."""

import time
from typing import Any

import numpy as np
import nutpie
from nutpie.compiled_pyfunc import from_pyfunc

from .measure import (
    MAX_TREE_DEPTH,
    TARGET_ACCEPTANCE,
    judged,
    median_ms,
    not_through,
    plan,
    usable,
)
from .numba_ode import lsoda_value_and_grad
from .problem import Problem, load_problem


# Gradients of a transition, to plan by; 38 were seen, warm-up included.
GRADIENTS = 48


def compiled(problem: Problem, value_and_grad, seed: int):
    """The posterior as nutpie takes it."""

    def starting(chain_seed):
        return problem.starts(1, seed=(seed, chain_seed))[0]

    return from_pyfunc(
        problem.n_dim,
        lambda: value_and_grad,
        lambda *_: lambda x: {"x": x},
        [np.dtype(np.float64)],
        [(problem.n_dim,)],
        ["x"],
        make_initial_point_fn=starting,
    )


def sampled(
    problem: Problem, task: dict, value_and_grad, gradient_ms: float
) -> dict[str, Any]:
    """NUTS until the plan is done or the time is up."""
    planned = plan(task, gradient_ms, GRADIENTS)
    gradients = 0

    def counted(x):
        nonlocal gradients
        gradients += 1
        return value_and_grad(x)

    began = time.perf_counter()
    sampler = nutpie.sample(
        compiled(problem, counted, task["seed"]),
        draws=planned.draws,
        tune=planned.warmup,
        chains=planned.chains,
        cores=1,
        seed=task["seed"],
        target_accept=TARGET_ACCEPTANCE,
        maxdepth=MAX_TREE_DEPTH,
        progress_bar=False,
        blocking=False,
    )
    try:
        trace = sampler.wait(timeout=task["peer_nuts_s"])
    except TimeoutError:
        trace = sampler.abort()
    wall_s = time.perf_counter() - began
    # Draws that were not reached are NaN.
    rows = [x[np.isfinite(x).all(axis=1)] for x in np.asarray(trace["posterior"]["x"])]
    draws = usable(rows, planned)
    if draws is None:
        return not_through(planned, wall_s, f"{gradients} gradients")
    return judged(
        draws,
        wall_s,
        **planned.facts,
        divergences=int(np.asarray(trace["sample_stats"]["diverging"]).sum()),
        gradients=gradients,
    )


def nuts(task: dict, save) -> None:
    """NUTS within the time allowed."""
    problem = load_problem(task["problem"])
    truth = problem.points["true"]
    began = time.perf_counter()
    value_and_grad = lsoda_value_and_grad(problem)
    value_and_grad(truth)
    save(
        method="nutpie NUTS; gradient by LSODA on the variational equations",
        compile_s=round(time.perf_counter() - began, 2),
    )
    gradient_ms = median_ms(lambda: value_and_grad(truth))
    save(nuts=sampled(problem, task, value_and_grad, gradient_ms))
