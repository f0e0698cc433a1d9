# pyright: reportMissingImports=false
"""libroadrunner (SBML, CVODE, LLVM): simulation only.

The model is written in Antimony. It gives no gradients of trajectories.
"""

import time

import antimony
import numpy as np
import roadrunner

from . import ATOL, RTOL
from .problem import NAMES, Problem, load_problem
from .simulation import simulated


EQUATIONS = """
  E' = (rho*A/(K + A) - dE - kEM)*E + kME*A/(K + A)*M;
  M' = kEM*E - (dM + kME*A/(K + A))*M;
  A' = (gA*(1 - A/Amax) - kk*E - dA)*A;
"""


def antimony_text(problem: Problem) -> str:
    """The model with its two doses of antigen; patients set parameters and starts."""
    constants = "".join(f"  {name} = {value!r};\n" for name, value in _numbers(problem))
    doses = "".join(
        f"  at (time >= {problem.fix[name]!r}): A = A + doseA;\n"
        for name in ("tA1", "tA2")
    )
    return f"model cart\n{constants}{EQUATIONS}{doses}end\n"


def _numbers(problem: Problem):
    yield from zip(NAMES, np.exp(problem.big_log_p[0]).tolist(), strict=True)
    for name in ("K", "gA", "Amax", "dA", "doseA"):
        yield name, problem.fix[name]
    yield from (("E", problem.fix["E0"]), ("M", 0.0), ("A", float(problem.a0[0])))


def loaded(problem: Problem):
    """RoadRunner with the model at the race's tolerances."""
    antimony.clearPreviousLoads()
    if antimony.loadAntimonyString(antimony_text(problem)) < 0:
        raise RuntimeError(f"Antimony refused the model: {antimony.getLastError()}")
    runner = roadrunner.RoadRunner(antimony.getSBMLString("cart"))
    runner.integrator.relative_tolerance = RTOL
    runner.integrator.absolute_tolerance = ATOL
    runner.timeCourseSelections = ["time", "E", "M"]
    return runner


def timings(task: dict, save) -> None:
    """Simulations of both cohorts, patient after patient."""
    problem = load_problem(task["problem"])
    began = time.perf_counter()
    runner = loaded(problem)
    nodes = np.unique(np.concatenate([[0.0], problem.time_d]))
    read = np.searchsorted(nodes, problem.time_d)

    def one(log_p, a0):
        runner.resetAll()
        for name, value in zip(NAMES, np.exp(log_p), strict=True):
            runner[name] = float(value)
        runner["A"], runner["E"], runner["M"] = float(a0), problem.fix["E0"], 0.0
        path = np.array(runner.simulate(times=nodes.tolist()))
        return path[read, 1] + path[read, 2]

    def simulate(log_p, a0):
        return np.array([one(*each) for each in zip(log_p, a0, strict=True)])

    simulate(problem.big_log_p[:1], problem.big_a0[:1])
    save(
        method="CVODE (BDF) on SBML, patient after patient; simulation only",
        compile_s=round(time.perf_counter() - began, 2),
        **simulated(problem, simulate),
    )
