"""The race problem: a hierarchical CAR-T model, its data and its posterior in NumPy.

Effectors E, memory cells M and antigen-bearing cells A of one patient:

    E' = (rho f - dE - kEM) E + kME f M        f = A / (K + A)
    M' = kEM E - (dM + kME f) M
    A' = (gA (1 - A/Amax) - kk E - dA) A

E starts at E0 and M at 0; A starts at the patient's own A0, and `doseA` is added at the
days tA1 and tA2. The assay reads s (E + M) + floor with normal error of its log10, and
only that a reading lies below `lloq` where `cens` says so. A point of the posterior is

    x = [log typical values (6), log omega (4), log sigma, eta (patients x 4, by rows)]

where the first four parameters vary: log p_i = log typical + omega eta_i. Every number
of x lives on the real line and has a normal prior.
"""

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_ndtr


# The parameters as the equations above have them; the first ones vary.
NAMES = ("rho", "dE", "kEM", "kk", "kME", "dM")
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
# Spread of the chains' starts and of the points that are timed together.
JITTER = 0.05


@dataclasses.dataclass(frozen=True)
class Piece:
    """The time between two doses.

    Attributes:
        given: antigen added at its start.
        grid: its start, the samples in it and its end, days, increasing.
    """

    given: float
    grid: np.ndarray


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem file.

    Attributes:
        time_d: sample times of every patient, days, shape (samples,).
        y: log10 of the readings, (patients, samples).
        cens: True where a reading is below `fix["lloq"]`.
        a0: antigen at the start, (patients,).
        fix: constants: K, gA, Amax, dA, E0, doseA, tA1, tA2, s, floor, lloq.
        prior: means and SDs: theta_mu, theta_sd, logom_mu, logom_sd, logsig_mu,
            logsig_sd.
        points: "true" and "prior", each an x.
        big_a0: antigen at the start of a large cohort, (large,).
        big_log_p: log parameters of a large cohort, (large, 6).
    """

    time_d: np.ndarray
    y: np.ndarray
    cens: np.ndarray
    a0: np.ndarray
    fix: dict[str, float]
    prior: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    big_a0: np.ndarray
    big_log_p: np.ndarray

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return self.a0.size

    @property
    def n_vary(self) -> int:
        """Number of parameters that vary between patients."""
        return self.prior["logom_mu"].size

    @property
    def n_dim(self) -> int:
        """Length of x."""
        return len(NAMES) + 1 + self.n_vary * (1 + self.n_patients)

    @functools.cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The time line, cut at every dose; each piece begins where one ends."""
        given = {0.0: 0.0}
        for name in ("tA1", "tA2"):
            given[self.fix[name]] = given.get(self.fix[name], 0.0) + self.fix["doseA"]
        last = self.time_d.max()
        starts = sorted(t for t in given if t < last)
        pieces = []
        for start, end in zip(starts, [*starts[1:], last], strict=True):
            inside = self.time_d[(self.time_d > start) & (self.time_d < end)]
            grid = np.unique(np.concatenate([[start], inside, [end]]))
            pieces.append(Piece(given[start], grid))
        return tuple(pieces)

    @property
    def nodes_d(self) -> np.ndarray:
        """Start of the first piece, then the rest of every grid, days."""
        grids = [piece.grid[1:] for piece in self.pieces]
        return np.concatenate([self.pieces[0].grid[:1], *grids])

    @property
    def read(self) -> np.ndarray:
        """Which of `nodes_d` each sample is, shape (samples,)."""
        return np.searchsorted(self.nodes_d, self.time_d)

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Parts of x: log typical values, log omega, log sigma, eta."""
        n, v = len(NAMES), self.n_vary
        return x[:n], x[n : n + v], x[n + v], x[n + v + 1 :].reshape(-1, v)

    def log_p(self, x: np.ndarray) -> np.ndarray:
        """Log parameters of every patient, (patients, 6)."""
        typical, log_omega, _, eta = self.split(x)
        log_p = np.tile(typical, (self.n_patients, 1))
        log_p[:, : self.n_vary] += np.exp(log_omega) * eta
        return log_p

    def prior_mean(self) -> np.ndarray:
        """x of the prior means."""
        prior = self.prior
        population = [prior["theta_mu"], prior["logom_mu"], [prior["logsig_mu"]]]
        eta = np.zeros(self.n_vary * self.n_patients)
        return np.concatenate([*population, eta])

    def starts(self, n: int, seed: int | tuple[int, ...]) -> np.ndarray:
        """Starts of `n` chains near the prior mean, (n, dimensions)."""
        noise = np.random.default_rng(seed).standard_normal((n, self.n_dim))
        return self.prior_mean() + JITTER * noise

    def around_truth(self, n: int) -> np.ndarray:
        """Points of `n` chains around the truth, (n, dimensions)."""
        noise = np.random.default_rng(0).standard_normal((n, self.n_dim))
        return self.points["true"] + JITTER * noise

    def reading(self, cart: np.ndarray) -> np.ndarray:
        """What the assay reads of E + M without error."""
        return self.fix["s"] * np.maximum(cart, 0.0) + self.fix["floor"]

    def log_posterior(self, x: np.ndarray, cart: np.ndarray) -> float:
        """Log posterior at x, where `cart` is E + M, (patients, samples)."""
        return self._log_posterior(x, cart)[0]

    def value_and_grad(
        self, x: np.ndarray, cart: np.ndarray, slopes: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Log posterior and gradient.

        Args:
            x: the point.
            cart: E + M at x, (patients, samples).
            slopes: its derivatives by the log parameters, (patients, samples, 6).
        """
        value, by_log_reading, by_log_sigma = self._log_posterior(x, cart)
        typical, log_omega, log_sigma, eta = self.split(x)
        omega, prior, v = np.exp(log_omega), self.prior, self.n_vary
        scale = self.fix["s"] / (self.reading(cart) * math.log(10.0))
        by_log_p = np.einsum("nt,ntj->nj", by_log_reading * scale, slopes)
        parts = [
            by_log_p.sum(0) - (typical - prior["theta_mu"]) / prior["theta_sd"] ** 2,
            (by_log_p[:, :v] * eta).sum(0) * omega
            - (log_omega - prior["logom_mu"]) / prior["logom_sd"] ** 2,
            [by_log_sigma - (log_sigma - prior["logsig_mu"]) / prior["logsig_sd"] ** 2],
            (by_log_p[:, :v] * omega - eta).ravel(),
        ]
        return value, np.concatenate(parts)

    def _log_posterior(self, x, cart) -> tuple[float, np.ndarray, float]:
        """Value; slope of each sample by its log10 reading; slope by log sigma."""
        typical, log_omega, log_sigma, eta = self.split(x)
        prior, sigma = self.prior, math.exp(log_sigma)
        value = _normal(eta, 0.0, 1.0)
        value += _normal(typical, prior["theta_mu"], prior["theta_sd"])
        value += _normal(log_omega, prior["logom_mu"], prior["logom_sd"])
        value += _normal(log_sigma, prior["logsig_mu"], prior["logsig_sd"])
        observed = np.where(self.cens, math.log10(self.fix["lloq"]), self.y)
        z = (observed - np.log10(self.reading(cart))) / sigma
        density, tail = -0.5 * z**2 - HALF_LOG_2PI, log_ndtr(z)
        value += np.where(self.cens, tail, density - log_sigma).sum()
        # Slope of each sample by z: the inverse Mills ratio where it is censored.
        by_z = np.where(self.cens, np.exp(density - tail), -z)
        by_log_sigma = -(by_z * z).sum() - (~self.cens).sum()
        return float(value), -by_z / sigma, float(by_log_sigma)


