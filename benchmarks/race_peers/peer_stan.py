# pyright: reportMissingImports=false
"""Stan through PyStan: its three ODE solvers with sensitivities, and its NUTS.

PyStan answers through a server of its own and reads the data anew at every call; what
such a call costs without any ODE is measured and taken off. Its cache of programs and
fits is the race's own: PyStan returns a fit that it has seen before at once, and what
compiling costs would not be seen.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import stan

from . import ATOL, RTOL
from .measure import (
    LANES,
    MAX_TREE_DEPTH,
    TARGET_ACCEPTANCE,
    at_points,
    judged,
    median_ms,
    not_through,
    plan,
    usable,
)
from .problem import Problem, load_problem


METHODS = ("rk45", "bdf", "adjoint")
# Stan gives no draws before it is done, so less than the time allowed is planned for.
SHARE_PLANNED = 0.9


def data_of(problem: Problem, method: str) -> dict[str, Any]:
    """The data block of `cart.stan`."""
    constants = {
        name: problem.fix[name] for name in ("K", "gA", "Amax", "dA", "E0", "s", "lloq")
    }
    return constants | {
        "floor_": problem.fix["floor"],
        "N": problem.n_patients,
        "T": problem.time_d.size,
        "P": len(problem.pieces),
        "steps": [piece.grid.size - 1 for piece in problem.pieces],
        "start": [float(piece.grid[0]) for piece in problem.pieces],
        "given": [piece.given for piece in problem.pieces],
        "grid": problem.nodes_d[1:].tolist(),
        "read": (1 + problem.read).tolist(),
        "A0": problem.a0.tolist(),
        "y": problem.y.tolist(),
        "cens": problem.cens.astype(int).tolist(),
        **{name: value.tolist() for name, value in problem.prior.items()},
        "method": METHODS.index(method),
        "rtol": RTOL,
        "atol": ATOL,
    }


def built(problem: Problem, method: str):
    """The program, compiled if it has not been, with its data."""
    program = Path(__file__).with_name("cart.stan").read_text(encoding="utf-8")
    return stan.build(program, data=data_of(problem, method), random_seed=1)


def timed(problem: Problem, model) -> dict[str, Any]:
    """Values and gradients of a model, and the time of a gradient."""
    truth = problem.points["true"].tolist()

    def value_and_grad(x):
        return model.log_prob(x.tolist()), model.grad_log_prob(x.tolist())

    points = at_points(problem.points, value_and_grad)
    call_ms = median_ms(lambda: model.constrain_pars(truth), 1.0)
    whole_ms = median_ms(lambda: model.grad_log_prob(truth))
    return {
        "value_and_grad_ms": round(whole_ms - call_ms, 4),
        "call_ms": call_ms,
        "points": points,
    }


def stop_after(seconds: float) -> threading.Timer:
    """End this task and the processes that PyStan started for it, all of its session.

    What was saved before stands.
    """
    assert os.getpgid(0) == os.getpid()  # a session of our own: `race.py` starts it
    timer = threading.Timer(seconds, os.killpg, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    return timer


def sampled(problem: Problem, task: dict, model, save) -> None:
    """One chain of Stan's NUTS; the task is killed where it takes too long."""
    allowed = task["peer_nuts_s"]
    planned = plan(
        task | {"peer_nuts_s": SHARE_PLANNED * allowed, "chains": 1},
        task["timings"]["value_and_grad_ms"],
    )
    # Stands where the task is killed.
    save(nuts=not_through(planned, allowed, "no sign of the end"))
    typical, log_omega, log_sigma, eta = problem.split(
        problem.starts(1, task["seed"])[0]
    )
    start = {
        "theta": typical.tolist(),
        "logom": log_omega.tolist(),
        "logsig": float(log_sigma),
        "eta": eta.T.tolist(),
    }
    timer = stop_after(allowed)
    began = time.perf_counter()
    fit = model.sample(
        num_chains=1,
        num_warmup=planned.warmup,
        num_samples=planned.draws,
        init=[start],
        delta=TARGET_ACCEPTANCE,
        max_depth=MAX_TREE_DEPTH,
    )
    wall_s = time.perf_counter() - began
    timer.cancel()
    parts = [fit[name] for name in ("theta", "logom", "logsig")]
    rows = [part.reshape(-1, planned.draws) for part in parts]
    # eta is (4, patients, draws); x has it patient by patient.
    rows.append(np.swapaxes(fit["eta"], 0, 1).reshape(-1, planned.draws))
    draws = usable([np.concatenate(rows).T], planned)
    if draws is None:
        save(nuts=not_through(planned, wall_s, f"{planned.draws} draws"))
        return
    report = judged(
        draws,
        wall_s,
        **planned.facts,
        divergences=int(np.sum(fit["divergent__"])),
        gradients_of_draws=int(np.sum(fit["n_leapfrog__"])),
    )
    save(nuts=report)


def timings(task: dict, save) -> None:
    """Values and gradients of the three solvers."""
    problem = load_problem(task["problem"])
    os.environ["XDG_CACHE_HOME"] = task["cache"]
    methods: dict[str, dict[str, Any]] = {}
    models = {}
    for method in METHODS:
        began = time.perf_counter()
        models[method] = built(problem, method)
        if len(models) == 1:
            save(compile_s=round(time.perf_counter() - began, 2))
        try:
            methods[method] = timed(problem, models[method])
        except RuntimeError as refused:
            # PyStan's way to say that a solve failed; NUTS would reject the step.
            methods[method] = {"error": str(refused)}
    solved = {name: at for name, at in methods.items() if "error" not in at}
    if not solved:
        save(methods=methods, error="none of Stan's solvers solved the problem")
        return
    best = min(solved, key=lambda name: solved[name]["value_and_grad_ms"])
    save(
        method=f"ode_{best}, the quickest of Stan's three; Stan NUTS",
        best=best,
        methods=methods,
        points=solved[best]["points"],
        value_and_grad_ms=solved[best]["value_and_grad_ms"],
    )
    lanes = problem.around_truth(LANES).tolist()
    many_ms = median_ms(lambda: [models[best].grad_log_prob(x) for x in lanes])
    many_ms -= LANES * solved[best]["call_ms"]
    save(
        value_and_grad_16chains_ms=round(many_ms, 4),
        value_and_grad_16chains_per_chain_ms=round(many_ms / LANES, 4),
    )


def nuts(task: dict, save) -> None:
    """NUTS with the quickest of the three."""
    problem = load_problem(task["problem"])
    os.environ["XDG_CACHE_HOME"] = task["cache"]
    sampled(problem, task, built(problem, task["timings"]["best"]), save)
