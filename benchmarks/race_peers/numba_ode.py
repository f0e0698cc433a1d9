# pyright: reportMissingImports=false, reportPrivateImportUsage=false
"""Compiled solves of the race problem: numba right-hand sides for numbalsoda.

Plain: 3 states. Variational: 21, the state and its derivatives by the six log
parameters, written by hand as in `reference`.
"""

from collections.abc import Callable

import numba
import numbalsoda
import numpy as np

from . import ATOL, RTOL
from .problem import Problem


N_PLAIN, N_VARIATIONAL, N_PARAMETERS = 3, 21, 6


def plain_field(problem: Problem):
    """Right-hand side of the 3 states, a C function of (t, y, dy, p)."""
    k, g_a, a_max, d_a = (problem.fix[name] for name in ("K", "gA", "Amax", "dA"))

    @numba.cfunc(numbalsoda.lsoda_sig)
    def field(t, y_, dy_, p_):
        y = numba.carray(y_, (N_PLAIN,))
        dy = numba.carray(dy_, (N_PLAIN,))
        p = numba.carray(p_, (N_PARAMETERS,))
        f = y[2] / (k + y[2])
        dy[0] = (p[0] * f - p[1] - p[2]) * y[0] + p[4] * f * y[1]
        dy[1] = p[2] * y[0] - (p[5] + p[4] * f) * y[1]
        dy[2] = (g_a * (1.0 - y[2] / a_max) - p[3] * y[0] - d_a) * y[2]

    return field


def variational_field(problem: Problem):
    """Right-hand side of states and sensitivities.

    The first 3 numbers are the state; then for each parameter the derivatives of E, M
    and A by its logarithm.
    """
    k, g_a, a_max, d_a = (problem.fix[name] for name in ("K", "gA", "Amax", "dA"))

    @numba.cfunc(numbalsoda.lsoda_sig)
    def field(t, y_, dy_, p_):
        y = numba.carray(y_, (N_VARIATIONAL,))
        dy = numba.carray(dy_, (N_VARIATIONAL,))
        p = numba.carray(p_, (N_PARAMETERS,))
        e, m, a = y[0], y[1], y[2]
        f = a / (k + a)
        by_a = k / (k + a) ** 2
        growth, back, kill = p[0] * f - p[1] - p[2], p[4] * f, p[3] * a
        antigen = g_a * (1.0 - a / a_max) - p[3] * e - d_a
        recall = by_a * p[4] * m
        e_by_a = by_a * p[0] * e + recall
        a_by_a = antigen - g_a * a / a_max
        dy[0] = growth * e + back * m
        dy[1] = p[2] * e - (p[5] + back) * m
        dy[2] = antigen * a
        for j in range(N_PARAMETERS):
            at = N_PLAIN * (1 + j)
            se, sm, sa = y[at], y[at + 1], y[at + 2]
            dy[at] = growth * se + back * sm + e_by_a * sa
            dy[at + 1] = p[2] * se - (p[5] + back) * sm - recall * sa
            dy[at + 2] = a_by_a * sa - kill * se
        # What each log parameter does by itself.
        dy[3] += p[0] * f * e
        dy[6] -= p[1] * e
        dy[9] -= p[2] * e
        dy[10] += p[2] * e
        dy[14] -= kill * e
        dy[15] += back * m
        dy[16] -= back * m
        dy[19] -= p[5] * m

    return field


def cohort_solver(
    problem: Problem, field, n_states: int, solver: Callable
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Compiled solve of a cohort, patient after patient.

    Args:
        problem: gives doses and sample times.
        field: right-hand side of `n_states` numbers, the first 3 being E, M and A.
        n_states: 3 or 21.
        solver: `numbalsoda.lsoda` or `numbalsoda.dop853`.

    Returns:
        A function of log parameters (patients, 6) and antigen at the start (patients,)
        to all numbers at the samples, (patients, samples, n_states). A patient whose
        solve failed is NaN.
    """
    grid = np.concatenate([piece.grid for piece in problem.pieces])
    stops = np.cumsum([0] + [piece.grid.size for piece in problem.pieces])
    given = np.array([piece.given for piece in problem.pieces])
    read, n_nodes = problem.read, problem.nodes_d.size
    effector = problem.fix["E0"]

    @numba.njit
    def solve(address, log_p, a0):
        out = np.empty((a0.size, read.size, n_states))
        nodes = np.empty((n_nodes, n_states))
        for i in range(a0.size):
            p = np.exp(log_p[i])
            y = np.zeros(n_states)
            y[0], y[2] = effector, a0[i]
            nodes[0] = y
            at = 1
            for piece in range(given.size):
                y[2] += given[piece]
                times = grid[stops[piece] : stops[piece + 1]]
                path, ok = solver(address, y, times, p, RTOL, ATOL)
                if not ok:
                    path[:] = np.nan
                nodes[at : at + times.size - 1] = path[1:]
                at += times.size - 1
                y = path[-1].copy()
            for row in range(read.size):
                out[i, row] = nodes[read[row]]
        return out

    # By address: the compiled field must live as long as this function.
    return lambda log_p, a0: solve(field.address, log_p, a0)


def lsoda_value_and_grad(
    problem: Problem,
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Log posterior and gradient by LSODA on the variational equations.

    Where a solve failed the value is -inf and the gradient 0.
    """
    field = variational_field(problem)
    solve = cohort_solver(problem, field, N_VARIATIONAL, numbalsoda.lsoda)
    shape = (problem.n_patients, problem.time_d.size, 1 + N_PARAMETERS, N_PLAIN)

    def value_and_grad(x):
        numbers = solve(problem.log_p(x), problem.a0).reshape(shape)
        cart = numbers[..., 0] + numbers[..., 1]
        if not np.isfinite(cart).all():
            return -np.inf, np.zeros_like(x)
        return problem.value_and_grad(x, cart[..., 0], cart[..., 1:])

    return value_and_grad


def simulator(
    problem: Problem, solver: Callable
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """E + M of a cohort, (patients, samples), of the 3 states alone."""
    solve = cohort_solver(problem, plain_field(problem), N_PLAIN, solver)

    def simulate(log_p, a0):
        return solve(log_p, a0)[..., :2].sum(axis=-1)

    return simulate
