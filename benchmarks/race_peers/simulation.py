"""Simulation of the two cohorts of the problem, timed the same way for every peer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .measure import median_ms
from .problem import Problem


def simulated(
    problem: Problem,
    simulate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Times of the small and the large cohort, and E + M of the small one.

    Args:
        problem: gives both cohorts.
        simulate: log parameters (patients, 6) and antigen at the start (patients,) to
            E + M, (patients, samples); it returns when the work is done.
        seconds: to spend on each.
    """
    small = problem.log_p(problem.points["true"]), problem.a0
    large = problem.big_log_p, problem.big_a0
    return {
        "cart_true": np.asarray(simulate(*small)).tolist(),
        "simulate_24_ms": median_ms(lambda: simulate(*small), seconds),
        "simulate_1000_ms": median_ms(lambda: simulate(*large), seconds),
    }
