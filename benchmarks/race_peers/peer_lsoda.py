# pyright: reportMissingImports=false
"""LSODA (numbalsoda, numba): gradients by the variational equations, simulation."""

import time

import numbalsoda

from .measure import LANES, at_points, lanes_ms, median_ms
from .numba_ode import lsoda_value_and_grad, simulator
from .problem import load_problem
from .simulation import simulated


def timings(task: dict, save) -> None:
    """Values, gradients and simulations; no sampler (`peer_nutpie` has one)."""
    problem = load_problem(task["problem"])
    truth, lanes = problem.points["true"], problem.around_truth(LANES)
    began = time.perf_counter()
    value_and_grad = lsoda_value_and_grad(problem)
    value_and_grad(truth)
    save(
        method="LSODA on 21 variational equations a patient, patient after patient",
        compile_s=round(time.perf_counter() - began, 2),
        points=at_points(problem.points, value_and_grad),
    )
    save(value_and_grad_ms=median_ms(lambda: value_and_grad(truth)))
    save(**lanes_ms(lambda: [value_and_grad(x) for x in lanes]))
    save(**simulated(problem, simulator(problem, numbalsoda.lsoda)))
