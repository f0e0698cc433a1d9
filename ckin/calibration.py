"""Is a fit calibrated? Simulation-based calibration of a model under a protocol.

Population and patients are drawn from the prior, readings from them, and the cohort is
fitted as if it were real. Over many such replicates the rank of the truth among the
draws of its posterior is as likely to be any as any other, if the fit is right (Talts
et al. 2018, arXiv:1804.06788). What is ranked: every population parameter, and the log
likelihood of all readings, which sees what no single parameter does (Modrák et al.,
Bayesian Analysis 2025).

A replicate is one file, so a calibration that was interrupted goes on where it was.
"""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import Predictive

from ckin.analysis import described, names_between_commas
from ckin.cohort import read_off, unread
from ckin.dataset import Dataset, most_cycles
from ckin.errors import InputError
from ckin.inference import fit
from ckin.inference.density import Density, make_density, marginal_priors
from ckin.inference.identity import differences
from ckin.inference.predict import sample_log_likelihoods
from ckin.population import (
    Population,
    of_its_assay,
    pack,
    population,
    population_model,
)
from ckin.population.hyper import told_values
from ckin.ranked import Calibration, judged
from ckin.simulation import Watch, model_and_plan, until
from ckin.writing import put_whole, writing


# Draws that the truth is ranked among, evenly spaced over all chains: nearly
# independent when a fit has an effective sample size of 400, as a converged one has.
RANKED = 99
LIKELIHOOD = "log_likelihood"

DESIGN, RANKS, COVERAGE = "calibration.json", "ranks.csv", "coverage.csv"
LABEL = "SYNTHETIC: cohorts drawn from the prior, no patient measured"

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Design:
    """What is calibrated.

    Attributes:
        model: name of a model, or path of a `.py` file.
        protocol: name of a protocol, a `.toml` file or FILE:ARM.
        patients: of each cohort.
        watch: assays, limits and what is examined.
        horizon_d: samples until this day; `None` for all that are usual.
        estimate: parameters to estimate; empty for the model's own choice.
        vary: parameters that vary between patients; empty likewise.
        correlate: groups of parameters that are correlated, each with commas.
        eta: how patients are distributed, one of `ckin.population.ETAS`.
        iov: parameters that differ between the cycles of a patient.
        values: other values of parameters and names of laws, by name.
        method: of the fits.
        chains: of the fits.
        warmup: of the fits.
        draws: of the fits.
        seed: of every random number.
    """

    model: str
    protocol: str
    patients: int = 8
    watch: Watch = dataclasses.field(default_factory=Watch)
    horizon_d: float | None = None
    estimate: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    correlate: tuple[str, ...] = ()
    eta: str = "normal"
    iov: tuple[str, ...] = ()
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    method: str = "nuts"
    chains: int = 4
    warmup: int = 300
    draws: int = 250
    seed: int = 0


