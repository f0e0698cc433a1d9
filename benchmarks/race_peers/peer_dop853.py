# pyright: reportMissingImports=false
"""DOP853 (numbalsoda, numba): simulation only.

On the 21 variational equations this DOP853 reported success with errors of 10%, so it
gives no gradients here.
"""

import time

import numbalsoda

from .numba_ode import simulator
from .problem import load_problem
from .simulation import simulated


def timings(task: dict, save) -> None:
    """Simulations of both cohorts."""
    problem = load_problem(task["problem"])
    began = time.perf_counter()
    simulate = simulator(problem, numbalsoda.dop853)
    simulate(problem.log_p(problem.points["true"]), problem.a0)
    save(
        method="DOP853 on the 3 states, patient after patient; simulation only",
        compile_s=round(time.perf_counter() - began, 2),
        **simulated(problem, simulate),
    )
