"""The race problem through ckin's public interface: a CSV, a model file, priors."""

import csv
import dataclasses
import io
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ckin.assay import qpcr
from ckin.dataset import Dataset, read_dataset
from ckin.inference.density import Density
from ckin.library import load_model
from ckin.population import Population, population

from .problem import NAMES, Problem


MODEL_FILE = Path(__file__).resolve().parents[1] / "race_model.py"
COLUMNS = (
    *("ID", "TIME", "EVID", "AMT", "CMT"),
    *("DV", "DVID", "CENS", "LIMIT", "AFTER", "A0"),
)
HEADER = "# SYNTHETIC: the race problem.\n# unit qpcr copies/ug\n# unit AMT cells\n"
LN10 = math.log(10.0)


def large_cohort(problem: Problem) -> Problem:
    """The problem with the large cohort in place of its own, all readings at 1."""
    shape = problem.big_a0.size, problem.time_d.size
    return dataclasses.replace(
        problem,
        a0=problem.big_a0,
        y=np.zeros(shape),
        cens=np.zeros(shape, bool),
    )


def dataset_of(problem: Problem, folder: Path) -> Dataset:
    """Write the patients as a table with its side file, and read that."""
    text = io.StringIO()
    text.write(HEADER)
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for index in range(problem.n_patients):
        always = {"ID": str(index + 1), "A0": repr(float(problem.a0[index]))}
        rows = sorted(_rows(problem, index), key=lambda row: float(row["TIME"]))
        for row in rows:
            writer.writerow(always | row)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "race.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    path.with_suffix(".toml").write_text('covariates = ["A0"]\n', encoding="utf-8")
    return read_dataset(path)


def _rows(problem: Problem, index: int):
    """Doses and readings of a patient. A reading at day 0 is taken after the infusion.

    The other readings at the time of a dose are taken before it, as ckin has it when
    nothing is said.
    """
    antigen = [(float(p.grid[0]), "FTC", p.given) for p in problem.pieces]
    for time_d, product, cells in [(0.0, "CART", problem.fix["E0"]), *antigen]:
        if cells > 0:
            row = {"TIME": repr(time_d), "EVID": "1", "CMT": product}
            yield row | {"AMT": repr(cells)}
    for time_d, y, below in zip(
        problem.time_d, problem.y[index], problem.cens[index], strict=True
    ):
        row = {"TIME": repr(float(time_d)), "EVID": "0", "DVID": "qpcr"}
        row["AFTER"] = "1" if time_d == 0 else "0"
        if below:
            yield row | {"CENS": "1", "LIMIT": repr(problem.fix["lloq"])}
        else:
            yield row | {"CENS": "0", "DV": repr(float(10.0**y))}


def population_of(problem: Problem) -> Population:
    """The race's model with the problem's constants and priors.

    ckin's error is of the natural logarithm, the problem's of log10.
    """
    prior, fix = problem.prior, problem.fix
    varying = NAMES[: problem.n_vary]
    names = ("K", "gA", "Amax", "dA", "s", "floor")
    typical = zip(NAMES, prior["theta_mu"], prior["theta_sd"], strict=True)
    return population(
        load_model(MODEL_FILE).with_values(**{name: fix[name] for name in names}),
        qpcr(
            sigma_median=LN10 * math.exp(prior["logsig_mu"]),
            sigma_sd_log=float(prior["logsig_sd"]),
        ),
        estimate=NAMES,
        vary=varying,
        priors={n: dist.LogNormal(float(mu), float(sd)) for n, mu, sd in typical},
        omega=dict(zip(varying, np.exp(prior["logom_mu"]).tolist(), strict=True)),
        omega_sd_log=dict(zip(varying, prior["logom_sd"].tolist(), strict=True)),
    )


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """From the problem's x to ckin's (u, eta) and back.

    Attributes:
        problem: gives the order of x.
        place: where each of ckin's population parameters lies in x.
        shift: what to add to it: log(log 10) for the error, else 0.
        constant: what to add to ckin's log density.
    """

    problem: Problem
    place: np.ndarray
    shift: np.ndarray
    constant: float

    def into(self, x: np.ndarray) -> tuple[jnp.ndarray, jnp.ndarray]:
        """(u, eta) of x, or of many: leading axes are kept."""
        x = np.asarray(x)
        eta = x[..., self.shift.size :]
        shape = (*x.shape[:-1], self.problem.n_patients, self.problem.n_vary)
        return jnp.asarray(x[..., self.place] + self.shift), jnp.array(
            eta.reshape(shape)
        )

    def back(self, u: np.ndarray, eta: np.ndarray, *, shifted: bool) -> np.ndarray:
        """x of (u, eta), or of many; `shifted=False` for gradients."""
        u, eta = np.asarray(u), np.asarray(eta)
        head = np.empty_like(u)
        head[..., self.place] = u - self.shift if shifted else u
        return np.concatenate([head, eta.reshape(*u.shape[:-1], -1)], axis=-1)


def coordinates(problem: Problem, density: Density) -> Coordinates:
    """Coordinates of a density.

    A density of natural logarithms is 1 / log 10 of that of log10, for every reading
    that is not censored.
    """
    order = [*NAMES, *(f"omega_{name}" for name in NAMES[: problem.n_vary])]
    order.append("sigma_qpcr")
    return Coordinates(
        problem,
        np.array([order.index(name) for name in density.names]),
        np.array([math.log(LN10) * (n == "sigma_qpcr") for n in density.names]),
        math.log(LN10) * int((~problem.cens).sum()),
    )