def _normal(value, mean, sd) -> float:
    """Sum of normal log densities."""
    z = (value - mean) / sd
    return float(np.sum(-0.5 * z**2 - np.log(sd) - HALF_LOG_2PI))


def load_problem(path: str | Path) -> Problem:
    """Read a problem file.

    Raises:
        ValueError: other parameters, a sample before the infusion, or a point of
            another length.
    """
    raw: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    if tuple(raw["names"]) != NAMES:
        raise ValueError(f"{path}: names are {raw['names']}, not {list(NAMES)}")
    eta, typical = np.array(raw["eta_big"], dtype=float), np.log(raw["typ"])
    big_log_p = np.tile(typical, (len(eta), 1))
    big_log_p[:, : eta.shape[1]] += np.array(raw["om"]) * eta
    problem = Problem(
        time_d=np.array(raw["times"], dtype=float),
        y=np.array(raw["y"], dtype=float),
        cens=np.array(raw["cens"], dtype=bool),
        a0=np.array(raw["A0"], dtype=float),
        fix={name: float(value) for name, value in raw["fix"].items()},
        prior={k: np.array(value, dtype=float) for k, value in raw["prior"].items()},
        points={
            "true": np.array(raw["x_true"], dtype=float),
            "prior": np.array(raw["x_prior"], dtype=float),
        },
        big_a0=np.array(raw["A0_big"], dtype=float),
        big_log_p=big_log_p,
    )
    if problem.time_d.min() < 0:
        raise ValueError(f"{path}: a sample at day {problem.time_d.min()}, before 0")
    for name, x in problem.points.items():
        if x.size != problem.n_dim:
            raise ValueError(
                f"{path}: x_{name} has {x.size} numbers; {problem.n_patients} patients "
                f"need {problem.n_dim}"
            )
    return problem