class _Cohort:
    """The patients of every replicate, and how their readings are drawn."""

    def __init__(self, design: Design) -> None:
        model, plan = model_and_plan(design.model, design.protocol, design.values)
        key = jax.random.key(design.seed)
        people = design.watch.patients(key, plan, design.patients)
        if design.horizon_d is not None:
            people = tuple(until(patient, design.horizon_d) for patient in people)
        self.population: Population = population(
            model,
            design.watch.laws(),
            estimate=design.estimate or None,
            vary=design.vary or None,
            correlate=[names_between_commas(group) for group in design.correlate],
            eta=design.eta,
            iov=design.iov,
            occasions=most_cycles(people),
        )
        blank = unread(self.population, people)
        # Only what the model describes is fitted: only that is drawn.
        self.blank = described(blank, self.population, None)
        data = pack(self.blank, self.population)
        self.which = data.which
        self.density: Density = make_density(self.population, data)
        self.priors = marginal_priors(self.density)
        model_of = Predictive(population_model, num_samples=1)
        self.draw = jax.jit(
            lambda key: model_of(key, self.population, data, observed=False)
        )

    def of_prior(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Share of the prior below a value, of each parameter."""
        return {name: float(p.cdf(values[name])) for name, p in self.priors.items()}

    def drawn(self, key) -> tuple[Dataset, dict[str, np.ndarray]]:
        """A cohort read off, and everything that it was drawn from."""
        found = {name: np.asarray(x[0]) for name, x in self.draw(key).items()}
        each = [jnp.asarray(found[assay.name]) for assay in self.population.assays]
        values = np.exp(np.asarray(of_its_assay(each, self.which)))
        assays = {assay.name: assay for assay in self.population.assays}
        patients = [
            read_off(patient, values[row], assays, self.blank.units)
            for row, patient in enumerate(self.blank.patients)
        ]
        return dataclasses.replace(self.blank, patients=tuple(patients)), found


@functools.lru_cache(maxsize=1)
def _cohort(told: str) -> _Cohort:
    return _Cohort(_design(json.loads(told)))


def as_json(design: Design) -> dict[str, Any]:
    """A design as JSON holds it."""
    return json.loads(json.dumps(dataclasses.asdict(design)))


def _design(told: Mapping[str, Any]) -> Design:
    whole = _with_tuples(told)
    whole["watch"] = Watch(**_with_tuples(told["watch"]))
    return Design(**whole)


def _with_tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON gave back as lists, as it was."""
    whole: dict[str, Any] = dict(told)
    for name, value in told.items():
        if isinstance(value, list):
            whole[name] = tuple(value)
    return whole


def replicate(told: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Draw a cohort, fit it, and rank the truth.

    Args:
        told: the design, as JSON.
        number: of the replicate, from 0: its random numbers depend on it and on the
            seed alone.

    Returns:
        The ranks of the truth by name, among `of` draws, where in its `prior` it lies
        (share below), and how the fit went; JSON.
        A cohort whose truth cannot be solved has `ranks` empty.
    """
    began = time.perf_counter()
    design, cohort = _design(told), _cohort(json.dumps(told))
    key = jax.random.fold_in(jax.random.key(design.seed), number + 1)
    data, truth = cohort.drawn(key)
    sites = {name: jnp.asarray(value) for name, value in truth.items()}
    values = told_values(cohort.population, sites)
    u_true = np.asarray(cohort.density.unconstrain(values))
    record: dict[str, Any] = {
        "number": number,
        "truth": {name: float(values[name]) for name in cohort.density.names},
        "prior": cohort.of_prior(values),
        "ranks": {},
        "of": RANKED,
    }
    if not all(np.isfinite(s.value) for p in data.patients for s in p.samples):
        return record | {"converged": None, "reasons": ["the truth is not solved"]}
    result = fit(
        data,
        cohort.population,
        method=design.method,
        chains=design.chains,
        warmup=design.warmup,
        draws=design.draws,
        seed=design.seed + number,
    )
    u, eta = result.thinned(RANKED)
    likelihood, solved = sample_log_likelihoods(
        result.density,
        jnp.asarray(np.concatenate([u_true[None], u])),
        jnp.asarray(np.concatenate([truth["eta"].reshape(1, *eta.shape[1:]), eta])),
    )
    if not bool(np.asarray(solved)[0].all()):
        return record | {"converged": None, "reasons": ["the truth is not solved"]}
    present = np.asarray(result.density.data.present)
    total = np.where(present, np.asarray(likelihood), 0.0).sum((1, 2))
    ranks = {
        name: int((u[:, place] < u_true[place]).sum())
        for place, name in enumerate(cohort.density.names)
    }
    return record | {
        "ranks": ranks | {LIKELIHOOD: int((total[1:] < total[0]).sum())},
        "of": len(u),
        "converged": result.verdict.converged,
        "reasons": list(result.verdict.reasons),
        "divergences": result.manifest["divergences"],
        "below_limit_pct": round(
            100.0 * result.manifest["samples_below_limit"] / result.manifest["samples"],
            1,
        ),
        "seconds": round(time.perf_counter() - began, 1),
    }


def calibrate(
    design: Design,
    folder: Path,
    *,
    replicates: int,
    anew: bool = False,
    run: Callable[[dict, Sequence[int]], Iterable[dict]] | None = None,
    report: Report = lambda *_: None,
) -> Calibration:
    """Run the replicates that are not there yet, and judge all.

    Args:
        design: what to calibrate.
        folder: one file a replicate goes into its `replicates/`, tables beside.
        replicates: in all; more of them go on with what is there.
        anew: forget what is there.
        run: runs replicates of a design (as JSON) by number, in any order; one after
            another here unless told (`ckin.cluster` has another).
        report: called with (stage, done, total).

    Raises:
        InputError: the folder holds a calibration of another design.
    """
    told, files = as_json(design), folder / "replicates"
    with writing(folder):
        files.mkdir(parents=True, exist_ok=True)
        _claim(folder, told, anew)
    path = lambda number: files / f"{number:05d}.json"
    missing = [number for number in range(replicates) if not path(number).is_file()]
    report("replicates", replicates - len(missing), replicates)
    results = (run or _here)(told, missing)
    for done, record in enumerate(results, start=1):
        with writing(folder):
            put_whole(path(record["number"]), _as_bytes(record))
        report("replicates", replicates - len(missing) + done, replicates)
    every = [
        json.loads(path(number).read_text(encoding="utf-8"))
        for number in range(replicates)
    ]
    found = judged(every)
    with writing(folder):
        found.ranks.to_csv(folder / RANKS, index=False)
        found.coverage.to_csv(folder / COVERAGE, index=False)
    return found


def _here(told: dict, numbers: Sequence[int]) -> Iterator[dict]:
    for number in numbers:
        yield replicate(told, number)


def _claim(folder: Path, told: dict[str, Any], anew: bool) -> None:
    """Write down what the folder is of, or refuse another design's."""
    path = folder / DESIGN
    if anew:
        path.unlink(missing_ok=True)
        for file in (folder / "replicates").glob("*.json"):
            file.unlink()
    if path.is_file():
        changed = differences(json.loads(path.read_text(encoding="utf-8")), told)
        if changed:
            raise InputError(
                f"{folder} is of another calibration: {'; '.join(changed)}. Choose "
                "another --out, or start anew with --force"
            )
    else:
        put_whole(path, _as_bytes(told))


def _as_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
