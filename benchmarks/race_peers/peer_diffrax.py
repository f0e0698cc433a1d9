# pyright: reportMissingImports=false
"""diffrax as its documentation shows it, NumPyro's NUTS on top.

Tsit5 with PIDController and RecursiveCheckpointAdjoint, one `diffeqsolve` between two
doses, `vmap` over patients. `throw=False`: with the default, NumPyro dies in warm-up.
"""

import time
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpyro.infer import NUTS

from . import ATOL, RTOL
from .measure import (
    LANES,
    MAX_TREE_DEPTH,
    TARGET_ACCEPTANCE,
    at_points,
    judged,
    lanes_ms,
    median_ms,
    not_through,
    plan,
    usable,
)
from .problem import Problem, load_problem
from .simulation import simulated


MAX_STEPS = 4096
# What NumPyro is told where a trial step ends in no number at all.
NOWHERE = 1e30


def make_cart(problem: Problem, adjoint: dfx.AbstractAdjoint):
    """E + M at the samples of one patient, from log parameters and A0."""
    fix = problem.fix

    def field(t, y, p):
        e, m, a = y
        f = a / (fix["K"] + a)
        antigen = fix["gA"] * a * (1 - a / fix["Amax"]) - fix["dA"] * a
        return jnp.stack(
            [
                p[0] * f * e - (p[1] + p[2]) * e + p[4] * f * m,
                p[2] * e - p[5] * m - p[4] * f * m,
                antigen - p[3] * e * a,
            ]
        )

    def cart(log_p, a0):
        y = jnp.array([fix["E0"], 0.0, a0])
        seen = [y[None]]
        for piece in problem.pieces:
            solution = dfx.diffeqsolve(
                dfx.ODETerm(field),
                dfx.Tsit5(),
                t0=piece.grid[0],
                t1=piece.grid[-1],
                dt0=None,
                y0=y + jnp.array([0.0, 0.0, piece.given]),
                args=jnp.exp(log_p),
                saveat=dfx.SaveAt(ts=jnp.array(piece.grid[1:])),
                stepsize_controller=dfx.PIDController(rtol=RTOL, atol=ATOL),
                adjoint=adjoint,
                max_steps=MAX_STEPS,
                throw=False,
            )
            assert solution.ys is not None  # `saveat` asks for them
            seen.append(solution.ys)
            y = solution.ys[-1]
        nodes = jnp.concatenate(seen)[jnp.array(problem.read)]
        return nodes[:, 0] + nodes[:, 1]

    return cart


def make_log_posterior(problem: Problem):
    """Log posterior of x, as in `problem`."""
    cart = make_cart(problem, dfx.RecursiveCheckpointAdjoint())
    fix, prior, v = problem.fix, problem.prior, problem.n_vary
    limit = jnp.log10(fix["lloq"])

    def log_posterior(x):
        n = problem.prior["theta_mu"].size
        typical, log_omega, log_sigma = x[:n], x[n : n + v], x[n + v]
        eta = x[n + v + 1 :].reshape(-1, v)
        log_p = jnp.broadcast_to(typical, (problem.n_patients, n))
        log_p = log_p.at[:, :v].add(jnp.exp(log_omega) * eta)
        e_and_m = jax.vmap(cart)(log_p, jnp.array(problem.a0))
        mean = jnp.log10(fix["s"] * jnp.maximum(e_and_m, 0.0) + fix["floor"])
        sigma = jnp.exp(log_sigma)
        each = jnp.where(
            problem.cens,
            norm.logcdf(limit, mean, sigma),
            norm.logpdf(problem.y, mean, sigma),
        )
        return (
            each.sum()
            + norm.logpdf(typical, prior["theta_mu"], prior["theta_sd"]).sum()
            + norm.logpdf(log_omega, prior["logom_mu"], prior["logom_sd"]).sum()
            + norm.logpdf(log_sigma, prior["logsig_mu"], prior["logsig_sd"])
            + norm.logpdf(eta).sum()
        )

    return log_posterior


def sampled(problem: Problem, task: dict) -> dict[str, Any]:
    """NUTS, transition by transition, until the plan is done or the time is up."""
    planned = plan(task, task["timings"]["value_and_grad_ms"])
    log_posterior = make_log_posterior(problem)

    def potential(x):
        value = -log_posterior(x)
        return jnp.where(jnp.isfinite(value), value, NOWHERE)

    began = time.perf_counter()
    kernel = NUTS(
        potential_fn=potential,
        target_accept_prob=TARGET_ACCEPTANCE,
        max_tree_depth=MAX_TREE_DEPTH,
    )
    chains, gradients, divergences, done = [], 0, 0, 0
    for chain, start in enumerate(problem.starts(planned.chains, task["seed"])):
        key = jax.random.PRNGKey(1000 * task["seed"] + chain)
        state = kernel.init(key, planned.warmup, jnp.array(start), (), {})
        transition = jax.jit(lambda state: kernel.sample(state, (), {}))
        draws = []
        for number in range(planned.warmup + planned.draws):
            if time.perf_counter() - began > task["peer_nuts_s"]:
                break
            state = transition(state)
            done, gradients = done + 1, gradients + int(state.num_steps)
            if number >= planned.warmup:
                draws.append(np.asarray(state.z))
                divergences += int(state.diverging)
        chains.append(np.array(draws))
    draws = usable(chains, planned)
    wall_s = time.perf_counter() - began
    if draws is None:
        return not_through(
            planned, wall_s, f"{done} transitions, {gradients} gradients"
        )
    return judged(
        draws,
        wall_s,
        **planned.facts,
        divergences=divergences,
        gradients=gradients,
    )


def timings(task: dict, save) -> None:
    """Values, gradients, simulations."""
    jax.config.update("jax_enable_x64", True)
    problem = load_problem(task["problem"])
    truth = jnp.array(problem.points["true"])
    lanes = jnp.array(problem.around_truth(LANES))
    one = jax.value_and_grad(make_log_posterior(problem))
    value_and_grad, many = jax.jit(one), jax.jit(jax.vmap(one))
    began = time.perf_counter()
    jax.block_until_ready(value_and_grad(truth))
    save(
        method="Tsit5, PIDController, RecursiveCheckpointAdjoint, vmap; NumPyro NUTS",
        compile_s=round(time.perf_counter() - began, 2),
        points=at_points(problem.points, lambda x: value_and_grad(jnp.array(x))),
    )
    save(
        value_and_grad_ms=median_ms(
            lambda: jax.block_until_ready(value_and_grad(truth))
        )
    )
    save(**lanes_ms(lambda: jax.block_until_ready(many(lanes))))
    simulate = jax.jit(jax.vmap(make_cart(problem, dfx.DirectAdjoint())))
    save(**simulated(problem, lambda p, a: jax.block_until_ready(simulate(p, a))))


def nuts(task: dict, save) -> None:
    """NUTS within the time allowed."""
    jax.config.update("jax_enable_x64", True)
    save(nuts=sampled(load_problem(task["problem"]), task))
