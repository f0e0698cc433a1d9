"""The log posterior and its gradient to many digits, by the variational equations.

Beside E, M and A their derivatives by the six log parameters are integrated: 21 numbers
a patient, all patients as one system (SciPy's DOP853), restarted at every dose.
"""

import numpy as np
from scipy.integrate import solve_ivp

from .problem import Problem, load_problem


RTOL, ATOL = 1e-11, 1e-13
N_STATES, N_PARAMETERS = 3, 6


def reference(problem: Problem, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Log posterior and gradient at x."""
    return problem.value_and_grad(x, *reference_cart(problem, x))


def reference_cart(problem: Problem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E + M, (patients, samples), and its slopes, (patients, samples, 6).

    Raises:
        RuntimeError: the solver gave up.
    """
    p = np.exp(problem.log_p(x)).T
    fix, n = problem.fix, problem.n_patients
    shape = (N_STATES, 1 + N_PARAMETERS, n)
    start = np.zeros(shape)
    start[0, 0], start[2, 0] = fix["E0"], problem.a0
    seen = [start[..., None]]
    # DOP853 bounds the root mean square of all errors: so none exceeds the tolerance.
    tighter = np.sqrt(start.size)
    for piece in problem.pieces:
        start = seen[-1][..., -1].copy()
        start[2, 0] += piece.given
        solution = solve_ivp(
            lambda t, y: _slopes(y.reshape(shape), p, fix).ravel(),
            (piece.grid[0], piece.grid[-1]),
            start.ravel(),
            method="DOP853",
            t_eval=piece.grid[1:],
            rtol=RTOL / tighter,
            atol=ATOL / tighter,
        )
        if not solution.success:
            raise RuntimeError(f"the reference was not solved: {solution.message}")
        seen.append(solution.y.reshape(*shape, -1))
    nodes = np.concatenate(seen, axis=-1)[..., problem.read]
    cart = nodes[0] + nodes[1]
    return cart[0], np.moveaxis(cart[1:], 0, -1)


def _slopes(y: np.ndarray, p: np.ndarray, fix: dict[str, float]) -> np.ndarray:
    """Time derivatives of states and sensitivities.

    Args:
        y: (states, 1 + parameters, patients): the state, then its derivatives.
        p: parameters, (parameters, patients).
        fix: constants.
    """
    rho, d_e, k_em, kk, k_me, d_m = p
    (e, m, a), (se, sm, sa) = y[:, 0], y[:, 1:]
    f = a / (fix["K"] + a)
    by_a = fix["K"] / (fix["K"] + a) ** 2
    growth = rho * f - d_e - k_em
    back = k_me * f
    kill = kk * a
    antigen = fix["gA"] * (1.0 - a / fix["Amax"]) - kk * e - fix["dA"]
    recall = by_a * k_me * m
    out = np.empty_like(y)
    out[0, 0] = growth * e + back * m
    out[1, 0] = k_em * e - (d_m + back) * m
    out[2, 0] = antigen * a
    out[0, 1:] = growth * se + back * sm + (by_a * rho * e + recall) * sa
    out[1, 1:] = k_em * se - (d_m + back) * sm - recall * sa
    out[2, 1:] = -kill * se + (antigen - fix["gA"] * a / fix["Amax"]) * sa
    # What each log parameter does by itself, in the order of `names`.
    out[0, 1] += rho * f * e
    out[0, 2] -= d_e * e
    out[0, 3] -= k_em * e
    out[1, 3] += k_em * e
    out[2, 4] -= kill * e
    out[0, 5] += back * m
    out[1, 5] -= back * m
    out[1, 6] -= d_m * m
    return out


def values(task: dict, save) -> None:
    """Reference values at the problem's two points and at those of the task."""
    problem = load_problem(task["problem"])
    points = problem.points | {
        f"posterior_{i}": np.array(x) for i, x in enumerate(task["posterior"])
    }
    values = {}
    for name, x in points.items():
        value, grad = reference(problem, x)
        values[name] = {"logp": value, "grad": grad.tolist()}
    cart, _ = reference_cart(problem, problem.points["true"])
    save(points=values, cart_true=cart.tolist())
