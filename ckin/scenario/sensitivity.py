"""What moves an endpoint: one parameter at a time (a tornado), or all at once (Sobol).

Both are about the typical patient, over the priors of the parameters that the scenario
draws, and of each endpoint under the reference arm and of each comparison. A tornado
puts one parameter at a time to 5% and 95% of its prior. Sobol's indices are shares of
the variance over the priors: `first` of a parameter alone, `total` with all that it
does together with others (Saltelli's design and Jansen's and Saltelli's estimators, by
SALib; Herman and Usher 2017, doi:10.21105/joss.00097).
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ckin._types import Float
from ckin.errors import InputError
from ckin.scenario.compare import Outcomes, run
from ckin.scenario.people import People, find_people
from ckin.scenario.scenario import Endpoint, Scenario
from ckin.scenario.statistics import summaries


METHODS = ("tornado", "sobol")
# Ends of a bar of a tornado, as quantiles of the prior.
ENDS = (0.05, 0.95)
# Base points of Saltelli's design, a power of two; each costs parameters + 2 solutions.
BASE_POINTS = 128
# Draws are kept this far from the ends of a prior: nothing solves an infinite rate.
EDGE = 1e-3
# What differs by less is rounding, and has no variance to share.
FLAT = 1e-9

Row = dict[str, Any]
Report = Callable[[str, int, int], None]


def sensitivity(
    scenario: Scenario,
    method: str,
    *,
    base_points: int = BASE_POINTS,
    report: Report = lambda *_: None,
) -> list[Row]:
    """Rows of a sensitivity analysis, by endpoint, arm, comparison and parameter.

    Args:
        scenario: whose population is drawn from a prior.
        method: "tornado" or "sobol".
        base_points: of Saltelli's design, a power of two.
        report: called with (stage, done, total).

    Raises:
        InputError: another method, a population of no prior, or SALib is missing.
    """
    if method not in METHODS:
        raise InputError(f"--sensitivity {method}: choose {' or '.join(METHODS)}")
    if scenario.people.source != "prior":
        raise InputError(
            f"--sensitivity is over priors, and scenario {scenario.name} has "
            f'{scenario.people.source} values; write source = "prior"'
        )
    typical = _typical_people(scenario)
    if method == "tornado":
        return _tornado(scenario, typical, report)
    return _sobol(scenario, typical, base_points, report)


def _typical_people(scenario: Scenario) -> People:
    """The typical patient, with the names of what a prior draws."""
    spec = dataclasses.replace(scenario.people, draws=2)
    alone = dataclasses.replace(scenario, people=spec, uncertainty=("parameters",))
    return find_people(alone)


def _at(people: People, natural: Float[np.ndarray, "draws drawn"]) -> People:
    """The typical patient at these values of the drawn parameters, a draw each."""
    whole = people.whole
    values = np.tile(np.asarray(whole.from_phi(whole.typical_phi())), (len(natural), 1))
    for at, name in enumerate(people.drawn):
        values[:, whole.estimate.index(name)] = natural[:, at]
    phi = np.asarray(whole.to_phi(jnp.asarray(values)))
    return dataclasses.replace(
        people, typical=phi, phi=phi[:, None], sigma=np.full(len(phi), people.sigma[0])
    )


def _quantiles(people: People, u: Float[np.ndarray, "draws drawn"]) -> np.ndarray:
    """Values of the drawn parameters at these quantiles of their priors."""
    columns = []
    for at, name in enumerate(people.drawn):
        prior = people.whole.info[name].prior
        assert prior is not None  # it is drawn
        columns.append(np.asarray(prior.icdf(jnp.asarray(u[:, at]))))
    return np.stack(columns, axis=1)


def _answers(scenario: Scenario, outcomes: Outcomes):
    """Each endpoint of the reference and each comparison: its label, and draws."""
    for endpoint in scenario.measures:
        first = outcomes.of(scenario.first, endpoint.outcome)
        yield _label(endpoint, scenario.first, ""), _shown(endpoint, first)
        for arm, against in scenario.pairs:
            one, other = (
                _shown(endpoint, outcomes.of(name, endpoint.outcome))
                for name in (arm, against)
            )
            yield _label(endpoint, arm, against), one - other


def _shown(endpoint: Endpoint, values: np.ndarray) -> np.ndarray:
    """An endpoint in each draw; the logarithm of a geometric mean."""
    found = summaries(endpoint, values)
    if endpoint.summary != "geometric mean":
        return found
    positive = found > 0
    return np.where(positive, np.log(np.where(positive, found, 1.0)), np.nan)


def _label(endpoint: Endpoint, arm: str, against: str) -> Row:
    logs = endpoint.summary == "geometric mean"
    measure = ("log ratio" if against else "log") if logs else endpoint.summary
    return {
        "endpoint": endpoint.name,
        "arm": arm,
        "against": against,
        "measure": "difference" if against and not logs else measure,
    }


def _tornado(scenario: Scenario, people: People, report: Report) -> list[Row]:
    middle = np.full((1 + 2 * len(people.drawn), len(people.drawn)), 0.5)
    for at in range(len(people.drawn)):
        middle[1 + 2 * at, at], middle[2 + 2 * at, at] = ENDS
    tried = _quantiles(people, middle)
    outcomes = run(scenario, people=_at(people, tried), report=report)
    rows = []
    for label, found in _answers(scenario, outcomes):
        for at, name in enumerate(people.drawn):
            low, high = found[1 + 2 * at], found[2 + 2 * at]
            rows.append(
                {
                    **label,
                    "parameter": name,
                    "at_low": float(tried[1 + 2 * at, at]),
                    "at_high": float(tried[2 + 2 * at, at]),
                    "base": float(found[0]),
                    "value_low": float(low),
                    "value_high": float(high),
                    "reach": float(abs(high - low)),
                }
            )
    return rows


def _sobol(
    scenario: Scenario, people: People, base_points: int, report: Report
) -> list[Row]:
    sample, analyze = _salib()
    problem = {
        "num_vars": len(people.drawn),
        "names": list(people.drawn),
        "bounds": [[EDGE, 1.0 - EDGE]] * len(people.drawn),
    }
    u = sample(problem, base_points, calc_second_order=False, seed=scenario.seed)
    outcomes = run(scenario, people=_at(people, _quantiles(people, u)), report=report)
    rows = []
    for label, found in _answers(scenario, outcomes):
        for at, indices in enumerate(_indices(analyze, problem, found, scenario.seed)):
            rows.append({**label, "parameter": people.drawn[at], **indices})
    return rows


def _indices(analyze, problem: dict, found: np.ndarray, seed: int) -> list[Row]:
    """Indices of each parameter; NaN where nothing varies or somebody is not solved."""
    n = problem["num_vars"]
    if not np.all(np.isfinite(found)) or np.ptp(found) < FLAT:
        nothing = {"first": np.nan, "first_error": np.nan}
        return [{**nothing, "total": np.nan, "total_error": np.nan}] * n
    made = analyze(
        problem,
        (found - found.mean()) / found.std(),
        calc_second_order=False,
        conf_level=0.9,
        seed=seed,
    )
    return [
        {
            "first": float(made["S1"][at]),
            "first_error": float(made["S1_conf"][at]),
            "total": float(made["ST"][at]),
            "total_error": float(made["ST_conf"][at]),
        }
        for at in range(n)
    ]


def _salib():
    """SALib's design and estimator."""
    try:
        sample = importlib.import_module("SALib.sample.sobol").sample
        analyze = importlib.import_module("SALib.analyze.sobol").analyze
    except ImportError:
        raise InputError(
            "--sensitivity sobol needs SALib: pip install 'ckin[sensitivity]'; "
            "--sensitivity tornado does not"
        ) from None
    return sample, analyze
